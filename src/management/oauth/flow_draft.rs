//! Requests for flows, read by their rules.

use uuid::Uuid;

use super::member_rules::parse_scopes;
use super::redirect_target;
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, named};
use crate::model::domain::AllowedDomain;
use crate::model::name::{ClientName, ConnectionName};
use crate::model::oauth::endpoint::Subdomain;
use crate::model::oauth::grant::GrantType;
use crate::state::ManagementSettings;
use crate::wire::{Document, NewFlow};

/// A flow that is to be begun.
#[derive(Debug)]
pub(super) struct FlowDraft {
    pub(super) name: Option<ConnectionName>,
    pub(super) client_name: Option<ClientName>,
    pub(super) client_uuid: Option<Uuid>,
    pub(super) grant_type: Option<GrantType>,
    pub(super) scopes: Option<Box<str>>,
    pub(super) subdomain: Option<Subdomain>,
    pub(super) redirect_to: Option<Box<str>>,
    pub(super) offline: bool,
    pub(super) allowed_domain: Option<AllowedDomain>,
}

impl FlowDraft {
    /// Reads the whole request.
    ///
    /// # Errors
    /// [`Refused::Faulty`] with everything that is wrong.
    pub(super) fn read(
        request: Document<NewFlow>,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let (request, mut reader) = MemberReader::of(request);
        // The connection, and the client that the flow is for.
        let name = reader.take_filled(named!(request.name), About::Name, ConnectionName::parse);
        let client_name =
            reader.take_filled(named!(request.oauth_client_name), About::Name, ClientName::parse);
        let client_uuid =
            reader.take_filled(named!(request.oauth_client_uuid), About::Request, Uuid::try_parse);
        if client_name.is_none() && client_uuid.is_none() && !reader.is_faulty() {
            reader.fault(
                About::Request,
                "oauth_client_name: is missing: name the client, or give oauth_client_uuid",
            );
        }
        let grant_type =
            reader.take_filled(named!(request.grant_type), About::Request, GrantType::parse);
        // The scopes have two names: the one of requests, and the one of answers.
        let plural =
            reader.take_filled(named!(request.permission_scopes), About::Request, parse_scopes);
        let singular =
            reader.take_filled(named!(request.permission_scope), About::Request, parse_scopes);
        if let (Some(one), Some(other)) = (&plural, &singular)
            && one != other
        {
            reader.fault(About::Request, "permission_scope: says other than permission_scopes");
        }
        // The provider's account, and the end of the flow.
        let subdomain = reader.take_filled(
            named!(request.oauth_url_subdomain),
            About::Request,
            Subdomain::parse,
        );
        let redirect_to =
            reader.take_filled(named!(request.origin_oauth_redirect_url), About::Request, |text| {
                redirect_target::parse(text, settings)
            });
        let offline = reader.value(named!(request.allow_offline_access)).unwrap_or_default();
        let allowed_domain = reader.take_filled(
            named!(request.allowed_domain),
            About::AllowedDomain,
            AllowedDomain::parse,
        );
        reader.close(Some(Self {
            name,
            client_name,
            client_uuid,
            grant_type,
            scopes: plural.or(singular),
            subdomain,
            redirect_to,
            offline,
            allowed_domain,
        }))
    }
}
