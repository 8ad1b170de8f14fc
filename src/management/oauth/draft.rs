//! Requests for clients, read by their rules.

use super::client_key::{ClientKey, ClientKind, check_method};
use super::member_rules::{parse_plain, parse_scopes};
use super::{catalogue, profile};
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, Named, is_empty, named};
use crate::model::field::{MAX_SECRET, SecretError};
use crate::model::name::ClientName;
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::{EndpointTemplate, Subdomain};
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::profile::Profile;
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{
    Document, Member, NewOAuthClient, OAuthClientChange, PROFILE_MEMBERS, ProfileMembers,
};

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

/// A change of a client.
#[derive(Debug)]
pub(super) struct ClientChange {
    pub(super) client_id: Option<Box<str>>,
    pub(super) secret: Option<Secret>,
    pub(super) auth_url: Option<EndpointTemplate>,
    pub(super) token_url: Option<EndpointTemplate>,
    pub(super) default_scopes: Option<Box<str>>,
    pub(super) auth_method: Option<AuthMethod>,
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
        let kind = ClientKind { grant_type, client_id: id, token_url: url, names_key };
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

impl ClientChange {
    /// Reads the whole request. What can't change may be repeated, as it is. URLs change only along
    /// with the secret: who does not know it must not have it sent elsewhere.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        record: &ClientRecord,
        request: Document<OAuthClientChange>,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let (mut request, mut reader) = MemberReader::of(request);
        let is_redacted = request.client_secret.is_redacted();
        let has_secret = request.client_secret.is_given() && !is_redacted;
        let profile = request.take_profile();
        let names_key = names_key(&profile);
        let key = ClientKey::of_change(&mut request, &profile, record);
        let changes_something = request.client_id.is_given()
            || request.client_secret.is_given()
            || request.default_scopes.is_given()
            || request.token_endpoint_auth_method.is_given();
        // A hidden secret that comes back with the whole record stays as it is. Alone it is taken
        // for a mistake.
        let is_whole = request.name.is_given() || request.uuid.is_given() || reader.is_sent_back();
        if is_redacted && is_whole {
            request.client_secret = Member::Absent;
        }
        // A client that has no such URL is shown with null. A member of the profile goes by it.
        reader.refuse_nulls(|name| {
            (name == "auth_url" && record.auth_url.is_none()) || PROFILE_MEMBERS.contains(&name)
        });
        // 1. Repeated members are as they are.
        read_repeated(&mut request, record, &mut reader);
        // 2. Others change.
        let client_id = reader.take(named!(request.client_id), About::Credential, parse_plain);
        let secret = key.take_secret(&mut reader, named!(request.client_secret));
        let default_scopes = take_scopes(named!(request.default_scopes), &mut reader);
        let auth_method = reader.take(
            named!(request.token_endpoint_auth_method),
            About::Request,
            AuthMethod::parse,
        );
        let auth_url =
            reader.take(named!(request.auth_url), About::Request, EndpointTemplate::parse);
        let auth_url = auth_url.filter(|url| Some(url) != record.auth_url.as_ref());
        let token_url = reader.take(named!(request.token_url), About::Request, |text| {
            parse_token_url(text, settings)
        });
        let token_url = token_url.filter(|url| *url != record.token_url);
        let before = &record.profile;
        let mut profile = profile::read(profile, before, record.grant_type, settings, &mut reader);
        check_method(auth_method.or(Some(record.auth_method)), record.grant_type, &mut reader);
        let id = Some(client_id.as_deref().unwrap_or(&record.client_id));
        let url = Some(token_url.as_ref().unwrap_or(&record.token_url));
        let kind =
            ClientKind { grant_type: record.grant_type, client_id: id, token_url: url, names_key };
        key.complete(&mut profile, &kind, &mut reader);
        let change =
            Self { client_id, secret, auth_url, token_url, default_scopes, auth_method, profile };
        // 3. URLs do so only along with the secret, and so does what a key signs.
        change.need_secret(record, (has_secret, key.is_key()), &mut reader);
        if !changes_something {
            change.need_some(record, &mut reader);
        }
        reader.close(Some(change))
    }

