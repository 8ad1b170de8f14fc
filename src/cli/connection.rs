//! `keyferry connection`: the connections that a running server keeps.

mod aws;
mod create;
mod custom;
mod flow;
mod health;
mod list;
mod options;
mod state;
mod update;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use jiff::Timestamp;

pub(super) use self::health::actor;
use self::state::EnteredState;
use super::confirm::ConfirmArgs;
use super::context::CliContext;
use super::examples;
use super::integration::{IntegrationArgs, IntegrationClient};
use super::output::{CliError, OutputFormat};
use super::server::{ApiAnswer, ApiPath};
use super::table::{record, yes_or_no};
use crate::clock::Clock;
use crate::model::connection::ConnectionType;
use crate::model::name::ConnectionName;
use crate::secret::Secret;
use crate::wire::{
    ConnectionAnswer, HealthView, OAuthConnection, OAuthItem, REDACTED, StaticAnswer,
    StaticConnection, StaticMembers, TypedConnection,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    integration: IntegrationArgs,
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Stores a connection, or has one authorized by OAuth
    #[command(after_help = examples::CONNECTION_CREATE)]
    Create(create::Arguments),
    /// Lists the connections of an integration
    #[command(visible_alias = "ls", after_help = examples::CONNECTION_LIST)]
    List(list::Arguments),
    /// Shows a connection; its secret is never shown
    #[command(after_help = examples::CONNECTION_SHOW)]
    Show(ConnectionArgs),
    /// Replaces a connection's secret, or what goes with it
    #[command(after_help = examples::CONNECTION_UPDATE)]
    Update(update::Arguments),
    /// Asks the provider of a connection by OAuth for new tokens now
    #[command(after_help = examples::CONNECTION_REFRESH)]
    Refresh(RefreshArgs),
    /// Deletes a connection
    #[command(visible_alias = "rm", after_help = examples::CONNECTION_DELETE)]
    Delete(DeleteArgs),
}

/// The connection that is meant.
#[derive(clap::Args)]
struct ConnectionArgs {
    /// The connection's name
    #[arg(value_name = "NAME", value_parser = ConnectionName::parse)]
    name: ConnectionName,
    /// Type that the connection must have
    #[arg(long = "type", value_name = "TYPE", value_parser = kind_parser())]
    kind: Option<ConnectionType>,
}

#[derive(clap::Args)]
struct RefreshArgs {
    /// The connection's name
    #[arg(value_name = "NAME", value_parser = ConnectionName::parse)]
    name: ConnectionName,
}

#[derive(clap::Args)]
struct DeleteArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    #[command(flatten)]
    confirm: ConfirmArgs,
}

pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    // Wrong usage is told before anything is looked for.
    if let Command::Create(arguments) = &arguments.command {
        create::check(arguments)?;
    }
    if let Command::List(list) = &arguments.command
        && list.attention
        && arguments.integration.is_every(context)
    {
        return health::list(&arguments.integration.api(context)?, None);
    }
    let mut client = arguments.integration.client(context)?;
    // Provider tokens are printed in JSON alone, and where they are not, none is asked for.
    let command = &arguments.command;
    let prints = matches!(command, Command::Create(_) | Command::Show(_) | Command::Refresh(_));
    if prints && context.format == OutputFormat::Json {
        client.api = client.api.revealing_tokens();
    }
    match command {
        Command::Create(arguments) => create::run(arguments, &client),
        Command::List(arguments) => list::run(arguments, client),
        Command::Show(arguments) => {
            let (kind, answer) = client.find(&arguments.name, arguments.kind)?;
            client.emit(answer.text()?, || {
                described(&answer, kind, client.health_of(&arguments.name)?.as_ref())
            })
        }
        Command::Update(arguments) => update::run(arguments, &client),
        Command::Refresh(arguments) => refresh(arguments, &client),
        Command::Delete(arguments) => delete(arguments, &client),
    }
}

