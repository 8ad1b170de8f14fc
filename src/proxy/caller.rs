//! Who is asking (contract §3, "Caller").

use std::sync::Arc;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::request::Parts;
use http::{HeaderName, HeaderValue, header};
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::InForce;
use super::arrival::{Ask, Form, malformed};
use super::refusal::{Code, Refusal};
use super::tunnel::Tunnel;
use crate::ledger::Entry;
use crate::model::caller::{Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::{PREFIX, Scopes, TokenDigest, occurs_in};
use crate::registry::Holder;

/// What a request shows of its caller.
#[derive(Debug, Default)]
pub(super) struct Presented {
    digest: Option<TokenDigest>,
    /// The field that carried the token; it goes no further.
    pub(super) field: Option<HeaderName>,
    /// Whether something that begins like a token is none.
    is_broken: bool,
}

impl Presented {
    /// Finds the caller's token, and the user of the proxy URL, which becomes a tag.
    ///
    /// # Errors
    /// A refusal when a token stands where it would be sent on.
    pub(super) fn read(head: &Parts, ask: &mut Ask) -> Result<Self, Refusal> {
        let mut presented = Self::default();
        let mut shown = head.headers.get_all(header::PROXY_AUTHORIZATION).iter();
        if let Some(value) = shown.next() {
            if shown.next().is_some() {
                return Err(malformed("The field Proxy-Authorization must stand once."));
            }
            presented.field = Some(header::PROXY_AUTHORIZATION);
            let shown = Shown::parse(value);
            presented.is_broken = shown.digest.is_none() && begins_like_one(value);
            presented.digest = shown.digest;
            if let Some(user) = shown.user {
                tag_with_user(ask, &user)?;
            }
        } else if ask.form == Form::BaseUrl {
            presented.find_in_key_slot(head);
        }
        presented.refuse_strays(head)?;
        Ok(presented)
    }

    /// Inside a tunnel the token is that of the CONNECT. Some clients repeat `Proxy-Authorization`
    /// on each request: it goes no further, and says nothing about who calls.
    ///
    /// # Errors
    /// A refusal when a token stands where it would be sent on.
    pub(super) fn inside(head: &Parts, tunnel: &Tunnel) -> Result<Self, Refusal> {
        let field = Some(header::PROXY_AUTHORIZATION);
        let presented = Self { digest: tunnel.digest, field, is_broken: false };
        presented.refuse_strays(head)?;
        Ok(presented)
    }

    /// The digest of the token, if there was one.
    pub(super) fn digest(&self) -> Option<TokenDigest> {
        self.digest
    }

    /// In base-URL form the token may stand where an SDK puts its API key.
    fn find_in_key_slot(&mut self, head: &Parts) {
        for (name, value) in &head.headers {
            let digest = if name == header::AUTHORIZATION {
                in_any_scheme(value)
            } else {
                TokenDigest::of(value.as_bytes())
            };
            if digest.is_some() {
                self.digest = digest;
                self.field = Some(name.clone());
                self.is_broken = false;
                return;
            }
            self.is_broken |= begins_like_one(value);
        }
    }

    /// A token elsewhere would reach the origin.
    fn refuse_strays(&self, head: &Parts) -> Result<(), Refusal> {
        for (name, value) in &head.headers {
            let expected = self.field.as_ref() == Some(name);
            if !expected && carries_token(value) {
                return Err(malformed(
                    "An access token stands in a field in which it would be sent on; send it in Proxy-Authorization.",
                ));
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

    /// The caller, if it is known and may use the data plane; `known` hears of one whose token has
    /// ended, or does not suffice, too.
    ///
    /// # Errors
    /// `CallerUnknown`, or `ConnectionForbidden` when the token lacks the scope.
    pub(super) fn identify(
        &self,
        head: &Parts,
        ask: &Ask,
        in_force: &InForce,
        now: Timestamp,
        known: impl FnOnce(&Caller),
    ) -> Result<Arc<Holder>, Refusal> {
        let found = find(self.digest.as_ref(), in_force);
        if let Some(holder) = &found {
            known(&holder.caller);
        }
        if in_force.settings.anonymous.is_some() {
            refuse_web_pages(head, ask)?;
        }
        self.judge(found, ask, now)
    }

    /// The caller of a request that was identified before and has waited since. What its fields say
    /// of a web page was looked at then.
    ///
    /// # Errors
    /// As those of [`Presented::identify`].
    pub(super) fn identify_again(
        &self,
        ask: &Ask,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<Arc<Holder>, Refusal> {
        self.judge(find(self.digest.as_ref(), in_force), ask, now)
    }

    fn judge(
        &self,
        found: Option<Arc<Holder>>,
        ask: &Ask,
        now: Timestamp,
    ) -> Result<Arc<Holder>, Refusal> {
        let Some(holder) = found.filter(|holder| !holder.caller.has_expired(now)) else {
            return Err(self.unknown(ask));
        };
        if !holder.caller.scopes.allows_proxy() {
            return Err(Refusal::new(
                Code::ConnectionForbidden,
                "The token lacks the scope proxy; the operator can grant one that has it.",
            ));
        }
        Ok(holder)
    }

    fn unknown(&self, ask: &Ask) -> Refusal {
        let shown = self.field.is_some() || self.digest.is_some();
        let title = match (shown, ask.form) {
            _ if self.is_broken => {
                "The access token is not whole: it is kf_ and 43 characters; copy it again."
            }
            (true, _) => "The access token is not known, or has ended; ask the operator for one.",
            (false, Form::BaseUrl) => {
                "No access token: use one as the API key, or send it in Proxy-Authorization."
            }
            (false, _) => "No access token: send one in Proxy-Authorization.",
        };
        let refusal = Refusal::new(Code::CallerUnknown, title);
        if ask.form.is_origin_form() { refusal.as_origin() } else { refusal }
    }

    /// In base-URL form: whether the token's place was `Authorization` or the connection's own
    /// field. Elsewhere it is a stray.
    pub(super) fn check_slot(&self, ask: &Ask, field: &HeaderName) -> Result<(), Refusal> {
        let Some(slot) = self.field.as_ref().filter(|_| ask.form == Form::BaseUrl) else {
            return Ok(());
        };
        let allowed = [&header::PROXY_AUTHORIZATION, &header::AUTHORIZATION, field];
        if allowed.contains(&slot) {
            return Ok(());
        }
        Err(malformed(
            "The access token stands in a field that is not the connection's; use Authorization or Proxy-Authorization.",
        ))
    }
}

/// Whether a field's value, or what follows a scheme in it, begins as a token does.
fn begins_like_one(value: &HeaderValue) -> bool {
    let value = value.as_bytes().trim_ascii();
    let rest = value.split(|byte| *byte == b' ').next_back().unwrap_or_default();
    rest.starts_with(PREFIX.as_bytes())
}

/// Whose token this is, as far as is known now; the anonymous caller, where nobody needs one.
pub(super) fn find(digest: Option<&TokenDigest>, in_force: &InForce) -> Option<Arc<Holder>> {
    match &in_force.settings.anonymous {
        Some(integration) => Some(Arc::new(Holder::new(anonymous(integration), None, None))),
        None => in_force.registry.holder(digest?).cloned(),
    }
}

/// The token that `Proxy-Authorization` shows in a request that can't be read in one way only.
pub(super) fn shown_digest(head: &Parts) -> Option<TokenDigest> {
    Shown::parse(head.headers.get(header::PROXY_AUTHORIZATION)?).digest
}

/// Names in its entry who sent a request that was refused before anybody asked.
pub(super) fn name_sender(entry: &mut Entry, digest: Option<&TokenDigest>, in_force: &InForce) {
    if let Some(holder) = find(digest, in_force) {
        entry.caller = Some(Arc::clone(&holder.caller.name));
        entry.integration = holder.caller.reach.only().cloned();
    }
}

/// What an `Authorization`-like field shows.
struct Shown {
    digest: Option<TokenDigest>,
    user: Option<Box<str>>,
}

impl Shown {
    fn parse(value: &HeaderValue) -> Self {
        let nothing = Self { digest: None, user: None };
        let Ok(text) = value.to_str() else { return nothing };
        let Some((scheme, rest)) = text.split_once(' ') else { return nothing };
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self { digest: TokenDigest::of(rest.trim().as_bytes()), user: None };
        }
        let Some(pair) = decode_basic(scheme, rest) else { return nothing };
        let Some(colon) = memchr::memchr(b':', &pair) else { return nothing };
        let (user, password) = pair.split_at(colon);
        let password = password.get(1..).unwrap_or_default();
        match (TokenDigest::of(user), password) {
            // Tools that know a user name only put the token there.
            (Some(digest), []) => Self { digest: Some(digest), user: None },
            _ => Self {
                digest: TokenDigest::of(password),
                user: (!user.is_empty()).then(|| String::from_utf8_lossy(user).into()),
            },
        }
    }
}

/// The one token of an `Authorization` field, under any scheme or none: as `token kf_…`, `kf_…`, or
/// `key="kf_…"`, or as one half of Basic's pair, of which some SDKs make up the other.
fn in_any_scheme(value: &HeaderValue) -> Option<TokenDigest> {
    let text = value.to_str().ok()?;
    let pair = text.split_once(' ').and_then(|(scheme, rest)| decode_basic(scheme, rest));
    if let Some(pair) = pair {
        let mut halves = pair.splitn(2, |byte| *byte == b':').filter_map(TokenDigest::of);
        return halves.next().filter(|_only| halves.next().is_none());
    }
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let words = text.split(|c| !is_inside(c)).map(str::as_bytes);
    let mut tokens = words.filter_map(TokenDigest::of);
    tokens.next().filter(|_only| tokens.next().is_none())
}

/// `USER` of the proxy URL: `integration`, or `integration.connection`.
fn tag_with_user(ask: &mut Ask, user: &str) -> Result<(), Refusal> {
    let wrong = |_rule| {
        malformed("The proxy URL's user is neither an integration nor integration.connection.")
    };
    let (integration, connection) = match user.split_once('.') {
        Some((integration, connection)) => (integration, Some(connection)),
        None => (user, None),
    };
    let [.., integration_tag] = &mut ask.tags.integrations;
    *integration_tag = Some(IntegrationName::parse(integration).map_err(wrong)?);
    let [.., connection_tag] = &mut ask.tags.connections;
    *connection_tag = connection.map(ConnectionName::parse).transpose().map_err(wrong)?;
    Ok(())
}

/// Tells whether a token stands in a field, as it is, escaped as in a URL, or within Basic's pair.
pub(super) fn carries_token(value: &HeaderValue) -> bool {
    if value.len() < SHORTEST_WITH_TOKEN {
        return false;
    }
    if occurs_in(value.as_bytes()) {
        return true;
    }
    // Whoever reads the pair leniently does so whatever the rest of the line is like.
    let (scheme, rest) = value.as_bytes().split_at_checked(5).unwrap_or_default();
    let rest = std::str::from_utf8(rest).ok().filter(|rest| rest.starts_with([' ', '\t']));
    let pair = std::str::from_utf8(scheme).ok().zip(rest);
    pair.and_then(|(scheme, rest)| decode_basic(scheme, rest)).is_some_and(|pair| occurs_in(&pair))
}

/// The pair as bytes, of whatever charset, padded or not: what somebody may read as a token is
/// looked for in it.
fn decode_basic(scheme: &str, rest: &str) -> Option<Zeroizing<Vec<u8>>> {
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    LENIENT.decode(rest.trim()).ok().map(Zeroizing::new)
}

/// Without tokens, whatever a browser can be made to send must be told apart from a program's
/// request (contract §3, "Caller").
fn refuse_web_pages(head: &Parts, ask: &Ask) -> Result<(), Refusal> {
    let from_page = head.headers.contains_key(header::ORIGIN);
    let cross_site = head
        .headers
        .get_all("sec-fetch-site")
        .iter()
        .any(|value| !matches!(value.as_bytes(), b"none" | b"same-origin"));
    let tagged = head.headers.keys().any(|name| name.as_str().starts_with("x-zis-"));
    let simple = ask.form.is_origin_form() && !tagged;
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
    }
}

const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// A prefix and 43 characters.
const SHORTEST_WITH_TOKEN: usize = 46;
