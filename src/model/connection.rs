//! A connection: one stored credential of one type, bound to one allowed domain (ZIS spec §1). A
//! custom one may have several domains, with a credential at each (contract §8).

mod connection_type;
mod former;
mod role;
mod routes;
mod token_status;

use std::sync::Arc;

use http::{HeaderName, header};

pub use self::connection_type::ConnectionType;
pub use self::former::FormerConnection;
use self::routes::DomainRoute;
pub use self::token_status::TokenStatus;
use super::aws::access::RequestSigner;
use super::client_identity::ClientIdentity;
use super::credential::{Credential, NotAFieldValue};
use super::domain::{AllowedDomain, DomainError};
use super::field::{CredentialField, FieldError};
use super::name::{ConnectionName, IntegrationName, ZENDESK};
use super::oauth::grant::Grant;
use super::oauth::profile::INJECTED_SECRETS;
use super::oauth::tokens::TokenSet;
use super::options::ConnectionOptions;
use super::origin::{HostName, Origin};
use super::placement::{Placement, field_names};
use super::record::{ConnectionRecord, Detail, new_id};
use super::sealed::KeyId;
use crate::secret::Secret;

/// A connection of an integration.
///
/// It holds the credential made of its secret, and no other copy of the secret; and the same of the
/// secret before, while that is kept.
#[derive(Debug)]
pub struct Connection {
    integration: IntegrationName,
    name: ConnectionName,
    allowed_domain: Option<AllowedDomain>,
    detail: Detail,
    options: Arc<ConnectionOptions>,
    defect: Option<Defect>,
    fields: Arc<[HeaderName]>,
    /// `None` where the sealed secret could not be opened.
    credential: Option<Credential>,
    /// The domains of a custom connection, with the credential of each.
    routes: Box<[DomainRoute]>,
    /// The origin of an exact allowed domain at port 443, made once.
    home: Option<Origin>,
    /// The status of its provider tokens, or of the session of its role; `None` unless it was opened
    /// and has either.
    token_status: Option<Box<TokenStatus>>,
    /// The fingerprint of its record; 0 for a declared connection.
    fingerprint: u64,
    /// The master key that opening the secret would need.
    missing_key: Option<Box<KeyId>>,
    /// The client certificate, with its key, that TLS to its origins presents.
    identity: Option<Arc<ClientIdentity>>,
    /// The fingerprint of the commands that print its secrets, where it is declared with any.
    commands: Option<u64>,
    /// The connection with the secret before its present one, where that is kept.
    former: Option<Box<FormerConnection>>,
}

/// The reason why a connection can't be used although it was accepted: the rules have become
/// stricter since.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Defect {
    /// Its wildcard covers names of different owners.
    #[error("its allowed domain is no longer accepted: {0}")]
    Domain(DomainError),
    /// Its header may not carry a credential.
    #[error("its header name is no longer accepted: {0}")]
    Field(FieldError),
    /// A field that was to carry its access token, or the template of its value.
    #[error("its client's inject is no longer accepted: change it, and authorize again")]
    Injection,
    /// A place that was to carry a secret of a custom connection, or the template of its value.
    #[error("its inject is no longer accepted: change it")]
    Placement,
}

impl Defect {
    /// The defect of a connection with this domain and detail, if it has one.
    pub fn of(domain: Option<&AllowedDomain>, detail: &Detail) -> Option<Self> {
        if domain.is_some_and(AllowedDomain::is_too_wide) {
            return Some(Self::Domain(DomainError::PublicSuffix));
        }
        match detail {
            Detail::ApiKey { header_name } => {
                CredentialField::parse(header_name).err().map(Self::Field)
            }
            Detail::OAuth(grant) => {
                let injection = grant.injection.as_ref()?;
                let parse = |it: &Placement| it.parse(&INJECTED_SECRETS).is_err();
                injection.placements.iter().any(parse).then_some(Self::Injection)
            }
            Detail::Custom(access) => {
                if access.domains.iter().any(|it| it.domain.is_too_wide()) {
                    return Some(Self::Domain(DomainError::PublicSuffix));
                }
                (!access.is_accepted()).then_some(Self::Placement)
            }
            Detail::BasicAuth { .. } | Detail::BearerToken | Detail::AwsSigV4(_) => None,
        }
    }
}

