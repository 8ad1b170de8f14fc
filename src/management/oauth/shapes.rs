//! Connections by OAuth as they are written: the whole, as an item of a list, and as what a flow
//! has brought. The three differ in what ZIS leaves out (spec §4.1, §4.6, §7.5).

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;

use crate::management::{ExchangedFlow, OAuthConnectionView, RefreshStanding};
use crate::model::oauth::grant::LapseReason;
use crate::secret::Secret;
use crate::wire::{
    AccessCode, OAuthConnection, OAuthItem, OptionMembers, REDACTED, Redacted,
    RefreshFailureReport, time,
};

impl From<OAuthConnectionView> for OAuthConnection {
    fn from(authorized: OAuthConnectionView) -> Self {
        // The tokens as the operator may see them; the rest as it is kept.
        let texts = Texts::of(&authorized);
        let OAuthConnectionView {
            uuid, integration, name, allowed_domain, grant, account_id, ..
        } = authorized;
        Self {
            client_key: authorized.options.client_certificate.is_some().then_some(Redacted),
            not_after: authorized.options.not_after().map(time),
            options: OptionMembers::from(&*authorized.options),
            access_token: texts.access_token,
            allowed_domain: allowed_domain.map(|domain| domain.to_string()),
            created_by: grant.created_by.into(),
            defect: authorized.defect.map(|defect| defect.to_string()),
            integration: integration.to_string(),
            name: name.to_string(),
            needs_reauthorization: authorized.needs_reauthorization,
            oauth_access_token_response_body: texts.response_body,
            oauth_client_uuid: grant.client.to_string(),
            oauth_url_subdomain: grant
                .subdomain
                .map(|label| label.as_str().to_owned())
                .unwrap_or_default(),
            permission_scope: texts.scope,
            reauthorization_reason: texts.reason,
            refresh_failure: authorized.standing.map(RefreshFailureReport::from),
            refresh_token: texts.refresh_token,
            refresh_token_expiry: texts.refresh_expiry,
            token_expiry: texts.expiry,
            token_type: texts.token_type,
            uuid: uuid.to_string(),
            zendesk_account_id: account_id,
        }
    }
}

impl From<RefreshStanding> for RefreshFailureReport {
    fn from(standing: RefreshStanding) -> Self {
        let RefreshStanding { remedy, since, code, reason, .. } = standing;
        Self {
            who_must_act: remedy.as_str().to_owned(),
            since: whole_seconds(since),
            code: code.map(|code| code.to_string()),
            reason: reason.into(),
        }
    }
}

impl From<OAuthConnectionView> for OAuthItem {
    fn from(authorized: OAuthConnectionView) -> Self {
        let whole = OAuthConnection::from(authorized);
        Self {
            client_key: whole.client_key,
            not_after: whole.not_after,
            options: whole.options,
            access_token: whole.access_token,
            allowed_domain: whole.allowed_domain,
            created_by: whole.created_by,
            defect: whole.defect,
            name: whole.name,
            needs_reauthorization: whole.needs_reauthorization,
            oauth_access_token_response_body: whole.oauth_access_token_response_body,
            oauth_url_subdomain: whole.oauth_url_subdomain,
            permission_scope: whole.permission_scope,
            reauthorization_reason: whole.reauthorization_reason,
            refresh_failure: whole.refresh_failure,
            refresh_token: whole.refresh_token,
            refresh_token_expiry: whole.refresh_token_expiry,
            token_expiry: whole.token_expiry,
            token_type: whole.token_type,
            uuid: whole.uuid,
        }
    }
}

impl From<ExchangedFlow> for AccessCode {
    fn from(exchanged: ExchangedFlow) -> Self {
        let ExchangedFlow { authorized, redirect_to, callback_params } = exchanged;
        let in_clear = authorized.in_clear;
        let whole = OAuthConnection::from(authorized);
        Self {
            access_token: whole.access_token,
            allowed_domain: whole.allowed_domain,
            created_by: whole.created_by,
            integration: whole.integration,
            oauth_access_token_response_body: whole.oauth_access_token_response_body,
            origin_oauth_redirect_url: redirect_to.map(Into::into).unwrap_or_default(),
            permission_scope: whole.permission_scope,
            raw_callback_params: callback_params
                .map_or_else(nothing, |params| shown(&params, in_clear)),
            refresh_token: whole.refresh_token,
            refresh_token_expiry: whole.refresh_token_expiry,
            token_expiry: whole.token_expiry,
            token_type: whole.token_type,
            uuid: whole.uuid,
            zendesk_account_id: whole.zendesk_account_id,
        }
    }
}

/// The tokens, in clear or not, and what goes with them.
struct Texts {
    access_token: Secret,
    refresh_token: Secret,
    response_body: Secret,
    scope: String,
    token_type: String,
    expiry: Option<String>,
    refresh_expiry: Option<String>,
    reason: Option<String>,
}

impl Texts {
    fn of(authorized: &OAuthConnectionView) -> Self {
        let ended = authorized.needs_reauthorization.then_some("expired");
        let reason = authorized.grant.lapse.map(|lapse| lapse.reason).map(LapseReason::as_str);
        let reason = reason.or(ended).map(str::to_owned);
        let Some(tokens) = &authorized.tokens else {
            return Self {
                access_token: nothing(),
                refresh_token: nothing(),
                response_body: nothing(),
                scope: String::new(),
                token_type: String::new(),
                expiry: None,
                refresh_expiry: None,
                reason,
            };
        };
        // Tokens are hidden from those who may not change anything.
        let shown = |secret: &Secret| shown(secret, authorized.in_clear);
        Self {
            access_token: shown(&tokens.access_token),
            refresh_token: tokens.refresh_token.as_ref().map_or_else(nothing, shown),
            response_body: shown(&tokens.response_body),
            scope: tokens.scope.to_string(),
            token_type: tokens.token_type.to_string(),
            expiry: tokens.expires_at.map(whole_seconds),
            refresh_expiry: authorized
                .grant
                .refresh_token_life
                .map(|life| whole_seconds(life.ends)),
            reason,
        }
    }
}

/// The secret where the operator may see it: what the scope `write` would let it misuse anyway.
fn shown(secret: &Secret, in_clear: bool) -> Secret {
    if in_clear || secret.is_empty() { secret.clone() } else { Secret::new(REDACTED) }
}

fn nothing() -> Secret {
    Secret::new("")
}

/// RFC 3339 in UTC, without a fraction.
fn whole_seconds(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(0)).timestamp_to_string(&time)
}
