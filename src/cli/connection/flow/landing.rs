//! The place on this machine to which the browser comes back; it is there for one flow.

use std::io;
use std::net::{Ipv4Addr, TcpListener as StdTcpListener};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::visit::Visit;
use crate::cli::output::{self, Failure};
use crate::model::content_policy::ContentPolicy;
use crate::random;

/// A port that listens, and the one path at it where the flow ends.
pub(super) struct Landing {
    listener: StdTcpListener,
    url: String,
    path: String,
}

impl Landing {
    /// Opens a port that nobody else can reach from another machine. The path can't be guessed:
    /// a page in the same browser that tries every port ends no flow.
    pub(super) fn open() -> Result<Self, Failure> {
        let nonce = random::bytes::<16>().map_err(|error| Failure::of(&error))?;
        let path = format!("/{}", BASE64_URL_SAFE_NO_PAD.encode(nonce));
        let listener =
            StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|why| closed(&why))?;
        listener.set_nonblocking(true).map_err(|why| closed(&why))?;
        let address = listener.local_addr().map_err(|why| closed(&why))?;
        Ok(Self { listener, url: format!("http://{address}{path}"), path })
    }

    /// Where the browser is to be sent.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the browser; gives the verification code that it brings.
    pub(super) fn wait(self) -> Result<String, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let visit = runtime.map_err(|why| closed(&why))?.block_on(async {
            let listener = TcpListener::from_std(self.listener)?;
            timeout(PATIENCE, receive(&listener, &self.path)).await.ok().transpose()
        });
        match visit.map_err(|why| closed(&why))? {
            Some(Visit::Granted { code }) => Ok(code),
            Some(Visit::Denied { error, description }) => Err(denied(&error, &description)),
            Some(Visit::Stray) | None => Err(Failure::Because(
                "the browser did not come back within 10 minutes: see with `keyferry connection \
                 list` whether the connection is there all the same, or begin again"
                    .to_owned(),
            )),
        }
    }
}

/// Meets whoever comes, side by side: browsers open conns ahead of need, and say nothing on them.
async fn receive(listener: &TcpListener, path: &str) -> io::Result<Visit> {
    let mut visitors = FuturesUnordered::new();
    loop {
        tokio::select! {
            conn = listener.accept(), if visitors.len() < MOST_VISITORS => match conn {
                Ok((conn, _)) => visitors.push(timeout(PATIENCE_FOR_ONE, meet(conn, path))),
                Err(why) if why.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(why) => return Err(why),
            },
            Some(met) = visitors.next() => match met {
                Ok(Ok(visit)) if visit != Visit::Stray => return Ok(visit),
                // It has gone again, or wanted something else.
                _ => {}
            },
        }
    }
}

async fn meet(mut conn: TcpStream, path: &str) -> io::Result<Visit> {
    let mut head = Vec::new();
    while memchr::memmem::find(&head, b"\r\n\r\n").is_none() {
        if head.len() > LONGEST_HEAD || conn.read_buf(&mut head).await? == 0 {
            return Ok(Visit::Stray);
        }
    }
    let visit = Visit::read(&head, path);
    // What has been brought counts, whether or not the browser stays to see the page.
    let _gone = show(&mut conn, &visit).await;
    Ok(visit)
}

async fn show(conn: &mut TcpStream, visit: &Visit) -> io::Result<()> {
    let (status, said) = match visit {
        Visit::Granted { .. } => ("200 OK", "The provider has said yes."),
        Visit::Denied { .. } => ("200 OK", "There is no connection."),
        Visit::Stray => ("404 Not Found", "There is nothing here."),
    };
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Keyferry</title>\n\
         <h1>{said}</h1>\n<p>The terminal says the rest. This window can be closed.</p></html>\n"
    );
    let (policy, length) = (ContentPolicy::Inert, body.len());
    let page = format!(
        "HTTP/1.1 {status}\r\n{FIELDS}content-security-policy: {}\r\nreferrer-policy: {}\r\n\
         content-length: {length}\r\n\r\n{body}",
        policy.as_str(),
        policy.referrer()
    );
    conn.write_all(page.as_bytes()).await?;
    conn.shutdown().await
}

fn denied(error: &str, description: &str) -> Failure {
    let error = output::printable(error);
    let why = match output::printable(description).trim_end_matches('.') {
        "" => error,
        description => format!("{description} ({error})"),
    };
    Failure::Because(format!(
        "there is no connection: {why}; `keyferry connection create` begins again"
    ))
}

fn closed(why: &io::Error) -> Failure {
    Failure::Because(format!(
        "this machine has no port for the browser to come back to ({why}): try again"
    ))
}

/// As long as a flow may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// For a conn on which nothing is said.
const PATIENCE_FOR_ONE: Duration = Duration::from_mins(1);

/// More than browsers open.
const MOST_VISITORS: usize = 32;

const LONGEST_HEAD: usize = 64 << 10;

/// Fields of the page, which no cache may keep.
const FIELDS: &str = "content-type: text/html; charset=utf-8\r\n\
    cache-control: no-store\r\n\
    x-content-type-options: nosniff\r\n\
    connection: close\r\n";
