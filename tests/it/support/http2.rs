//! A caller of HTTP/2.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::raw::{Answer, Raw};
use super::{soon, token};

/// One conn of HTTP/2.
#[derive(Clone)]
pub(crate) struct Http2(SendRequest<Content>);

/// Any body.
pub(crate) type Content = UnsyncBoxBody<Bytes, Infallible>;

/// A request by the token `runner`.
pub(crate) fn request(method: &str, url: &str) -> http::request::Builder {
    let token = format!("Bearer {}", token("runner"));
    Request::builder().method(method).uri(url).header("proxy-authorization", token)
}

impl Http2 {
    /// Begins with the preface, as with prior knowledge.
    pub(crate) async fn over(raw: Raw) -> Self {
        let shaken = http2::handshake(TokioExecutor::new(), TokioIo::new(raw.io)).await;
        let (sender, conn) = shaken.unwrap();
        tokio::spawn(async move {
            let _ended = conn.await;
        });
        Self(sender)
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&mut self, request: http::request::Builder) -> Answer {
        self.send_body(request, Bytes::new()).await
    }

    pub(crate) async fn send_body(
        &mut self,
        request: http::request::Builder,
        body: impl Into<Bytes>,
    ) -> Answer {
        let body = Full::new(body.into()).boxed_unsync();
        collect(self.start(request, body).await.unwrap()).await
    }

    /// Sends a request and gives the answer as soon as there is a head.
    pub(crate) async fn start(
        &mut self,
        request: http::request::Builder,
        body: Content,
    ) -> Result<Response<Incoming>, hyper::Error> {
        soon(self.0.send_request(request.body(body).unwrap())).await
    }

    /// The same, when the conn or the stream may be cut.
    pub(crate) async fn try_send(
        &mut self,
        request: http::request::Builder,
        body: &'static str,
    ) -> Option<Answer> {
        let body = Full::new(Bytes::from_static(body.as_bytes())).boxed_unsync();
        Some(collect(self.start(request, body).await.ok()?).await)
    }
}

/// Reads an answer to its end.
pub(crate) async fn collect(response: Response<Incoming>) -> Answer {
    let (head, body) = response.into_parts();
    let mut answer =
        Answer { status: head.status.as_u16(), headers: head.headers, ..Answer::default() };
    match soon(body.collect()).await {
        Ok(collected) => {
            answer.trailers = collected.trailers().cloned().unwrap_or_default();
            answer.body = collected.to_bytes().to_vec();
            answer.whole = true;
        }
        Err(_cut) => answer.whole = false,
    }
    answer
}
