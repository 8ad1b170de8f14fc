//! What is entered of a client and of a flow, read into what can't be wrong.

use crate::management::fault::{About, Refused};
use crate::management::form::Form;
use crate::model::domain::AllowedDomain;
use crate::model::field::{MAX_SECRET, SecretError};
use crate::model::name::{ClientName, ConnectionName};
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::{EndpointTemplate, Subdomain};
use crate::model::oauth::grant::GrantType;
use crate::secret::Secret;
use crate::state::ManagementSettings;

/// A client that is to be made.
#[derive(Debug)]
pub(super) struct ClientDraft {
    pub(super) name: Option<ClientName>,
    pub(super) client_id: Box<str>,
    pub(super) secret: Secret,
    pub(super) auth_url: Option<EndpointTemplate>,
    pub(super) token_url: EndpointTemplate,
    pub(super) default_scopes: Box<str>,
    pub(super) grant_type: GrantType,
    pub(super) auth_method: AuthMethod,
}

/// What is to change of a client.
#[derive(Debug)]
pub(super) struct ClientChange {
    pub(super) client_id: Option<Box<str>>,
    pub(super) secret: Option<Secret>,
    pub(super) auth_url: Option<EndpointTemplate>,
    pub(super) token_url: Option<EndpointTemplate>,
    pub(super) default_scopes: Option<Box<str>>,
    pub(super) auth_method: Option<AuthMethod>,
}

/// A flow that is to be begun.
#[derive(Debug)]
pub(super) struct FlowDraft {
    pub(super) name: Option<ConnectionName>,
    pub(super) client_name: Option<ClientName>,
    pub(super) client_uuid: Option<String>,
    pub(super) grant_type: Option<GrantType>,
    pub(super) scopes: Option<Box<str>>,
    pub(super) subdomain: Option<Subdomain>,
    pub(super) redirect_to: Option<Box<str>>,
    pub(super) offline: bool,
    pub(super) allowed_domain: Option<AllowedDomain>,
}

impl ClientDraft {
    /// Reads the whole form.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        mut form: Form,
        integration: &str,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let name = form.take_filled("name", About::Name, ClientName::parse);
        repeated(&mut form, "integration", integration);
        let client_id = form.require("client_id", About::Credential, parse_client_id);
        form.demand("client_secret");
        let secret = form.take_secret("client_secret", check_client_secret);
        let auth_url = form.take_filled("auth_url", About::Request, EndpointTemplate::parse);
        let token_url =
            form.require("token_url", About::Request, |text| parse_token_url(text, settings));
        let default_scopes = form.take_filled("default_scopes", About::Request, parse_scopes);
        let grant_type = form.take_filled("grant_type", About::Request, GrantType::parse);
        let auth_method = form.take_filled(AUTH_METHOD, About::Request, AuthMethod::parse);
        let read = client_id.zip(secret).zip(token_url);
        let read = read.map(|((client_id, secret), token_url)| Self {
            name,
            client_id,
            secret,
            auth_url,
            token_url,
            default_scopes: default_scopes.unwrap_or_default(),
            grant_type: grant_type.unwrap_or(GrantType::AuthorizationCode),
            auth_method: auth_method.unwrap_or(AuthMethod::ClientSecretPost),
        });
        form.close(read)
    }
}

impl ClientChange {
    /// Reads the whole form. What can't change may be repeated, as it is. URLs change only along
    /// with the secret: who does not know it must not have it sent elsewhere.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        record: &ClientRecord,
        mut form: Form,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let has_secret = form.has("client_secret") && !form.is_redacted("client_secret");
        let changing = ["client_id", "client_secret", "default_scopes", AUTH_METHOD];
        let changes_something = changing.into_iter().any(|field| form.has(field));
        form.keep_redacted("client_secret", &["created_at", "name", "updated_at", "uuid"]);
        form.pass_over(&["created_at", "created_by", "updated_at"]);
        if record.auth_url.is_none() && !form.has("auth_url") {
            form.pass_over(&["auth_url"]);
        }
        form.refuse_blanks();
        repeated(&mut form, "name", record.name.as_str());
        repeated(&mut form, "uuid", &record.uuid.to_string());
        repeated(&mut form, "integration", record.integration.as_str());
        repeated(&mut form, "grant_type", record.grant_type.as_str());
        let client_id = form.take("client_id", About::Credential, parse_client_id);
        let secret = form.take_secret("client_secret", check_client_secret);
        let none = form.is_empty("default_scopes").then(Box::default);
        let default_scopes = form.take_filled("default_scopes", About::Request, parse_scopes);
        let default_scopes = default_scopes.or(none);
        let auth_method = form.take(AUTH_METHOD, About::Request, AuthMethod::parse);
        let auth_url = form.take("auth_url", About::Request, EndpointTemplate::parse);
        let auth_url = auth_url.filter(|url| Some(url) != record.auth_url.as_ref());
        let token_url =
            form.take("token_url", About::Request, |text| parse_token_url(text, settings));
        let token_url = token_url.filter(|url| *url != record.token_url);
        for (field, changed) in
            [("auth_url", auth_url.is_some()), ("token_url", token_url.is_some())]
        {
            if changed && !has_secret {
                let title = "can be changed only with the client_secret entered again";
                form.fault(About::Request, &format!("{field}: {title}"));
            }
        }
        if !changes_something && auth_url.is_none() && token_url.is_none() {
            let title = "nothing is to change: give client_secret, client_id or default_scopes";
            form.fault(About::Request, title);
        }
        let change = Self { client_id, secret, auth_url, token_url, default_scopes, auth_method };
        form.close(Some(change))
    }
}

