//! A connection by OAuth, from the options to its first tokens: through a browser where the
//! provider asks its user, at once where the client gets tokens of its own.

mod browser;
mod callback;
mod mcp;
mod provider;

use self::callback::CallbackServer;
use crate::cli::client::{grant_type_parser, parse_pair};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::provider::ProviderNameParser;
use crate::cli::secret::SecretArgs;
use crate::cli::server::{ApiAnswer, ApiPath};
use crate::config::Environment;
use crate::model::oauth::grant::GrantType;
use crate::wire::{AccessCode, FlowAnswer, NewFlow, OAuthClient, OAuthConnection};

/// The options of a connection by OAuth alone.
#[derive(clap::Args)]
pub(super) struct FlowArgs {
    /// OAuth client, by its name or uuid; needed for oauth, unless --provider or --mcp is given
    #[arg(long, value_name = "CLIENT", conflicts_with_all = ["mcp", "provider"], help_heading = HEADING)]
    client: Option<String>,
    /// Provider of the catalogue, for which a client of the connection's name is made
    #[arg(long, value_name = "NAME", value_parser = ProviderNameParser, hide_possible_values = true, conflicts_with = "mcp", help_heading = HEADING)]
    provider: Option<String>,
    /// Id of that client at the provider; the file of a service account names it
    #[arg(long, value_name = "ID", requires = "provider", help_heading = HEADING)]
    client_id: Option<String>,
    /// Value that the provider's entry asks for, as subdomain=acme; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair, requires = "provider", help_heading = HEADING)]
    set: Vec<(String, String)>,
    /// MCP server, by its https URL: a client is registered with its authorization server, and name
    /// and domain are made of its host unless given
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    mcp: Option<String>,
    /// Scopes to ask for, with a space between two [default: the client's scopes]
    #[arg(long, value_name = "SCOPES", help_heading = HEADING)]
    scopes: Option<String>,
    /// Label that replaces {subdomain} in the client's URLs
    #[arg(long, value_name = "LABEL", help_heading = HEADING)]
    subdomain: Option<String>,
    /// Asks for access while the provider's user is away
    #[arg(long, help_heading = HEADING)]
    offline: bool,
    /// Grant by which it gets tokens [default: the client's]
    #[arg(long, value_name = "TYPE", value_parser = grant_type_parser(), help_heading = HEADING)]
    grant_type: Option<GrantType>,
    /// Prints the provider's URL without opening a browser
    #[arg(long, help_heading = HEADING)]
    no_browser: bool,
}

