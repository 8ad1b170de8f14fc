//! Changes of a client, read by their rules: of everything that decides where a secret is sent,
//! nothing changes without the secret.

use super::client_key::{ClientKey, ClientKind, check_method};
use super::draft::{names_key, parse_token_url};
use super::member_rules::{parse_plain, parse_scopes};
use super::profile;
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, Named, is_empty, named};
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::oauth::profile::Profile;
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{Document, Member, OAuthClientChange, PROFILE_MEMBERS, ProfileMembers};

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

/// A client that is to be changed, with its secret, and by whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChangedClient<'a> {
    pub(super) record: &'a ClientRecord,
    pub(super) secret: &'a Secret,
    pub(super) operator: &'a str,
}

/// Members of a change that decide what else must be given.
struct GivenMembers {
    /// A secret is entered, and not what stands for one.
    secret: bool,
    /// Something is changed that is neither a URL nor of the profile.
    other: bool,
    /// The names of the URLs that are given, as they are or changed.
    urls: Vec<&'static str>,
}

impl ClientChange {
    /// Reads the whole request. What can't change may be repeated, as it is. URLs change only along
    /// with the secret: who does not know it must not have it sent elsewhere.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        client: ChangedClient<'_>,
        request: Document<OAuthClientChange>,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let record = client.record;
        let (mut request, mut reader) = MemberReader::of(request);
        let profile = request.take_profile();
        let given = GivenMembers::of(&request, &profile);
        let names_key = names_key(&profile);
        let key = ClientKey::of_change(&mut request, &profile, record);
        // A hidden secret that comes back with the whole record stays as it is. Alone it is taken
        // for a mistake.
        let is_whole = request.name.is_given() || request.uuid.is_given() || reader.is_sent_back();
        if request.client_secret.is_redacted() && is_whole {
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
        let urls = (named!(request.auth_url), named!(request.token_url));
        let (auth_url, token_url) = read_urls(urls, record, settings, &mut reader);
        let before = &record.profile;
        let mut profile = profile::read(profile, before, record.grant_type, settings, &mut reader);
        check_method(auth_method.or(Some(record.auth_method)), record.grant_type, &mut reader);
        let kind = ClientKind {
            grant_type: record.grant_type,
            client_id: Some(client_id.as_deref().unwrap_or(&record.client_id)),
            token_url: Some(token_url.as_ref().unwrap_or(&record.token_url)),
            names_key,
            replaced: key.is_other(client.secret).then_some(&before.assertion),
        };
        key.complete(&mut profile, &kind, &mut reader);
        let mut change =
            Self { client_id, secret, auth_url, token_url, default_scopes, auth_method, profile };
        // 3. URLs do so only along with the secret, and so does what a key signs.
        change.need_secret(record, (given.secret, key.is_key()), &mut reader);
        change.need_urls(client, &given, &mut reader);
        if !given.other {
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

    /// Notes who has changed the URLs. A secret that somebody else enters afterwards is for URLs
    /// that they may not have seen, so that it must name them: who may write could have planted a
    /// URL with a secret of their own, and wait for the right one.
    fn need_urls(
        &mut self,
        client: ChangedClient<'_>,
        given: &GivenMembers,
        reader: &mut MemberReader,
    ) {
        let ChangedClient { record, operator, .. } = client;
        let urls = self.urls(record);
        let others = record.profile.urls_set_by.as_deref().filter(|by| *by != operator);
        if let (Some(by), true) = (others, given.secret) {
            let by = crate::wire::printable_name(by, "another operator");
            let unseen = urls.iter().filter(|(member, ..)| !given.urls.contains(member));
            for (member, _, url) in unseen {
                let Some(url) = url else { continue };
                let title = format!(
                    "{member}: was changed to {url} by {by}: if that is where the secret is to be \
                     sent, give it along with the client_secret"
                );
                reader.fault(About::Request, &title);
            }
        }
        // From now on they are this operator's.
        if urls.iter().any(|(_, is_changed, _)| *is_changed) {
            self.profile.urls_set_by = Some(operator.into());
        } else if others.is_some() && given.secret {
            self.profile.urls_set_by = None;
        }
    }

    /// The URLs of the client: whether they are changed, and what they are afterwards.
    fn urls<'a>(&'a self, record: &'a ClientRecord) -> [(&'static str, bool, Option<&'a str>); 4] {
        let before = &record.profile;
        let text = |url: Option<&'a EndpointTemplate>| url.map(EndpointTemplate::as_str);
        let auth_url = self.auth_url.as_ref().or(record.auth_url.as_ref());
        let token_url = self.token_url.as_ref().unwrap_or(&record.token_url);
        let Profile { refresh_url, revocation_url, .. } = &self.profile;
        [
            ("auth_url", self.auth_url.is_some(), text(auth_url)),
            ("token_url", self.token_url.is_some(), text(Some(token_url))),
            ("refresh_url", *refresh_url != before.refresh_url, text(refresh_url.as_ref())),
            (
                "revocation_url",
                *revocation_url != before.revocation_url,
                text(revocation_url.as_ref()),
            ),
        ]
    }
}

impl GivenMembers {
    fn of(request: &OAuthClientChange, profile: &ProfileMembers) -> Self {
        let urls = [
            ("auth_url", &request.auth_url),
            ("token_url", &request.token_url),
            ("refresh_url", &profile.refresh_url),
            ("revocation_url", &profile.revocation_url),
        ];
        let urls = urls.into_iter().filter(|(_, member)| !member.is_absent());
        Self {
            secret: request.client_secret.is_given() && !request.client_secret.is_redacted(),
            other: request.client_id.is_given()
                || request.client_secret.is_given()
                || request.default_scopes.is_given()
                || request.token_endpoint_auth_method.is_given(),
            urls: urls.map(|(name, _)| name).collect(),
        }
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

/// Reads the URLs that become others.
fn read_urls(
    (auth_url, token_url): (Named<String>, Named<String>),
    record: &ClientRecord,
    settings: &ManagementSettings,
    reader: &mut MemberReader,
) -> (Option<EndpointTemplate>, Option<EndpointTemplate>) {
    let auth_url = reader.take(auth_url, About::Request, EndpointTemplate::parse);
    let token_url = reader.take(token_url, About::Request, |text| parse_token_url(text, settings));
    (
        auth_url.filter(|url| Some(url) != record.auth_url.as_ref()),
        token_url.filter(|url| *url != record.token_url),
    )
}

/// Reads scopes in the place of others; an empty text stands for none.
fn take_scopes(scopes: Named<String>, reader: &mut MemberReader) -> Option<Box<str>> {
    let none = is_empty(&scopes.1).then(Box::default);
    reader.take_filled(scopes, About::Request, parse_scopes).or(none)
}