impl FlowDraft {
    /// Reads the whole form.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(mut form: Form, settings: &ManagementSettings) -> Result<Self, Refused> {
        let name = form.take_filled("name", About::Name, ConnectionName::parse);
        let client_name = form.take_filled("oauth_client_name", About::Name, ClientName::parse);
        let client_uuid = form.take_filled("oauth_client_uuid", About::Request, |text| {
            uuid::Uuid::try_parse(text).map(|uuid| uuid.to_string())
        });
        if client_name.is_none() && client_uuid.is_none() && !form.is_faulty() {
            form.fault(
                About::Request,
                "oauth_client_name: is missing: name the client, or give oauth_client_uuid",
            );
        }
        let grant_type = form.take_filled("grant_type", About::Request, GrantType::parse);
        let plural = form.take_filled("permission_scopes", About::Request, parse_scopes);
        let singular = form.take_filled("permission_scope", About::Request, parse_scopes);
        if let (Some(one), Some(other)) = (&plural, &singular)
            && one != other
        {
            form.fault(About::Request, "permission_scope: says other than permission_scopes");
        }
        let subdomain = form.take_filled("oauth_url_subdomain", About::Request, Subdomain::parse);
        let redirect_to = form.take_filled("origin_oauth_redirect_url", About::Request, |text| {
            super::redirect_target::parse(text, settings)
        });
        let offline = form.take_flag("allow_offline_access").unwrap_or_default();
        let allowed_domain =
            form.take_filled("allowed_domain", About::AllowedDomain, AllowedDomain::parse);
        form.close(Some(Self {
            name,
            client_name,
            client_uuid,
            grant_type,
            scopes: plural.or(singular),
            subdomain,
            redirect_to,
            offline,
            allowed_domain,
        }))
    }
}

/// What never changes may be said again, as it is.
pub(super) fn repeated(form: &mut Form, field: &'static str, known: &str) {
    let _same =
        form.take(
            field,
            About::Request,
            |text| {
                if text == known { Ok(()) } else { Err("never changes") }
            },
        );
}

fn parse_client_id(text: &str) -> Result<Box<str>, &'static str> {
    if text.len() <= 1024 && !text.chars().any(char::is_control) {
        Ok(text.into())
    } else {
        Err("must be at most 1024 bytes, none of them a control character")
    }
}

fn parse_token_url(text: &str, settings: &ManagementSettings) -> Result<EndpointTemplate, String> {
    let template = EndpointTemplate::parse(text).map_err(|rule| rule.to_string())?;
    let any = Subdomain::parse("a").ok();
    let port = template.resolve(any.as_ref()).map(|endpoint| endpoint.origin().port());
    match port {
        Ok(port) if !settings.allowed_ports.allows(port) => {
            Err("has a port that is not one of proxy.allowed_ports".to_owned())
        }
        _ => Ok(template),
    }
}

/// Scopes as RFC 6749 §3.3 has them, with a single space between two; people put more there.
fn parse_scopes(text: &str) -> Result<Box<str>, &'static str> {
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    if text.len() > 4096 {
        return Err("must be at most 4096 characters");
    }
    let scopes: Vec<_> = text.split(' ').filter(|scope| !scope.is_empty()).collect();
    if scopes.iter().all(|scope| scope.bytes().all(fits)) {
        Ok(scopes.join(" ").into())
    } else {
        Err("must be scopes with spaces between them, without quotes and backslashes")
    }
}

/// It travels form-encoded, so whatever is in it arrives; it is kept as it is.
fn check_client_secret(secret: &[u8]) -> Result<(), SecretError> {
    match secret.len() {
        0 => Err(SecretError::Empty),
        length if length > MAX_SECRET => Err(SecretError::TooLong),
        _ => Ok(()),
    }
}

/// As RFC 7591 §2 calls it.
const AUTH_METHOD: &str = "token_endpoint_auth_method";
