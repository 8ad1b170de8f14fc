//! OAuth clients: those of the store, and the account's own.

use uuid::Uuid;

use super::Persistence;
use crate::model::name::{ClientName, IntegrationName};
use crate::model::oauth::client::{AccountClient, ClientRecord};
use crate::store;

impl Persistence {
    /// The client of this integration with this uuid.
    ///
    /// # Errors
    /// [`store::Error`] when the store can't be read.
    pub async fn client(
        &self,
        integration: &IntegrationName,
        uuid: Uuid,
    ) -> Result<Option<ClientRecord>, store::Error> {
        if uuid == AccountClient::UUID {
            return Ok(self.account_client(integration));
        }
        self.store().client(integration, uuid).await
    }

    /// The client of this integration with this name. The account's own client wins over a stored
    /// one of that name, which is still found by its uuid.
    ///
    /// # Errors
    /// [`store::Error`] when the store can't be read.
    pub async fn client_by_name(
        &self,
        integration: &IntegrationName,
        name: &ClientName,
    ) -> Result<Option<ClientRecord>, store::Error> {
        let own = self.account_client(integration).filter(|own| own.name == *name);
        match own {
            Some(own) => Ok(Some(own)),
            None => self.store().client_by_name(integration, name).await,
        }
    }

    /// The account's own client as a client of this integration, sealed like any other.
    #[must_use]
    pub fn account_client(&self, integration: &IntegrationName) -> Option<ClientRecord> {
        let settings = std::sync::Arc::clone(&self.live.load().management);
        let client = settings.account_client.as_ref()?;
        let mut record = client.record(integration, settings.read_at)?;
        match self.vault().seal(&record.context(), &client.secret) {
            Ok(sealed) => record.sealed = sealed,
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the secret of zis.client can't be sealed"
                );
                return None;
            }
        }
        Some(record)
    }
}
