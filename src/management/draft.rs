//! Requests for static connections, read by their rules.

use std::time::Duration;

use super::fault::{About, Refused};
use super::member_reader::{MemberReader, Named, named};
use super::options;
use crate::model::aws::access::AwsSecrets;
use crate::model::connection::ConnectionType;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::custom::CustomSecrets;
use crate::model::domain::AllowedDomain;
use crate::model::field::{self, CredentialField};
use crate::model::name::{ConnectionName, NameError, ZENDESK};
use crate::model::options::ConnectionOptions;
use crate::model::record::{ConnectionRecord, Detail};
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{Document, Member, OPTION_MEMBERS, StaticMembers};

#[derive(Debug)]
pub(super) struct ConnectionDraft {
    pub(super) name: ConnectionName,
    pub(super) allowed_domain: AllowedDomain,
    pub(super) detail: Detail,
    pub(super) options: ConnectionOptions,
    pub(super) secrets: ConnectionSecrets,
}

#[derive(Debug)]
pub(super) struct ConnectionChange {
    pub(super) allowed_domain: Option<AllowedDomain>,
    /// The connection's detail, once it has changed.
    pub(super) detail: Detail,
    pub(super) options: ConnectionOptions,
    pub(super) secret: Option<NewSecret>,
    /// The time for which the secret is kept that the new one replaces; zero forgets one that is
    /// kept.
    pub(super) keep_old_for: Option<Duration>,
    pub(super) client_key: Option<Secret>,
}

/// A secret that replaces another, or some of several.
#[derive(Debug)]
pub(super) enum NewSecret {
    Whole(Secret),
    Custom(CustomSecrets),
    Aws(AwsSecrets),
}

impl NewSecret {
    /// The secret that is sealed with `detail` in the place of `kept`; `None` where that is no
    /// secret of its type.
    pub(super) fn over(&self, kept: &Secret, detail: &Detail) -> Option<Secret> {
        match (self, detail) {
            // Those types have several.
            (Self::Whole(_), Detail::AwsSigV4(_) | Detail::Custom(_)) => None,
            (Self::Whole(secret), _) => Some(secret.clone()),
            (Self::Custom(given), Detail::Custom(access)) => {
                let mut all = CustomSecrets::unpack(kept)?;
                for name in given.names() {
                    all.insert(name, given.get(name)?.clone());
                }
                all.retain(&access.secret_names());
                Some(all.pack())
            }
            // The sessions of a role go with its keys, and their number stays.
            (Self::Aws(next), Detail::AwsSigV4(_)) => {
                Some(AwsSecrets::unpack(kept)?.replaced_by(next.clone()).pack())
            }
            (Self::Custom(_) | Self::Aws(_), _) => None,
        }
    }
}

impl ConnectionDraft {
    /// Reads the whole request.
    pub(super) fn read(
        kind: ConnectionType,
        request: Document<StaticMembers>,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let (mut request, mut reader) = MemberReader::of(request);
        let options = request.take_options();
        let credential = CredentialMembers::of(kind, &mut request);
        let name =
            reader.require(named!(request.name), About::Name, |text| parse_name(text, settings));
        let domain = reader.require(
            named!(request.allowed_domain),
            About::AllowedDomain,
            AllowedDomain::parse,
        );
        // What is missing is told before what is wrong.
        if let Some(text) = &credential.text {
            reader.demand(text);
        }
        reader.demand(&credential.secret);
        let (text, secret) = credential.read(kind, &mut reader);
        let default = ConnectionOptions::default();
        let options = options::read(options, &default, &mut reader);
        let client_key = named!(request.client_key);
        let client_key = options::read_client_key(client_key, (&default, &options), &mut reader);
        let read = name.zip(domain).zip(detail(kind, text)).zip(secret);
        let read = read.map(|(((name, allowed_domain), detail), secret)| Self {
            name,
            allowed_domain,
            detail,
            options,
            secrets: ConnectionSecrets { client_key, ..secret.into() },
        });
        reader.close(read)
    }
}

impl ConnectionChange {
    /// Reads the whole request. What can't change may be repeated, as it is, and what the server
    /// alone sets as it was shown once.
    pub(super) fn read(
        record: &ConnectionRecord,
        request: Document<StaticMembers>,
    ) -> Result<Self, Refused> {
        let kind = record.kind();
        if !kind.is_of_one_secret() {
            return Err(Refused::NotFound);
        }
        let (mut request, mut reader) = MemberReader::of(request);
        let options = request.take_options();
        let mut credential = CredentialMembers::of(kind, &mut request);
        let changes_something =
            credential.is_given() || options.are_given() || request.client_key.is_given();
        // A hidden secret that comes back with the whole record stays as it is. Alone it is taken
        // for a mistake.
        let is_whole = request.name.is_given() || reader.is_sent_back();
        if is_whole && credential.secret.1.is_redacted() {
            credential.secret.1 = Member::Absent;
        }
        if is_whole && request.client_key.is_redacted() {
            request.client_key = Member::Absent;
        }
        reader.refuse_nulls(|name| OPTION_MEMBERS.contains(&name));
        let _same = reader.take(named!(request.name), About::Request, |text| {
            if text == record.name.as_str() { Ok(()) } else { Err(NEVER_CHANGES) }
        });
        let _same = reader.take(named!(request.allowed_domain), About::Request, |text| {
            let same = AllowedDomain::read_kept(text)
                .is_ok_and(|given| Some(given) == record.allowed_domain);
            if same { Ok(()) } else { Err(NEVER_CHANGES) }
        });
        let names = credential.names();
        let (text, secret) = credential.read(kind, &mut reader);
        let options = options::read(options, &record.options, &mut reader);
        let keep_old_for =
            reader.take(named!(request.keep_old_for), About::Request, parse_time_kept);
        let forgets = keep_old_for.is_some_and(|time| time.is_zero());
        if keep_old_for.is_some() && secret.is_none() && !forgets {
            reader.fault(About::Request, "keep_old_for: goes with a secret that replaces another");
        }
        let both = (&*record.options, &options);
        let client_key = options::read_client_key(named!(request.client_key), both, &mut reader);
        if !changes_something && !forgets {
            let title = format!("nothing is to change: give {}", names.join(" or "));
            reader.fault(About::Request, &title);
        }
        let detail = with_text(&record.detail, text);
        if keep_old_for.is_some() && !forgets && detail != record.detail {
            let title = "keep_old_for: the old secret goes with what it was used with: replace the \
                         secret alone";
            reader.fault(About::Request, title);
        }
        let (allowed_domain, secret) =
            (record.allowed_domain.clone(), secret.map(NewSecret::Whole));
        let change = Self { allowed_domain, detail, options, secret, keep_old_for, client_key };
        reader.close(Some(change))
    }

