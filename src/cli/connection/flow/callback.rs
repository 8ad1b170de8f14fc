//! The server on this machine to which the browser comes back; it serves one flow.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener as StdTcpListener};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{Html, IntoResponse as _, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::{self, HeaderName};
use http::{Method, Request, StatusCode, Uri, Version};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::cli::output::{self, CliError};
use crate::model::content_policy::ContentPolicy;
use crate::random;

/// A port that listens, and the one path at it where the flow ends.
pub(super) struct CallbackServer {
    listener: StdTcpListener,
    url: String,
    path: String,
}

/// The end of a flow, as the browser brings it.
#[derive(Debug, Eq, PartialEq)]
enum FlowEnd {
    Granted {
        /// The code that is exchanged for the connection.
        verification_code: String,
    },
    Denied {
        /// The reason in a word.
        error: String,
        /// The reason in a sentence; it may be empty.
        description: String,
    },
}

/// The path of the flow's end, and the place to which it is reported.
struct Flow {
    path: String,
    ends: mpsc::Sender<FlowEnd>,
}

impl CallbackServer {
    /// Opens a port that can't be reached from another machine. The path can't be guessed: a page
    /// in the same browser that tries every port ends no flow.
    pub(super) fn open() -> Result<Self, CliError> {
        let nonce = random::bytes::<16>()?;
        let path = format!("/{}", BASE64_URL_SAFE_NO_PAD.encode(nonce));
        let listener =
            StdTcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|why| no_port(&why))?;
        listener.set_nonblocking(true).map_err(|why| no_port(&why))?;
        let address = listener.local_addr().map_err(|why| no_port(&why))?;
        Ok(Self { listener, url: format!("http://{address}{path}"), path })
    }

    /// The URL to which the browser is sent at the end.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Waits for the browser; gives the verification code that it brings.
    pub(super) fn wait(self) -> Result<String, CliError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let end = runtime.and_then(|runtime| runtime.block_on(self.serve()));
        match end.map_err(|why| no_port(&why))? {
            Some(FlowEnd::Granted { verification_code }) => Ok(verification_code),
            Some(FlowEnd::Denied { error, description }) => Err(denied(&error, &description)),
            None => Err(CliError::Message(
                "the browser did not come back within 10 minutes: see with `keyferry connection \
                 list` whether the connection is there all the same, or begin again"
                    .to_owned(),
            )),
        }
    }

    /// Serves until the flow has ended and the browser has its page.
    async fn serve(self) -> io::Result<Option<FlowEnd>> {
        let listener = TcpListener::from_std(self.listener)?;
        let (ends, mut reported) = mpsc::channel(1);
        let flow = Arc::new(Flow { path: self.path, ends });
        let app = Router::new().fallback(receive).with_state(flow);
        let stop = CancellationToken::new();
        let stopped = stop.clone().cancelled_owned();
        let server = axum::serve(listener, app).with_graceful_shutdown(stopped).into_future();
        tokio::pin!(server);
        let end = tokio::select! {
            end = timeout(FLOW_TIMEOUT, reported.recv()) => end.ok().flatten(),
            ended = &mut server => return ended.map(|()| None),
        };
        // Conns on which a browser says nothing are not waited for.
        stop.cancel();
        let _page_is_read = timeout(PAGE_TIMEOUT, server).await;
        Ok(end)
    }
}

async fn receive(State(flow): State<Arc<Flow>>, request: Request<axum::body::Body>) -> Response {
    let end = FlowEnd::of(request.method(), request.uri(), request.version(), &flow.path);
    let (status, said) = match &end {
        Some(FlowEnd::Granted { .. }) => (StatusCode::OK, "The provider has said yes."),
        Some(FlowEnd::Denied { .. }) => (StatusCode::OK, "There is no connection."),
        None => (StatusCode::NOT_FOUND, "There is nothing here."),
    };
    if let Some(end) = end {
        // The first end counts; a browser that asks again gets its page and nothing more.
        let _is_first = flow.ends.try_send(end);
    }
    let page = Html(format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\"><title>Keyferry</title>\n\
         <h1>{said}</h1>\n<p>The terminal says the rest. You can close this window.</p></html>\n"
    ));
    (status, FIELDS, page).into_response()
}

