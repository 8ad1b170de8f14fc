//! Clients that are filled in by discovery: from an issuer (RFC 8414, OpenID Connect Discovery), or
//! from an MCP server, with which the client is registered too (RFC 9728, RFC 7591).

use super::clients::ClientView;
use super::draft::parse_token_url;
use super::member_rules::parse_scopes;
use crate::management::connections::{ReadAccess, WriteAccess};
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, named};
use crate::model::name::ClientName;
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::discovery::ResourceUrl;
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::oauth::profile::{Issuer, Profile};
use crate::oauth::{
    DiscoveredResource, DiscoveryError, RegisteredClient, Registration, ServerMetadata,
};
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{Document, Member, NewMcpClient, NewOAuthClient, ParamMap};

/// A client for an MCP server.
#[derive(Debug)]
pub struct McpClientView {
    /// The client.
    pub client: ClientView,
    /// Tells whether it was made just now.
    pub is_new: bool,
    /// The host of the MCP server.
    pub allowed_domain: String,
    /// Path and query of the MCP server.
    pub path: String,
}

/// An MCP server for which a client is wanted, as it was read.
struct McpClientDraft {
    url: ResourceUrl,
    name: Option<ClientName>,
    scopes: Option<Box<str>>,
}

impl WriteAccess<'_> {
    /// Fills in what a new client leaves out, where it names its issuer and no token endpoint.
    pub(super) async fn fill_from_issuer(
        &self,
        request: &mut NewOAuthClient,
    ) -> Result<(), Refused> {
        let ReadAccess { management, integration, .. } = &self.0;
        let Member::Given(issuer) = &request.issuer else { return Ok(()) };
        let Ok(issuer) = Issuer::parse(issuer) else { return Ok(()) };
        if !request.token_url.is_blank() {
            return Ok(());
        }
        let found = management.storage()?.provider.discover(integration, &issuer).await;
        let failure = found.as_ref().err().map(ToString::to_string);
        self.0.log_step("discover", None, None, failure.as_deref());
        let server = found.map_err(|error| {
            let title = format!("issuer: {error}; give token_url and auth_url instead");
            Refused::of(About::Request, title)
        })?;
        fill(request, &server);
        Ok(())
    }

    /// Finds out how an MCP server is authorized for, registers a client with its authorization
    /// server, and keeps it. A client of the same name for the same server is used again.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, or with what the server says of itself; the name
    /// is taken; or the store fails.
    pub async fn create_mcp_client(
        &self,
        request: impl Into<Document<NewMcpClient>>,
    ) -> Result<McpClientView, Refused> {
        let ReadAccess { management, integration, .. } = &self.0;
        self.need_all()?;
        let settings = management.settings();
        let draft = McpClientDraft::read(request.into(), &settings)?;
        // 1. The server says of itself what a client needs.
        let provider = &management.storage()?.provider;
        let found = provider.discover_resource(integration, &draft.url).await;
        let failure = found.as_ref().err().map(ToString::to_string);
        self.0.log_step("discover", None, None, failure.as_deref());
        let found = found.map_err(|error| refused(&error))?;
        check(&found.server)?;
        // 2. A client that is there already is used again.
        let (name, known) = self.name_of_client(&draft, &found).await?;
        if let Some(known) = known {
            return Ok(draft.view(ClientView::of(known), false));
        }
        // 3. Otherwise one is registered, and kept.
        let scopes = draft.scopes.as_ref().unwrap_or(&found.scopes);
        let registered = self.registered(&found.server, scopes, &settings).await;
        let failure = registered.as_ref().err().map(ToString::to_string);
        self.0.log_step("register", None, None, failure.as_deref());
        let registered = registered.map_err(|error| refused(&error))?;
        let request = new_client(name.as_ref(), registered, scopes, &found);
        let client = self.create_client(request).await?;
        Ok(draft.view(client, true))
    }

    /// The name of the client, and the client that has it and is for the same server.
    async fn name_of_client(
        &self,
        draft: &McpClientDraft,
        found: &DiscoveredResource,
    ) -> Result<(Option<ClientName>, Option<ClientRecord>), Refused> {
        let ReadAccess { management, integration, .. } = &self.0;
        let derived = || ClientName::parse(&draft.url.origin().host().replace('.', "-")).ok();
        let Some(name) = draft.name.clone().or_else(derived) else { return Ok((None, None)) };
        let known = management.persistence()?.store().client_by_name(integration, &name).await?;
        match known {
            None => Ok((Some(name), None)),
            Some(known) if is_for(&known, found) => Ok((Some(name), Some(known))),
            Some(_other) if draft.name.is_some() => Err(Refused::Taken),
            // Where nobody has chosen the name, the client is called by its uuid.
            Some(_other) => Ok((None, None)),
        }
    }

    /// A client that the server knows: by registration, else by the URL of its metadata.
    async fn registered(
        &self,
        server: &ServerMetadata,
        scopes: &str,
        settings: &ManagementSettings,
    ) -> Result<RegisteredClient, DiscoveryError> {
        let ReadAccess { management, integration, .. } = &self.0;
        let can_be_read = settings.public_url.starts_with("https://");
        if server.registration_url.is_none() && server.reads_client_metadata && can_be_read {
            return Ok(RegisteredClient {
                client_id: management.client_metadata_url().into(),
                secret: Secret::new(""),
                auth_method: AuthMethod::None,
            });
        }
        let redirect_uri = &management.callback_url();
        // A public client, unless the server takes none (RFC 8252 §8.4).
        let wanted =
            [AuthMethod::None, AuthMethod::ClientSecretPost, AuthMethod::ClientSecretBasic];
        let auth_method = wanted.into_iter().find(|method| match &server.auth_methods {
            Some(methods) => methods.contains(method),
            None => true,
        });
        let auth_method = auth_method.unwrap_or(AuthMethod::None);
        let registration = Registration { redirect_uri, scopes, auth_method };
        match management.storage() {
            Ok(storage) => storage.provider.register(integration, server, registration).await,
            Err(_no_store) => Err(DiscoveryError::unregistered(server)),
        }
    }
}

