//! Inside a tunnel: the same house, with one more rule.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response};
use hyper::body::Incoming;

use super::TunnelContext;
use crate::listener::{House, TurnedAway, Visit};
use crate::proxy::body::AnswerBody;
use crate::proxy::journey::Proxy;

/// The data plane, as a conn inside a tunnel finds it.
#[derive(Debug)]
pub struct TunnelHandler {
    /// The data plane.
    pub proxy: Arc<Proxy>,
    /// The tunnel that the conn is in.
    pub tunnel: Arc<TunnelContext>,
}

impl House for TunnelHandler {
    type Body = AnswerBody;

    fn answer(
        self: Arc<Self>,
        visit: Visit,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send {
        Arc::clone(&self.proxy).handle(visit, request, Some(&self.tunnel))
    }

    fn turn_away(&self, reason: TurnedAway) -> Vec<u8> {
        self.proxy.turn_away_from(Some(&self.tunnel), reason)
    }
}
