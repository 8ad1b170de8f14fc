//! The running server, as the commands that talk to it see it: where it is, by which token it
//! knows us, and what it answers.

mod answer;
mod exchange;
mod pages;
mod path;
mod target;
mod token;

use std::time::Duration;

use http::{Method, StatusCode, Uri};

use self::exchange::Ask;
use self::target::Target;
use super::faulty;
use super::output::Failure;
use crate::config::{self, Environment, Options};
use crate::secret::Secret;

pub(super) use self::answer::Answer;
pub(super) use self::path::Path;

/// Which server to talk to.
#[derive(clap::Args)]
pub(super) struct Address {
    /// The server
    #[arg(long, value_name = "URL", value_parser = target::parse, help = URL_HELP)]
    url: Option<Uri>,
}

/// Which server to talk to, and as whom.
#[derive(clap::Args)]
pub(super) struct Whom {
    #[command(flatten)]
    address: Address,
    /// The access token; others on this machine can see it here, so rather set `KEYFERRY_TOKEN`
    #[arg(long, value_name = "TOKEN", value_parser = token::take, help = TOKEN_HELP)]
    token: Option<Secret>,
}

/// A server that knows us by a token, where it needs to.
pub(super) struct Server {
    target: Target,
    token: Option<token::AccessToken>,
}

impl Address {
    /// Whether the command line or the environment names a server.
    pub(super) fn is_named(&self, environment: &Environment) -> bool {
        self.url.is_some() || environment.text(URL).is_some()
    }

    /// The command line, then the environment, then where the configuration has the API listen.
    fn find(&self, options: &Options, environment: &Environment) -> Result<Target, Failure> {
        let named = match (&self.url, environment.text(URL)) {
            (Some(url), _) => Some(url.clone()),
            (None, Some(text)) => {
                let wrong = |why| Failure::Because(format!("{URL} {why}: mend it or unset it"));
                Some(target::parse(text).map_err(wrong)?)
            }
            (None, None) => None,
        };
        if let Some(url) = named {
            return Ok(Target::of_url(&url));
        }
        let found = config::whereabouts(options, environment).map_err(|faults| faulty(&faults))?;
        Ok(Target::of_api(&found.api))
    }

    /// Where the server is, and the status with which it answers `GET /readyz`.
    pub(super) fn readiness(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<(String, Result<StatusCode, exchange::Error>), Failure> {
        let target = self.find(options, environment)?;
        let ask = Ask { method: Method::GET, path: "/readyz", token: None, body: None };
        let answer = exchange::exchange(&target, ask, HEALTH_PATIENCE);
        Ok((target.to_string(), answer.map(|answer| answer.status)))
    }
}

impl Whom {
    /// Whether the command line or the environment names a server.
    pub(super) fn is_named(&self, environment: &Environment) -> bool {
        self.address.is_named(environment)
    }

    /// The server that the command line names.
    pub(super) fn url(&self) -> Option<&Uri> {
        self.address.url.as_ref()
    }