impl Connection {
    /// Makes a connection whose credential carries `secret`, with the default options.
    ///
    /// # Errors
    /// [`NotAFieldValue`] when a header field can't carry the secret, or `detail` names a field
    /// that may not carry one.
    pub fn new(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: AllowedDomain,
        detail: Detail,
        secret: &Secret,
    ) -> Result<Self, NotAFieldValue> {
        let mut connection =
            Self::without_credential(integration, name, Some(allowed_domain), detail);
        connection.set_secret(secret)?;
        connection.note_sessions(new_id().unwrap_or_default(), secret);
        Ok(connection)
    }

    /// Makes the connection of a record and its opened secret. Without a usable secret it has no
    /// credential: requests can name it and are refused.
    pub fn from_record(record: ConnectionRecord, opened: Option<&Secret>) -> Self {
        let fingerprint = record.fingerprint();
        let secrets = opened.and_then(|opened| record.secrets(opened));
        let ConnectionRecord { uuid, integration, name, allowed_domain, detail, options, .. } =
            record;
        let mut connection = Self::without_credential(integration, name, allowed_domain, detail);
        connection.fingerprint = fingerprint;
        connection.options = options;
        let Some(secrets) = secrets else { return connection };
        // 1. Without the certificate that it is to present, it is of no use.
        match connection.options.identity(&secrets) {
            Ok(identity) => connection.identity = identity.map(Arc::new),
            Err(_fault) => return connection,
        }
        // 2. Its credential, of a secret or of provider tokens.
        if let Detail::OAuth(grant) = &connection.detail {
            let Some(tokens) = TokenSet::unpack(&secrets.secret) else { return connection };
            connection.credential =
                Credential::build(&connection.detail, &tokens.access_token).ok();
            connection.token_status = Some(Box::new(TokenStatus::of(uuid, grant, &tokens)));
        } else {
            // Without a credential it is refused.
            let _no_credential = connection.set_secret(&secrets.secret);
            connection.note_sessions(uuid, &secrets.secret);
            let former = secrets.old.and_then(|old| FormerConnection::of(&connection, &old));
            connection.former = former.map(Box::new);
        }
        connection
    }

    /// Makes its credential of a static secret, or its credentials.
    fn set_secret(&mut self, secret: &Secret) -> Result<(), NotAFieldValue> {
        let credential = Credential::build(&self.detail, secret)?;
        self.routes = DomainRoute::all(&self.detail, Some(secret))?;
        self.credential = Some(credential);
        Ok(())
    }

    fn without_credential(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: Option<AllowedDomain>,
        detail: Detail,
    ) -> Self {
        let fields = match &detail {
            Detail::ApiKey { header_name } => {
                CredentialField::parse(header_name).ok().map(|field| [field.name().clone()].into())
            }
            Detail::OAuth(grant) => grant.injection.as_ref().map(|it| field_names(&it.placements)),
            Detail::AwsSigV4(_) => Some(RequestSigner::fields().into()),
            Detail::Custom(access) => Some(field_names(access.placements())),
            Detail::BasicAuth { .. } | Detail::BearerToken => None,
        };
        let fields = fields.unwrap_or_else(|| Arc::from([header::AUTHORIZATION]));
        // A domain without a credential is refused.
        let routes = DomainRoute::all(&detail, None).unwrap_or_default();
        // Rules may have become stricter since the connection was accepted.
        let defect = Defect::of(allowed_domain.as_ref(), &detail);
        let exact = allowed_domain.as_ref().and_then(AllowedDomain::exact);
        let home = exact.map(|host| Origin::new(&host, 443));
        Self {
            integration,
            name,
            allowed_domain,
            detail,
            options: ConnectionOptions::default().shared(),
            defect,
            fields,
            credential: None,
            routes,
            home,
            token_status: None,
            fingerprint: 0,
            missing_key: None,
            identity: None,
            commands: None,
            former: None,
        }
    }

    /// Gives it options.
    #[must_use]
    pub fn with_options(self, options: ConnectionOptions) -> Self {
        Self { options: options.shared(), ..self }
    }

    /// Makes a connection whose secret no command has printed yet. It has no credential: requests
    /// can name it and are refused.
    pub fn without_secret(
        integration: IntegrationName,
        name: ConnectionName,
        allowed_domain: AllowedDomain,
        detail: Detail,
    ) -> Self {
        Self::without_credential(integration, name, Some(allowed_domain), detail)
    }

    /// Notes the fingerprint of the commands that print its secrets.
    #[must_use]
    pub fn with_commands(self, fingerprint: u64) -> Self {
        Self { commands: Some(fingerprint), ..self }
    }

    /// Tells whether it has no credential because a command has not printed its secret.
    pub fn awaits_command(&self) -> bool {
        self.commands.is_some() && self.credential.is_none()
    }

