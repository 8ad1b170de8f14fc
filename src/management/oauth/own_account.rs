//! The connection `zendesk`, which is for the account itself: bound to the account's own host, with
//! tokens of the account's own subdomain (ZIS spec §7.7).

use crate::management::fault::{About, Refused};
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, ZENDESK};
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::{EndpointTemplate, Subdomain};
use crate::model::origin::HostName;
use crate::state::ManagementSettings;

/// The account that the operator has named with `zis.subdomain`.
#[derive(Debug)]
pub(super) struct OwnAccount<'a> {
    host: &'a HostName,
    label: &'a str,
}

/// Tells whether a connection of this name is the account's own.
pub(super) fn is_own(name: Option<&ConnectionName>) -> bool {
    name.is_some_and(|name| name.as_str() == ZENDESK)
}

impl<'a> OwnAccount<'a> {
    /// The account.
    ///
    /// # Errors
    /// [`Refused::Faulty`] when the operator has named none.
    pub(super) fn of(settings: &'a ManagementSettings) -> Result<Self, Refused> {
        let no_account = "name: zendesk is the account's own connection, which the operator names \
                          with zis.subdomain: choose another name";
        let host = settings.account_host.as_ref();
        let host = host.ok_or_else(|| Refused::of(About::Name, no_account))?;
        let label = host.as_str().strip_suffix(ZENDESK_DOMAIN).ok_or(Refused::Internal)?;
        Ok(Self { host, label })
    }

    /// The account's own host as the allowed domain.
    ///
    /// # Errors
    /// [`Refused::Faulty`] when another one was given.
    pub(super) fn domain(&self, given: Option<&AllowedDomain>) -> Result<AllowedDomain, Refused> {
        let own = AllowedDomain::parse(self.host.as_str()).map_err(|_never| Refused::Internal)?;
        match given {
            Some(given) if *given != own => {
                let title =
                    format!("allowed_domain: connections of the account are for {own} alone");
                Err(Refused::of(About::AllowedDomain, title))
            }
            _ => Ok(own),
        }
    }

    /// The account's own subdomain.
    ///
    /// # Errors
    /// [`Refused::Faulty`] when another one was given.
    pub(super) fn subdomain(&self, given: Option<&Subdomain>) -> Result<Subdomain, Refused> {
        let label = self.label;
        match given {
            Some(given) if !given.as_str().eq_ignore_ascii_case(label) => {
                let title = format!(
                    "oauth_url_subdomain: the connection zendesk is for the account {label} alone"
                );
                Err(Refused::of(About::Request, title))
            }
            _ => Subdomain::parse(label).map_err(|_never| Refused::Internal),
        }
    }

    /// Checks that a client does not ask another account for its tokens.
    ///
    /// # Errors
    /// [`Refused::Faulty`] when a URL of the client is another account's.
    pub(super) fn check_client(&self, client: &ClientRecord) -> Result<(), Refused> {
        let own = self.subdomain(None)?;
        let is_others = |url: &EndpointTemplate| {
            let endpoint = url.resolve(Some(&own)).ok();
            endpoint.is_some_and(|endpoint| {
                let host = endpoint.origin().host();
                host.ends_with(ZENDESK_DOMAIN) && host != self.host.as_str()
            })
        };
        let profile = &client.profile;
        let further = profile.refresh_url.iter().chain(&profile.revocation_url);
        if client.auth_url.iter().chain([&client.token_url]).chain(further).any(is_others) {
            let title = format!(
                "oauth_client_name: the connection zendesk is for {} alone, and the client's URLs \
                 are another account's",
                self.host.as_str()
            );
            return Err(Refused::of(About::Request, title));
        }
        Ok(())
    }
}

/// The domain below which every account has its host.
const ZENDESK_DOMAIN: &str = ".zendesk.com";
