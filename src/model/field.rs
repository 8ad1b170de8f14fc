//! The rules of header fields that may carry an API key (ZIS spec §5.2), and of secrets (§5.3).

use http::HeaderName;

/// The longest secret, in bytes.
pub const MAX_SECRET: usize = 8192;

/// The longest access token of a provider, in bytes.
pub const MAX_ACCESS_TOKEN: usize = 32 << 10;

/// A field name that may carry a credential, in lower case.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CredentialField(HeaderName);

/// A field name that was refused. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum FieldError {
    /// Empty, too long, or not an RFC 9110 token.
    #[error(
        "a header name is 1 to 128 characters out of letters, digits and ! # $ % & ' * + - . ^ _ ` | ~"
    )]
    Syntax,
    /// A field that HTTP itself or the proxy uses.
    #[error("this header name is forbidden: HTTP or the proxy uses it")]
    Forbidden,
    /// A field that servers send back.
    #[error("this header name is forbidden: servers commonly repeat its value in their answers")]
    Repeated,
    /// A prefix that is reserved.
    #[error(
        "header names that begin with access-control-, sec-, x-amz-, x-amzn-, x-forwarded- or x-zis are forbidden"
    )]
    ForbiddenPrefix,
}

/// A secret or a user name that was refused. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum SecretError {
    /// An empty text.
    #[error("it is empty")]
    Empty,
    /// A text of more than 8 KiB.
    #[error("it is longer than 8192 bytes")]
    TooLong,
    /// A control character, which a header field can't carry (RFC 9110 §5.5, RFC 7617 §2).
    #[error("it contains a control character, which a header field can't carry")]
    Control,
    /// Outer white space, which is not part of a field value on the wire (RFC 9110 §5.5).
    #[error("it begins or ends with white space, which a header field would lose")]
    OuterSpace,
    /// A colon in a user name (RFC 7617 §2).
    #[error("a user name can't contain a colon: everything after it would be the password")]
    Colon,
}

impl CredentialField {
    /// Reads the name of the header that carries an API key.
    pub fn parse(text: &str) -> Result<Self, FieldError> {
        if text.is_empty() || text.len() > 128 || !text.bytes().all(is_tchar) {
            return Err(FieldError::Syntax);
        }
        let lower = text.to_ascii_lowercase();
        if FORBIDDEN_PREFIXES.iter().any(|prefix| starts_the_same_to_servers(&lower, prefix)) {
            return Err(FieldError::ForbiddenPrefix);
        }
        let mut forbidden = FORBIDDEN.iter().chain(&FORBIDDEN_BY_US);
        if forbidden.any(|name| is_same_to_servers(&lower, name)) {
            return Err(FieldError::Forbidden);
        }
        HeaderName::from_bytes(lower.as_bytes()).map(Self).map_err(|_same| FieldError::Syntax)
    }

    /// Reads the name of a header that a template fills in. Those that servers commonly repeat are
    /// forbidden too, which ZIS allows for an API key.
    ///
    /// # Errors
    /// [`FieldError`] names the broken rule.
    pub fn parse_injected(text: &str) -> Result<Self, FieldError> {
        let field = Self::parse(text)?;
        let is_repeated = REPEATED.iter().any(|name| is_same_to_servers(field.0.as_str(), name));
        if is_repeated { Err(FieldError::Repeated) } else { Ok(field) }
    }

    /// The name as it is sent.
    pub fn name(&self) -> &HeaderName {
        &self.0
    }
}

/// Checks that a header field can carry `secret` unchanged.
///
/// # Errors
/// [`SecretError`] names the broken rule, and never contains the secret.
pub fn check_secret(secret: &[u8]) -> Result<(), SecretError> {
    check_value(secret, MAX_SECRET)
}

/// Checks that a header field can carry a provider's access token unchanged. It may be longer than
/// a secret that people enter.
pub fn check_token(token: &[u8]) -> Result<(), SecretError> {
    check_value(token, MAX_ACCESS_TOKEN)
}

fn check_value(secret: &[u8], max_length: usize) -> Result<(), SecretError> {
    let is_space = |byte: Option<&u8>| byte.is_some_and(|byte| *byte == b' ');
    if secret.is_empty() {
        Err(SecretError::Empty)
    } else if secret.len() > max_length {
        Err(SecretError::TooLong)
    } else if secret.iter().any(u8::is_ascii_control) {
        Err(SecretError::Control)
    } else if is_space(secret.first()) || is_space(secret.last()) {
        Err(SecretError::OuterSpace)
    } else {
        Ok(())
    }
}

/// Checks a password of Basic authentication. It is sent in base64, so outer spaces are allowed.
pub fn check_password(password: &[u8]) -> Result<(), SecretError> {
    match check_secret(password) {
        Err(SecretError::OuterSpace) => Ok(()),
        verdict => verdict,
    }
}

/// Checks a user name of Basic authentication (RFC 7617 §2).
pub fn check_username(username: &str) -> Result<(), SecretError> {
    if username.contains(':') {
        return Err(SecretError::Colon);
    }
    check_password(username.as_bytes())
}

/// Tells whether a server may take two lower-case names for the same: CGI (RFC 3875 §4.1.18) and
/// interfaces like it map hyphens to underscores, and many map every other punctuation mark too.
pub fn is_same_to_servers(name: &str, other: &str) -> bool {
    name.len() == other.len() && starts_the_same_to_servers(name, other)
}

/// Tells whether such a server may take a lower-case name to begin with `prefix`.
pub fn starts_the_same_to_servers(name: &str, prefix: &str) -> bool {
    let fold = |byte: &u8| if byte.is_ascii_alphanumeric() { *byte } else { b'-' };
    let start = name.as_bytes().get(..prefix.len());
    start.is_some_and(|start| start.iter().map(fold).eq(prefix.as_bytes().iter().map(fold)))
}

