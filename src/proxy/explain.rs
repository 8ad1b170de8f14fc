//! The decision about a request that is not sent, rule by rule.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::InForce;
use super::caller::judge_named;
use super::decide::decide;
use super::facts::RefusedRequest;
use super::inject::no_credential;
use super::refusal::{Code, Refusal, Rule};
use super::renewal::has_tokens;
use super::request::{Destination, ProxyRequest, RequestForm, Tags};
use crate::management::{Question, failing_sentence};
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::connection_health::ConnectionHealth;
use crate::model::expiry_notice::ExpiryNotice;
use crate::model::origin::{Host, Origin};
use crate::model::permit::Permit;
use crate::wire::{ExplainAnswer, ExplainStep, Verdict};

/// The answer to "what would happen".
#[derive(Debug)]
pub(super) struct DecisionTrace {
    /// The refusal, if it would be refused.
    pub refusal: Option<Refusal>,
    /// The rule that refuses it.
    pub rule: Option<Rule>,
    /// The connection that is chosen, also when a later rule refuses.
    pub connection: Option<Arc<Connection>>,
    /// The origin that the request would be sent to.
    pub origin: Option<Origin>,
    /// The names of the fields that would be injected; their values are never shown.
    pub field: Option<String>,
    /// Every rule, in order.
    pub steps: Vec<ExplainStep>,
}

/// The one who explains, on whom it depends what is known of secrets that commands print.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ExplainedBy {
    /// A running server, which has run the commands.
    Server,
    /// The configuration by itself: no command is run for it.
    Configuration,
}

/// Decides `request` for `caller` without sending anything. `request` is a refusal where the request
/// could not even be read; `now` is when it would be sent. A caller that is named has its token
/// judged.
pub(super) fn explain(
    in_force: &InForce,
    caller: &Caller,
    is_named: bool,
    request: Result<ProxyRequest, Refusal>,
    (now, by): (Timestamp, ExplainedBy),
) -> DecisionTrace {
    // 1. The decision of a real request, as far as it needs no network.
    let usable = if is_named { judge_named(caller, now) } else { Ok(()) };
    let is_unusable = usable.is_err() && request.is_ok();
    let decided = match &request {
        Ok(request) => {
            usable.map_err(RefusedRequest::from).and_then(|()| decide(in_force, caller, request))
        }
        Err(refusal) => Err(refusal.clone().into()),
    };
    let (origin, chosen) = match &decided {
        Ok(allowed) => (Some(allowed.permit.origin().clone()), Some(&allowed.connection)),
        Err(refused) => (None, refused.connection()),
    };
    let failing = chosen.and_then(|chosen| failing(&chosen.usage.stats.health()));
    let connection = chosen.map(|chosen| Arc::clone(&chosen.connection));
    let pinned = origin.as_ref().and_then(|origin| pin(in_force, origin));
    // 2. The rules that follow it: the credential, and a pinned address.
    let awaits_command = by == ExplainedBy::Configuration
        && connection.as_ref().is_some_and(|connection| connection.awaits_command());
    let refusal = match decided {
        Err(refused) => Some(refused.refusal),
        Ok(allowed) => refuse_later(in_force, &allowed.permit, pinned, (now, awaits_command)),
    };
    let renews = connection.as_ref().is_some_and(|connection| {
        matches!(has_tokens(connection, &in_force.settings.renewal, now), Ok(false))
    });
    let request = request.ok();
    let left_out = match (&request, &connection) {
        (Some(request), Some(chosen)) => left_out(in_force, caller, request, chosen),
        _ => Vec::new(),
    };
    // 3. Each rule's part, by the one that refuses.
    let context = TraceContext {
        caller,
        is_named,
        request,
        connection: connection.as_deref(),
        origin: origin.as_ref(),
        pinned,
        renews,
        awaits_command,
        left_out,
        failing,
        now,
    };
    // A token that lacks the scope is the caller's, though callers are told of the connection.
    let by = |refusal: &Refusal| if is_unusable { Rule::Caller } else { refusal.code().rule() };
    let refused = refusal.as_ref().map(|refusal| (refusal, by(refusal)));
    let shown = Rule::ALL.into_iter().filter(|rule| *rule <= Rule::Address);
    let steps = shown.map(|rule| context.step(rule, refused)).collect();
    let rule = refused.map(|(_, rule)| rule);
    let field = connection.as_ref().map(|connection| connection.places(origin.as_ref()));
    DecisionTrace { refusal, rule, connection, origin, field, steps }
}

