//! `keyferry explain`: by a running server, which knows what is in its store, or else by the
//! configuration alone.

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;
use jiff::Timestamp;

use super::context::{CliContext, INTEGRATION};
use super::output::{self, CliError, printable};
use super::server::{ApiClient, ApiPath, ServerArgs};
use crate::app::Assembly;
use crate::clock::Clock;
use crate::config::Config;
use crate::management::{CallerNameError, Question, find_caller};
use crate::model::caller::{Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::Scopes;
use crate::proxy::{ExplainedBy, explain_to_operator};
use crate::state::{Holder, InForce};
use crate::upstream::{NameLookups, OwnListeners, SystemResolver};
use crate::wire::{ExplainAnswer, ExplainRequest, ExplainStep, Verdict};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The method, as GET
    method: String,
    #[arg(value_name = "URL", help = "The URL, as https://api.example.com/v1")]
    target: String,
    /// Connection to use [default: the one that covers the host]
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// Token by whose name it would be sent [default: the one that asks]
    #[arg(long, value_name = "NAME")]
    caller: Option<String>,
    /// Decides by the configuration alone, even where a server runs
    #[arg(long, conflicts_with_all = ["url", "token"])]
    offline: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// Says what the proxy would do, and exits with 1 when it would refuse.
pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    // A server decides, or else the configuration.
    let told = match decider(arguments, context)? {
        Ok(api) => by_server(&api, arguments)?,
        Err(why) => {
            output::note(&format!(
                "keyferry: {why}: this is what the configuration says by itself, without the \
                 connections of the store"
            ));
            by_configuration(arguments, context)?
        }
    };
    let json = serde_json::to_value(&told)?;
    context.emit(&json.to_string(), || Ok(as_text(&told)))?;

    // A refusal is this command's failure.
    if told.decision == Verdict::Allow {
        return Ok(());
    }
    if why_refused(&told.steps).contains("X-Zis-Integration") {
        output::note(&format!(
            "keyferry: for `keyferry explain`, name the integration with --integration or \
             {INTEGRATION}"
        ));
    }
    Err(CliError::Printed)
}

/// The server that the command line names; else the one of the environment, or of this
/// configuration, if it answers; else the reason why the configuration alone decides.
fn decider<'c>(
    arguments: &Arguments,
    context: &'c CliContext,
) -> Result<Result<ApiClient<'c>, String>, CliError> {
    let server = &arguments.server.addr;
    if arguments.offline {
        return Ok(Err(NOT_ASKED.to_owned()));
    }
    // A server of the command line is asked in any case.
    if server.url.is_none() {
        let is_named = server.is_named(context);
        match server.readiness(context) {
            Ok((_, Ok(_answers))) => {}
            Ok((server, Err(why))) if is_named => {
                return Ok(Err(format!(
                    "the server at {server}, which KEYFERRY_URL names, can't be asked: {why}"
                )));
            }
            Err(error) if is_named => return Err(error),
            // A fault of the configuration is told when all of it is read.
            Ok((_, Err(_))) | Err(_) => return Ok(Err(NOT_ASKED.to_owned())),
        }
    }
    arguments.server.client(context).map(Ok)
}

fn by_server(api: &ApiClient<'_>, arguments: &Arguments) -> Result<ExplainAnswer, CliError> {
    let request = ExplainRequest {
        method: arguments.method.as_str().into(),
        url: arguments.target.as_str().into(),
        integration: integration(arguments, api.context).into(),
        connection: arguments.connection.as_deref().into(),
        caller: arguments.caller.as_deref().into(),
    };
    api.post(&ApiPath::keyferry(&["explain"]), &request)?.read()
}

fn by_configuration(
    arguments: &Arguments,
    context: &CliContext,
) -> Result<ExplainAnswer, CliError> {
    let config = context.configuration()?.config;
    let question = question(arguments, &config, context)?;
    let assembly = Assembly {
        metrics: Arc::default(),
        own: OwnListeners::default(),
        names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
        admin: None,
        clock: Clock::system(),
    };
    let in_force = assembly.assemble(&config, 0, None)?;
    let (operator, now) = (operator(), Clock::system().now());
    let name = arguments.caller.as_deref();
    let named = name.map(|name| declared_caller(name, &question, &in_force, now)).transpose()?;
    let caller = named.as_ref().map_or(&operator, |holder| &holder.caller);
    let at = (now, ExplainedBy::Configuration);
    Ok(explain_to_operator(&in_force, caller, &question, at))
}