fn refresh(arguments: &RefreshArgs, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let (name, kind) = (&arguments.name, ConnectionType::OAuth);
    let path = ApiPath::zis(&["connections", "refresh", client.integration.as_str()]);
    // A GET that changes something: so the API has it.
    let answer = client.api.find(&path.with("name", name.as_str()))?;
    print(client, &answer.ok_or_else(|| client.missing(name, Some(kind)))?, kind)
}

fn delete(arguments: &DeleteArgs, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    let name = &arguments.connection.name;
    let (kind, _shown) = client.find(name, arguments.connection.kind)?;
    arguments.confirm.ask(|| {
        Ok(format!(
            "This deletes the connection {name} ({kind}) of {}, and the secret that it holds. \
             Requests that use it are refused from then on.",
            client.integration
        ))
    })?;
    if client.api.delete(&client.connection(kind, name))?.is_none() {
        return Err(client.missing(name, Some(kind)));
    }
    client.emit("", || Ok(format!("deleted {name}")))
}

impl IntegrationClient<'_> {
    /// The path of all connections, or of all of a type.
    pub(super) fn connections(&self, which: &str) -> ApiPath {
        ApiPath::zis(&["integrations", self.integration.as_str(), "connections", which])
    }

    /// The path of the connections of every type.
    fn typed(&self) -> ApiPath {
        ApiPath::keyferry(&["integrations", self.integration.as_str(), "connections"])
    }

    /// The path of a connection by OAuth that is known by its uuid.
    fn authorized(&self, uuid: &str) -> ApiPath {
        ApiPath::zis(&["connections", self.integration.as_str()]).with("uuid", uuid)
    }

    pub(super) fn connection(&self, kind: ConnectionType, name: &ConnectionName) -> ApiPath {
        ApiPath::connection(self.integration.as_str(), kind, name.as_str())
    }

    /// Looks for a connection of this name, in one type or in all of them; a name is unique within
    /// its integration.
    fn find(
        &self,
        name: &ConnectionName,
        kind: Option<ConnectionType>,
    ) -> Result<(ConnectionType, ApiAnswer), CliError> {
        for tried in kinds(kind) {
            let Some(answer) = self.api.find(&self.connection(tried, name))? else { continue };
            // At the path of a type beyond ZIS there may be one of any type.
            let found = match tried {
                ConnectionType::AwsSigV4 | ConnectionType::Custom => type_of(&answer)?,
                tried => tried,
            };
            if kind.is_none_or(|kind| kind == found) {
                return Ok((found, answer));
            }
        }
        Err(self.missing(name, kind))
    }

    fn missing(&self, name: &ConnectionName, kind: Option<ConnectionType>) -> CliError {
        let of = kind.map_or_else(String::new, |kind| format!(" of type {kind}"));
        CliError::Message(format!(
            "the integration {} has no connection {name}{of}: `keyferry connection list` shows \
             those that it has",
            self.integration
        ))
    }
}

fn kinds(named: Option<ConnectionType>) -> Vec<ConnectionType> {
    named.map_or_else(|| TYPES.to_vec(), |kind| vec![kind])
}

fn print(
    client: &IntegrationClient<'_>,
    answer: &ApiAnswer,
    kind: ConnectionType,
) -> Result<(), CliError> {
    client.emit(answer.text()?, || described(answer, kind, None))
}

/// Describes a connection with its health: where somebody must act, and what was refused to its
/// callers.
fn described(
    answer: &ApiAnswer,
    kind: ConnectionType,
    known: Option<&HealthView>,
) -> Result<String, CliError> {
    let now = Clock::system().now();
    let health = known.filter(|health| health::needs_somebody(health));
    let rows = match kind {
        ConnectionType::OAuth => authorized(answer, health, now)?,
        ConnectionType::Custom | ConnectionType::AwsSigV4 => {
            match answer.read::<ConnectionAnswer>()?.connection {
                TypedConnection::Custom(it) => custom::described(it),
                TypedConnection::AwsSigV4(it) => aws::described(*it),
                _ => Vec::new(),
            }
        }
        _ => {
            let connection = answer.read::<StaticAnswer>()?.remove(kind.as_str());
            entered(connection.unwrap_or_default(), kind, health, now)
        }
    };
    let rows = rows.into_iter().chain(health::rows(health)).chain(health::refusals(known));
    let rows: Vec<_> = rows.collect();
    Ok(record(&rows))
}

