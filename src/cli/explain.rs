//! `keyferry explain`: by a running server, which knows what is in its store, or else by the
//! configuration alone.

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::context::{CliContext, INTEGRATION};
use super::output::{self, CliError};
use super::server::{ApiClient, ApiPath, ServerArgs};
use super::table::cell;
use crate::app::Assembly;
use crate::clock::Clock;
use crate::config::Config;
use crate::model::caller::{Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::Scopes;
use crate::proxy::{DecisionTrace, ProxyRequest, Refusal, Tags, explain};
use crate::secret::Secret;
use crate::upstream::{NameLookups, OwnListeners, SystemResolver};

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
    /// Decides by the configuration alone, even where a server runs
    #[arg(long, conflicts_with_all = ["url", "token"])]
    offline: bool,
    #[command(flatten)]
    server: ServerArgs,
}

/// The source of the decision.
enum Decider<'c> {
    /// A server, which knows its store.
    Server(ApiClient<'c>),
    /// The configuration alone, for this reason.
    Configuration(String),
}

/// Says what the proxy would do, and exits with 1 when it would refuse.
pub(super) fn run(arguments: &Arguments, context: &CliContext) -> Result<(), CliError> {
    // A server decides, or else the configuration.
    let told = match decider(arguments, context)? {
        Decider::Server(api) => by_server(&api, arguments)?,
        Decider::Configuration(why) => {
            output::note(&format!(
                "keyferry: {why}: this is what the configuration says by itself, without the \
                 connections of the store"
            ));
            by_configuration(arguments, context)?
        }
    };
    context.emit(&told.to_string(), || Ok(as_text(&told)))?;

    // A refusal is this command's failure.
    if cell(&told, "decision") == "allow" {
        return Ok(());
    }
    if why_refused(&told).contains("X-Zis-Integration") {
        output::note(&format!(
            "keyferry: for `keyferry explain`, name the integration with --integration or \
             {INTEGRATION}"
        ));
    }
    Err(CliError::Printed)
}

/// The server that the command line names; else the one of the environment, or of this
/// configuration, if it answers.
fn decider<'c>(arguments: &Arguments, context: &'c CliContext) -> Result<Decider<'c>, CliError> {
    let server = &arguments.server;
    if arguments.offline {
        return Ok(Decider::Configuration(NOT_ASKED.to_owned()));
    }
    // A server of the command line is asked in any case.
    if server.url().is_none() {
        let is_named = server.is_named(context);
        match server.readiness(context).map(|found| (found.server, found.answer)) {
            Ok((_, Ok(_answers))) => {}
            Ok((server, Err(why))) if is_named => {
                return Ok(Decider::Configuration(format!(
                    "the server at {server}, which KEYFERRY_URL names, can't be asked: {why}"
                )));
            }
            Err(error) if is_named => return Err(error),
            // A fault of the configuration is told when all of it is read.
            Ok((_, Err(_))) | Err(_) => {
                return Ok(Decider::Configuration(NOT_ASKED.to_owned()));
            }
        }
    }
    server.client(context).map(Decider::Server)
}

fn by_server(api: &ApiClient<'_>, arguments: &Arguments) -> Result<Value, CliError> {
    let question = json!({
        "method": arguments.method,
        "url": arguments.target,
        "integration": api.context.integration(arguments.integration.as_deref()),
        "connection": arguments.connection,
    });
    let body = Secret::new(question.to_string());
    api.post(&ApiPath::keyferry(&["explain"]), Some(body))?.json()
}

fn by_configuration(arguments: &Arguments, context: &CliContext) -> Result<Value, CliError> {
    let config = context.configuration()?.config;
    let method = Method::from_bytes(arguments.method.as_bytes()).map_err(|_token| {
        CliError::Message(format!("{:?} is not a method: write one as GET", arguments.method))
    })?;
    let tags = tags(arguments, &config, context)?;
    let assembly = Assembly {
        metrics: Arc::default(),
        own: OwnListeners::default(),
        names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
        admin: None,
        clock: Clock::system(),
    };
    let in_force = assembly.assemble(&config, 0, None).map_err(|error| CliError::of(&error))?;
    let ask = ProxyRequest::for_url(method, &arguments.target, tags);
    Ok(as_json(&explain(&in_force, &operator(), ask, Clock::system().now())))
}

/// The tags that the arguments stand for. The integration may be left out where only one is
/// declared.
fn tags(arguments: &Arguments, config: &Config, context: &CliContext) -> Result<Tags, CliError> {
    let wrong = |error| CliError::of(&error);
    let integration = match context.integration(arguments.integration.as_deref()) {
        Some(name) => Some(IntegrationName::parse(name).map_err(wrong)?),
        None => only_integration(config),
    };
    let connection =
        arguments.connection.as_deref().map(ConnectionName::parse).transpose().map_err(wrong)?;
    Ok(Tags { integrations: [None, integration, None], connections: [None, connection, None] })
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
    }
}

fn steps(told: &Value) -> impl Iterator<Item = &Value> {
    told.get("steps").and_then(Value::as_array).into_iter().flatten()
}

/// The detail of the rule that refuses; empty where none does.
fn why_refused(told: &Value) -> String {
    let refused = steps(told).find(|step| cell(step, "outcome") == "refuse");
    refused.map(|step| cell(step, "detail")).unwrap_or_default()
}

fn as_text(told: &Value) -> String {
    let why = why_refused(told);
    let mut text = match cell(told, "decision").as_str() {
        "allow" => {
            let (origin, field) = (cell(told, "origin"), cell(told, "field"));
            format!("allow: sent to {origin} with {field}: *****")
        }
        _ => format!("refuse: {} {}: {why}", cell(told, "status"), cell(told, "code")),
    };
    for step in steps(told) {
        let (rule, outcome) = (cell(step, "name"), cell(step, "outcome"));
        let line = format!("  {rule:<11} {outcome:<11} {}", cell(step, "detail"));
        let _infallible = write!(text, "\n{}", line.trim_end());
    }
    text
}

/// The shape of contract §5.
fn as_json(explanation: &DecisionTrace) -> Value {
    let refusal = explanation.refusal.as_ref();
    let steps: Vec<_> = explanation
        .steps
        .iter()
        .map(|step| {
            json!({"name": step.rule.as_str(), "outcome": step.outcome.as_str(), "detail": step.detail})
        })
        .collect();
    json!({
        "decision": if refusal.is_some() { "refuse" } else { "allow" },
        "code": refusal.map(|refusal| refusal.code().as_str()),
        "status": refusal.map(|refusal| refusal.status().as_u16()),
        "rule": refusal.map(|refusal: &Refusal| refusal.code().rule().as_str()),
        "connection": explanation.connection.as_ref().map(|known| known.name().as_str()),
        "origin": explanation.origin.as_ref().map(ToString::to_string),
        "field": explanation.field.as_ref().map(http::HeaderName::as_str),
        "steps": steps,
    })
}

const NOT_ASKED: &str = "no server was asked";

const INTEGRATION_HELP: &str = "Integration of the connection; needed where there are several \
                                [env: KEYFERRY_INTEGRATION]";
