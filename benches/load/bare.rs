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
    Method, Request, Response,
    body::{Body, Frame, Incoming, SizeHint},
    client::conn::http1::{self as client, SendRequest},
    header::{AUTHORIZATION, CONNECTION, HeaderValue},
    server::conn::http1 as server,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use rustls::{
    ServerConfig,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::{arguments::Arguments, identity, origin, trust::Dialer};

/// Serves until it is stopped. Prints its address as the first line.
///
/// # Errors
/// When the authority's certificate can't be read or no port is free.
pub(crate) async fn serve(arguments: &Arguments) -> io::Result<()> {
    let authority = arguments.value::<String>("authority")?;
    let dialer = Dialer::new(arguments.value("origin")?, Path::new(&authority))?;
    let tls = interceptor(Path::new(&authority))?;
    let credential = HeaderValue::from_str(&format!("{}00", origin::CREDENTIAL));
    let pipe = Arc::new(Pipe { credential: credential.map_err(io::Error::other)?, dialer, tls });
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await?;
    println!("{}", listener.local_addr()?);
    loop {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        drop(tokio::spawn(converse(tcp, Arc::clone(&pipe))));
    }
}

async fn converse(tcp: TcpStream, pipe: Arc<Pipe>) -> hyper::Result<()> {
    let service = service_fn(move |request| Arc::clone(&pipe).receive(request));
    server::Builder::new().serve_connection(TokioIo::new(tcp), service).with_upgrades().await
}

/// What is inside a tunnel.
async fn intercept(request: Request<Incoming>, pipe: Arc<Pipe>) -> io::Result<()> {
    let inside = hyper::upgrade::on(request).await.map_err(io::Error::other)?;
    let tls = pipe.tls.accept(TokioIo::new(inside)).await?;
    let service = service_fn(move |request| Arc::clone(&pipe).forward(request));
    let conn = server::Builder::new().serve_connection(TokioIo::new(tls), service);
    conn.await.map_err(io::Error::other)
}

/// TLS as the origin, whose certificate lies beside its authority's.
fn interceptor(authority: &Path) -> io::Result<TlsAcceptor> {
    let read = |name: &str| authority.with_file_name(name);
    let leaf = CertificateDer::from_pem_file(read(identity::LEAF)).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(read(identity::KEY)).map_err(io::Error::other)?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![leaf], key);
    Ok(TlsAcceptor::from(Arc::new(config.map_err(io::Error::other)?)))
}

/// What all caller conns share.
struct Pipe {
    credential: HeaderValue,
    dialer: Dialer,
    tls: TlsAcceptor,
}

impl Pipe {
    /// A tunnel, or a request that is not inside one.
    async fn receive(self: Arc<Self>, request: Request<Incoming>) -> io::Result<Response<Lent>> {
        if request.method() != Method::CONNECT {
            return self.forward(request).await;
        }
        drop(tokio::spawn(intercept(request, self)));
        Ok(Response::new(Lent { body: None, sender: None }))
    }

    async fn forward(
        self: Arc<Self>,
        mut request: Request<Incoming>,
    ) -> io::Result<Response<Lent>> {
        request.headers_mut().insert(AUTHORIZATION, self.credential.clone());
        // The one field it can't pass on: a caller that leaves would take the upstream conn along.
        request.headers_mut().remove(CONNECTION);
        let mut sender = self.obtain().await?;
        let response = sender.send_request(request).await.map_err(io::Error::other)?;
        Ok(response.map(|body| Lent { body: Some(body), sender: Some(sender) }))
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
    body: Option<Incoming>,
    sender: Option<SendRequest<Incoming>>,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
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
