//! A connection: one stored credential of one type, bound to one allowed domain (ZIS spec §1).

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderName, header};
use jiff::Timestamp;
use uuid::Uuid;

use super::credential::{Credential, NotAFieldValue};
use super::domain::{AllowedDomain, DomainError};
use super::field::{CredentialField, FieldError};
use super::name::{ConnectionName, IntegrationName, ZENDESK};
use super::oauth::freshness::{Freshness, TokenAges};
use super::oauth::grant::Grant;
use super::oauth::tokens::TokenSet;
use super::origin::{HostName, Origin};
use super::record::{ConnectionRecord, Detail};
use super::sealed::KeyId;
use crate::secret::Secret;

/// A connection of an integration.
///
/// It holds the one header field that its secret becomes, and no other copy of the secret.
#[derive(Debug)]
pub struct Connection {
    integration: IntegrationName,
    name: ConnectionName,
    allowed_domain: Option<AllowedDomain>,
    detail: Detail,
    defect: Option<Defect>,
    field: HeaderName,
    /// Missing where the sealed secret could not be opened.
    credential: Option<Credential>,
    /// The one origin at the usual port, where the allowed domain is exact.
    home: Option<Origin>,
    /// How its tokens stand, where it is a connection by OAuth that could be opened.
    standing: Option<Box<TokenStatus>>,
    /// The fingerprint of the record that it was made of; 0 where there is none.
    fingerprint: u64,
    /// The master key for want of which the secret could not be opened.
    missing_key: Option<Box<KeyId>>,
}

/// How the tokens of an OAuth connection stand. A connection has one set of tokens as long as it
/// lives; with the next set another takes its place.
#[derive(Debug)]
pub struct TokenStatus {
    /// The connection's record.
    pub uuid: Uuid,
    /// Which set of tokens it is.
    pub generation: i64,
    /// Whether others can be had without anybody being asked.
    pub renewable: bool,
    /// Whether only a new flow helps.
    pub lapsed: bool,
    /// When the tokens were asked for.
    pub issued_at: Timestamp,
    /// When the access token ends, if it does.
    pub expires_at: Option<Timestamp>,
    used: AtomicBool,
}

/// The reason why a connection can't be used although it was accepted: the rules were other ones
/// then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Defect {
    /// Its wildcard covers names of different people.
    #[error("its allowed domain is refused by now: {0}")]
    Domain(DomainError),
    /// Its header carries no credential.
    #[error("its header name is refused by now: {0}")]
    Field(FieldError),
}

impl Defect {
    /// The defect of a connection with this domain and detail, if it has one.
    #[must_use]
    pub fn of(domain: Option<&AllowedDomain>, detail: &Detail) -> Option<Self> {
        if domain.is_some_and(AllowedDomain::is_too_wide) {
            return Some(Self::Domain(DomainError::PublicSuffix));
        }
        match detail {
            Detail::ApiKey { header_name } => {
                CredentialField::parse(header_name).err().map(Self::Field)
            }
            Detail::BasicAuth { .. } | Detail::BearerToken | Detail::OAuth(_) => None,
        }
    }
}

/// The type of a connection, by the names that the API uses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionType {
    /// `api_key`
    ApiKey,
    /// `basic_auth`
    BasicAuth,
    /// `bearer_token`
    BearerToken,
    /// `oauth`
    OAuth,
}

impl Connection {
    /// Makes a connection; `secret` goes into its credential.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when the secret can't stand in a header field, or `detail` names a field
    /// that may carry none.
    pub fn new(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: AllowedDomain,
        detail: Detail,
        secret: &Secret,
    ) -> Result<Self, NotAFieldValue> {
        let credential = Credential::build(&detail, secret)?;
        let mut connection = Self::sealed(integration, name, Some(allowed_domain), detail);
        connection.field = credential.field().clone();
        connection.credential = Some(credential);
        Ok(connection)
    }

