//! The running server, as the commands that talk to it see it: its address, the token by which it
//! knows the operator, and its answers.

mod addr;
mod answer;
mod exchange;
mod pages;
mod path;
mod token;

use std::time::Duration;

use http::{Method, Uri};
use serde::Serialize;

use self::addr::ServerAddr;
use self::exchange::{ApiRequest, Error};
use super::context::CliContext;
use super::output::CliError;
use crate::secret::Secret;

pub(super) use self::answer::ApiAnswer;
pub(super) use self::path::ApiPath;

#[derive(clap::Args)]
pub(super) struct ServerAddrArgs {
    #[arg(long, global = true, value_name = "URL", value_parser = addr::parse, help = URL_HELP, help_heading = HEADING)]
    pub(super) url: Option<Uri>,
}

/// The server to talk to, and the token to show it.
#[derive(clap::Args)]
pub(super) struct ServerArgs {
    #[command(flatten)]
    pub(super) addr: ServerAddrArgs,
    #[arg(long, global = true, value_name = "TOKEN", value_parser = token::take, help = TOKEN_HELP, help_heading = HEADING)]
    token: Option<Secret>,
}

/// The API of a running server.
pub(super) struct ApiClient<'c> {
    pub(super) context: &'c CliContext,
    addr: ServerAddr,
    token: Option<token::AccessToken>,
    /// Tells whether answers may have provider tokens in clear. Reading them leaves an event.
    reveals_tokens: bool,
}

impl ServerAddrArgs {
    /// Tells whether the command line or the environment names a server.
    pub(super) fn is_named(&self, context: &CliContext) -> bool {
        self.url.is_some() || context.environment.text(URL).is_some()
    }

    /// Finds the server on the command line, else in the environment, else where the configuration
    /// has the API listen.
    fn find(&self, context: &CliContext) -> Result<ServerAddr, CliError> {
        if let Some(url) = &self.url {
            return Ok(ServerAddr::of_url(url));
        }
        if let Some(text) = context.environment.text(URL) {
            let wrong = |why| CliError::Message(format!("{URL} {why}: correct it or unset it"));
            return Ok(ServerAddr::of_url(&addr::parse(text).map_err(wrong)?));
        }
        Ok(ServerAddr::of_api(&context.whereabouts()?.api))
    }

    /// Asks the server whether it is ready, and gives its URL and the answer, or the reason why
    /// there is none; no token is shown to it.
    pub(super) fn readiness(
        &self,
        context: &CliContext,
    ) -> Result<(String, Result<ApiAnswer, Error>), CliError> {
        let addr = self.find(context)?;
        let request = ApiRequest {
            method: Method::GET,
            path: "/readyz",
            token: None,
            reveals_tokens: false,
            body: None,
        };
        let answer = exchange::exchange(&addr, request, HEALTH_TIMEOUT);
        Ok((addr.to_string(), answer))
    }
}

impl ServerArgs {
    /// The server, and the token to show it. Nothing is sent yet.
    pub(super) fn client<'c>(&self, context: &'c CliContext) -> Result<ApiClient<'c>, CliError> {
        self.client_of(self.addr.find(context)?, context)
    }

    /// The server, to be asked for what is public: no token is shown to it.
    pub(super) fn open_client<'c>(
        &self,
        context: &'c CliContext,
    ) -> Result<ApiClient<'c>, CliError> {
        let addr = self.addr.find(context)?;
        if addr.keeps_secrets() {
            return Ok(ApiClient { context, addr, token: None, reveals_tokens: false });
        }
        Err(CliError::Message(format!(
            "an answer of {addr} in cleartext may be forged: use https://, or a tunnel that ends \
             at a loopback address"
        )))
    }

    /// The server whose API is at `url`, which this machine has just been told.
    pub(super) fn client_at<'c>(
        &self,
        url: &str,
        context: &'c CliContext,
    ) -> Result<ApiClient<'c>, CliError> {
        let wrong = |why| CliError::Message(format!("{url} {why}"));
        self.client_of(ServerAddr::of_url(&addr::parse(url).map_err(wrong)?), context)
    }

    fn client_of<'c>(
        &self,
        addr: ServerAddr,
        context: &'c CliContext,
    ) -> Result<ApiClient<'c>, CliError> {
        if !addr.keeps_secrets() {
            return Err(CliError::Message(format!(
                "the access token is not sent to {addr} in cleartext: use https://, or a tunnel \
                 that ends at a loopback address"
            )));
        }
        let token = Some(token::find(self.token.as_ref(), context)?);
        Ok(ApiClient { context, addr, token, reveals_tokens: false })
    }
}

