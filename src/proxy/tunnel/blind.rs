//! Tunnels that are not looked into: bytes pass as they are, and nothing is ever added.

use std::sync::Arc;
use std::time::Duration;

use http::{Response, Version};

use super::{TunnelMode, TunnelSetup, decide, opened, too_many_conns};
use crate::ledger::Entry;
use crate::listener::InFlight;
use crate::model::caller::Caller;
use crate::model::origin::Origin;
use crate::proxy::Proxy;
use crate::proxy::admit::decide_tunnel_again;
use crate::proxy::body::AnswerBody;
use crate::proxy::caller;
use crate::proxy::refusal::Refusal;
use crate::proxy::request::ProxyRequest;
use crate::proxy::splice::{Splice, SpliceTerms};
use crate::proxy::{InForce, relay};

impl Proxy {
    /// Dials the origin, past the same judge as every conn, and passes bytes both ways for as long
    /// as the caller may have the tunnel.
    pub(super) async fn pass_blind(
        self: Arc<Self>,
        origin: Origin,
        setup: TunnelSetup,
        in_force: &InForce,
        mut entry: Entry,
        in_flight: InFlight,
    ) -> Response<AnswerBody> {
        // Of HTTP/2 only the stream becomes a tunnel, which counts beside its conn.
        let permit = (setup.version == Version::HTTP_2)
            .then(|| self.conn_tracker.permit_stream(setup.token.digest()))
            .transpose();
        let permit = match permit {
            Ok(permit) => permit,
            Err(limit) => return relay::refuse(too_many_conns(limit), entry, in_flight),
        };
        entry.mark_departed();
        let reached =
            self.upstream.connect_tcp(&in_force.rules, entry.integration.as_ref(), &origin).await;
        entry.mark_answered();
        let reached = match reached {
            Ok(reached) => reached,
            Err(error) => return relay::refuse(Refusal::from(error), entry, in_flight),
        };
        // The conn has been waited for: what was allowed then may not be now.
        let (in_force, now) = (self.shared.live.load_full(), self.shared.ledger.clock.now());
        let TunnelSetup { token, request, mode, .. } = &setup;
        let holder = decide_tunnel_again(&in_force, token, request, now, mode);
        let end = match holder {
            Ok(holder) => holder.caller.expires_at,
            Err(refused) => return relay::refuse(refused, entry, in_flight),
        };
        let response = opened(&mut entry, &in_flight, setup.version);
        let TunnelSetup { mode, request, token, caller, .. } = setup;
        let digest = token.digest();
        let splice = Splice {
            caller,
            origin: Some(reached),
            terms: SpliceTerms {
                ends_in: end
                    .map(|end| Duration::try_from(end.duration_since(now)).unwrap_or_default()),
                first_byte: in_force.settings.tunnel_first_byte_timeout,
                idle_timeout: in_force.settings.splice_idle_timeout,
                changes: self.changes.clone(),
            },
            stop: None,
        };
        let in_force = Arc::clone(&self.shared.live);
        self.tasks.spawn(async move {
            let still_allowed = || {
                let in_force = in_force.load();
                let holder = caller::still_known(digest.as_ref(), end, &in_force);
                holder.is_some_and(|holder| again(&in_force, &holder.caller, &request, &mode))
            };
            splice.run(still_allowed).await.note_in(&mut entry);
            drop((entry, in_flight, permit));
        });
        response
    }
}

/// Returns whether the same tunnel would be opened again.
fn again(in_force: &InForce, caller: &Caller, request: &ProxyRequest, mode: &TunnelMode) -> bool {
    decide(in_force, caller, request).is_ok_and(|again| again.mode == *mode)
}
