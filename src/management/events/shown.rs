//! Records as the API shows them, for events: without secrets.

use serde::Serialize;
use serde_json::Value;

use crate::management::connections::ConnectionView;
use crate::management::{ClientView, Management};
use crate::model::oauth::client::ClientRecord;
use crate::model::record::{ConnectionRecord, TokenRecord};
use crate::wire::{OAuthClient, OAuthConnection, TokenView, TypedConnection};

impl Management {
    /// A connection, with its type.
    pub(in crate::management) fn snapshot(&self, record: &ConnectionRecord) -> Option<Value> {
        let vault = self.persistence().ok()?.vault();
        let mut shown = match self.authorized(record, false) {
            Some(authorized) => value(&OAuthConnection::from(authorized)),
            None => value(&TypedConnection::from(ConnectionView::of(record, &vault)?)),
        };
        if let Some(Value::Object(members)) = &mut shown {
            members.insert("type".to_owned(), record.kind().as_str().into());
        }
        shown
    }
}

/// An OAuth client.
pub(in crate::management) fn snapshot_of_client(record: &ClientRecord) -> Option<Value> {
    value(&OAuthClient::from(ClientView::of(record.clone())))
}

/// A caller token.
pub(in crate::management) fn snapshot_of_token(record: &TokenRecord) -> Option<Value> {
    value(&TokenView::from(record.clone()))
}

/// Anything else that the API shows.
pub(in crate::management) fn value(shown: &impl Serialize) -> Option<Value> {
    serde_json::to_value(shown).ok()
}
