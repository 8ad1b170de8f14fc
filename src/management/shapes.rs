//! Records as the API shows them: connections, OAuth clients, caller tokens.
//! Connections by OAuth are in `oauth/shapes.rs`.

use std::time::Duration;

use super::{AnyConnection, ClientView, ConnectionView};
use crate::model::aws::access::AwsAccess;
use crate::model::aws::role::AssumeRole;
use crate::model::connection::ConnectionType;
use crate::model::custom::{CustomAccess, CustomDomain};
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::placement::Placement;
use crate::model::record::{Detail, TokenRecord};
use crate::wire::{
    AllowedDomainMembers, AssumeRoleMembers, AwsConnection, CustomConnection, OAuthClient,
    OptionMembers, OwnDomainMembers, PlacementMembers, ProfileMembers, Redacted, RedactedMap,
    RefreshFailureReport, RuleMembers, StaticConnection, TokenView, TypedConnection, time,
};

impl From<ConnectionView> for StaticConnection {
    fn from(view: ConnectionView) -> Self {
        // 1. The members of its type; a secret is hidden.
        let kind = view.detail.kind();
        let hidden = |of| (kind == of).then_some(Redacted);
        let (header_name, username) = match view.detail {
            Detail::ApiKey { header_name } => (Some(header_name.into()), None),
            Detail::BasicAuth { username } => (None, Some(username.into())),
            Detail::BearerToken | Detail::OAuth(_) | Detail::AwsSigV4(_) | Detail::Custom(_) => {
                (None, None)
            }
        };
        // 2. The members of every type.
        Self {
            allowed_domain: view.allowed_domain.to_string(),
            api_key: hidden(ConnectionType::ApiKey),
            created_at: time(view.created_at),
            declared: view.declared,
            defect: view.defect.map(|defect| defect.to_string()),
            header_name,
            client_key: view.options.client_certificate.is_some().then_some(Redacted),
            not_after: view.options.not_after().map(time),
            name: view.name.to_string(),
            old_secret_until: view.old_secret_until.map(time),
            password: hidden(ConnectionType::BasicAuth),
            token: hidden(ConnectionType::BearerToken),
            updated_at: time(view.updated_at),
            username,
            options: OptionMembers::from(&*view.options),
        }
    }
}

impl From<AnyConnection> for TypedConnection {
    fn from(connection: AnyConnection) -> Self {
        match connection {
            AnyConnection::OAuth(view) => Self::OAuth(Box::new((*view).into())),
            AnyConnection::Static(view) => view.into(),
        }
    }
}

impl From<ConnectionView> for TypedConnection {
    fn from(view: ConnectionView) -> Self {
        match &view.detail {
            Detail::ApiKey { .. } => Self::ApiKey(view.into()),
            Detail::BasicAuth { .. } => Self::BasicAuth(view.into()),
            // None by OAuth is seen as a static one.
            Detail::BearerToken | Detail::OAuth(_) => Self::BearerToken(view.into()),
            Detail::AwsSigV4(access) => Self::AwsSigV4(Box::new(aws(&view, access))),
            Detail::Custom(access) => Self::Custom(custom(&view, access)),
        }
    }
}

fn aws(view: &ConnectionView, access: &AwsAccess) -> AwsConnection {
    // 1. The role, and its sessions.
    let text = |text: &Option<Box<str>>| text.as_deref().map(str::to_owned);
    let role = access.assume_role.as_ref().map(AssumeRoleMembers::from);
    let sessions = view.sessions.as_ref();
    let failure = sessions.and_then(|sessions| sessions.standing.clone());
    // 2. The connection.
    AwsConnection {
        access_key_id: access.access_key_id.to_string(),
        allowed_domain: view.allowed_domain.to_string(),
        assume_role: role,
        client_key: view.options.client_certificate.is_some().then_some(Redacted),
        created_at: time(view.created_at),
        declared: view.declared,
        defect: view.defect.as_ref().map(ToString::to_string),
        name: view.name.to_string(),
        not_after: view.options.not_after().map(time),
        refresh_failure: failure.map(RefreshFailureReport::from),
        region: text(&access.region),
        secret_access_key: Redacted,
        service: text(&access.service),
        session_expiry: sessions.and_then(|sessions| sessions.until).map(time),
        updated_at: time(view.updated_at),
        options: OptionMembers::from(&*view.options),
    }
}

impl From<&AssumeRole> for AssumeRoleMembers {
    fn from(role: &AssumeRole) -> Self {
        let length = |seconds: u32| Duration::from_secs(seconds.into());
        let duration = role.duration.map(|it| humantime::format_duration(length(it)).to_string());
        Self {
            role_arn: role.role_arn.to_string(),
            external_id: role.external_id.as_deref().map(str::to_owned),
            duration,
        }
    }
}

fn custom(view: &ConnectionView, access: &CustomAccess) -> CustomConnection {
    let places = |placements: &[Placement]| placements.iter().map(PlacementMembers::from).collect();
    let domain = |CustomDomain { domain, inject }: &CustomDomain| match inject.as_slice() {
        [] => AllowedDomainMembers::Name(domain.to_string()),
        inject => AllowedDomainMembers::Own(OwnDomainMembers {
            domain: domain.to_string(),
            inject: places(inject),
        }),
    };
    CustomConnection {
        allowed_domains: access.domains.iter().map(domain).collect(),
        client_key: view.options.client_certificate.is_some().then_some(Redacted),
        created_at: time(view.created_at),
        declared: view.declared,
        defect: view.defect.as_ref().map(ToString::to_string),
        inject: places(&access.inject),
        name: view.name.to_string(),
        not_after: view.options.not_after().map(time),
        old_secret_until: view.old_secret_until.map(time),
        secrets: RedactedMap(access.secrets.iter().map(ToString::to_string).collect()),
        updated_at: time(view.updated_at),
        options: OptionMembers::from(&*view.options),
    }
}

impl From<TokenRecord> for TokenView {
    fn from(record: TokenRecord) -> Self {
        Self {
            id: record.id.to_string(),
            name: record.name.into(),
            integration: record.reach.integration().to_owned(),
            scopes: record.scopes.names().map(str::to_owned).collect(),
            connections: record.reach.connections(),
            rules: record.rules.written().into_iter().map(RuleMembers::from).collect(),
            created_at: time(record.created_at),
            expires_at: record.expires_at.map(time),
            last_used_at: record.last_used_at.map(time),
            last_used_for: record.last_used_for.map(Into::into),
            defect: None,
        }
    }
}

impl From<ClientView> for OAuthClient {
    fn from(shown: ClientView) -> Self {
        let record = shown.record();
        Self {
            auth_url: record.auth_url.as_ref().map(|url| EndpointTemplate::as_str(url).to_owned()),
            client_id: record.client_id.to_string(),
            client_secret: Redacted,
            created_at: time(record.created_at),
            created_by: record.created_by.to_string(),
            declared: record.is_declared(),
            default_scopes: record.default_scopes.to_string(),
            grant_type: record.grant_type.as_str().to_owned(),
            integration: record.integration.to_string(),
            name: record.name.to_string(),
            token_endpoint_auth_method: record.auth_method.as_str().to_owned(),
            token_url: record.token_url.as_str().to_owned(),
            updated_at: time(record.updated_at),
            uuid: record.uuid.to_string(),
            profile: ProfileMembers::from(&*record.profile),
        }
    }
}
