//! Step 1: a request's head, read as far as it can be without asking who sends it.

mod http2;

use http::Version;
use http::request::Parts;

use super::base_url::NamedUrls;
use super::caller::{PresentedToken, shown_digest};
use super::facts::{RefusedRequest, RequestFacts};
use super::fields::Via;
use super::refusal::Refusal;
use super::request::{ProxyRequest, RequestForm, recognize};
use super::tunnel::TunnelContext;
use super::upgrade::UpgradeKind;
use super::{InForce, Settings};
use crate::listener::ConnState;
use crate::model::token::LastToken;

/// A request that can be read in one way only and has not been here before.
#[derive(Debug)]
pub(super) struct Arrival {
    /// The request as it is written.
    pub(super) request: ProxyRequest,
    /// The protocol that it wants to switch to.
    pub(super) upgrade: UpgradeKind,
    /// The token by which its caller is identified.
    pub(super) token: PresentedToken,
    /// The URLs of the proxy that its fields name, in base-URL form.
    pub(super) named_urls: NamedUrls,
}

impl Arrival {
    /// Reads a request's head on a conn. The set in force names the sender of one that is refused.
    ///
    /// # Errors
    /// A refusal when it can't be read, could be read in two ways, or carries our own mark.
    pub(super) fn read(
        head: &Parts,
        in_force: &InForce,
        via: &Via,
        (conn, tunnel): (&ConnState, Option<&TunnelContext>),
    ) -> Result<Self, RefusedRequest> {
        let recognized = match tunnel {
            None => recognize(head, &in_force.settings),
            Some(_) => Ok(RequestForm::Tunnel),
        };
        let form = recognized.as_ref().ok().copied();
        let on = (conn.last_token(), tunnel);
        Self::parse(head, recognized, &in_force.settings, via, on).map_err(|refusal| {
            let sender = match tunnel {
                None => RequestFacts::of_sender(shown_digest(head).as_ref(), in_force),
                Some(tunnel) => RequestFacts::of_tunnel(tunnel, in_force),
            };
            RefusedRequest { refusal, facts: Box::new(RequestFacts { form, ..sender }) }
        })
    }

    fn parse(
        head: &Parts,
        form: Result<RequestForm, Refusal>,
        settings: &Settings,
        via: &Via,
        (last, tunnel): (&LastToken, Option<&TunnelContext>),
    ) -> Result<Self, Refusal> {
        if head.version == Version::HTTP_2 {
            http2::check(head)?;
        }
        // 1. Its form, its destination and its tags.
        let mut request = match tunnel {
            None => ProxyRequest::read_as(form?, head, settings)?,
            Some(tunnel) => tunnel.read_request(head)?,
        };
        let upgrade = UpgradeKind::read(head)?;
        // 2. The caller's token, which stands nowhere else.
        let token = match tunnel {
            None => PresentedToken::read(head, &mut request, last)?,
            Some(tunnel) => PresentedToken::inside(head, tunnel)?,
        };
        // 3. Fields that name other URLs, which must be below the same base URL.
        let named_urls = match request.form {
            RequestForm::BaseUrl => {
                NamedUrls::read(&head.headers, head.uri.path(), &settings.own_hosts)?
            }
            _ => NamedUrls::default(),
        };
        request.note_further_fields(head, &named_urls);
        via.refuse_loop(&head.headers)?;
        Ok(Self { request, upgrade, token, named_urls })
    }
}
