//! The beginning of a flow (ZIS spec §7.2).

use std::fmt;

use uuid::Uuid;

use super::connections::OAuthConnectionView;
use super::flow_draft::FlowDraft;
use super::one_time_token::text_of;
use super::own_account::{OwnAccount, is_own};
use super::redirect_target;
use crate::management::connections::{ReadAccess, WriteAccess};
use crate::management::draft::NEVER_CHANGES;
use crate::management::events::EventDraft;
use crate::management::fault::{About, Refused, no_randomness};
use crate::model::connection::ConnectionType;
use crate::model::domain::AllowedDomain;
use crate::model::event::EventKind;
use crate::model::name::ConnectionName;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::PLACEHOLDER;
use crate::model::oauth::flow::{FlowPayload, FlowPlan, FlowStep};
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::params::has_placeholder;
use crate::model::record::{ConnectionRecord, new_id};
use crate::state::ManagementSettings;
use crate::wire::{Document, NewFlow};

/// A flow that was begun.
#[derive(Clone)]
pub struct StartedFlow {
    /// The URL at which it goes on: of an authorization code's, where the browser is to go; of
    /// others, what is to be exchanged.
    pub redirect_url: String,
    /// The code that is to be exchanged, where nobody need be asked.
    pub verification_code: Option<String>,
}

impl fmt::Debug for StartedFlow {
    /// Leaves out the URL, which has a one-time token in it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StartedFlow").finish_non_exhaustive()
    }
}

impl WriteAccess<'_> {
    /// Begins a flow.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, there is no such client, the name is another
    /// connection's, or the store fails.
    pub async fn start(
        &self,
        request: impl Into<Document<NewFlow>>,
    ) -> Result<StartedFlow, Refused> {
        let settings = self.0.management.settings();
        self.begin(FlowDraft::read(request.into(), &settings)?, &settings).await
    }

    /// Begins the flow that authorizes a connection again, by the client and with the scopes that
    /// it has. The browser is sent to `redirect_to` at the end.
    ///
    /// # Errors
    /// [`Refused`]: the client is gone, the flow may not end there, or the store fails.
    pub async fn start_again(
        &self,
        connection: &OAuthConnectionView,
        redirect_to: &str,
    ) -> Result<StartedFlow, Refused> {
        let settings = self.0.management.settings();
        let redirect_to = redirect_target::parse(redirect_to, &settings).map_err(|rule| {
            Refused::of(About::Request, format!("origin_oauth_redirect_url: {rule}"))
        })?;
        let grant = &connection.grant;
        let draft = FlowDraft {
            name: Some(connection.name.clone()),
            client_name: None,
            client_uuid: Some(grant.client),
            grant_type: Some(grant.grant_type),
            scopes: Some(grant.scopes.clone()),
            subdomain: grant.subdomain.clone(),
            redirect_to: Some(redirect_to),
            offline: false,
            allowed_domain: None,
        };
        self.begin(draft, &settings).await
    }

    async fn begin(
        &self,
        draft: FlowDraft,
        settings: &ManagementSettings,
    ) -> Result<StartedFlow, Refused> {
        let ReadAccess { management, operator, integration } = &self.0;
        // 1. The plan: by which client, for which connection.
        let client = self.client_of(&draft).await?;
        let plan = self.plan(draft, &client, settings).await?;
        let grant_type = plan.grant_type;
        let step = if grant_type.has_user() { FlowStep::Started } else { FlowStep::Granted };
        // 2. The flow is kept, and known by its one-time token.
        let id = new_id().map_err(|error| no_randomness(&error))?;
        let origins = client.origins(plan.subdomain.as_ref());
        let content = FlowPayload { origins, ..FlowPayload::new(plan) };
        let of = (id, integration, client.uuid);
        let event = EventDraft::new(EventKind::FlowStart, integration.as_str(), &client.name);
        let event = event.of_connection(content.plan.name.as_ref());
        let persistence = management.persistence()?;
        let noting = management.noting(persistence, *operator, event).await?;
        let token = management.keep_flow((persistence, &noting), of, step, &content).await?;
        self.0.log_step("start", Some(&client), content.plan.name.as_ref(), None);
        // 3. Where it goes on.
        let base = format!("{}/api/services/zis/connections/oauth", settings.public_url);
        let text = text_of(&token);
        Ok(if grant_type.has_user() {
            StartedFlow {
                redirect_url: format!("{base}/start_redirect?flow_token={text}"),
                verification_code: None,
            }
        } else {
            StartedFlow {
                redirect_url: format!("{base}/access_codes/{integration}?verification_code={text}"),
                verification_code: Some(text),
            }
        })
    }

    /// The client that the flow is for; named in two ways, it must be one.
    async fn client_of(&self, draft: &FlowDraft) -> Result<ClientRecord, Refused> {
        let ReadAccess { management, integration, .. } = &self.0;
        let persistence = management.persistence()?;
        let found = match (&draft.client_name, draft.client_uuid) {
            (Some(name), _) => persistence.client_by_name(integration, name).await?,
            (None, Some(uuid)) => return self.0.client_of(uuid).await,
            (None, None) => return Err(Refused::Malformed),
        };
        let client = found.ok_or(Refused::NotFound)?;
        match draft.client_uuid {
            Some(uuid) if uuid != client.uuid => Err(Refused::of(
                About::Request,
                "oauth_client_uuid: is not that of oauth_client_name",
            )),
            _ => Ok(client),
        }
    }

    async fn plan(
        &self,
        mut draft: FlowDraft,
        client: &ClientRecord,
        settings: &ManagementSettings,
    ) -> Result<FlowPlan, Refused> {
        let ReadAccess { operator, integration, .. } = &self.0;
        let grant_type = draft.grant_type.unwrap_or(client.grant_type);
        if !client.allows(grant_type) {
            let own = client.grant_type.as_str();
            return Err(Refused::of(About::Request, format!("grant_type: the client's is {own}")));
        }
        // 1. The connection is the operator's to make.
        if !operator.may_make(integration, draft.name.as_ref()) {
            return Err(Refused::OutOfReach);
        }
        // 2. The connection `zendesk`, and every other one of the account's own client, is for the
        // account itself.
        if is_own(draft.name.as_ref()) || client.is_declared() {
            let account = OwnAccount::of(settings)?;
            draft.subdomain = Some(account.subdomain(draft.subdomain.as_ref())?);
            draft.allowed_domain = Some(account.domain(draft.allowed_domain.as_ref())?);
            account.check_client(client)?;
        }
        // 3. The provider can be asked, and the name be used.
        check_urls(&draft, client, grant_type)?;
        let is_new = match &draft.name {
            Some(name) => self.check_name(name, draft.allowed_domain.as_ref()).await?,
            None => true,
        };
        // 4. Unless another is given, a new connection has the first domain that its client offers.
        if is_new && draft.allowed_domain.is_none() {
            let offered = client.profile.allowed_domains.first();
            draft.allowed_domain =
                offered.and_then(|domain| domain.resolve(draft.subdomain.as_ref()));
        }
        let scopes = draft.scopes.filter(|scopes| !scopes.is_empty());
        Ok(FlowPlan {
            name: draft.name,
            allowed_domain: draft.allowed_domain,
            grant_type,
            scopes: scopes.unwrap_or_else(|| client.default_scopes.clone()),
            subdomain: draft.subdomain,
            offline: draft.offline,
            redirect_to: draft.redirect_to,
            created_by: Box::from(&*operator.caller().name),
            begun_with: operator.id(),
            person: operator.person().cloned().map(Box::new),
        })
    }

    /// A connection of that name may be there already, if it is one by OAuth: it is authorized
    /// again. It keeps its domain. Tells whether it is to be made.
    async fn check_name(
        &self,
        name: &ConnectionName,
        domain: Option<&AllowedDomain>,
    ) -> Result<bool, Refused> {
        if self.0.declared(name).is_some() {
            return Err(Refused::of(About::Name, TAKEN));
        }
        match self.0.record(name).await {
            Err(Refused::NotFound) => Ok(true),
            Err(other) => Err(other),
            Ok(record) => check_again(&record, domain).map(|()| false),
        }
    }
}

