//! `keyferry connection create`

use clap::builder::{PossibleValuesParser, TypedValueParser};

use super::aws::AwsArgs;
use super::custom::CustomArgs;
use super::flow::{self, FlowArgs};
use super::options::{self, OptionArgs};
use super::{OPTIONS, kind_parser, print, refuse_misplaced, set_secret};
use crate::cli::integration::IntegrationClient;
use crate::cli::output::{self, CliError};
use crate::cli::secret::SecretArgs;
use crate::management::Preset;
use crate::model::connection::ConnectionType;
use crate::wire::{NewFlow, StaticMembers};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Way in which the secret is sent
    #[arg(
        long = "type",
        value_name = "TYPE",
        value_parser = kind_parser(),
        required_unless_present = "preset"
    )]
    kind: Option<ConnectionType>,
    /// Well-known API, whose type, header and domain are filled in
    #[arg(
        long,
        value_name = "API",
        value_parser = preset_parser(),
        conflicts_with = "kind",
        requires = "name"
    )]
    preset: Option<&'static Preset>,
    /// Its name, unique within the integration; needed unless by OAuth
    #[arg(long, required_if_eq_any(ENTERED))]
    name: Option<String>,
    /// Domain to which the secret may be sent, as api.example.com or *.example.com; needed unless
    /// by OAuth; may be repeated for custom
    #[arg(long = "allowed-domain", value_name = "DOMAIN", required_if_eq_any(ENTERED))]
    allowed_domains: Vec<String>,
    #[arg(long, value_name = "NAME", required_if_eq("kind", "api_key"), help = HEADER_NAME_HELP)]
    header_name: Option<String>,
    #[arg(long, required_if_eq("kind", "basic_auth"), help = USERNAME_HELP)]
    username: Option<String>,
    #[command(flatten)]
    options: OptionArgs,
    #[command(flatten)]
    secret: SecretArgs,
    #[command(flatten)]
    custom: CustomArgs,
    #[command(flatten)]
    aws: AwsArgs,
    #[command(flatten)]
    flow: FlowArgs,
}

pub(super) fn run(arguments: &Arguments, client: &IntegrationClient<'_>) -> Result<(), CliError> {
    // 1. What the options leave out, a preset may know.
    let (kind, preset) = (arguments.kind(), arguments.preset);
    let domain = arguments.allowed_domains.first().map(String::as_str);
    let domain = domain.or_else(|| preset?.allowed_domain.as_deref());
    let header = arguments.header_name.as_deref();
    let header = header.or_else(|| preset?.header_name.as_deref());
    let name = arguments.name.as_deref();
    // 2. A flow makes connections by OAuth, one request all others.
    let made = if kind == ConnectionType::OAuth {
        let (name, allowed_domain) = (name.into(), domain.into());
        let request = NewFlow { name, allowed_domain, ..NewFlow::default() };
        flow::run(client, &arguments.flow, &arguments.secret, request)
    } else if kind == ConnectionType::Custom {
        let of_preset = preset.and_then(|preset| preset.allowed_domain.clone());
        let domains = match arguments.allowed_domains.as_slice() {
            [] => of_preset.into_iter().collect(),
            named => named.to_vec(),
        };
        let custom = arguments.custom.or_preset(preset);
        let mut request = custom.members(&domains, &arguments.secret)?;
        request.name = name.into();
        request.put_options(arguments.options.members());
        request.client_key = arguments.options.client_key().into();
        client.api.post(&client.typed(), &request)
    } else if kind == ConnectionType::AwsSigV4 {
        let mut request = arguments.aws.members(&arguments.secret)?;
        (request.name, request.allowed_domain) = (name.into(), domain.into());
        request.put_options(arguments.options.members());
        request.client_key = arguments.options.client_key().into();
        client.api.post(&client.typed(), &request)
    } else {
        let label = preset.map_or_else(|| kind.secret_label(), |preset| &preset.secret);
        let secret = arguments.secret.read(&format!("{label} that the service gave"))?;
        let mut request = StaticMembers {
            name: name.into(),
            allowed_domain: domain.into(),
            header_name: header.into(),
            username: arguments.username.as_deref().into(),
            ..StaticMembers::default()
        };
        request.put_options(arguments.options.members());
        request.client_key = arguments.options.client_key().into();
        set_secret(&mut request, kind, secret);
        client.api.post(&client.connections(kind.as_str()), &request)
    };
    let made = made.map_err(|error| error.by_options(&OPTIONS).by_options(&options::MEMBERS))?;
    // 3. What else there is to know of a well-known API.
    if let Some(notes) = preset.and_then(|preset| preset.notes.as_deref()) {
        output::note(notes);
    }
    print(client, &made, kind)
}

