//! Every way to say no: code, status, `Proxy-Status` error, rule and sentence (contract §4).

mod code;
mod grpc;

use std::borrow::Cow;

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::json;

use crate::model::remedy::RemedyActor;
use crate::upstream::{self, ResponsePhase};

pub use self::code::{Code, Rule};
pub(super) use self::grpc::is_grpc;

/// A refusal: a sentence that says what is wrong and who must act, and the rest of its answer.
#[derive(Clone, Debug)]
pub struct Refusal {
    code: Code,
    title: Cow<'static, str>,
    extra: Vec<(header::HeaderName, HeaderValue)>,
    closes: bool,
    /// Tells whether the caller looks for 401 rather than 407.
    as_origin: bool,
    /// The whole story, for the operator's log only.
    cause: Option<Box<str>>,
    /// The one who must act, where the code does not tell.
    who: Option<RemedyActor>,
}

impl Refusal {
    /// A refusal with a sentence of its own.
    pub fn new(code: Code, title: impl Into<Cow<'static, str>>) -> Self {
        let title = title.into();
        let (extra, closes, as_origin) = (Vec::new(), false, false);
        Self { code, title, extra, closes, as_origin, cause: None, who: None }
    }

    /// Adds a field to the answer.
    #[must_use]
    pub fn with(mut self, name: header::HeaderName, value: HeaderValue) -> Self {
        self.extra.push((name, value));
        self
    }