impl McpClientDraft {
    fn read(
        request: Document<NewMcpClient>,
        settings: &ManagementSettings,
    ) -> Result<Self, Refused> {
        let (request, mut reader) = MemberReader::of(request);
        let url = reader.require(named!(request.url), About::Request, |text| {
            if text.contains('?') {
                return Err("must have no query, which would be sent to the authorization server"
                    .to_owned());
            }
            parse_token_url(text, settings)?;
            ResourceUrl::parse(text).map_err(|rule| rule.to_string())
        });
        let name = reader.take_filled(named!(request.name), About::Name, ClientName::parse);
        let scopes = reader.take_filled(named!(request.scopes), About::Request, parse_scopes);
        reader.close(url.map(|url| Self { url, name, scopes }))
    }

    fn view(&self, client: ClientView, is_new: bool) -> McpClientView {
        McpClientView {
            client,
            is_new,
            allowed_domain: self.url.origin().host().to_owned(),
            path: self.url.target().to_string(),
        }
    }
}

/// Checks that the server takes what a flow of ours sends.
fn check(server: &ServerMetadata) -> Result<(), Refused> {
    let issuer = server.issuer.as_str();
    let why = if server.auth_url.is_none() {
        "has no authorization endpoint"
    } else if server.needs_pushed_requests {
        "takes only pushed authorization requests (RFC 9126), which are not supported"
    } else if server.takes_s256 == Some(false) {
        "takes no code challenge by S256 (RFC 7636), without which a public client is not safe"
    } else {
        return Ok(());
    };
    Err(Refused::of(About::Request, format!("url: the authorization server {issuer} {why}")))
}

/// Tells whether a client is one for the same resource at the same server, and differs from it in
/// nothing by which somebody could have its tokens sent elsewhere.
fn is_for(client: &ClientRecord, found: &DiscoveredResource) -> bool {
    let profile = &client.profile;
    let plain = Profile {
        auth_params: profile.auth_params.clone(),
        token_params: profile.token_params.clone(),
        refresh_params: profile.refresh_params.clone(),
        issuer: profile.issuer.clone(),
        revocation_url: found.server.revocation_url.clone(),
        ..Profile::default()
    };
    if **profile != plain {
        return false;
    }
    profile.auth_params.get(RESOURCE).map(String::as_str) == Some(&*found.resource)
        && profile.issuer.as_ref() == Some(&found.server.issuer)
        && client.token_url == found.server.token_url
        && client.auth_url == found.server.auth_url
}

/// The client as it is made of what was found and registered.
fn new_client(
    name: Option<&ClientName>,
    registered: RegisteredClient,
    scopes: &str,
    found: &DiscoveredResource,
) -> NewOAuthClient {
    let resource = || ParamMap::from([(RESOURCE.to_owned(), found.resource.to_string())]);
    let mut auth_params = resource();
    // OpenID Connect gives a refresh token only to who is asked again (Core §11).
    if scopes.split(' ').any(|scope| scope == "offline_access") {
        auth_params.insert("prompt".to_owned(), "consent".to_owned());
    }
    let has_secret = !registered.secret.is_empty();
    let mut request = NewOAuthClient {
        name: name.map(ClientName::as_str).into(),
        client_id: (&*registered.client_id).into(),
        client_secret: has_secret.then_some(registered.secret).into(),
        token_endpoint_auth_method: registered.auth_method.as_str().into(),
        default_scopes: Some(scopes).filter(|scopes| !scopes.is_empty()).into(),
        auth_params: auth_params.into(),
        token_params: resource().into(),
        refresh_params: resource().into(),
        ..NewOAuthClient::default()
    };
    fill(&mut request, &found.server);
    request
}

/// Fills in what a new client leaves out.
fn fill(request: &mut NewOAuthClient, server: &ServerMetadata) {
    let url = |url: &Option<EndpointTemplate>| url.as_ref().map(|url| url.as_str().to_owned());
    // 1. Where it is, in the server's own spelling.
    request.issuer = server.issuer.as_str().into();
    request.auth_url.fill_blank(url(&server.auth_url).as_deref());
    request.token_url.fill_blank(Some(server.token_url.as_str()));
    request.revocation_url.fill_blank(url(&server.revocation_url).as_deref());
    // 2. How it is asked.
    let has_secret = request.client_secret.is_given();
    let wanted: &[AuthMethod] = if has_secret {
        &[AuthMethod::ClientSecretPost, AuthMethod::ClientSecretBasic]
    } else {
        &[AuthMethod::None]
    };
    let method = wanted.iter().find(|method| server.takes(**method));
    request.token_endpoint_auth_method.fill_blank(method.map(|method| method.as_str()));
    request.pkce.fill_blank((server.takes_s256 == Some(false)).then_some("off"));
}

fn refused(error: &DiscoveryError) -> Refused {
    Refused::of(About::Request, format!("url: {error}"))
}

/// The parameter that names the resource (RFC 8707 §2).
const RESOURCE: &str = "resource";
