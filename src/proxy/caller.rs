//! Step 2: the caller (contract §3, "Caller").

mod auth_header;

use std::borrow::Cow;
use std::sync::Arc;

use http::request::Parts;
use http::{HeaderName, header};
use jiff::Timestamp;

use self::auth_header::{AuthHeader, NotAToken, begins_like_one, in_any_scheme, is_key_slot};
use super::InForce;
use super::admit::caller_overloaded;
use super::arrival::Arrival;
use super::base_url;
use super::facts::RefusedRequest;
use super::refusal::{Code, Refusal, malformed};
use super::request::{ProxyRequest, RequestForm};
use super::tunnel::TunnelContext;
use crate::listener::ConnState;
use crate::model::caller::{Caller, Reach, UnusableToken};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::{LastToken, Scopes, TokenDigest, occurs_in};
use crate::state::Holder;

pub(super) use self::auth_header::carries_token;

/// The token that a request presents, or what was found where one was looked for.
#[derive(Debug, Default)]
pub(super) struct PresentedToken {
    digest: Option<TokenDigest>,
    /// The field that carried the token; it goes no further.
    pub(super) field: Option<HeaderName>,
    /// Anything else that stands where a token was looked for.
    instead: NotAToken,
}

impl PresentedToken {
    /// Finds the caller's token, and the user of the proxy URL, which becomes a tag. `last` is the
    /// token of the request before.
    ///
    /// # Errors
    /// A refusal when a token stands where it would be sent on.
    pub(super) fn read(
        head: &Parts,
        request: &mut ProxyRequest,
        last: &LastToken,
    ) -> Result<Self, Refusal> {
        let mut token = Self::default();
        let mut shown = head.headers.get_all(header::PROXY_AUTHORIZATION).iter();
        if let Some(value) = shown.next() {
            if shown.next().is_some() {
                return Err(malformed("The field Proxy-Authorization must stand once."));
            }
            token.field = Some(header::PROXY_AUTHORIZATION);
            let shown = AuthHeader::parse(value, last);
            token.digest = shown.digest;
            token.instead = shown.instead;
            if let Some(user) = shown.user {
                tag_with_user(request, &user)?;
            }
        } else if request.form == RequestForm::BaseUrl {
            token.find_in_key_slot(head, last);
        }
        token.refuse_strays(head, request.form)?;
        Ok(token)
    }

    /// Inside a tunnel the token is that of the CONNECT. Some clients repeat `Proxy-Authorization`
    /// on each request: it goes no further, and says nothing about who calls.
    ///
    /// # Errors
    /// A refusal when a token stands where it would be sent on.
    pub(super) fn inside(head: &Parts, tunnel: &TunnelContext) -> Result<Self, Refusal> {
        let field = Some(header::PROXY_AUTHORIZATION);
        let token = Self { digest: tunnel.digest, field, instead: NotAToken::Nothing };
        token.refuse_strays(head, RequestForm::Tunnel)?;
        Ok(token)
    }

    pub(super) fn digest(&self) -> Option<TokenDigest> {
        self.digest
    }

    /// In base-URL form the token may stand where an SDK puts its API key.
    fn find_in_key_slot(&mut self, head: &Parts, last: &LastToken) {
        for (name, value) in &head.headers {
            let digest = if name == header::AUTHORIZATION {
                in_any_scheme(value, last)
            } else {
                last.digest_of(value.as_bytes())
            };
            if digest.is_some() {
                self.digest = digest;
                self.field = Some(name.clone());
                self.instead = NotAToken::Nothing;
                return;
            }
            if begins_like_one(value) {
                self.instead = NotAToken::Part;
            } else if self.instead == NotAToken::Nothing && is_key_slot(name) && !value.is_empty() {
                self.instead = NotAToken::Other(name.clone());
            }
        }
    }

    /// A token elsewhere would reach the origin.
    fn refuse_strays(&self, head: &Parts, form: RequestForm) -> Result<(), Refusal> {
        let mut is_found = false;
        for (name, value) in &head.headers {
            let is_expected = self.field.as_ref() == Some(name);
            if !is_expected && carries_token(value) {
                return Err(self.stray(name, form));
            }
            // In a field of SDKs, of which there may be several lines, one line names the caller.
            if is_expected && form == RequestForm::BaseUrl && carries_token(value) {
                if is_found {
                    let field = field_phrase(name);
                    let title = format!("Access tokens stand in two lines of {field}: send one.");
                    return Err(Refusal::new(Code::MalformedRequest, title));
                }
                is_found = true;
            }
        }
        let target = head.uri.path_and_query().map_or("", |target| target.as_str());
        let authority = head.uri.authority().map_or("", |authority| authority.as_str());
        if occurs_in(target.as_bytes()) || occurs_in(authority.as_bytes()) {
            return Err(malformed(
                "An access token stands in the URL; send it in Proxy-Authorization.",
            ));
        }
        Ok(())
    }

