//! Connections by OAuth as they are written: the whole, as an item of a list, and as what a flow
//! has brought. The three differ in what ZIS leaves out (spec §4.1, §4.6, §7.5).

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde::Serialize;
use utoipa::ToSchema;

use crate::management::{ExchangedFlow, OAuthConnectionView, REDACTED};
use crate::model::oauth::grant::LapseReason;
use crate::secret::Secret;

/// A connection by OAuth.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OAuthConnection {
    /// The access token; `*****` to a token without the scope `write`, or with
    /// `oauth.redact_tokens`.
    #[schema(example = "ps55XW1CbNj_hKnzwJU3yc968SL39yh3C3Okn1fpC-ThYWDqY2_M5w==")]
    access_token: String,
    /// Where the tokens may be sent; only there when somebody has said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "api.example.com")]
    allowed_domain: Option<String>,
    /// Who began the flow.
    #[schema(example = "test_user")]
    created_by: String,
    /// Only there when the connection can't be used: what is wrong with it, and what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    defect: Option<String>,
    /// The integration.
    #[schema(example = "my_integration")]
    integration: String,
    /// Its name; its uuid where it has no other.
    #[schema(example = "my_oauth_connection")]
    name: String,
    /// Only there, and true, when only a new flow helps.
    #[serde(skip_serializing_if = "is_false")]
    needs_reauthorization: bool,
    /// The provider's answer as it came.
    #[schema(example = "{\"access_token\":\"ps55XW1CbNj_hKnzwJU3yc968SL39yh3C3Okn1fpC\"}")]
    oauth_access_token_response_body: String,
    /// The client.
    #[schema(format = Uuid, example = "9c81f444-4beb-4ba7-9bcc-6b2d068e7ade")]
    oauth_client_uuid: String,
    /// What stands in the place of the placeholder in the client's URLs.
    #[schema(example = "foobar")]
    oauth_url_subdomain: String,
    /// The scope that was granted.
    #[schema(example = "read write")]
    permission_scope: String,
    /// Why only a new flow helps.
    #[serde(skip_serializing_if = "Option::is_none")]
    reauthorization_reason: Option<&'static str>,
    /// The refresh token; empty where there is none.
    #[schema(example = "cs95Xaw_F5PKcxO4fQ9bZKklHKncdkXIc9qGrvktPt2elg==")]
    refresh_token: String,
    /// When the access token ends, as YYYY-MM-DDThh:mm:ssZ; null where nobody has said.
    #[schema(example = "2021-10-01T12:44:22Z", format = DateTime)]
    token_expiry: Option<String>,
    /// The type that the provider named.
    #[schema(example = "bearer")]
    token_type: String,
    /// Which connection it is.
    #[schema(format = Uuid, example = "ac10a230-0c43-45f8-b221-9e085ce90418")]
    uuid: String,
    /// The account's number.
    #[schema(example = 123_456)]
    zendesk_account_id: u64,
}

/// A connection by OAuth in a list of all connections.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct OAuthItem {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_domain: Option<String>,
    created_by: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    defect: Option<String>,
    name: String,
    #[serde(skip_serializing_if = "is_false")]
    needs_reauthorization: bool,
    oauth_access_token_response_body: String,
    oauth_url_subdomain: String,
    permission_scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    reauthorization_reason: Option<&'static str>,
    refresh_token: String,
    #[schema(format = DateTime)]
    token_expiry: Option<String>,
    token_type: String,
    #[schema(format = Uuid)]
    uuid: String,
}

/// What a flow has brought.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct AccessCode {
    access_token: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    allowed_domain: Option<String>,
    created_by: String,
    integration: String,
    oauth_access_token_response_body: String,
    /// Where the browser was sent at the end; empty where it was not.
    origin_oauth_redirect_url: String,
    permission_scope: String,
    /// What the provider had sent the browser back with; empty where no browser was asked.
    #[schema(example = "code=aPrx&state=CC5j68")]
    raw_callback_params: String,
    refresh_token: String,
    #[schema(format = DateTime)]
    token_expiry: Option<String>,
    token_type: String,
    #[schema(format = Uuid)]
    uuid: String,
    zendesk_account_id: u64,
}

impl From<OAuthConnectionView> for OAuthConnection {
    fn from(authorized: OAuthConnectionView) -> Self {
        let texts = Texts::of(&authorized);
        let OAuthConnectionView {
            uuid, integration, name, allowed_domain, grant, account_id, ..
        } = authorized;
        Self {
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
            refresh_token: texts.refresh_token,
            token_expiry: texts.expiry,
            token_type: texts.token_type,
            uuid: uuid.to_string(),
            zendesk_account_id: account_id,
        }
    }
}

impl From<OAuthConnectionView> for OAuthItem {
    fn from(authorized: OAuthConnectionView) -> Self {
        let whole = OAuthConnection::from(authorized);
        Self {
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
            refresh_token: whole.refresh_token,
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
                .map(|params| shown(&params, in_clear))
                .unwrap_or_default(),
            refresh_token: whole.refresh_token,
            token_expiry: whole.token_expiry,
            token_type: whole.token_type,
            uuid: whole.uuid,
            zendesk_account_id: whole.zendesk_account_id,
        }
    }
}

/// The tokens, in clear or not, and what goes with them.
#[derive(Default)]
struct Texts {
    access_token: String,
    refresh_token: String,
    response_body: String,
    scope: String,
    token_type: String,
    expiry: Option<String>,
    reason: Option<&'static str>,
}

impl Texts {
    fn of(authorized: &OAuthConnectionView) -> Self {
        let ended = authorized.needs_reauthorization.then_some("expired");
        let reason = authorized.grant.lapse.map(|lapse| lapse.reason).map(LapseReason::as_str);
        let reason = reason.or(ended);
        let Some(tokens) = &authorized.tokens else { return Self { reason, ..Self::default() } };
        let shown = |secret: &Secret| shown(secret, authorized.in_clear);
        Self {
            access_token: shown(&tokens.access_token),
            refresh_token: tokens.refresh_token.as_ref().map(shown).unwrap_or_default(),
            response_body: shown(&tokens.response_body),
            scope: tokens.scope.to_string(),
            token_type: tokens.token_type.to_string(),
            expiry: tokens.expires_at.map(whole_seconds),
            reason,
        }
    }
}

fn shown(secret: &Secret, in_clear: bool) -> String {
    match secret.expose() {
        [] => String::new(),
        // This once: the operator may see what the scope `write` would let it misuse anyway.
        text if in_clear => String::from_utf8_lossy(text).into_owned(),
        _ => REDACTED.to_owned(),
    }
}

/// RFC 3339 in UTC, without a fraction.
fn whole_seconds(time: Timestamp) -> String {
    DateTimePrinter::new().precision(Some(0)).timestamp_to_string(&time)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(value: &bool) -> bool {
    !value
}