impl FlowEnd {
    /// Reads a request strictly: other programs of this machine can reach the same port, and so
    /// can any page that the browser shows. `path` is the one at which the flow ends.
    fn of(method: &Method, uri: &Uri, version: Version, path: &str) -> Option<Self> {
        let is_asked = method == Method::GET && version == Version::HTTP_11;
        if !is_asked || uri.authority().is_some() || uri.path() != path {
            return None;
        }
        let mut said = BTreeMap::new();
        for (name, value) in form_urlencoded::parse(uri.query()?.as_bytes()) {
            // A member that is there twice can be read in two ways.
            if said.insert(name, value.into_owned()).is_some() {
                return None;
            }
        }
        let mut take = |name| said.remove(name).filter(|value| !value.is_empty());
        match (take("verification_code"), take("error")) {
            (Some(verification_code), None) => Some(Self::Granted { verification_code }),
            (None, Some(error)) => {
                let description = take("error_description").unwrap_or_default();
                Some(Self::Denied { error, description })
            }
            _ => None,
        }
    }
}

fn denied(error: &str, description: &str) -> CliError {
    let error = output::printable(error);
    let why = match output::printable(description).trim_end_matches('.') {
        "" => error,
        description => format!("{description} ({error})"),
    };
    CliError::Message(format!(
        "there is no connection: {why}; `keyferry connection create` begins again"
    ))
}

fn no_port(why: &io::Error) -> CliError {
    CliError::Message(format!(
        "this machine has no port for the browser to come back to ({why}): try again"
    ))
}

/// The time that a flow may take.
const FLOW_TIMEOUT: Duration = Duration::from_mins(10);

/// The time that the browser has to read its page.
const PAGE_TIMEOUT: Duration = Duration::from_secs(2);

/// Fields of the page, which no cache may keep. Its address has the code in it, and is not sent on.
const FIELDS: [(HeaderName, &str); 5] = [
    (header::CONTENT_SECURITY_POLICY, ContentPolicy::Inert.as_str()),
    (header::REFERRER_POLICY, ContentPolicy::Inert.referrer()),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::CONNECTION, "close"),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(uri: &str) -> Option<FlowEnd> {
        FlowEnd::of(&Method::GET, &uri.parse().unwrap(), Version::HTTP_11, "/x")
    }

    fn granted(code: &str) -> FlowEnd {
        FlowEnd::Granted { verification_code: code.to_owned() }
    }

    #[test]
    fn a_browser_comes_back_with_a_code_or_a_reason() {
        assert_eq!(read("/x?verification_code=s8fO%2D"), Some(granted("s8fO-")));
        assert_eq!(read("/x?verification_token=abc&verification_code=abc"), Some(granted("abc")));
        let denied = |error: &str, description: &str| {
            let (error, description) = (error.to_owned(), description.to_owned());
            Some(FlowEnd::Denied { error, description })
        };
        assert_eq!(
            read("/x?error=access_denied&error_description=He+said+no."),
            denied("access_denied", "He said no.")
        );
        assert_eq!(read("/x?error=access_denied"), denied("access_denied", ""));
    }

    #[test]
    fn nothing_else_ends_a_flow() {
        for uri in [
            "/favicon.ico",
            "/",
            "/x",
            "/x?",
            "/x?verification_code=",
            "/y?verification_code=a",
            "/x/?verification_code=a",
            "/%78?verification_code=a",
            "http://127.0.0.1/x?verification_code=a",
            "/x?verification_code=a&verification_code=b",
            "/x?verification_code=a&error=b",
        ] {
            assert_eq!(read(uri), None, "{uri}");
        }
        let uri = "/x?verification_code=a".parse().unwrap();
        for (method, version) in [
            (Method::HEAD, Version::HTTP_11),
            (Method::POST, Version::HTTP_11),
            (Method::GET, Version::HTTP_10),
        ] {
            assert_eq!(FlowEnd::of(&method, &uri, version, "/x"), None, "{method} {version:?}");
        }
    }

    proptest! {
        #[test]
        fn a_code_comes_out_as_it_went_in(code in "\\PC{1,40}", junk in "[a-z]{1,8}") {
            let mut query = form_urlencoded::Serializer::new(String::new());
            query.append_pair(&junk, "1").append_pair("verification_code", &code);
            prop_assume!(junk != "error");
            prop_assert_eq!(read(&format!("/x?{}", query.finish())), Some(granted(&code)));
        }
    }
}
