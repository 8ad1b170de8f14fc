//! `keyferry explain`: by a running server, which knows what is in its store, or else by the
//! configuration alone.

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;
use serde_json::{Value, json};

use super::output::{self, Failure, Format};
use super::server::{Path, Server, Whom};
use super::table::cell;
use crate::app::Assembly;
use crate::clock::Clock;
use crate::config::{Config, Environment, Options};
use crate::model::caller::{Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::Scopes;
use crate::proxy::{DecisionTrace, ProxyRequest, Refusal, Tags, explain};
use crate::secret::Secret;
use crate::upstream::{NameLookups, OwnListeners, SystemResolver};

/// The request to judge.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    whom: Whom,
    /// Asks no server, even where one runs
    #[arg(long, conflicts_with_all = ["url", "token"])]
    offline: bool,
    /// The connection to use; else the one that covers the host
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// The integration of the connection
    #[arg(long, value_name = "NAME", help = INTEGRATION_HELP)]
    integration: Option<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
    /// The method, as GET
    method: String,
    /// The URL
    #[arg(value_name = "URL", help = "The URL, as https://api.example.com/v1")]
    target: String,
}

/// The source of the decision.
enum Asked {
    /// A server, which knows what it keeps.
    Server(Server),
    /// No server, for this reason.
    Nobody(String),
}

/// Says what the proxy would do, and exits with 1 when it would refuse.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let told = match asked(arguments, options, environment)? {
        Asked::Server(server) => by_server(&server, arguments, environment)?,
        Asked::Nobody(why) => {
            output::note(&format!(
                "keyferry: {why}: this is what the configuration says by itself, without the \
                 connections of the store"
            ));
            by_configuration(arguments, options, environment)?
        }
    };
    output::result(&match arguments.output {
        Format::Text => as_text(&told),
        Format::Json => told.to_string(),
    })?;
    if cell(&told, "decision") == "allow" {
        return Ok(());
    }
    if why_refused(&told).contains("X-Zis-Integration") {
        output::note(&format!(
            "keyferry: for `keyferry explain`, name the integration with --integration or \
             {INTEGRATION}"
        ));
    }
    Err(Failure::AsPrinted)
}

/// The server that the command line names; else the one of the environment, or of this
/// configuration, if it answers.
fn asked(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<Asked, Failure> {
    let whom = &arguments.whom;
    if arguments.offline {
        return Ok(Asked::Nobody(NOT_ASKED.to_owned()));
    }
    if whom.url().is_none() {
        match whom.readiness(options, environment) {
            Ok((_, Ok(_answers))) => {}
            Ok((server, Err(why))) if whom.is_named(environment) => {
                return Ok(Asked::Nobody(format!(
                    "the server at {server}, which KEYFERRY_URL names, can't be asked: {why}"
                )));
            }
            Err(failure) if whom.is_named(environment) => return Err(failure),
            // What is wrong with the configuration is told when all of it is read.
            Ok((_, Err(_))) | Err(_) => return Ok(Asked::Nobody(NOT_ASKED.to_owned())),
        }
    }
    whom.find(options, environment).map(Asked::Server)
}

fn by_server(
    server: &Server,
    arguments: &Arguments,
    environment: &Environment,
) -> Result<Value, Failure> {
    let integration = arguments.integration.as_deref().or_else(|| environment.text(INTEGRATION));
    let question = json!({
        "method": arguments.method,
        "url": arguments.target,
        "integration": integration,
        "connection": arguments.connection,
    });
    let body = Secret::new(question.to_string());
    server.post(&Path::keyferry(&["explain"]), Some(body))?.json()
}

fn by_configuration(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<Value, Failure> {
    let config = super::configuration(options, environment)?.config;
    let method = Method::from_bytes(arguments.method.as_bytes())
        .map_err(|_token| Failure::Because(format!("{:?} is no method", arguments.method)))?;
    let tags = tags(arguments, &config, environment)?;
    let assembly = Assembly {
        metrics: Arc::default(),
        own: OwnListeners::default(),
        names: Arc::new(NameLookups::new(Arc::new(SystemResolver))),
        admin: None,
        clock: Clock::system(),
    };
    let in_force = assembly.assemble(&config, 0, None).map_err(|error| Failure::of(&error))?;
    let ask = ProxyRequest::for_url(method, &arguments.target, tags);
    Ok(as_json(&explain(&in_force, &operator(), ask, Clock::system().now())))
}

/// The tags that the arguments stand for. The integration may be left out where only one is
/// declared.
fn tags(
    arguments: &Arguments,
    config: &Config,
    environment: &Environment,
) -> Result<Tags, Failure> {
    let wrong = |error| Failure::of(&error);
    let stated = arguments.integration.as_deref().or_else(|| environment.text(INTEGRATION));
    let integration = match stated {
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

/// Whoever can read the configuration may ask about all of it.
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

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";

const INTEGRATION_HELP: &str = "The integration of the connection; needed where there are several \
                                [environment: KEYFERRY_INTEGRATION]";
