//! Requests for new clients, read by their rules.

use super::client_key::{ClientKey, ClientKind, check_method};
use super::member_rules::{parse_plain, parse_scopes};
use super::{catalogue, profile};
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, Named, is_empty, named};
use crate::model::field::{MAX_SECRET, SecretError};
use crate::model::name::ClientName;
use crate::model::oauth::client::AuthMethod;
use crate::model::oauth::endpoint::{EndpointTemplate, Subdomain};
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::profile::Profile;
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{Document, Member, NewOAuthClient, ProfileMembers};

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
    pub(super) profile: Profile,
}

impl ClientDraft {
    /// Reads the whole request.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        request: Document<NewOAuthClient>,
        integration: &str,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let (mut request, mut reader) = MemberReader::of(request);
        let mut profile = request.take_profile();
        catalogue::complete(&mut request, &mut profile, &mut reader);
        Self::read_members(request, profile, reader, integration, settings)
    }

    /// Reads the members, in the order in which faults are told.
    pub(super) fn read_members(
        mut request: NewOAuthClient,
        profile: ProfileMembers,
        mut reader: MemberReader,
        integration: &str,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let names_key = names_key(&profile);
        let key = ClientKey::of_new(&mut request, &profile);
        let name = reader.take_filled(named!(request.name), About::Name, ClientName::parse);
        reader.repeated(named!(request.integration), integration);
        let client_id = reader.require(named!(request.client_id), About::Credential, parse_plain);
        let is_public = request.token_endpoint_auth_method.filled()
            == Some(AuthMethod::None.as_str())
            && !key.is_key();
        let secret = take_new_secret(named!(request.client_secret), is_public, &key, &mut reader);
        let auth_url =
            reader.take_filled(named!(request.auth_url), About::Request, EndpointTemplate::parse);
        let token_url = reader.require(named!(request.token_url), About::Request, |text| {
            parse_token_url(text, settings)
        });
        let default_scopes =
            reader.take_filled(named!(request.default_scopes), About::Request, parse_scopes);
        let grant_type =
            reader.take_filled(named!(request.grant_type), About::Request, GrantType::parse);
        let auth_method = reader.take_filled(
            named!(request.token_endpoint_auth_method),
            About::Request,
            AuthMethod::parse,
        );
        let grant_type = grant_type.unwrap_or(GrantType::AuthorizationCode);
        let auth_method = check_method(auth_method, grant_type, &mut reader);
        let default = Profile::default();
        let mut profile = profile::read(profile, &default, grant_type, settings, &mut reader);
        // A key decides some of it.
        let (id, url) = (client_id.as_deref(), token_url.as_ref());
        let kind =
            ClientKind { grant_type, client_id: id, token_url: url, names_key, replaced: None };
        key.complete(&mut profile, &kind, &mut reader);
        // They have filled the other members; reading them makes the name a known one.
        let _values = reader.value(named!(request.provider_values));
        // What is left out has its default.
        let read = client_id.zip(secret).zip(token_url);
        let read = read.map(|((client_id, secret), token_url)| Self {
            name,
            client_id,
            secret,
            auth_url,
            token_url,
            default_scopes: default_scopes.unwrap_or_default(),
            grant_type,
            auth_method,
            profile,
        });
        reader.close(read)
    }
}

pub(super) fn parse_token_url(
    text: &str,
    settings: &ManagementSettings,
) -> Result<EndpointTemplate, String> {
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

/// Tells whether a request names the id of the client's key.
pub(super) fn names_key(profile: &ProfileMembers) -> bool {
    matches!(&profile.assertion, Member::Given(assertion) if assertion.key_id.is_some())
}

/// Reads the secret of a new client. A public client has none.
fn take_new_secret(
    secret: Named<Secret>,
    is_public: bool,
    key: &ClientKey,
    reader: &mut MemberReader,
) -> Option<Secret> {
    if !is_public {
        reader.demand(&secret);
    }
    let is_left_out = !secret.1.is_given() || is_empty(&secret.1);
    if is_public && is_left_out {
        return Some(Secret::new(""));
    }
    key.take_secret(reader, secret)
}

/// It travels form-encoded, so whatever is in it arrives; it is kept as it is.
pub(super) fn check_client_secret(secret: &[u8]) -> Result<(), SecretError> {
    match secret.len() {
        0 => Err(SecretError::Empty),
        length if length > MAX_SECRET => Err(SecretError::TooLong),
        _ => Ok(()),
    }
}