/// Tells whether HTTP/1.1 can carry a field name: it is a `token` (RFC 9110 §5.6.2).
pub fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(is_tchar)
}

/// `tchar` (RFC 9110 §5.6.2).
fn is_tchar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reserved prefixes. The first two are not in ZIS: servers repeat the values of such fields, or
/// give them a meaning of their own.
const FORBIDDEN_PREFIXES: [&str; 6] =
    ["access-control-", "sec-", "x-amz-", "x-amzn-", "x-forwarded-", "x-zis"];

/// The 32 names of ZIS spec §5.2.
const FORBIDDEN: [&str; 32] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-md5",
    "cookie",
    "date",
    "expect",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "via",
    "warning",
    "www-authenticate",
];

/// Forbidden names that are not in ZIS: an injected value would break framing and hop-by-hop
/// fields, and servers commonly repeat the others in their answers.
const FORBIDDEN_BY_US: [&str; 7] = [
    "content-length",
    "forwarded",
    "keep-alive",
    "origin",
    "proxy-connection",
    "x-correlation-id",
    "x-request-id",
];

/// Names whose values servers commonly repeat, or pass on to others: identifiers of requests and
/// traces.
const REPEATED: [&str; 6] = [
    "client-request-id",
    "idempotency-key",
    "traceparent",
    "tracestate",
    "x-client-request-id",
    "x-ms-client-request-id",
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn header_names_follow_the_vectors() {
        let longest = "a".repeat(128);
        for valid in ["x-api-key", "Authorization", "X_1!#$%&'*+-.^_`|~", &longest, "content-type"]
        {
            assert!(CredentialField::parse(valid).is_ok(), "{valid}");
        }
        let too_long = "a".repeat(129);
        for (invalid, why) in [
            ("", FieldError::Syntax),
            (&too_long, FieldError::Syntax),
            ("x api", FieldError::Syntax),
            ("x:y", FieldError::Syntax),
            ("héader", FieldError::Syntax),
            ("x\0y", FieldError::Syntax),
            ("Cookie", FieldError::Forbidden),
            ("HOST", FieldError::Forbidden),
            ("Content-Length", FieldError::Forbidden),
            ("keep-alive", FieldError::Forbidden),
            ("Proxy-Connection", FieldError::Forbidden),
            ("x-amz-date", FieldError::ForbiddenPrefix),
            ("X-Amzn-Trace-Id", FieldError::ForbiddenPrefix),
            ("x-forwarded-for", FieldError::ForbiddenPrefix),
            ("x-zis", FieldError::ForbiddenPrefix),
            ("x-zisfoo", FieldError::ForbiddenPrefix),
            ("X-ZIS-Authorization", FieldError::ForbiddenPrefix),
            ("transfer_encoding", FieldError::Forbidden),
            ("content.length", FieldError::Forbidden),
            ("Proxy_Authorization", FieldError::Forbidden),
            ("user~agent", FieldError::Forbidden),
            ("x_zis_host", FieldError::ForbiddenPrefix),
            ("X.Zis.Host", FieldError::ForbiddenPrefix),
            ("x_amz-date", FieldError::ForbiddenPrefix),
        ] {
            assert_eq!(CredentialField::parse(invalid), Err(why), "{invalid:?}");
        }
        for name in FORBIDDEN {
            assert_eq!(CredentialField::parse(name), Err(FieldError::Forbidden), "{name}");
        }
    }

    #[test]
    fn a_field_that_servers_repeat_is_none_for_a_template() {
        for name in REPEATED {
            assert!(CredentialField::parse(name).is_ok(), "{name}");
        }
        for name in ["Idempotency-Key", "client_request_id", "TraceParent", "tracestate"] {
            assert_eq!(CredentialField::parse_injected(name), Err(FieldError::Repeated), "{name}");
        }
        for name in ["X-Request-Id", "x_correlation_id", "Cookie"] {
            assert_eq!(CredentialField::parse_injected(name), Err(FieldError::Forbidden), "{name}");
        }
        assert!(CredentialField::parse_injected("X-Shopify-Access-Token").is_ok());
    }

    #[test]
    fn secrets_that_a_field_cannot_carry_are_refused() {
        assert_eq!(check_secret(b"s3cr3t with space"), Ok(()));
        assert_eq!(check_secret("123£".as_bytes()), Ok(()));
        assert_eq!(check_secret(b""), Err(SecretError::Empty));
        assert_eq!(check_secret(b"a\r\nb"), Err(SecretError::Control));
        assert_eq!(check_secret(b"a\0b"), Err(SecretError::Control));
        assert_eq!(check_secret(b"a\x7fb"), Err(SecretError::Control));
        assert_eq!(check_secret(b" a"), Err(SecretError::OuterSpace));
        assert_eq!(check_secret(&[b'a'; 8193]), Err(SecretError::TooLong));
        assert_eq!(check_secret(&[b'a'; 8192]), Ok(()));
        assert_eq!(check_password(b" a "), Ok(()));
        assert_eq!(check_username("a:b"), Err(SecretError::Colon));
        assert_eq!(check_username("john.doe@example.com/token"), Ok(()));
    }

    proptest! {
        #[test]
        fn a_field_name_is_kept_lower_case(text in "[A-Za-z][A-Za-z0-9-]{0,40}") {
            if let Ok(field) = CredentialField::parse(&text) {
                prop_assert_eq!(field.name().as_str(), text.to_ascii_lowercase());
            }
        }
    }
}