/// The caller of this name, of those that the configuration declares.
fn declared_caller(
    name: &str,
    question: &Question,
    in_force: &InForce,
    now: Timestamp,
) -> Result<Arc<Holder>, CliError> {
    let within = (&Reach::Every(None), now);
    find_caller(&in_force.registry, name, question.integration.as_ref(), within).map_err(|why| {
        let why = match why {
            CallerNameError::Unknown => ONLY_DECLARED.to_owned(),
            CallerNameError::Ambiguous => why.to_string(),
        };
        CliError::Message(format!("--caller {}: {why}", printable(name)))
    })
}

/// The integration that the request names. That of the environment is this shell's, and not that of
/// a caller who is asked about.
fn integration<'a>(arguments: &'a Arguments, context: &'a CliContext) -> Option<&'a str> {
    match &arguments.caller {
        Some(_) => arguments.integration.as_deref(),
        None => context.integration(arguments.integration.as_deref()),
    }
}

/// Reads the arguments. The integration may be left out where only one is declared.
fn question(
    arguments: &Arguments,
    config: &Config,
    context: &CliContext,
) -> Result<Question, CliError> {
    let method = Method::from_bytes(arguments.method.as_bytes()).map_err(|_token| {
        CliError::Message(format!("{:?} is not a method: write one as GET", arguments.method))
    })?;
    let integration = match integration(arguments, context) {
        Some(name) => Some(IntegrationName::parse(name)?),
        None if arguments.caller.is_some() => None,
        None => only_integration(config),
    };
    let connection = arguments.connection.as_deref().map(ConnectionName::parse).transpose()?;
    let (url, names_caller) = (arguments.target.clone(), arguments.caller.is_some());
    Ok(Question { method, url, integration, connection, names_caller })
}

fn only_integration(config: &Config) -> Option<IntegrationName> {
    let mut names = config.connections.iter().map(|connection| connection.integration());
    let first = names.next()?;
    names.all(|name| name == first).then(|| first.clone())
}

/// A caller that may ask about everything: who runs this can read the whole configuration.
fn operator() -> Caller {
    Caller {
        name: "operator".into(),
        reach: Reach::Every(None),
        scopes: Scopes { admin: true, ..Scopes::default() },
        expires_at: None,
        rules: crate::model::rules::Rules::default(),
    }
}

/// The detail of the rule that refuses; empty where none does.
fn why_refused(steps: &[ExplainStep]) -> &str {
    let refused = steps.iter().find(|step| step.outcome == "refuse");
    refused.map(|step| step.detail.as_str()).unwrap_or_default()
}

fn as_text(told: &ExplainAnswer) -> String {
    let shown = |text: &Option<String>| printable(text.as_deref().unwrap_or_default());
    let mut text = match told.decision {
        Verdict::Allow => {
            format!("allow: sent to {} with {}: *****", shown(&told.origin), shown(&told.field))
        }
        Verdict::Refuse => {
            let (status, why) = (told.status.unwrap_or_default(), why_refused(&told.steps));
            format!("refuse: {status} {}: {}", shown(&told.code), printable(why))
        }
    };
    for step in &told.steps {
        let (rule, outcome) = (printable(&step.name), printable(&step.outcome));
        let line = format!("  {rule:<11} {outcome:<11} {}", printable(&step.detail));
        let _infallible = write!(text, "\n{}", line.trim_end());
    }
    text
}

const ONLY_DECLARED: &str = "the configuration declares no token of this name that could be read: \
                             ask a running server, which knows those of its store and those that \
                             commands print";
const NOT_ASKED: &str = "no server was asked";

const INTEGRATION_HELP: &str = "Integration of the connection; needed where there are several \
                                [env: KEYFERRY_INTEGRATION]";
