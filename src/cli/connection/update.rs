//! `keyferry connection update`

use std::time::Duration;

use super::aws::AwsArgs;
use super::custom::CustomArgs;
use super::options::{MEMBERS, OptionArgs, UnsetArgs};
use super::{ConnectionArgs, OPTIONS, refuse_misplaced, set_secret};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::CliError;
use crate::cli::secret::SecretArgs;
use crate::cli::server::ApiAnswer;
use crate::model::connection::ConnectionType;
use crate::wire::{
    ConnectionAnswer, CustomMembers, OAuthConnectionChange, OptionMembers, StaticMembers,
    TypedConnection,
};

#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// New header for an API key
    #[arg(long, value_name = "NAME")]
    header_name: Option<String>,
    /// New user name for Basic authentication
    #[arg(long)]
    username: Option<String>,
    /// Domain to which the tokens of a connection by OAuth may be sent, which is set once; of a
    /// custom one all of them, which needs every secret again
    #[arg(long = "allowed-domain", value_name = "DOMAIN")]
    allowed_domains: Vec<String>,
    /// Time for which the replaced secret is kept, as 10m: an origin that answers 401 to the new one
    /// gets the old one, once for each request; 0s forgets one that is kept, without a new secret
    #[arg(long, value_name = "TIME")]
    keep_old_for: Option<String>,
    /// Never changes; read so that the answer says what to do
    #[arg(long = "name", value_name = "NAME", hide = true)]
    renamed: Option<String>,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    unset: UnsetArgs,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    custom: CustomArgs,
    #[command(flatten)]
    aws: AwsArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    // 1. The connection, and whether the options go with its type.
    let name = &arguments.connection.name;
    let (kind, shown) = client.find(name, arguments.connection.kind)?;
    check(arguments, kind)?;
    // 2. The change, in the members of its type.
    let path = client.connection(kind, name);
    let changed = if kind == ConnectionType::OAuth {
        let allowed_domain = arguments.allowed_domains.first().map(String::as_str).into();
        let mut change = OAuthConnectionChange { allowed_domain, ..Default::default() };
        change.put_options(options(arguments));
        change.client_key = arguments.options.client_key().into();
        client.api.patch(&path, &change)
    } else if kind == ConnectionType::Custom {
        client.api.patch(&path, &custom_members(arguments, &shown)?)
    } else if kind == ConnectionType::AwsSigV4 {
        let mut change = arguments.aws.change(&arguments.secret, are_given(arguments))?;
        change.put_options(options(arguments));
        change.client_key = arguments.options.client_key().into();
        client.api.patch(&path, &change)
    } else {
        client.api.patch(&path, &members(arguments, kind)?)
    };
    let changed = changed.map_err(|error| error.by_options(&OPTIONS).by_options(&MEMBERS))?;
    if changed.is_none() {
        return Err(client.missing(name, Some(kind)));
    }
    arguments.options.note_ends();
    client.emit("", || Ok(format!("updated {name}")))
}

/// The changes to a custom connection, as it is shown.
fn custom_members(arguments: &Arguments, shown: &ApiAnswer) -> Result<CustomMembers, CliError> {
    let TypedConnection::Custom(shown) = shown.read::<ConnectionAnswer>()?.connection else {
        return Ok(CustomMembers::default());
    };
    let options = options(arguments);
    let has_other = are_given(arguments) && arguments.keep_old_for.is_none() || forgets(arguments);
    let (domains, secret) = (&arguments.allowed_domains, &arguments.secret);
    let mut members = arguments.custom.change(&shown, domains, secret, has_other)?;
    members.keep_old_for = arguments.keep_old_for.as_deref().into();
    members.put_options(options);
    members.client_key = arguments.options.client_key().into();
    Ok(members)
}

