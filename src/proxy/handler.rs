//! The data plane as a listener sees it: each request is answered, and so is a conn on which none
//! was read.

use std::convert::Infallible;
use std::sync::Arc;

use http::{Request, Response, header};

use super::body::AnswerBody;
use super::facts::RequestFacts;
use super::refusal::is_grpc;
use super::request::RequestForm;
use super::tunnel::TunnelContext;
use super::{Proxy, relay, trace};
use crate::ledger::{Entry, RequestLine};
use crate::listener::{EarlyRefusal, Handler, InFlight, RequestBody};

impl Handler for Proxy {
    type Body = AnswerBody;

    fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<AnswerBody>, Infallible>> + Send {
        self.handle(in_flight, request, None)
    }

    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8> {
        self.early_refusal_in(None, reason)
    }
}

impl Proxy {
    pub(super) fn open_entry(&self, request: &Request<RequestBody>) -> Entry {
        let line = RequestLine { method: request.method().clone(), target: request.uri().clone() };
        let mut entry = self.shared.ledger.open_entry(Some(line));
        if let Some(spans) = &self.shared.ledger.spans {
            entry.set_trace(trace::place_of(spans, request.headers()));
        }
        entry.is_grpc = is_grpc(request.version(), request.headers().get(header::CONTENT_TYPE));
        entry
    }

    /// Words the refusal of a conn that is not served; `tunnel` is the one that it came through.
    pub(super) fn early_refusal_in(
        &self,
        tunnel: Option<&TunnelContext>,
        reason: EarlyRefusal,
    ) -> Vec<u8> {
        let mut entry = self.shared.ledger.open_entry(None);
        if let Some(tunnel) = tunnel {
            let facts = RequestFacts::of_tunnel(tunnel, &self.shared.live.load());
            RequestFacts { form: Some(RequestForm::Tunnel), ..facts }.write_to(&mut entry);
        }
        relay::refuse_early(reason, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX_FUTURE_BYTES: usize = 2176;

    fn size_of_future<F: Future>(
        _: impl FnOnce(Arc<Proxy>, InFlight, Request<RequestBody>) -> F,
    ) -> usize {
        size_of::<F>()
    }

    /// A caller's conn moves and wipes it.
    #[test]
    fn a_requests_future_has_no_room_for_what_is_rare() {
        let handle = |proxy: Arc<Proxy>, in_flight, request| proxy.handle(in_flight, request, None);
        assert!(size_of_future(handle) <= MAX_FUTURE_BYTES, "{}", size_of_future(handle));
    }
}
