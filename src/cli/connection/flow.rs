//! A connection by OAuth, from the wish for it to its first tokens: by way of a browser where the
//! provider asks its user, at once where the client gets tokens of its own.

mod browser;
mod landing;
mod visit;

use serde_json::Value;

use self::landing::Landing;
use crate::cli::body::Body;
use crate::cli::client::grant_type_parser;
use crate::cli::output::{self, Failure};
use crate::cli::server::{Answer, Path};
use crate::cli::shelf::Shelf;
use crate::cli::table::cell;
use crate::config::Environment;
use crate::model::oauth::grant::GrantType;

/// What goes with a connection by OAuth alone.
#[derive(clap::Args)]
#[command(next_help_heading = "Of a connection by OAuth")]
pub(super) struct Wish {
    /// The OAuth client, by its name or uuid
    #[arg(long, value_name = "CLIENT", required_if_eq("kind", "oauth"))]
    client: Option<String>,
    /// What to ask for, with a space between two [default: the client's scopes]
    #[arg(long, value_name = "SCOPES")]
    scopes: Option<String>,
    /// What stands in the place of {subdomain} in the client's URLs
    #[arg(long, value_name = "LABEL")]
    subdomain: Option<String>,
    /// Asks for access while the provider's user is away
    #[arg(long)]
    offline: bool,
    /// How it comes by tokens [default: as the client does]
    #[arg(long, value_name = "TYPE", value_parser = grant_type_parser())]
    grant_type: Option<GrantType>,
    /// Prints where the browser must go, and opens none
    #[arg(long)]
    no_browser: bool,
}

impl Wish {
    /// The options, and whether they are given.
    pub(super) fn given(&self) -> [(&'static str, bool); 6] {
        [
            ("--client", self.client.is_some()),
            ("--scopes", self.scopes.is_some()),
            ("--subdomain", self.subdomain.is_some()),
            ("--offline", self.offline),
            ("--grant-type", self.grant_type.is_some()),
            ("--no-browser", self.no_browser),
        ]
    }
}

/// Goes through the whole flow; gives the connection as `connection show` asks for it.
pub(super) fn run(
    shelf: &Shelf,
    wish: &Wish,
    body: Body,
    environment: &Environment,
) -> Result<Answer, Failure> {
    let client = shelf.find_client(wish.client.as_deref().unwrap_or_default())?.json()?;
    let usual = GrantType::parse(&cell(&client, "grant_type")).ok();
    let grant_type = wish.grant_type.or(usual).unwrap_or(GrantType::AuthorizationCode);
    let body = body
        .with("oauth_client_uuid", &cell(&client, "uuid"))
        .with("grant_type", grant_type.as_str())
        .with_any("permission_scopes", wish.scopes.as_deref())
        .with_any("oauth_url_subdomain", wish.subdomain.as_deref())
        .with_flag("allow_offline_access", wish.offline);
    let code = match grant_type {
        GrantType::ClientCredentials => code_of(&start(shelf, body)?)?,
        GrantType::AuthorizationCode => {
            let landing = Landing::open()?;
            let body = body.with("origin_oauth_redirect_url", landing.url());
            invite(&start(shelf, body)?, wish, environment);
            landing.wait()?
        }
    };
    let segments = ["connections", "oauth", "access_codes", shelf.integration.as_str()];
    let path = Path::zis(&segments).with("verification_code", &code);
    let uuid = cell(&shelf.server.get(&path)?.json()?, "uuid");
    let answer = shelf.server.get(&shelf.authorized(&uuid))?;
    warn_of_no_domain(&answer.json()?);
    Ok(answer)
}

fn warn_of_no_domain(connection: &Value) {
    if cell(connection, "allowed_domain").is_empty() {
        let name = cell(connection, "name");
        output::note(&format!(
            "it has no allowed domain, so that no request can use it unless oauth.unrestricted is \
             set: `keyferry connection update {name} --allowed-domain DOMAIN` gives it one"
        ));
    }
}

/// Begins the flow; gives where it goes on.
fn start(shelf: &Shelf, body: Body) -> Result<String, Failure> {
    let path = Path::zis(&["connections", "oauth", "start", shelf.integration.as_str()]);
    let answer = shelf.server.post(&path, Some(body.into_document()))?.json()?;
    let url = answer.get("redirect_url").and_then(Value::as_str);
    url.map(str::to_owned).ok_or_else(|| strange("does not say where the flow goes on"))
}

/// Has whoever sits here go to the provider.
fn invite(url: &str, wish: &Wish, environment: &Environment) {
    output::note(
        "open this in a browser on this machine, and say yes to the provider within 10 minutes:",
    );
    output::note(&output::printable(url));
    if !wish.no_browser {
        browser::open(url, environment);
    }
}

/// The code in the URL to go on at. Of the rest of the URL nothing is needed: the server that we
/// ask is the one that we know.
fn code_of(url: &str) -> Result<String, Failure> {
    let query = url.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let code = pairs.find(|(name, code)| name == "verification_code" && !code.is_empty());
    code.map(|(_, code)| code.into_owned()).ok_or_else(|| strange("gives no verification code"))
}

fn strange(what: &str) -> Failure {
    Failure::Because(format!(
        "the server {what}: see whether --url names a Keyferry server of this version"
    ))
}

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