    /// Notes that nothing is to change, where neither URLs nor the profile do.
    fn need_some(&self, record: &ClientRecord, reader: &mut MemberReader) {
        let same_urls = self.auth_url.is_none() && self.token_url.is_none();
        if same_urls && self.profile == *record.profile {
            let title = "nothing is to change: give client_secret, client_id or default_scopes";
            reader.fault(About::Request, title);
        }
    }

    /// Notes changes that need the secret entered again. It may be a key afterwards.
    fn need_secret(
        &self,
        record: &ClientRecord,
        (has_secret, is_key): (bool, bool),
        reader: &mut MemberReader,
    ) {
        let before = &record.profile;
        let is_other = |client_id: &str| *client_id != *record.client_id;
        let changed = [
            ("auth_url", self.auth_url.is_some()),
            ("token_url", self.token_url.is_some()),
            ("refresh_url", self.profile.refresh_url != before.refresh_url),
            ("revocation_url", self.profile.revocation_url != before.revocation_url),
            // These say which of the answer's tokens reaches the API, and in which field.
            ("token_path", self.profile.token_path != before.token_path),
            ("refresh_token_path", self.profile.refresh_token_path != before.refresh_token_path),
            ("inject", self.profile.inject != before.inject),
            ("client_id", record.has_key() && self.client_id.as_deref().is_some_and(is_other)),
            ("assertion", self.profile.assertion != before.assertion),
            ("installation", self.profile.installation != before.installation),
        ];
        // A public client has no secret by which somebody could show that codes and tokens may be
        // sent elsewhere: it stays at its origins.
        let was_public = record.is_public();
        let method = self.auth_method.unwrap_or(record.auth_method);
        let is_public = method == AuthMethod::None && !is_key;
        for (member, _) in changed.iter().filter(|(_, is_changed)| *is_changed) {
            let title = if was_public {
                "can't be changed like that without a client_secret: make another client"
            } else {
                "can be changed only with the client_secret entered again"
            };
            let is_refused = if was_public { !self.stays(record, member) } else { !has_secret };
            if is_refused {
                reader.fault(About::Request, &format!("{member}: {title}"));
            }
        }
        if was_public && !is_public && !has_secret {
            reader.fault(About::Request, "client_secret: is missing: a public client has none");
        }
        // A secret of one kind is never used as one of another.
        if !was_public && !is_public && is_key != record.has_key() && !has_secret {
            let title = "needs a secret of another kind: enter the client_secret along with it";
            reader.fault(About::Request, &format!("token_endpoint_auth_method: {title}"));
        }
    }

    /// Tells whether the changed member of this name is a URL at an origin where the client has one.
    fn stays(&self, record: &ClientRecord, member: &str) -> bool {
        let url = match member {
            "auth_url" => self.auth_url.as_ref(),
            "token_url" => self.token_url.as_ref(),
            "refresh_url" => self.profile.refresh_url.as_ref(),
            "revocation_url" => self.profile.revocation_url.as_ref(),
            _ => return false,
        };
        // Without one the client's other URLs are used.
        let Some(url) = url else { return true };
        let further = record.profile.refresh_url.iter().chain(&record.profile.revocation_url);
        let mut known = record.auth_url.iter().chain([&record.token_url]).chain(further);
        known.any(|known| known.is_at_origin_of(url))
    }
}

/// Reads the members of a client that never change.
fn read_repeated(
    request: &mut OAuthClientChange,
    record: &ClientRecord,
    reader: &mut MemberReader,
) {
    for (name, member, known) in [
        ("name", &mut request.name, record.name.as_str()),
        ("uuid", &mut request.uuid, &*record.uuid.to_string()),
        ("integration", &mut request.integration, record.integration.as_str()),
        ("grant_type", &mut request.grant_type, record.grant_type.as_str()),
    ] {
        reader.repeated((name, std::mem::take(member)), known);
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
fn names_key(profile: &ProfileMembers) -> bool {
    matches!(&profile.assertion, Member::Given(assertion) if assertion.key_id.is_some())
}

/// Reads scopes in the place of others; an empty text stands for none.
fn take_scopes(scopes: Named<String>, reader: &mut MemberReader) -> Option<Box<str>> {
    let none = is_empty(&scopes.1).then(Box::default);
    reader.take_filled(scopes, About::Request, parse_scopes).or(none)
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