impl ApiClient<'_> {
    /// The same, whose answers have provider tokens in clear.
    pub(super) fn revealing_tokens(self) -> Self {
        Self { reveals_tokens: true, ..self }
    }

    pub(super) fn host(&self) -> &str {
        &self.addr.host
    }

    /// Reads the resource at `path`.
    pub(super) fn get(&self, path: &ApiPath) -> Result<ApiAnswer, CliError> {
        self.found(self.send(Method::GET, path, None)?)
    }

    /// Reads the resource at `path`; `None` when there is none.
    pub(super) fn find(&self, path: &ApiPath) -> Result<Option<ApiAnswer>, CliError> {
        self.if_found(self.send(Method::GET, path, None)?)
    }

    /// Sends a request where the path says it all.
    pub(super) fn post_empty(&self, path: &ApiPath) -> Result<ApiAnswer, CliError> {
        self.found(self.send(Method::POST, path, None)?)
    }

    /// Sends a request as JSON.
    pub(super) fn post<T: Serialize>(
        &self,
        path: &ApiPath,
        request: &T,
    ) -> Result<ApiAnswer, CliError> {
        self.found(self.send(Method::POST, path, Some(document(request)?))?)
    }

    /// Changes the resource at `path`; `None` when there is none.
    pub(super) fn patch<T: Serialize>(
        &self,
        path: &ApiPath,
        change: &T,
    ) -> Result<Option<ApiAnswer>, CliError> {
        self.if_found(self.send(Method::PATCH, path, Some(document(change)?))?)
    }

    /// Deletes the resource at `path`; `None` when there is none.
    pub(super) fn delete(&self, path: &ApiPath) -> Result<Option<ApiAnswer>, CliError> {
        self.if_found(self.send(Method::DELETE, path, None)?)
    }

    /// Reads a list to its end, page by page.
    pub(super) fn pages(&self, path: &ApiPath) -> Result<ApiAnswer, CliError> {
        pages::follow(path, |path| self.get(path))
    }

    fn send(
        &self,
        method: Method,
        path: &ApiPath,
        body: Option<Secret>,
    ) -> Result<ApiAnswer, CliError> {
        let request = ApiRequest {
            method,
            path: path.as_str(),
            token: self.token.as_ref(),
            reveals_tokens: self.reveals_tokens,
            body,
        };
        exchange::exchange(&self.addr, request, API_TIMEOUT).map_err(|why| {
            let server = &self.addr;
            CliError::Message(format!(
                "the server at {server} can't be asked: {why}; start it with `keyferry serve`, or \
                 name another with --url"
            ))
        })
    }

    fn found(&self, answer: ApiAnswer) -> Result<ApiAnswer, CliError> {
        if answer.is_of_proxy {
            return Err(CliError::Message(port_of_proxy(&self.addr.to_string(), self.context)));
        }
        if answer.status.is_success() {
            return Ok(answer);
        }
        Err(answer.refusal(&self.addr, self.token.as_ref().map(|token| token.source)))
    }

    fn if_found(&self, answer: ApiAnswer) -> Result<Option<ApiAnswer>, CliError> {
        if answer.is_not_found() { Ok(None) } else { self.found(answer).map(Some) }
    }
}

/// Writes a request as JSON, which may have a secret in it.
fn document<T: Serialize>(request: &T) -> Result<Secret, CliError> {
    Ok(Secret::new(serde_json::to_vec(request)?))
}

/// Says that the proxy listens there, and where the configuration has the API listen.
pub(super) fn port_of_proxy(server: &str, context: &CliContext) -> String {
    let api = context.whereabouts().map(|found| ServerAddr::of_api(&found.api).to_string());
    let api = api.unwrap_or_else(|_faulty| "http://127.0.0.1:8081".to_owned());
    format!("{server} is the proxy's port, and the API is at {api}: name it with --url or {URL}")
}

const URL: &str = "KEYFERRY_URL";

const HEADING: &str = "Server";

const URL_HELP: &str = "The server's API [env: KEYFERRY_URL] [default: the configuration's \
                        api.listen, http://127.0.0.1:8081]";

const TOKEN_HELP: &str = "The operator's access token, not a caller's; other users of this machine \
                          can see an argument, so rather set the variable [env: KEYFERRY_TOKEN] \
                          [default: admin.token in the data directory]";

/// Less than what container runtimes wait for a check by default.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(3);

/// Longer than any answer takes, re-wrapping every secret included.
const API_TIMEOUT: Duration = Duration::from_mins(2);
