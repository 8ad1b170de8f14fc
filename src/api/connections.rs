//! Connections in the shapes of ZIS (ZIS spec §4.1 to §4.4), and of every type.

pub(super) mod all;
mod describe;
pub(super) mod static_types;
pub(super) mod typed;

use super::error::Error;
use crate::management::{ConnectionView, Refused};
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;
use crate::wire::{OptionMembers, Redacted, StaticConnection, time};

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

fn refused(refused: Refused) -> Error {
    Error::refused(refused, "Connection")
}