    /// Notes the master key that opening the secret would need.
    #[must_use]
    pub fn with_missing_key(self, key: Option<KeyId>) -> Self {
        Self { missing_key: key.map(Box::new), ..self }
    }

    /// The master key that opening the secret would need; `None` when the secret was opened, or
    /// could not be for another reason.
    pub fn missing_key(&self) -> Option<KeyId> {
        self.missing_key.as_deref().copied()
    }

    /// Presents this client certificate in TLS to its origins.
    #[must_use]
    pub fn with_identity(self, identity: Option<Arc<ClientIdentity>>) -> Self {
        Self { identity, ..self }
    }

    /// The client certificate, with its key, that TLS to its origins presents.
    pub fn identity(&self) -> Option<&Arc<ClientIdentity>> {
        self.identity.as_ref()
    }

    /// Tells whether both present the same client certificate, or none.
    pub fn has_identity_of(&self, other: &Self) -> bool {
        let id = |connection: &Self| connection.identity().map(|identity| identity.id());
        id(self) == id(other)
    }

    /// The fingerprint of its record; 0 for a declared connection.
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// Tells whether it was made of a record equal to this one.
    pub fn is_of(&self, record: &ConnectionRecord) -> bool {
        self.fingerprint == record.fingerprint()
            && self.integration == record.integration
            && self.name == record.name
            && self.allowed_domain == record.allowed_domain
            && self.detail == record.detail
            && self.options == record.options
    }

    /// The integration that it belongs to.
    pub fn integration(&self) -> &IntegrationName {
        &self.integration
    }

    /// Its name, unique within the integration across all types.
    pub fn name(&self) -> &ConnectionName {
        &self.name
    }

    /// The domain to which its credential may be sent; `None` until one is set. A custom one may
    /// have others beside it.
    pub fn allowed_domain(&self) -> Option<&AllowedDomain> {
        self.allowed_domain.as_ref()
    }

    /// The status of its provider tokens, or of the session of its role; `None` unless it was opened
    /// and has either.
    pub fn token_status(&self) -> Option<&TokenStatus> {
        self.token_status.as_deref()
    }

    /// Tells whether its tokens belong to the account of its host. Only the OAuth connection
    /// `zendesk` can violate this (ZIS spec §7.7).
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

    /// The origin of `host` and `port`. The most common one is not made again.
    pub(super) fn origin(&self, host: &HostName, port: u16) -> Origin {
        match &self.home {
            Some(home) if port == 443 && home.host() == host.as_str() => home.clone(),
            _ => Origin::new(host, port),
        }
    }

    /// Its type.
    pub fn kind(&self) -> ConnectionType {
        self.detail.kind()
    }

    /// Its type and everything of it that is not secret.
    pub fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Its options.
    pub fn options(&self) -> &Arc<ConnectionOptions> {
        &self.options
    }

    /// Tells whether `other` sends the same credential to the same origins, by the same client
    /// certificate. For OAuth connections the grant counts, not the tokens; of a role its keys do,
    /// not the session; where commands print the secrets, the commands count.
    pub fn same_as(&self, other: &Self) -> bool {
        if !self.has_identity_of(other) {
            return false;
        }
        if let (Some(ours), Some(theirs)) = (self.grant(), other.grant()) {
            let uuid = |connection: &Self| connection.token_status().map(|standing| standing.uuid);
            return ours.authorized_at == theirs.authorized_at
                && uuid(self) == uuid(other)
                && self.allowed_domain == other.allowed_domain;
        }
        let same_credential = match (&self.credential, &other.credential) {
            _ if self.commands.is_some() => self.commands == other.commands,
            (Some(ours), Some(theirs)) => ours.has_source_of(theirs),
            _ => false,
        };
        let mut routes = self.routes.iter().zip(&other.routes);
        same_credential
            && self.routes.len() == other.routes.len()
            && routes.all(|(ours, theirs)| ours.same_as(theirs))
            && self.detail == other.detail
            && self.allowed_domain == other.allowed_domain
    }

    fn grant(&self) -> Option<&Grant> {
        if let Detail::OAuth(grant) = &self.detail { Some(grant) } else { None }
    }

    /// The reason why it can't be used, where the rules have become stricter since it was accepted.
    pub fn defect(&self) -> Option<Defect> {
        self.defect
    }

    /// The names of the header fields that it injects.
    pub fn fields(&self) -> &Arc<[HeaderName]> {
        &self.fields
    }

    /// The credential that it injects, or the first of several; `None` when its secret could not be
    /// opened.
    pub fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }
}
