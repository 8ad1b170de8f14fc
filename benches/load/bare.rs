//! The yardstick: the least that hyper and rustls can do as a proxy.
//!
//! It sets one fixed credential and passes everything else through: no caller, no connection, no
//! rule, no log. What a contender costs beyond this is the price of what it does.

use std::{
    cell::RefCell,
    io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use hyper::{
    Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self as client, SendRequest},
    header::{AUTHORIZATION, CONNECTION, HeaderValue},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::{arguments::Arguments, origin, trust::Dialer};

/// Serves until it is stopped. Prints its address as the first line.
///
/// # Errors
/// When the authority's certificate can't be read or no port is free.
pub(crate) async fn serve(arguments: &Arguments) -> io::Result<()> {
    let authority = arguments.value::<String>("authority")?;
    let dialer = Dialer::new(arguments.value("origin")?, Path::new(&authority))?;
    let credential = HeaderValue::from_str(&format!("{}00", origin::CREDENTIAL));
    let pipe = Arc::new(Pipe { credential: credential.map_err(io::Error::other)?, dialer });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        drop(tokio::spawn(converse(tcp, Arc::clone(&pipe))));
    }
}

async fn converse(tcp: TcpStream, pipe: Arc<Pipe>) -> hyper::Result<()> {
    let service = service_fn(move |request| Arc::clone(&pipe).forward(request));
    server::Builder::new().serve_connection(TokioIo::new(tcp), service).await
}

/// What all caller conns share.
struct Pipe {
    credential: HeaderValue,
    dialer: Dialer,
}

impl Pipe {
    async fn forward(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> io::Result<Response<Lent>> {
        request.headers_mut().insert(AUTHORIZATION, self.credential.clone());
        // The one field it can't pass on: a caller that leaves would take the upstream conn along.
        request.headers_mut().remove(CONNECTION);
        let mut sender = self.obtain().await?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok(response.map(|body| Lent { body, sender: Some(sender) }))
    }

    async fn obtain(&self) -> io::Result<SendRequest<Incoming>> {
        while let Some(mut sender) = IDLE.with_borrow_mut(Vec::pop) {
            if sender.ready().await.is_ok() {
                return Ok(sender);
            }
        }
        let tls = TokioIo::new(self.dialer.dial().await?);
        let (mut sender, conn) = client::handshake(tls).await.map_err(io::Error::other)?;
        drop(tokio::spawn(conn));
        sender.ready().await.map_err(io::Error::other)?;
        Ok(sender)
    }
}

/// A response body that gives its upstream conn back when it is done.
struct Lent {
    body: Incoming,
    sender: Option<SendRequest<Incoming>>,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        // A conn whose body was cut short is closed by hyper, and `ready` then says so.
        let sender = self.sender.take().filter(|sender| !sender.is_closed());
        IDLE.with_borrow_mut(|idle| idle.extend(sender));
    }
}

thread_local! {
    /// Upstream conns that wait for work. Last in, first out: the warmest one serves.
    static IDLE: RefCell<Vec<SendRequest<Incoming>>> = const { RefCell::new(Vec::new()) };
}