    /// Asks the caller to come back after this many seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u64) -> Self {
        self.with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The conn can't be used any further.
    #[must_use]
    pub fn closing(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The caller speaks to us as to an origin, and looks for 401 instead of 407.
    #[must_use]
    pub fn as_origin(mut self) -> Self {
        self.as_origin = true;
        self
    }

    /// Keeps the whole story for the operator's log.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<str>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Names the one who must act, where the code does not tell.
    #[must_use]
    pub fn for_actor(mut self, who: RemedyActor) -> Self {
        self.who = Some(who);
        self
    }

    /// The one who must act, where the code does not tell.
    pub fn who(&self) -> Option<RemedyActor> {
        self.who
    }

    /// The code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The sentence.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The whole story, never for the caller.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The status that the answer has.
    pub fn status(&self) -> StatusCode {
        let status = match self.code {
            Code::CallerUnknown if self.as_origin => 401,
            code => code.status(),
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// The answer.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body())));
        *response.status_mut() = self.status();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Ok(value) = HeaderValue::try_from(self.proxy_status()) {
            headers.insert("proxy-status", value);
        }
        for value in self.challenges() {
            let name =
                if self.as_origin { header::WWW_AUTHENTICATE } else { header::PROXY_AUTHENTICATE };
            headers.append(name, HeaderValue::from_static(value));
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        headers.extend(self.extra);
        response
    }

    /// The answer to a caller that speaks gRPC: Trailers-Only, where the status stands beside the
    /// head's other fields and there is no body (gRPC over HTTP/2, "Responses").
    pub fn into_grpc_response(self) -> Response<Full<Bytes>> {
        let (status, message) = (self.code.grpc_status(), grpc::message(&self.title));
        let mut response = self.into_response().map(|_json| Full::default());
        *response.status_mut() = StatusCode::OK;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        headers.insert("grpc-status", HeaderValue::from(status));
        headers.insert("grpc-message", message);
        response
    }

    /// The answer as a whole HTTP/1.1 message, for a conn on which no request was read.
    pub fn into_message(self) -> Vec<u8> {
        let response = self.closing().into_response();
        let mut message = format!("HTTP/1.1 {}\r\n", response.status()).into_bytes();
        for (name, value) in response.headers() {
            message.extend_from_slice(name.as_str().as_bytes());
            message.extend_from_slice(b": ");
            message.extend_from_slice(value.as_bytes());
            message.extend_from_slice(b"\r\n");
        }
        let body = response.into_body().into_inner().unwrap_or_default();
        message.extend_from_slice(format!("content-length: {}\r\n\r\n", body.len()).as_bytes());
        message.extend_from_slice(&body);
        message
    }

    /// `error` is what the SDKs of common APIs read and show.
    fn body(&self) -> String {
        let (code, title) = (self.code.as_str(), &self.title);
        json!({
            "error": {"type": "keyferry_refusal", "code": code, "message": title},
            "errors": [{"code": code, "title": title}],
        })
        .to_string()
    }

    fn proxy_status(&self) -> String {
        let details = status_text(&format!("{}: {}", self.code.as_str(), self.title));
        format!("keyferry; error={}; details=\"{details}\"", self.code.proxy_status())
    }

    fn challenges(&self) -> &'static [&'static str] {
        match self.code {
            Code::CallerUnknown => {
                &["Basic realm=\"keyferry\", charset=\"UTF-8\"", "Bearer realm=\"keyferry\""]
            }
            _ => &[],
        }
    }
}

/// The refusal of a request that can't be read, or can be read in more than one way.
pub(super) fn malformed(title: &'static str) -> Refusal {
    Refusal::new(Code::MalformedRequest, title)
}

/// A member of `Proxy-Status` on an origin's answer, which says what the proxy has done to it.
pub(super) fn own_status(details: &str) -> HeaderValue {
    HeaderValue::try_from(format!("keyferry; details=\"{}\"", status_text(details)))
        .unwrap_or_else(|_never| HeaderValue::from_static("keyferry"))
}

/// The text as a string of RFC 8941 §3.3.3 may have it without an escape. `sfv`, which reads what
/// origins say, would write it no shorter: it refuses other text, so that this filter would stay.
fn status_text(text: &str) -> String {
    let printable = text.chars().filter(|c| c.is_ascii_graphic() || *c == ' ');
    printable.filter(|c| *c != '"' && *c != '\\').collect()
}

impl From<upstream::Error> for Refusal {
    fn from(error: upstream::Error) -> Self {
        use upstream::Error as E;
        let (code, title) = match &error {
            E::NameUnresolved(_) | E::NameTimeout | E::TooManyLookups => of_lookup(&error),
            E::Prohibited(_) => (
                Code::AddressProhibited,
                "The origin's address is not on the public internet; the operator can allow its network with upstream.allow_networks.",
            ),
            E::ConnectRefused(_) => (
                Code::ConnectRefused,
                "The origin can't be connected to: its operator must act, if the host is right.",
            ),
            E::ConnectTimeout => (
                Code::ConnectTimeout,
                "The origin could not be connected to in time: its operator must act.",
            ),
            E::CertificateInvalid(_) => (
                Code::CertificateInvalid,
                "The origin's certificate is not valid for its name; nothing was sent.",
            ),
            E::TlsFailed(_) => {
                (Code::TlsFailed, "TLS with the origin failed: its operator must act.")
            }
            E::CertificateDemanded(_) => (Code::TlsFailed, CERTIFICATE_DEMANDED),
            E::CertificateRefused(_) => (Code::TlsFailed, CERTIFICATE_REFUSED),
            E::Closed(ResponsePhase::BeforeResponse, _) => {
                (Code::UpstreamClosed, "The origin closed the connection before answering.")
            }
            E::Closed(ResponsePhase::WithinHead, _) => {
                (Code::ResponseTruncated, "The origin's response ended within its head.")
            }
            E::ResponseTimeout => {
                (Code::ResponseTimeout, "The origin did not answer in time: its operator must act.")
            }
            E::ResponseMalformed(_) => {
                (Code::ResponseMalformed, "The origin's response is not well-formed HTTP.")
            }
            E::RequestBody(_) => {
                (Code::MalformedRequest, "The request's body ended early or is not well-formed.")
            }
            E::TargetNotCarried(_) => (Code::MalformedRequest, TARGET_NOT_CARRIED),
            E::Withdrawn(_) => (Code::ConnectionForbidden, WITHDRAWN),
            E::UpgradeFailed => (Code::UpgradeFailed, UPGRADE_FAILED),
        };
        Self::new(code, title).because(error.chain())
    }
}

/// The code and title of a look-up that failed.
fn of_lookup(error: &upstream::Error) -> (Code, &'static str) {
    match error {
        upstream::Error::NameTimeout => (
            Code::NameTimeout,
            "The origin's name did not resolve in time; the operator should check DNS.",
        ),
        upstream::Error::TooManyLookups => (
            Code::NameTimeout,
            "Too many names of this integration are being looked up and do not resolve; its callers should check the hosts in their requests, and the operator DNS.",
        ),
        _ => (
            Code::NameUnresolved,
            "The origin's name does not resolve; check the host in the request.",
        ),
    }
}

const WITHDRAWN: &str =
    "The request was not sent, because what is allowed has changed meanwhile; send it again.";

const TARGET_NOT_CARRIED: &str = "The origin speaks HTTP/2 alone, where the URL must be encoded: \
     write %22 for \", %3C for <, %3E for > and %60 for `.";
const CERTIFICATE_DEMANDED: &str = "The origin demands a client certificate: the operator must \
     give the connection one (client_certificate and client_key).";
const CERTIFICATE_REFUSED: &str = "The origin refuses the connection's client certificate: the \
     operator must give the connection one that the origin accepts and that has not expired.";
const UPGRADE_FAILED: &str = "The origin's answer to the upgrade is not valid.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_json_with_a_proxy_status() {
        let refusal = Refusal::new(Code::DomainNotAllowed, "Ask \"them\" \\ now\u{e9}");
        let response = refusal.into_response();
        assert_eq!(response.status(), 403);
        assert_eq!(
            response.headers()["proxy-status"],
            "keyferry; error=http_request_denied; details=\"DomainNotAllowed: Ask them  now\""
        );
    }

    #[test]
    fn grpc_is_told_in_the_fields_of_the_head() {
        let title = "No \u{e9}: 100 % \n";
        let response = Refusal::new(Code::RateLimited, title).retry_after(3).into_grpc_response();
        assert_eq!(response.status(), 200);
        let fields = ["content-type", "grpc-status", "grpc-message", "retry-after"];
        let told = fields.map(|name| response.headers()[name].to_str().unwrap());
        assert_eq!(told, ["application/grpc", "8", "No %C3%A9: 100 %25 %0A", "3"]);
        assert!(http_body::Body::is_end_stream(response.body()));
    }
}