    /// The connection of a record with its secret. Without one, or with one that is of no use, it
    /// has no credential: it can be named, and nothing can be sent with it.
    #[must_use]
    pub fn of_record(record: ConnectionRecord, secret: Option<&Secret>) -> Self {
        let fingerprint = record.fingerprint();
        let ConnectionRecord { uuid, integration, name, allowed_domain, detail, .. } = record;
        let mut connection = Self::sealed(integration, name, allowed_domain, detail);
        connection.fingerprint = fingerprint;
        let Some(secret) = secret else { return connection };
        match &connection.detail {
            Detail::OAuth(grant) => {
                let Some(tokens) = TokenSet::unpack(secret) else { return connection };
                connection.credential =
                    Credential::build(&connection.detail, &tokens.access_token).ok();
                connection.standing = Some(Box::new(TokenStatus::of(uuid, grant, &tokens)));
            }
            detail => connection.credential = Credential::build(detail, secret).ok(),
        }
        connection
    }

    fn sealed(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: Option<AllowedDomain>,
        detail: Detail,
    ) -> Self {
        let field = match &detail {
            Detail::ApiKey { header_name } => CredentialField::parse(header_name)
                .map_or(header::AUTHORIZATION, |field| field.name().clone()),
            Detail::BasicAuth { .. } | Detail::BearerToken | Detail::OAuth(_) => {
                header::AUTHORIZATION
            }
        };
        let defect = Defect::of(allowed_domain.as_ref(), &detail);
        let exact = allowed_domain.as_ref().and_then(AllowedDomain::exact);
        let home = exact.map(|host| Origin::new(&host, 443));
        Self {
            integration,
            name,
            allowed_domain,
            detail,
            defect,
            field,
            credential: None,
            home,
            standing: None,
            fingerprint: 0,
            missing_key: None,
        }
    }

    /// The same connection, which could not be opened for want of this master key, if for that.
    #[must_use]
    pub fn lacking(self, key: Option<KeyId>) -> Self {
        Self { missing_key: key.map(Box::new), ..self }
    }

    /// The master key for want of which the secret could not be opened.
    #[must_use]
    pub fn missing_key(&self) -> Option<KeyId> {
        self.missing_key.as_deref().copied()
    }

    /// The fingerprint of the record that it was made of; 0 where there is none.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Says whether it was made of this very record.
    #[must_use]
    pub fn is_of(&self, record: &ConnectionRecord) -> bool {
        self.fingerprint == record.fingerprint()
            && self.integration == record.integration
            && self.name == record.name
            && self.allowed_domain == record.allowed_domain
            && self.detail == record.detail
    }

    /// The integration that it belongs to.
    #[must_use]
    pub fn integration(&self) -> &IntegrationName {
        &self.integration
    }

    /// Its name, unique within the integration across all types.
    #[must_use]
    pub fn name(&self) -> &ConnectionName {
        &self.name
    }

    /// Where its credential may be sent; `None` where nobody has said so yet.
    #[must_use]
    pub fn allowed_domain(&self) -> Option<&AllowedDomain> {
        self.allowed_domain.as_ref()
    }

    /// How its tokens stand, where it is a connection by OAuth that could be opened.
    #[must_use]
    pub fn standing(&self) -> Option<&TokenStatus> {
        self.standing.as_deref()
    }

    /// `false` for the connection `zendesk` by OAuth where its tokens are of another account than
    /// the host that they would be sent to (ZIS spec §7.7).
    #[must_use]
    pub(super) fn is_of_one_account(&self) -> bool {
        let Some(subdomain) = self.grant().and_then(|grant| grant.subdomain.as_ref()) else {
            return true;
        };
        if self.name.as_str() != ZENDESK {
            return true;
        }
        let host = self.allowed_domain.as_ref().and_then(AllowedDomain::exact);
        let label = host.as_ref().and_then(|host| host.as_str().strip_suffix(".zendesk.com"));
        label.is_some_and(|label| label.eq_ignore_ascii_case(subdomain.as_str()))
    }