/// Refuses options that go with another type.
pub(super) fn check(arguments: &Arguments) -> Result<(), CliError> {
    let kind = arguments.kind();
    let is_oauth = kind == ConnectionType::OAuth;
    // 1. The options, and whether each goes with the type.
    let entered = [
        ("--header-name", arguments.header_name.is_some(), kind == ConnectionType::ApiKey),
        ("--username", arguments.username.is_some(), kind == ConnectionType::BasicAuth),
        (
            "--secret-stdin or --secret-file",
            arguments.secret.is_named(),
            !is_oauth || arguments.flow.makes_client(),
        ),
    ];
    // 2. By which client, and no option of another type.
    if is_oauth && !arguments.flow.names_client() {
        return Err(CliError::Usage(
            "a connection of type oauth needs --client, --provider for a provider of the \
             catalogue, or --mcp for an MCP server"
                .to_owned(),
        ));
    }
    if is_oauth && arguments.options.are_given() {
        return Err(CliError::Usage(
            "a connection of type oauth is authorized first: give its options to \
             `keyferry connection update` afterwards"
                .to_owned(),
        ));
    }
    // 3. A preset may leave something open.
    if let Some(preset) = arguments.preset {
        check_preset(arguments, preset)?;
    }
    if kind != ConnectionType::Custom && arguments.allowed_domains.len() > 1 {
        return Err(CliError::Usage(format!(
            "a connection of type {kind} has one --allowed-domain: leave the others out"
        )));
    }
    let is_custom = kind == ConnectionType::Custom;
    let of_custom = arguments.custom.given().map(|(option, given)| (option, given, is_custom));
    let of_flow = arguments.flow.given().map(|(option, is_given)| (option, is_given, is_oauth));
    let is_aws = kind == ConnectionType::AwsSigV4;
    let of_aws = arguments.aws.given().map(|(option, is_given)| (option, is_given, is_aws));
    refuse_misplaced(kind, entered.into_iter().chain(of_custom).chain(of_aws).chain(of_flow))
}

impl Arguments {
    /// The type that is named, or the preset's.
    fn kind(&self) -> ConnectionType {
        // One of both is there.
        let of_preset = || self.preset.map_or(ConnectionType::BearerToken, Preset::kind);
        self.kind.unwrap_or_else(of_preset)
    }
}

/// Asks for what a preset leaves open.
fn check_preset(arguments: &Arguments, preset: &Preset) -> Result<(), CliError> {
    let domain = preset.domain_hint.as_ref().filter(|_| arguments.allowed_domains.is_empty());
    let user = preset.username_hint.as_ref();
    let (user, key_id) = match preset.kind() {
        ConnectionType::AwsSigV4 => (None, user.filter(|_| !arguments.aws.names_key())),
        _ => (user.filter(|_| arguments.username.is_none()), None),
    };
    let asked = [("--allowed-domain", domain), ("--username", user), ("--access-key-id", key_id)];
    match asked.into_iter().find_map(|(option, hint)| Some((option, hint?))) {
        Some((option, hint)) => Err(CliError::Usage(format!(
            "the preset {} needs {option}: {hint} ({})",
            preset.name, preset.docs
        ))),
        None => Ok(()),
    }
}

fn preset_parser() -> impl TypedValueParser<Value = &'static Preset> {
    let names = Preset::all().iter().map(|preset| preset.name.as_str());
    PossibleValuesParser::new(names)
        .try_map(|name| Preset::find(&name).ok_or("there is no such preset"))
}

/// The types whose secret is entered.
const ENTERED: [(&str, &str); 5] = [
    ("kind", "api_key"),
    ("kind", "aws_sigv4"),
    ("kind", "basic_auth"),
    ("kind", "bearer_token"),
    ("kind", "custom"),
];

const HEADER_NAME_HELP: &str = "Header that carries an API key; needed for api_key";

const USERNAME_HELP: &str = "User name of Basic authentication; needed for basic_auth";
