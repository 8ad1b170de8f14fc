//! `keyferry explain`

use std::fmt::Write as _;
use std::sync::Arc;

use http::Method;
use serde_json::json;

use super::output::{self, Failure, Format};
use crate::app::Assembly;
use crate::config::{Config, Environment, Options};
use crate::model::caller::{Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::token::Scopes;
use crate::proxy::{Ask, Explanation, Refusal, Tags, explain};
use crate::upstream::{OwnListeners, System};

/// The request to judge.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The connection to use; else the one that covers the host
    #[arg(long, value_name = "NAME")]
    connection: Option<String>,
    /// The integration of the connection; needed where several are declared
    /// [environment: `KEYFERRY_INTEGRATION`]
    #[arg(long, value_name = "NAME")]
    integration: Option<String>,
    /// How the result is printed
    #[arg(long, value_enum, default_value = "text", value_name = "FORMAT")]
    output: Format,
    /// The method, as GET
    method: String,
    /// The URL, as <https://api.example.com/v1>
    url: String,
}

/// Says what the proxy would do, and exits with 1 when it would refuse.
pub(super) fn run(
    arguments: &Arguments,
    options: &Options,
    environment: &Environment,
) -> Result<(), Failure> {
    let config = super::configuration(options, environment)?.config;
    let method = Method::from_bytes(arguments.method.as_bytes())
        .map_err(|_token| Failure::Because(format!("{:?} is no method", arguments.method)))?;
    let tags = tags(arguments, &config, environment)?;
    let assembly = Assembly {
        metrics: Arc::default(),
        own: OwnListeners::default(),
        resolver: Arc::new(System),
        admin: None,
    };
    let in_force = assembly.assemble(&config, 0, None).map_err(|error| Failure::of(&error))?;
    let ask = Ask::for_url(method, &arguments.url, tags);
    let explanation = explain(&in_force, &operator(), ask);
    output::result(&match arguments.output {
        Format::Text => as_text(&explanation),
        Format::Json => as_json(&explanation),
    })?;
    if explanation.refusal.is_some() { Err(Failure::AsPrinted) } else { Ok(()) }
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

fn as_text(explanation: &Explanation) -> String {
    let mut text = String::new();
    for step in &explanation.steps {
        let (rule, outcome) = (step.rule.as_str(), step.outcome.as_str());
        let line = format!("  {rule:<11} {outcome:<11} {}", step.detail);
        let _infallible = writeln!(text, "{}", line.trim_end());
    }
    let verdict = match (&explanation.refusal, &explanation.origin) {
        (Some(refusal), _) => {
            let (status, code) = (refusal.status().as_u16(), refusal.code().as_str());
            format!("refuse: {status} {code}: {}", refusal.title())
        }
        (None, Some(origin)) => {
            let field = explanation.field.as_ref().map_or("", |field| field.as_str());
            format!("allow: sent to {origin} with {field}: *****")
        }
        (None, None) => "allow".to_owned(),
    };
    format!("{verdict}\n{}", text.trim_end())
}

/// The shape of contract §5.
fn as_json(explanation: &Explanation) -> String {
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
    .to_string()
}

const INTEGRATION: &str = "KEYFERRY_INTEGRATION";
