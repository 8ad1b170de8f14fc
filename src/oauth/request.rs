//! The request to a token endpoint (RFC 6749 §4.1.3, §4.4.2, §6), as a form.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;
use zeroize::Zeroizing;

use crate::model::oauth::client::AuthMethod;
use crate::secret::Secret;

/// The grant that tokens are asked for by, with its parameters.
#[derive(Clone, Copy, Debug)]
pub enum GrantParams<'a> {
    /// The first tokens of a grant.
    AuthorizationCode {
        /// The code (RFC 6749 §4.1.2).
        code: &'a Secret,
        /// The URL that the browser was sent back to.
        redirect_uri: &'a str,
        /// The code verifier (RFC 7636 §4.5).
        verifier: &'a Secret,
    },
    /// Tokens for the client itself.
    ClientCredentials {
        /// The scopes, if any are wanted.
        scopes: &'a str,
    },
    /// Other tokens in the place of those that end.
    Refresh {
        /// The refresh token.
        refresh_token: &'a Secret,
    },
}

impl<'a> GrantParams<'a> {
    /// The secret that is shown, beside the client's.
    pub(super) fn secret(&self) -> Option<&'a Secret> {
        match *self {
            Self::AuthorizationCode { code, .. } => Some(code),
            Self::ClientCredentials { .. } => None,
            Self::Refresh { refresh_token } => Some(refresh_token),
        }
    }
}

/// A request with the client's credentials, ready for the wire.
#[derive(Debug)]
pub(super) struct EncodedRequest {
    pub(super) body: Secret,
    /// The client's credentials, where they are shown in a field.
    pub(super) authorization: Option<HeaderValue>,
}

impl EncodedRequest {
    /// `None` when a secret is not text, which no client's is.
    pub(super) fn of(
        grant_params: &GrantParams<'_>,
        client_id: &str,
        client_secret: &Secret,
        method: AuthMethod,
    ) -> Option<Self> {
        // 1. The grant (RFC 6749 §4.1.3, §4.4.2, §6).
        let secret = std::str::from_utf8(client_secret.expose()).ok()?;
        let mut form = Serializer::new(String::with_capacity(BUFFER_LEN));
        match grant_params {
            GrantParams::AuthorizationCode { code, redirect_uri, verifier } => {
                form.append_pair("grant_type", "authorization_code")
                    .append_pair("code", text(code)?)
                    .append_pair("redirect_uri", redirect_uri)
                    .append_pair("code_verifier", text(verifier)?);
            }
            GrantParams::ClientCredentials { scopes } => {
                form.append_pair("grant_type", "client_credentials");
                if !scopes.is_empty() {
                    form.append_pair("scope", scopes);
                }
            }
            GrantParams::Refresh { refresh_token } => {
                form.append_pair("grant_type", "refresh_token")
                    .append_pair("refresh_token", text(refresh_token)?);
            }
        }
        // 2. The client's credentials (§2.3.1).
        let authorization = match method {
            AuthMethod::ClientSecretBasic => Some(basic(client_id, secret)?),
            AuthMethod::ClientSecretBasicRaw => Some(basic_raw(client_id, secret)?),
            AuthMethod::None => {
                form.append_pair("client_id", client_id);
                None
            }
            AuthMethod::ClientSecretPost => {
                form.append_pair("client_id", client_id).append_pair("client_secret", secret);
                None
            }
        };
        Some(Self { body: Secret::new(form.finish()), authorization })
    }
}

fn text(secret: &Secret) -> Option<&str> {
    std::str::from_utf8(secret.expose()).ok()
}

/// Both are form-encoded before they are joined (RFC 6749 §2.3.1).
fn basic(client_id: &str, secret: &str) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::with_capacity(BUFFER_LEN));
    pair.extend(byte_serialize(client_id.as_bytes()));
    pair.push(':');
    pair.extend(byte_serialize(secret.as_bytes()));
    basic_of(&pair)
}

/// Both are joined as they are, for providers that don't decode them.
fn basic_raw(client_id: &str, secret: &str) -> Option<HeaderValue> {
    let mut pair = Zeroizing::new(String::with_capacity(BUFFER_LEN));
    pair.push_str(client_id);
    pair.push(':');
    pair.push_str(secret);
    basic_of(&pair)
}

fn basic_of(pair: &str) -> Option<HeaderValue> {
    let mut field = Zeroizing::new("Basic ".to_owned());
    STANDARD.encode_string(pair.as_bytes(), &mut field);
    let shared = Secret::new(field.as_bytes()).into_shared();
    let mut value = HeaderValue::from_maybe_shared(shared).ok()?;
    value.set_sensitive(true);
    Some(value)
}

const BUFFER_LEN: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(grant_params: &GrantParams<'_>, method: AuthMethod) -> (String, Option<String>) {
        let form = EncodedRequest::of(grant_params, "id:1", &Secret::new("s &é"), method).unwrap();
        let field = form.authorization.map(|value| value.to_str().unwrap().to_owned());
        (String::from_utf8(form.body.expose().to_vec()).unwrap(), field)
    }

    #[test]
    fn a_client_shows_its_secret_in_the_body_or_in_a_field() {
        let refresh = GrantParams::Refresh { refresh_token: &Secret::new("r+/=") };
        let (body, field) = asked(&refresh, AuthMethod::ClientSecretPost);
        let grant_params = "grant_type=refresh_token&refresh_token=r%2B%2F%3D";
        assert_eq!(body, format!("{grant_params}&client_id=id%3A1&client_secret=s+%26%C3%A9"));
        assert_eq!(field, None);
        let (body, field) = asked(&refresh, AuthMethod::ClientSecretBasic);
        assert_eq!(body, grant_params);
        let encoded = STANDARD.encode("id%3A1:s+%26%C3%A9");
        assert_eq!(field, Some(format!("Basic {encoded}")));
    }

    #[test]
    fn each_grant_is_asked_for_in_its_own_form() {
        let post = AuthMethod::ClientSecretBasic;
        let code = GrantParams::AuthorizationCode {
            code: &Secret::new("c&d"),
            redirect_uri: "https://k.example/cb",
            verifier: &Secret::new("v"),
        };
        assert_eq!(
            asked(&code, post).0,
            "grant_type=authorization_code&code=c%26d&redirect_uri=https%3A%2F%2Fk.example%2Fcb&code_verifier=v"
        );
        for (scopes, body) in [
            ("", "grant_type=client_credentials"),
            ("a b", "grant_type=client_credentials&scope=a+b"),
        ] {
            assert_eq!(asked(&GrantParams::ClientCredentials { scopes }, post).0, body);
        }
    }
}