impl FlowArgs {
    /// The options, and whether they are given.
    pub(super) fn given(&self) -> [(&'static str, bool); 10] {
        [
            ("--client", self.client.is_some()),
            ("--provider", self.provider.is_some()),
            ("--client-id", self.client_id.is_some()),
            ("--set", !self.set.is_empty()),
            ("--mcp", self.mcp.is_some()),
            ("--scopes", self.scopes.is_some()),
            ("--subdomain", self.subdomain.is_some()),
            ("--offline", self.offline),
            ("--grant-type", self.grant_type.is_some()),
            ("--no-browser", self.no_browser),
        ]
    }

    /// Tells whether they say by which client.
    pub(super) fn names_client(&self) -> bool {
        self.client.is_some() || self.mcp.is_some() || self.makes_client()
    }

    /// Tells whether a client is made, whose secret is entered.
    pub(super) fn makes_client(&self) -> bool {
        self.provider.is_some()
    }
}

/// Goes through the whole flow; gives the connection as `connection show` asks for it.
pub(super) fn run(
    client: &IntegrationClient<'_>,
    arguments: &FlowArgs,
    secret: &SecretArgs,
    mut request: NewFlow,
) -> Result<ApiAnswer, CliError> {
    // The client decides the grant unless an option does.
    let scopes = arguments.scopes.as_deref();
    let mcp = arguments.mcp.as_ref();
    let mcp = mcp.map(|url| mcp::prepare(client, url, scopes, &mut request)).transpose()?;
    let OAuthClient { uuid, grant_type, .. } = match (&mcp, &arguments.provider) {
        (Some(made), _) => made.client.clone(),
        (None, Some(name)) => provider::prepare(client, name, arguments, secret, &mut request)?,
        (None, None) => {
            client.find_client(arguments.client.as_deref().unwrap_or_default())?.read()?
        }
    };
    let usual = GrantType::parse(&grant_type).ok();
    let grant_type = arguments.grant_type.or(usual).unwrap_or(GrantType::AuthorizationCode);
    request.oauth_client_uuid = uuid.into();
    request.grant_type = grant_type.as_str().into();
    request.permission_scopes = scopes.into();
    request.oauth_url_subdomain = arguments.subdomain.as_deref().into();
    request.allow_offline_access = Some(true).filter(|_| arguments.offline).into();

    // The flow ends with a verification code, here or in the browser.
    let code = if grant_type.has_user() {
        let callback = CallbackServer::open()?;
        request.origin_oauth_redirect_url = callback.url().into();
        invite(&start(client, &request)?, arguments, &client.api.context.environment);
        callback.wait()?
    } else {
        code_of(&start(client, &request)?)?
    };

    // The code is exchanged for the connection.
    let segments = ["connections", "oauth", "access_codes", client.integration.as_str()];
    let path = ApiPath::zis(&segments).with("verification_code", &code);
    let AccessCode { uuid, .. } = client.api.get(&path)?.read()?;
    let answer = client.api.get(&client.authorized(&uuid))?;
    let connection = answer.read()?;
    warn_of_no_domain(&connection);
    if let Some(made) = &mcp {
        mcp::note_address(client, &connection, &made.path)?;
    }
    Ok(answer)
}

fn warn_of_no_domain(connection: &OAuthConnection) {
    if connection.allowed_domain.is_none() {
        let name = output::printable(&connection.name);
        output::note(&format!(
            "it has no allowed domain, so that no request can use it unless oauth.unrestricted is \
             set: `keyferry connection update {name} --allowed-domain DOMAIN` gives it one"
        ));
    }
}

/// Begins the flow; gives the URL at which it goes on.
fn start(client: &IntegrationClient<'_>, request: &NewFlow) -> Result<String, CliError> {
    let path = ApiPath::zis(&["connections", "oauth", "start", client.integration.as_str()]);
    let FlowAnswer { redirect_url } = client.api.post(&path, request)?.read()?;
    Ok(redirect_url)
}

/// Has the person at this machine go to the provider.
fn invite(url: &str, arguments: &FlowArgs, environment: &Environment) {
    output::note(
        "open this in a browser on this machine, and say yes to the provider within 10 minutes:",
    );
    output::note(&output::printable(url));
    if !arguments.no_browser {
        browser::open(url, environment);
    }
}

/// The code in the URL to go on at. Of the rest of the URL nothing is needed: the server that we
/// ask is the one that we know.
fn code_of(url: &str) -> Result<String, CliError> {
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let code = pairs.find(|(name, code)| name == "verification_code" && !code.is_empty());
    code.map(|(_, code)| code.into_owned()).ok_or_else(|| {
        CliError::Message(
            "the server gives no verification code: see whether --url names a Keyferry server of \
             this version"
                .to_owned(),
        )
    })
}

const HEADING: &str = "Connection by OAuth";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_read_wherever_the_url_leads() {
        for (url, code) in [
            ("https://elsewhere.example/a?verification_code=s8fO%2DrC4oP", Some("s8fO-rC4oP")),
            ("http://127.0.0.1:8081/x?a=1&verification_code=c", Some("c")),
            ("?verification_code=", None),
            ("http://127.0.0.1:8081/verification_code=c", None),
            ("", None),
        ] {
            assert_eq!(code_of(url).ok().as_deref(), code, "{url}");
        }
    }
}
