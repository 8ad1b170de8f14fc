//! The origin: the API that every contender forwards to.
//!
//! It answers only requests that carry the credential they should, so a contender that forgets to
//! inject, or injects another connection's credential, shows up as errors and not as a good figure.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::{
    io::AsyncWriteExt,
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    arguments::Arguments,
    identity,
    wire::{self, Next, Reader},
};

/// The size of the JSON document that a GET is answered with.
pub(crate) const DOCUMENT: u64 = 1024;

/// Prefix of the credential that belongs to connection `NN`.
pub(crate) const CREDENTIAL: &str = "Bearer secret-";

/// Serves until it is stopped. Prints its address as the first line.
///
/// # Errors
/// When the certificate can't be read or no port is free.
pub(crate) async fn serve(arguments: &Arguments) -> io::Result<()> {
    let acceptor = acceptor(Path::new(&arguments.value::<String>("directory")?))?;
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    let document = Arc::<[u8]>::from(document());
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        let (acceptor, document) = (acceptor.clone(), Arc::clone(&document));
        // A conn that fails is the contender's loss, and counted by the generator.
        drop(tokio::spawn(async move { converse(acceptor.accept(tcp).await?, &document).await }));
    }
}

/// What a request asks for, and whether it may have it.
struct Ask {
    authorized: bool,
    next: Next,
    want: Want,
}

/// The resources there are.
#[derive(Clone, Copy)]
enum Want {
    Bytes(u64),
    Count,
    Document,
}

async fn converse(mut tls: TlsStream<TcpStream>, document: &[u8]) -> io::Result<()> {
    let mut reader = Reader::new(64 * 1024);
    while let Some(ask) = reader.head(&mut tls, Ask::parse).await? {
        let received = reader.body(&mut tls, ask.next.framing, |_| {}).await?;
        match (ask.authorized, ask.want) {
            (false, _) => tls.write_all(DENIED).await?,
            (true, Want::Bytes(length)) => stream(&mut tls, length).await?,
            (true, Want::Count) => {
                let body = format!(r#"{{"bytes":{received}}}"#);
                let head = head(body.len() as u64, "application/json");
                tls.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await?;
            }
            (true, Want::Document) => tls.write_all(document).await?,
        }
        tls.flush().await?;
        if ask.next.close {
            break;
        }
    }
    tls.shutdown().await
}

async fn stream(tls: &mut TlsStream<TcpStream>, length: u64) -> io::Result<()> {
    tls.write_all(head(length, "application/octet-stream").as_bytes()).await?;
    let mut left = length;
    while left > 0 {
        let piece = PIECE.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        tls.write_all(&PIECE[..piece]).await?;
        left -= piece as u64;
    }
    Ok(())
}

impl Ask {
    fn parse(head: &[u8]) -> io::Result<Self> {
        let mut lines = wire::lines(head);
        let mut words = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let want = if method == b"POST" {
            Want::Count
        } else if let Some(length) = path.strip_prefix(b"/bytes/") {
            Want::Bytes(wire::number(length)?)
        } else {
            Want::Document
        };

        let (mut next, mut presented, mut expected) = (Next::new(), None, None);
        for (name, value) in lines.filter_map(wire::field) {
            if name.eq_ignore_ascii_case(b"authorization") {
                presented = value.strip_prefix(CREDENTIAL.as_bytes());
            } else if name.eq_ignore_ascii_case(b"x-expect") {
                expected = Some(value);
            } else {
                next.note(name, value)?;
            }
        }
        Ok(Self { authorized: expected.is_some() && presented == expected, next, want })
    }
}

fn acceptor(directory: &Path) -> io::Result<TlsAcceptor> {
    let leaf = CertificateDer::from_pem_file(directory.join(identity::LEAF));
    let key = PrivateKeyDer::from_pem_file(directory.join(identity::KEY));
    let (leaf, key) = (leaf.map_err(io::Error::other)?, key.map_err(io::Error::other)?);
    let mut config = ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf], key)
        .map_err(io::Error::other)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

fn document() -> Vec<u8> {
    let mut answer = head(DOCUMENT, "application/json").into_bytes();
    let end = answer.len() as u64 + DOCUMENT;
    answer.extend(br#"{"items":["#);
    for id in 100.. {
        let item = format!(r#"{{"id":{id},"name":"item"}},"#);
        if (answer.len() + item.len() + LAST.len()) as u64 > end {
            break;
        }
        answer.extend(item.into_bytes());
    }
    answer.extend(LAST);
    // White space may follow a JSON document.
    answer.resize(usize::try_from(end).unwrap(), b' ');
    answer
}

fn head(length: u64, media_type: &str) -> String {
    // A date of its own: some contenders make one when it is absent, and some always do.
    format!(
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Type: {media_type}\r\n\
         Content-Length: {length}\r\nCache-Control: no-store\r\nX-Request-Id: 0123456789abcdef\r\n\
         \r\n"
    )
}

const LAST: &[u8] = br#"{"id":0,"name":"last"}]}"#;

const DENIED: &[u8] = b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n\
    Content-Length: 0\r\n\r\n";

static PIECE: [u8; 64 * 1024] = [b'x'; 64 * 1024];