    /// The origin at `host` and `port`; the one that is meant most often is at hand.
    #[must_use]
    pub(super) fn origin(&self, host: &HostName, port: u16) -> Origin {
        match &self.home {
            Some(home) if port == 443 && home.host() == host.as_str() => home.clone(),
            _ => Origin::new(host, port),
        }
    }

    /// Its type.
    #[must_use]
    pub fn kind(&self) -> ConnectionType {
        self.detail.kind()
    }

    /// Its type, and what of it is not secret.
    #[must_use]
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Whether `other` would send the same credential to the same places. An OAuth connection
    /// stays the same as long as it lives by one grant, whichever tokens it has.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        if let (Some(ours), Some(theirs)) = (self.grant(), other.grant()) {
            let uuid = |connection: &Self| connection.standing().map(|standing| standing.uuid);
            return ours.authorized_at == theirs.authorized_at
                && uuid(self) == uuid(other)
                && self.allowed_domain == other.allowed_domain;
        }
        let same_credential = match (&self.credential, &other.credential) {
            (Some(ours), Some(theirs)) => ours.same_as(theirs),
            _ => false,
        };
        same_credential
            && self.detail == other.detail
            && self.allowed_domain == other.allowed_domain
    }

    fn grant(&self) -> Option<&Grant> {
        if let Detail::OAuth(grant) = &self.detail { Some(grant) } else { None }
    }

    /// The reason why it can't be used, where the rules have become stricter since it was accepted.
    #[must_use]
    pub fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// The header field that it injects.
    #[must_use]
    pub fn field(&self) -> &HeaderName {
        &self.field
    }

    /// What it injects; `None` when its secret could not be opened.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
}

impl TokenStatus {
    fn of(uuid: Uuid, grant: &Grant, tokens: &TokenSet) -> Self {
        Self {
            uuid,
            generation: grant.generation,
            renewable: grant.lapse.is_none() && grant.is_renewable(tokens.refresh_token.is_some()),
            lapsed: grant.lapse.is_some(),
            issued_at: tokens.issued_at,
            expires_at: tokens.expires_at,
            used: AtomicBool::new(false),
        }
    }

    /// When the access token ages, if it does.
    #[must_use]
    pub fn ages(&self, refresh_before: Duration) -> Option<TokenAges> {
        Some(TokenAges::of(self.issued_at, self.expires_at?, refresh_before))
    }

    /// How fresh the access token is at this time.
    #[must_use]
    pub fn freshness(&self, refresh_before: Duration, now: Timestamp) -> Freshness {
        self.ages(refresh_before).map_or(Freshness::Fresh, |ages| ages.at(now))
    }

    /// Whether only a new flow helps at this time: the grant has lapsed, or the access token has
    /// ended and no other can be had.
    #[must_use]
    pub fn needs_reauthorization(&self, now: Timestamp) -> bool {
        let expired = self.expires_at.is_some_and(|end| now >= end);
        self.lapsed || (expired && !self.renewable)
    }

    /// Notes that these tokens are used; whether they are for the first time.
    #[must_use]
    pub fn is_first_use(&self) -> bool {
        !self.used.load(Relaxed) && !self.used.swap(true, Relaxed)
    }
}

impl ConnectionType {
    /// All types.
    pub const ALL: [Self; 4] = [Self::ApiKey, Self::BasicAuth, Self::BearerToken, Self::OAuth];

    /// Reads the API's name of a type.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }

    /// The member of the API's documents that holds the secret.
    #[must_use]
    pub fn secret_member(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
            Self::OAuth => "access_token",
        }
    }

    /// What a person calls the secret.
    #[must_use]
    pub fn secret_label(self) -> &'static str {
        match self {
            Self::ApiKey => "API key",
            Self::BasicAuth => "password",
            Self::BearerToken => "token",
            Self::OAuth => "access token",
        }
    }

    /// The API's name of the type.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ApiKey => "api_key",
            Self::BasicAuth => "basic_auth",
            Self::BearerToken => "bearer_token",
            Self::OAuth => "oauth",
        }
    }
}

impl fmt::Display for ConnectionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