/// The lines of a record: names and values.
type Rows = Vec<(&'static str, String)>;

/// The type of the connection of an answer.
fn type_of(answer: &ApiAnswer) -> Result<ConnectionType, CliError> {
    Ok(match answer.read::<ConnectionAnswer>()?.connection {
        TypedConnection::ApiKey(_) => ConnectionType::ApiKey,
        TypedConnection::AwsSigV4(_) => ConnectionType::AwsSigV4,
        TypedConnection::BasicAuth(_) => ConnectionType::BasicAuth,
        TypedConnection::BearerToken(_) => ConnectionType::BearerToken,
        TypedConnection::Custom(_) => ConnectionType::Custom,
        TypedConnection::OAuth(_) => ConnectionType::OAuth,
    })
}

fn entered(
    it: StaticConnection,
    kind: ConnectionType,
    health: Option<&HealthView>,
    now: Timestamp,
) -> Rows {
    // 1. The state, and the secret, of which there is one of three.
    let state = EnteredState::of(&it.options, it.defect.as_deref(), it.not_after.as_deref());
    let state = state.words(health, now);
    let secret = it.api_key.or(it.password).or(it.token);
    // 2. All of it.
    [
        ("name", it.name),
        ("type", kind.to_string()),
        ("allowed domain", it.allowed_domain),
        ("state", state),
        ("header name", it.header_name.unwrap_or_default()),
        ("username", it.username.unwrap_or_default()),
        (kind.secret_label(), secret.map(|hidden| hidden.to_string()).unwrap_or_default()),
        ("created at", it.created_at),
        ("updated at", it.updated_at),
        ("old secret until", it.old_secret_until.unwrap_or_default()),
        ("certificate until", it.not_after.unwrap_or_default()),
        ("declared", declared(it.declared)),
        ("unusable because", it.defect.unwrap_or_default()),
    ]
    .into_iter()
    .chain(options::rows(&it.options))
    .collect()
}

/// `yes` of a declared connection; others say nothing of it.
fn declared(is_declared: bool) -> String {
    if is_declared { yes_or_no(true) } else { String::new() }
}

/// Describes a connection by OAuth. The API gives its tokens in clear to an operator who may
/// write; a terminal is no place for them.
fn authorized(
    answer: &ApiAnswer,
    health: Option<&HealthView>,
    now: Timestamp,
) -> Result<Rows, CliError> {
    let masked = |token: &Secret| match token.expose() {
        [] => String::new(),
        _ => REDACTED.to_owned(),
    };
    // An item of a list has all that its state is told by.
    let (it, item): (OAuthConnection, OAuthItem) = (answer.read()?, answer.read()?);
    let rows = [
        ("name", it.name),
        ("type", ConnectionType::OAuth.to_string()),
        ("allowed domain", it.allowed_domain.unwrap_or_default()),
        ("state", state::of(&item, health, now)),
        ("because", state::reason(&item)),
        ("unusable because", it.defect.unwrap_or_default()),
        ("scopes", it.permission_scope),
        ("access token", masked(&it.access_token)),
        ("refresh token", masked(&it.refresh_token)),
        ("token type", it.token_type),
        ("token expiry", it.token_expiry.unwrap_or_default()),
        ("refresh token expiry", it.refresh_token_expiry.unwrap_or_default()),
        ("subdomain", it.oauth_url_subdomain),
        ("client", it.oauth_client_uuid),
        ("created by", it.created_by),
        ("uuid", it.uuid),
        ("certificate until", it.not_after.unwrap_or_default()),
    ]
    .into_iter()
    .chain(options::rows(&it.options));
    Ok(rows.collect())
}

/// Sets the secret of a static connection, which has another member for each type.
fn set_secret(members: &mut StaticMembers, kind: ConnectionType, secret: Secret) {
    match kind {
        ConnectionType::ApiKey => members.api_key = secret.into(),
        ConnectionType::BasicAuth => members.password = secret.into(),
        ConnectionType::BearerToken
        | ConnectionType::OAuth
        | ConnectionType::AwsSigV4
        | ConnectionType::Custom => members.token = secret.into(),
    }
}

/// Refuses an option that goes with another type, because it would be passed over: of each, its
/// name, whether it is given, and whether it belongs to the type.
fn refuse_misplaced(
    kind: ConnectionType,
    options: impl IntoIterator<Item = (&'static str, bool, bool)>,
) -> Result<(), CliError> {
    let mut options = options.into_iter();
    match options.find(|(_, is_given, belongs)| *is_given && !belongs) {
        Some((option, ..)) => Err(CliError::Usage(format!(
            "a connection of type {kind} takes no {option}: leave it out"
        ))),
        None => Ok(()),
    }
}

fn kind_parser() -> impl TypedValueParser<Value = ConnectionType> {
    PossibleValuesParser::new(TYPES.map(ConnectionType::as_str))
        .try_map(|text| ConnectionType::parse(&text))
}

/// The members of the API's documents, and the options that fill them.
const OPTIONS: [(&str, &str); 23] = [
    ("name", "--name"),
    ("allowed_domain", "--allowed-domain"),
    ("header_name", "--header-name"),
    ("username", "--username"),
    ("keep_old_for", "--keep-old-for"),
    ("api_key", "the secret"),
    ("password", "the secret"),
    ("token", "the secret"),
    ("oauth_client_uuid", "--client"),
    ("permission_scopes", "--scopes"),
    ("oauth_url_subdomain", "--subdomain"),
    ("allow_offline_access", "--offline"),
    ("grant_type", "--grant-type"),
    ("allowed_domains", "--allowed-domain"),
    ("inject", "--inject"),
    ("secrets", "the secrets"),
    ("drop_secrets", "--drop-secret"),
    ("access_key_id", "--access-key-id"),
    ("secret_access_key", "the secret"),
    ("session_token", "--session-token-file"),
    ("region", "--region"),
    ("service", "--service"),
    ("assume_role", "--role-arn"),
];

const TYPES: [ConnectionType; 6] = [
    ConnectionType::BearerToken,
    ConnectionType::ApiKey,
    ConnectionType::BasicAuth,
    ConnectionType::OAuth,
    ConnectionType::Custom,
    ConnectionType::AwsSigV4,
];

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn no_token_of_a_connection_is_printed_for_people() {
        let mut connection = json!({
            "name": "crm", "access_token": "hunter2", "refresh_token": "hunter3",
            "oauth_access_token_response_body": "{\"access_token\":\"hunter2\"}",
            "token_expiry": "2026-01-01T01:00:00Z", "permission_scope": "read write",
            "refresh_token_expiry": "2026-01-31T00:00:00Z",
            "allowed_domain": "api.example.com", "created_by": "a", "integration": "acme",
            "oauth_client_uuid": "b", "oauth_url_subdomain": "", "token_type": "bearer",
            "uuid": "c", "zendesk_account_id": 0,
        });
        let shown = |connection: &serde_json::Value| {
            let answer = ApiAnswer::of_json(&connection.to_string());
            let now = "2026-01-01T00:00:00Z".parse().unwrap();
            record(&authorized(&answer, None, now).ok().unwrap())
        };
        let text = shown(&connection);
        assert!(!text.contains("hunter"), "{text}");
        assert!(text.contains("token expires in 60 min"), "{text}");
        assert!(text.contains("refresh token         *****"), "{text}");
        assert!(text.contains("refresh token expiry  2026-01-31T00:00:00Z"), "{text}");
        connection["refresh_token"] = "".into();
        connection["refresh_token_expiry"] = serde_json::Value::Null;
        let client_credentials = shown(&connection);
        assert!(!client_credentials.contains("refresh token"), "{client_credentials}");
    }
}