/// The refusal of a rule that follows the decision: of the credential, unless only a running server
/// knows it, or of a pinned address.
fn refuse_later(
    in_force: &InForce,
    permit: &Permit,
    pinned: Option<SocketAddr>,
    (now, awaits_command): (Timestamp, bool),
) -> Option<Refusal> {
    let connection = permit.connection();
    if !awaits_command {
        if permit.credential().is_none() {
            return Some(no_credential(connection));
        }
        if let Err(refusal) = has_tokens(connection, &in_force.settings.renewal, now) {
            return Some(refusal);
        }
    }
    pinned.and_then(|address| judge(in_force, address))
}

/// Decides the request of an operator's question, as the operator is told.
pub fn explain_to_operator(
    in_force: &InForce,
    caller: &Caller,
    question: &Question,
    at: (Timestamp, ExplainedBy),
) -> ExplainAnswer {
    let Question { method, url, integration, connection, names_caller } = question.clone();
    let tags =
        Tags { integrations: [None, integration, None], connections: [None, connection, None] };
    let request = ProxyRequest::for_callers_url(method, &url, tags, &in_force.settings);
    explain(in_force, caller, names_caller, request, at).into()
}

impl From<DecisionTrace> for ExplainAnswer {
    fn from(trace: DecisionTrace) -> Self {
        let DecisionTrace { refusal, rule, connection, origin, field, steps } = trace;
        let refusal = refusal.as_ref();
        Self {
            decision: if refusal.is_some() { Verdict::Refuse } else { Verdict::Allow },
            code: refusal.map(|refusal| refusal.code().as_str().to_owned()),
            status: refusal.map(|refusal| refusal.status().as_u16()),
            rule: rule.map(|rule| rule.as_str().to_owned()),
            connection: connection.map(|connection| connection.name().to_string()),
            origin: origin.map(|origin| origin.to_string()),
            field,
            steps,
        }
    }
}

/// The facts from which the details are told.
struct TraceContext<'a> {
    caller: &'a Caller,
    /// Tells whether the question names the caller.
    is_named: bool,
    request: Option<ProxyRequest>,
    connection: Option<&'a Connection>,
    pinned: Option<SocketAddr>,
    /// Tells whether the connection's tokens are refreshed before the request is sent.
    renews: bool,
    /// Tells whether only a running server knows the secret, because a command prints it.
    awaits_command: bool,
    /// The names of connections that cover the host too, and are switched off.
    left_out: Vec<String>,
    /// A sentence about the failures of the connection, where its requests of late fail.
    failing: Option<String>,
    now: Timestamp,
    origin: Option<&'a Origin>,
}