    /// The server's address, and how it answers; no token is shown to it.
    pub(super) fn readiness(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<(String, Result<StatusCode, exchange::Error>), Failure> {
        self.address.readiness(options, environment)
    }

    /// Whether a server of this configuration answers.
    pub(super) fn runs(&self, options: &Options, environment: &Environment) -> bool {
        matches!(self.address.readiness(options, environment), Ok((_, Ok(_))))
    }

    /// The server, and the token to show it. Nothing is sent yet.
    pub(super) fn find(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<Server, Failure> {
        self.at(self.address.find(options, environment)?, options, environment)
    }

    /// The server, to be asked for what is everybody's: no token is shown to it.
    pub(super) fn find_open(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<Server, Failure> {
        let target = self.address.find(options, environment)?;
        if target.keeps_secrets() {
            return Ok(Server { target, token: None });
        }
        Err(Failure::Because(format!(
            "what comes from {target} in cleartext may be somebody else's: use https://, or a \
             tunnel that ends at a loopback address"
        )))
    }

    /// The server whose API is at `url`, which this machine has just been told.
    pub(super) fn find_at(
        &self,
        url: &str,
        options: &Options,
        environment: &Environment,
    ) -> Result<Server, Failure> {
        let wrong = |why| Failure::Because(format!("{url} {why}"));
        let target = Target::of_url(&target::parse(url).map_err(wrong)?);
        self.at(target, options, environment)
    }

    /// The host of the server that the command line or the environment names.
    pub(super) fn host(
        &self,
        options: &Options,
        environment: &Environment,
    ) -> Result<String, Failure> {
        Ok(self.address.find(options, environment)?.host)
    }

    fn at(
        &self,
        target: Target,
        options: &Options,
        environment: &Environment,
    ) -> Result<Server, Failure> {
        if !target.keeps_secrets() {
            return Err(Failure::Because(format!(
                "the access token is not sent to {target} in cleartext: use https://, or a tunnel \
                 that ends at a loopback address"
            )));
        }
        let token = token::find(self.token.as_ref(), options, environment)?;
        Ok(Server { target, token: Some(token) })
    }
}

impl Server {
    /// Reads what is at `path`.
    pub(super) fn get(&self, path: &Path) -> Result<Answer, Failure> {
        self.found(self.ask(Method::GET, path, None)?)
    }

    /// Reads what is at `path`; `None` when there is nothing.
    pub(super) fn look(&self, path: &Path) -> Result<Option<Answer>, Failure> {
        self.looked(self.ask(Method::GET, path, None)?)
    }

    /// Sends a JSON document, or nothing where the path says it all.
    pub(super) fn post(&self, path: &Path, body: Option<Secret>) -> Result<Answer, Failure> {
        self.found(self.ask(Method::POST, path, body)?)
    }

    /// Changes what is at `path`; `None` when there is nothing.
    pub(super) fn patch(&self, path: &Path, body: Secret) -> Result<Option<Answer>, Failure> {
        self.looked(self.ask(Method::PATCH, path, Some(body))?)
    }

    /// Deletes what is at `path`; `None` when there is nothing.
    pub(super) fn delete(&self, path: &Path) -> Result<Option<Answer>, Failure> {
        self.looked(self.ask(Method::DELETE, path, None)?)
    }

    /// Reads a list to its end, page by page.
    pub(super) fn pages(&self, path: &Path) -> Result<String, Failure> {
        pages::follow(path, |path| self.get(path))
    }

    fn ask(&self, method: Method, path: &Path, body: Option<Secret>) -> Result<Answer, Failure> {
        let ask = Ask { method, path: path.as_str(), token: self.token.as_ref(), body };
        exchange::exchange(&self.target, ask, PATIENCE).map_err(|why| {
            let server = &self.target;
            Failure::Because(format!(
                "the server at {server} can't be asked: {why}; start it with `keyferry serve`, or \
                 name another with --url"
            ))
        })
    }

    fn found(&self, answer: Answer) -> Result<Answer, Failure> {
        if answer.status.is_success() { Ok(answer) } else { Err(answer.refusal(&self.target)) }
    }

    fn looked(&self, answer: Answer) -> Result<Option<Answer>, Failure> {
        if answer.is_not_found() { Ok(None) } else { self.found(answer).map(Some) }
    }
}

const URL: &str = "KEYFERRY_URL";

const URL_HELP: &str =
    "The server [environment: KEYFERRY_URL] [default: api.listen, http://127.0.0.1:8081]";

const TOKEN_HELP: &str = "The access token. Others on this machine can see an argument: rather set \
                          KEYFERRY_TOKEN [default: admin.token in the data directory]";

/// Less than what container runtimes wait for a check by default.
const HEALTH_PATIENCE: Duration = Duration::from_secs(3);

/// Longer than any answer takes, re-wrapping every secret included.
const PATIENCE: Duration = Duration::from_mins(2);