    /// The refusal of a request with a token in a field in which it would be sent on.
    fn stray(&self, name: &HeaderName, form: RequestForm) -> Refusal {
        let found = field_phrase(name);
        let right = if form == RequestForm::BaseUrl {
            "Authorization or Proxy-Authorization"
        } else {
            PLACE
        };
        let title = match self.field.as_ref().filter(|_| self.digest.is_some()) {
            _ if form == RequestForm::Tunnel => format!(
                "An access token stands in {found}, in which it would be sent on: leave it out, the \
                 tunnel's CONNECT has sent one."
            ),
            Some(first) => format!(
                "Access tokens stand in {} and in {found}, in which it would be sent on: send one, \
                 in {right} alone.",
                field_phrase(first)
            ),
            None => format!(
                "An access token stands in {found}, in which it would be sent on: send it in {right}."
            ),
        };
        Refusal::new(Code::MalformedRequest, title)
    }

    /// Identifies the caller of a request that has waited since it was identified before. Its
    /// fields were looked at then.
    pub(super) fn identify_again(
        &self,
        request: &ProxyRequest,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<Arc<Holder>, Refusal> {
        let holder = find(self.digest.as_ref(), in_force).ok_or_else(|| self.unknown(request))?;
        self.judge(&holder.caller, request, now)?;
        Ok(holder)
    }

    /// Refuses a token that has expired, or lacks the scope.
    fn judge(
        &self,
        caller: &Caller,
        request: &ProxyRequest,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        caller.check_proxy_use(now).map_err(|defect| match defect {
            UnusableToken::Expired => self.unknown(request),
            UnusableToken::LacksScope => lacks_scope(),
        })
    }

    fn unknown(&self, request: &ProxyRequest) -> Refusal {
        let has_shown_one = self.digest.is_some() || request.form == RequestForm::Tunnel;
        let title: Cow<'static, str> = match (&self.instead, request.form) {
            (NotAToken::Part, _) => PART.into(),
            (NotAToken::Other(name), _) if name == header::PROXY_AUTHORIZATION => OTHER.into(),
            (NotAToken::Other(name), _) => format!(
                "The key in {} is not an access token of this proxy, which begins with kf_: give \
                 the program one as its key; the proxy adds the origin's own.",
                field_phrase(name)
            )
            .into(),
            (NotAToken::Nothing, _) if has_shown_one => NOT_KNOWN.into(),
            (NotAToken::Nothing, RequestForm::BaseUrl) => {
                "No access token: use one as the API key, or send it in Proxy-Authorization.".into()
            }
            (NotAToken::Nothing, _) => "No access token: send one in Proxy-Authorization.".into(),
        };
        let refusal = Refusal::new(Code::CallerUnknown, title);
        if request.form.is_origin_form() { refusal.as_origin() } else { refusal }
    }

    /// In base-URL form: whether the token's place was `Authorization` or the connection's own
    /// field. Elsewhere it is a stray.
    pub(super) fn check_slot(
        &self,
        request: &ProxyRequest,
        fields: &[HeaderName],
    ) -> Result<(), Refusal> {
        let Some(slot) = self.field.as_ref().filter(|_| request.form == RequestForm::BaseUrl)
        else {
            return Ok(());
        };
        let allowed = [header::PROXY_AUTHORIZATION, header::AUTHORIZATION];
        if allowed.contains(slot) || fields.contains(slot) {
            return Ok(());
        }
        let title = format!(
            "The access token stands in {}, which is not the connection's: send it in Authorization \
             or Proxy-Authorization.",
            field_phrase(slot)
        );
        Err(Refusal::new(Code::MalformedRequest, title))
    }
}

impl Arrival {
    /// Identifies the caller, for whom the conn is counted from now on, also where its token has
    /// ended or does not suffice.
    ///
    /// # Errors
    /// `CallerUnknown`, `Overloaded` when the caller has too many conns, or `ConnectionForbidden`
    /// when the token lacks the scope.
    pub(super) fn identify(
        &self,
        head: &Parts,
        in_force: &InForce,
        conn: &ConnState,
        now: Timestamp,
    ) -> Result<Arc<Holder>, RefusedRequest> {
        let (token, request) = (&self.token, &self.request);
        // 1. Whose token it is, whether or not it may be used.
        let Some(holder) = find(token.digest.as_ref(), in_force) else {
            conn.last_token().forget();
            let refused =
                RefusedRequest::of_unknown(token.unknown(request), token.digest, in_force);
            return Err(refused.with_request(request).with_named(in_force, request));
        };
        // 2. The conn counts for that caller.
        let counted = conn.mark_authenticated(token.digest).map_err(|_full| caller_overloaded());
        let is_program = || match in_force.settings.anonymous {
            Some(_) => refuse_web_pages(head, request),
            None => Ok(()),
        };
        // 3. A web page is no caller, and the token must have the scope and not have expired.
        let judged = token.judge(&holder.caller, request, now);
        let is_unsuited = judged.is_err();
        match counted.and_then(|()| is_program()).and(judged) {
            Ok(()) => {
                holder.mark_used(now);
                Ok(holder)
            }
            Err(refusal) => {
                let refused = RefusedRequest::from(refusal).with_request(request);
                let refused = if is_unsuited { refused.of_unsuited() } else { refused };
                Err(refused.with_caller(&holder.caller).with_named(in_force, request))
            }
        }
    }
}

