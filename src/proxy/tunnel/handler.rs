//! Inside a tunnel: the same handler, with one more rule.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};

use super::TunnelContext;
use crate::listener::{EarlyRefusal, Handler, InFlight, RequestBody};
use crate::proxy::Proxy;
use crate::proxy::body::AnswerBody;

/// The data plane, as a conn inside a tunnel finds it.
#[derive(Debug)]
pub struct TunnelHandler {
    /// The data plane.
    pub proxy: Arc<Proxy>,
    /// The tunnel that the conn is in.
    pub tunnel: Arc<TunnelContext>,
}

impl Handler for TunnelHandler {
    type Body = AnswerBody;

    fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send {
        Arc::clone(&self.proxy).handle(in_flight, request, Some(&self.tunnel))
    }

    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8> {
        self.proxy.early_refusal_in(Some(&self.tunnel), reason)
    }
}