/// The changes to a static connection of this type.
fn members(arguments: &Arguments, kind: ConnectionType) -> Result<StaticMembers, CliError> {
    let mut members = StaticMembers {
        header_name: arguments.header_name.as_deref().into(),
        username: arguments.username.as_deref().into(),
        keep_old_for: arguments.keep_old_for.as_deref().into(),
        ..StaticMembers::default()
    };
    let options = options(arguments);
    let changes =
        arguments.header_name.is_some() || arguments.username.is_some() || are_given(arguments);
    members.put_options(options);
    members.client_key = arguments.options.client_key().into();
    // Without another change the secret is meant.
    let is_kept = arguments.keep_old_for.is_some() && !forgets(arguments);
    let changes = changes || forgets(arguments);
    if !changes || is_kept || arguments.secret.is_named() {
        let secret =
            arguments.secret.read(&format!("{} that the service gave", kind.secret_label()))?;
        set_secret(&mut members, kind, secret);
    }
    Ok(members)
}

/// Tells whether an old secret is forgotten, which needs no new one.
fn forgets(arguments: &Arguments) -> bool {
    let time = arguments.keep_old_for.as_deref().map(humantime::parse_duration);
    matches!(time, Some(Ok(Duration::ZERO)))
}

fn are_given(arguments: &Arguments) -> bool {
    options(arguments).are_given() || arguments.options.are_given()
}

/// The options that are given or taken away.
fn options(arguments: &Arguments) -> OptionMembers {
    let mut options = arguments.options.members();
    arguments.unset.take_away(&mut options);
    options
}

fn check(arguments: &Arguments, kind: ConnectionType) -> Result<(), CliError> {
    // 1. Members that never change.
    let is_oauth = kind == ConnectionType::OAuth;
    let is_custom = kind == ConnectionType::Custom;
    let is_aws = kind == ConnectionType::AwsSigV4;
    if !is_oauth && !is_custom && !arguments.allowed_domains.is_empty() {
        return Err(never_changes("allowed domain"));
    }
    if arguments.renamed.is_some() {
        return Err(never_changes("name"));
    }
    // 2. Options that are given and taken away.
    if let Some((option, member)) = contradiction(arguments) {
        return Err(CliError::Usage(format!(
            "{option} and --unset {member} contradict each other: leave one of them out"
        )));
    }
    // 3. Options of another type, and no change at all.
    let entered = [
        ("--header-name", arguments.header_name.is_some(), kind == ConnectionType::ApiKey),
        ("--username", arguments.username.is_some(), kind == ConnectionType::BasicAuth),
        ("--secret-stdin or --secret-file", arguments.secret.is_named(), !is_oauth),
        ("--keep-old-for", arguments.keep_old_for.is_some(), !is_oauth && !is_aws),
        ("second --allowed-domain", arguments.allowed_domains.len() > 1, is_custom),
    ];
    let of_custom = arguments.custom.given().map(|(option, given)| (option, given, is_custom));
    let of_aws = arguments.aws.given().map(|(option, given)| (option, given, is_aws));
    refuse_misplaced(kind, entered.into_iter().chain(of_custom).chain(of_aws))?;
    let changes_something = !arguments.allowed_domains.is_empty() || are_given(arguments);
    if is_oauth && !changes_something {
        return Err(CliError::Usage(
            "nothing is to change: give --allowed-domain or an option as --rule, or have `keyferry connection refresh` \
             ask for new tokens"
                .to_owned(),
        ));
    }
    Ok(())
}

/// An option that is given and taken away at once, and its member.
fn contradiction(arguments: &Arguments) -> Option<(&'static str, &'static str)> {
    // What is not given is no member of the document.
    let given = serde_json::to_value(arguments.options.members()).unwrap_or_default();
    let is_both = |member: &str| arguments.unset.names(member) && given.get(member).is_some();
    MEMBERS.into_iter().find(|(member, _)| is_both(member)).map(|(member, option)| (option, member))
}

/// Says of a member, in the API's words, that only a new connection can have another.
fn never_changes(member: &str) -> CliError {
    CliError::Usage(format!(
        "the {member} of a connection never changes: delete the connection and create it again"
    ))
}