impl TraceContext<'_> {
    /// The part of a rule in a decision: it holds, it refuses, only a real request can tell, or an
    /// earlier one has refused.
    fn step(&self, rule: Rule, refused: Option<(&Refusal, Rule)>) -> ExplainStep {
        let (outcome, detail) = match refused {
            Some((refusal, by)) if by == rule => ("refuse", refusal.title().to_owned()),
            Some((_, by)) if by < rule => ("not reached", String::new()),
            _ if self.needs_a_request(rule) => ("at run time", self.detail(rule)),
            _ => ("pass", self.detail(rule)),
        };
        ExplainStep { name: rule.as_str().to_owned(), outcome: outcome.to_owned(), detail }
    }

    fn needs_a_request(&self, rule: Rule) -> bool {
        match rule {
            Rule::Loop | Rule::BodySize | Rule::Rate => true,
            Rule::Caller => !self.is_named,
            Rule::Rules => self.has_rules() && self.names_another_path(),
            Rule::Address => self.pinned.is_none(),
            Rule::Credential => self.renews || self.awaits_command,
            _ => false,
        }
    }

    fn detail(&self, rule: Rule) -> String {
        match rule {
            Rule::Form => self.form().to_owned(),
            Rule::Loop => "no Via field may carry this proxy's name".to_owned(),
            Rule::Caller if self.is_named => {
                format!("the token {} is known and has the scope proxy", self.caller.name)
            }
            Rule::Caller => "the caller needs a token with the scope proxy".to_owned(),
            Rule::Method => {
                self.request.as_ref().map(|request| request.method.to_string()).unwrap_or_default()
            }
            Rule::Tags => "no tag contradicts another".to_owned(),
            Rule::Connection => self.chosen(),
            Rule::Https => self.scheme().to_owned(),
            Rule::Domain => match self.connection.and_then(|it| it.domain_of(self.origin)) {
                Some(domain) => format!("covered by {domain}"),
                None if self.connection.is_none() => "covered by several connections".to_owned(),
                None => "any host: oauth.unrestricted".to_owned(),
            },
            Rule::Port => "one of proxy.allowed_ports".to_owned(),
            Rule::Rules => self.rules().to_owned(),
            Rule::BodySize => "at most proxy.max_body_bytes".to_owned(),
            Rule::Rate => "at most proxy.requests_per_minute for the token".to_owned(),
            Rule::Credential => self.credential(),
            Rule::Address => self.pinned.map_or_else(
                || "every address of the name is judged before one is dialed".to_owned(),
                |address| format!("pinned to {address} by upstream.resolve"),
            ),
            Rule::Origin | Rule::Capacity => String::new(),
        }
    }

    fn form(&self) -> &'static str {
        match self.request.as_ref().map(|request| request.form) {
            Some(RequestForm::BaseUrl) => "base URL",
            _ => "absolute-form",
        }
    }

    /// The connection, those that were left out for it, and its failures.
    fn chosen(&self) -> String {
        let mut text = self.connection.map(describe).unwrap_or_default();
        if !self.left_out.is_empty() {
            let names = self.left_out.join(", ");
            let _infallible = write!(text, "; switched off and left out: {names}");
        }
        if let Some(failing) = &self.failing {
            let _infallible = write!(text, "; {failing}");
        }
        text
    }

    /// The places of the credential, and everything that goes with it.
    fn credential(&self) -> String {
        let mut text = self.injected();
        if self.awaits_command {
            text.push_str(", if its command prints the secret, which only a running server knows");
        } else if self.renews {
            text.push_str(", once the provider has given another token");
        }
        let Some(options) = self.connection.map(Connection::options) else { return text };
        // What is over or not valid yet is said as such.
        let notices = options.expiry_notices(self.now, SignedDuration::ZERO);
        let is_of_secret = |notice: &ExpiryNotice| matches!(notice, ExpiryNotice::SecretExpired(_));
        if let Some(day) = options.expires_on.filter(|_| !notices.iter().any(is_of_secret)) {
            let _infallible = write!(text, "; the secret expires on {day}");
        }
        if let Some(end) = options.not_after().filter(|_| notices.iter().all(is_of_secret)) {
            let _infallible = write!(text, "; TLS presents its client certificate, until {end}");
        }
        for notice in notices {
            let _infallible = write!(text, "; {notice}");
        }
        text
    }

    fn injected(&self) -> String {
        let places = self.connection.map(|connection| connection.places(self.origin));
        places.map(|places| format!("{places}: *****")).unwrap_or_default()
    }

    fn has_rules(&self) -> bool {
        !self.caller.rules.is_empty()
            || self.connection.is_some_and(|connection| connection.options().restrict())
    }

    /// Tells whether a field of the request names another path, which a question has not.
    fn names_another_path(&self) -> bool {
        let method = self.request.as_ref().map(|request| request.method.as_str());
        method.is_some_and(|method| ["COPY", "MOVE"].contains(&method))
    }

    fn rules(&self) -> &'static str {
        if self.has_rules() {
            "allowed by the rules of the connection and of the token"
        } else {
            "neither the connection nor the token has rules"
        }
    }

    fn scheme(&self) -> &'static str {
        match self.request.as_ref().map(|request| &request.destination) {
            Some(Destination::Stated(target)) if target.is_plain_http() => {
                "http:// is upgraded to https://"
            }
            _ => "https",
        }
    }
}

/// The names of the connections that are switched off and would cover the host beside the chosen
/// one, where the request names none.
fn left_out(
    in_force: &InForce,
    caller: &Caller,
    request: &ProxyRequest,
    chosen: &Connection,
) -> Vec<String> {
    let Destination::Stated(target) = &request.destination else { return Vec::new() };
    let Host::Name(host) = &target.authority.host else { return Vec::new() };
    if request.tags.connections.iter().any(Option::is_some) {
        return Vec::new();
    }
    let covering = in_force.registry.covering(chosen.integration().as_str(), host, caller);
    let others = covering.iter().map(|registered| &registered.connection);
    let is_left_out =
        |other: &&Arc<Connection>| other.options().disabled && other.name() != chosen.name();
    others.filter(is_left_out).map(|other| other.name().to_string()).collect()
}

/// Says since when the requests of a connection fail, why, and which was the last, as far as this
/// instance knows.
fn failing(health: &ConnectionHealth) -> Option<String> {
    let sentence = failing_sentence(&health.failure_summary()?);
    let last = health.failure.as_ref().map(|failure| failure.request_id.as_str());
    Some(format!("{sentence} (last: request {})", last.unwrap_or_default()))
}

fn describe(connection: &Connection) -> String {
    format!("{} {}.{}", connection.kind(), connection.integration(), connection.name())
}

fn pin(in_force: &InForce, origin: &Origin) -> Option<SocketAddr> {
    in_force.rules.settings.pins.get(&(origin.host_name(), origin.port())).copied()
}

fn judge(in_force: &InForce, address: SocketAddr) -> Option<Refusal> {
    let prohibited = in_force.rules.guard.judge(vec![address]).err()?;
    Some(Refusal::new(
        Code::AddressProhibited,
        format!("{prohibited}; the operator can allow its network with upstream.allow_networks."),
    ))
}