    /// Tells whether an old secret that is kept is forgotten early.
    pub(super) fn forgets_old(&self) -> bool {
        self.keep_old_for.is_some_and(|time| time.is_zero())
    }

    /// Tells whether everything stays as it is in `record`.
    pub(super) fn is_nothing(&self, record: &ConnectionRecord) -> bool {
        self.secret.is_none()
            && self.client_key.is_none()
            && !self.forgets_old()
            && self.detail == record.detail
            && self.options == *record.options
    }
}

/// A detail with another text: the header's name, or the user name.
fn with_text(before: &Detail, text: Option<Box<str>>) -> Detail {
    match (before, text) {
        (Detail::ApiKey { .. }, Some(header_name)) => Detail::ApiKey { header_name },
        (Detail::BasicAuth { .. }, Some(username)) => Detail::BasicAuth { username },
        (before, _) => before.clone(),
    }
}

/// The members that a type has of its own: the secret, and a text beside it.
struct CredentialMembers {
    text: Option<Named<String>>,
    secret: Named<Secret>,
}

impl CredentialMembers {
    fn of(kind: ConnectionType, request: &mut StaticMembers) -> Self {
        let StaticMembers { header_name, api_key, username, password, token, .. } = request;
        let (text, secret) = match kind {
            ConnectionType::ApiKey => (Some(header_name), api_key),
            ConnectionType::BasicAuth => (Some(username), password),
            // No request makes or changes a connection by OAuth: a flow does. One to AWS is
            // declared.
            ConnectionType::BearerToken
            | ConnectionType::OAuth
            | ConnectionType::AwsSigV4
            | ConnectionType::Custom => (None, token),
        };
        Self {
            text: kind.text_member().zip(text.map(std::mem::take)),
            secret: (kind.secret_member(), std::mem::take(secret)),
        }
    }

    fn is_given(&self) -> bool {
        self.secret.1.is_given() || self.text.as_ref().is_some_and(|(_, text)| text.is_given())
    }

    fn names(&self) -> Vec<&'static str> {
        self.text.as_ref().map(|(name, _)| *name).into_iter().chain([self.secret.0]).collect()
    }

    fn read(
        self,
        kind: ConnectionType,
        reader: &mut MemberReader,
    ) -> (Option<Box<str>>, Option<Secret>) {
        let Self { text, secret } = self;
        let text = text.and_then(|text| match kind {
            ConnectionType::ApiKey => reader.take(text, About::HeaderName, |text| {
                CredentialField::parse(text).map(|_fits| Box::from(text))
            }),
            _ => reader.take(text, About::Credential, |text| {
                field::check_username(text).map(|()| Box::from(text))
            }),
        });
        let check = match kind {
            ConnectionType::BasicAuth => field::check_password,
            _ => field::check_secret,
        };
        (text, reader.take_secret(secret, check))
    }
}

fn detail(kind: ConnectionType, text: Option<Box<str>>) -> Option<Detail> {
    Some(match kind {
        ConnectionType::ApiKey => Detail::ApiKey { header_name: text? },
        ConnectionType::BasicAuth => Detail::BasicAuth { username: text? },
        ConnectionType::BearerToken => Detail::BearerToken,
        ConnectionType::OAuth | ConnectionType::AwsSigV4 | ConnectionType::Custom => return None,
    })
}

pub(super) fn parse_name(
    text: &str,
    settings: &ManagementSettings,
) -> Result<ConnectionName, NameError> {
    match ConnectionName::parse(text) {
        Ok(name) if name.as_str() == ZENDESK && !settings.allow_static_zendesk => {
            Err(NameError::Reserved)
        }
        verdict => verdict,
    }
}

/// Reads the time for which a replaced secret is kept; `0s` forgets one that is.
pub(super) fn parse_time_kept(text: &str) -> Result<Duration, &'static str> {
    let time = humantime::parse_duration(text).ok();
    let is_fit =
        |time: &Duration| time.is_zero() || (SHORTEST_TIME_KEPT..=LONGEST_TIME_KEPT).contains(time);
    let rule = "must be a time from \"1s\" to \"7d\", as \"10m\", or \"0s\" to forget the old one";
    time.filter(is_fit).ok_or(rule)
}

const SHORTEST_TIME_KEPT: Duration = Duration::from_secs(1);
const LONGEST_TIME_KEPT: Duration = Duration::from_hours(7 * 24);

/// The rule of members that never change.
pub(super) const NEVER_CHANGES: &str = "never changes: delete the connection and create it again";