/// Checks that the connection may be authorized again, for this domain if one is given.
pub(super) fn check_again(
    record: &ConnectionRecord,
    domain: Option<&AllowedDomain>,
) -> Result<(), Refused> {
    if record.kind() != ConnectionType::OAuth {
        return Err(Refused::of(About::Name, TAKEN));
    }
    match (&record.allowed_domain, domain) {
        (Some(bound), Some(given)) if bound != given => {
            Err(Refused::of(About::AllowedDomain, format!("allowed_domain: {NEVER_CHANGES}")))
        }
        _ => Ok(()),
    }
}

/// Checks that the flow has what the client's URLs and parameters need.
fn check_urls(
    draft: &FlowDraft,
    client: &ClientRecord,
    grant_type: GrantType,
) -> Result<(), Refused> {
    // 1. Everything that the provider is asked with.
    let subdomain = draft.subdomain.as_ref();
    let profile = &client.profile;
    let mut urls = vec![&client.token_url];
    let mut params = vec![&profile.token_params];
    if grant_type.has_user() {
        let missing = "auth_url: the client has none, and an authorization code is asked for there";
        urls.push(client.auth_url.as_ref().ok_or_else(|| Refused::of(About::Request, missing))?);
        urls.extend(&profile.refresh_url);
        params.extend([&profile.auth_params, &profile.refresh_params]);
    }
    // 2. Whatever has a placeholder has a value for it.
    for url in urls {
        if let Err(rule) = url.resolve(subdomain) {
            let title = format!("oauth_url_subdomain: the client's URL {rule}");
            return Err(Refused::of(About::Request, title));
        }
    }
    if subdomain.is_none() && params.iter().any(|params| has_placeholder(params, PLACEHOLDER)) {
        let title = "oauth_url_subdomain: is missing: a parameter of the client needs it";
        return Err(Refused::of(About::Request, title));
    }
    Ok(())
}

/// The uuid of a connection as its name, where it has no other.
pub(super) fn name_of(uuid: Uuid) -> Result<ConnectionName, Refused> {
    ConnectionName::parse(&uuid.to_string()).map_err(|_never| Refused::Internal)
}

const TAKEN: &str = "name: a connection of another type has it";