/// A field as a title names it; a name that could be anything is not repeated.
fn field_phrase(field: &HeaderName) -> Cow<'_, str> {
    let name = field.as_str();
    if name.len() > MAX_REPEATED_NAME || occurs_in(name.as_bytes()) {
        return "another field".into();
    }
    format!("the field {name}").into()
}

/// Refuses a token that has expired, or lacks the scope, to an operator who asks about its caller.
pub(super) fn judge_named(caller: &Caller, now: Timestamp) -> Result<(), Refusal> {
    caller.check_proxy_use(now).map_err(|defect| match defect {
        UnusableToken::Expired => Refusal::new(
            Code::CallerUnknown,
            "The caller's token has expired; the operator can make another.",
        ),
        UnusableToken::LacksScope => lacks_scope(),
    })
}

fn lacks_scope() -> Refusal {
    Refusal::new(
        Code::ConnectionForbidden,
        "The token lacks the scope proxy; the operator can make one that has it.",
    )
}

/// The holder of a token, if it is known now; the anonymous caller where tokens are not needed.
pub(super) fn find(digest: Option<&TokenDigest>, in_force: &InForce) -> Option<Arc<Holder>> {
    match &in_force.settings.anonymous {
        Some(integration) => Some(Arc::new(Holder::new(anonymous(integration), None, None))),
        None => in_force.registry.holder(digest?).cloned(),
    }
}

/// The caller of a WebSocket or a tunnel that is open, if it may go on: its token is known still,
/// has the scope, and ends when it did.
pub(super) fn still_known(
    digest: Option<&TokenDigest>,
    end: Option<Timestamp>,
    in_force: &InForce,
) -> Option<Arc<Holder>> {
    let holder = find(digest, in_force)?;
    let caller = &holder.caller;
    (caller.expires_at == end && caller.scopes.allows_proxy()).then_some(holder)
}

/// The token that a request shows that can't be read in one way only: in `Proxy-Authorization`, or
/// below a base URL where SDKs put their key.
pub(super) fn shown_digest(head: &Parts) -> Option<TokenDigest> {
    let last = LastToken::default();
    if let Some(value) = head.headers.get(header::PROXY_AUTHORIZATION) {
        return AuthHeader::parse(value, &last).digest;
    }
    let mut token = PresentedToken::default();
    if head.uri.path().starts_with(base_url::PREFIX) {
        token.find_in_key_slot(head, &last);
    }
    token.digest
}

/// `USER` of the proxy URL: `integration`, or `integration.connection`.
fn tag_with_user(request: &mut ProxyRequest, user: &str) -> Result<(), Refusal> {
    let wrong = |_rule| {
        malformed("The proxy URL's user is neither an integration nor integration.connection.")
    };
    let (integration, connection) = match user.split_once('.') {
        Some((integration, connection)) => (integration, Some(connection)),
        None => (user, None),
    };
    let [.., integration_tag] = &mut request.tags.integrations;
    *integration_tag = Some(IntegrationName::parse(integration).map_err(wrong)?);
    let [.., connection_tag] = &mut request.tags.connections;
    *connection_tag = connection.map(ConnectionName::parse).transpose().map_err(wrong)?;
    Ok(())
}

/// Without tokens, whatever a browser can be made to send must be told apart from a program's
/// request (contract §3, "Caller").
fn refuse_web_pages(head: &Parts, request: &ProxyRequest) -> Result<(), Refusal> {
    let from_page = head.headers.contains_key(header::ORIGIN);
    let cross_site = head
        .headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|value| !matches!(value.as_bytes(), b"none" | b"same-origin"));
    let tagged = head.headers.keys().any(|name| name.as_str().starts_with("x-zis-"));
    let simple = request.form.is_origin_form() && !tagged;
    if !from_page && !cross_site && !simple {
        return Ok(());
    }
    Err(Refusal::new(
        Code::ConnectionForbidden,
        "Web pages may not use this proxy; a program sends an X-Zis-Connection field and no Origin.",
    ))
}

fn anonymous(integration: &IntegrationName) -> Caller {
    Caller {
        name: "anonymous".into(),
        reach: Reach::One(integration.clone(), None),
        scopes: Scopes { proxy: true, ..Scopes::default() },
        expires_at: None,
        rules: crate::model::rules::Rules::default(),
    }
}

const PLACE: &str = "Proxy-Authorization";

const PART: &str = "The access token is not whole, or its scheme is neither Bearer nor Basic: an \
                    access token is kf_ and 43 characters; copy it again.";

const OTHER: &str = "Proxy-Authorization does not hold an access token of this proxy, which begins \
                     with kf_: ask the operator for one.";

const NOT_KNOWN: &str = "The access token is not known, or has expired; ask the operator for one.";

/// The longest field name that a title repeats, in bytes.
const MAX_REPEATED_NAME: usize = 64;
