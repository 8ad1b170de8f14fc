//! The request to a token endpoint (RFC 6749 §4.1.3, §4.4.2, §6; RFC 7521 §4), as its client's
//! profile has it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use form_urlencoded::{Serializer, byte_serialize};
use http::HeaderValue;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::assertion::Assertions;
use super::failure::TokenFailure;
use crate::model::oauth::assertion::{Installation, ScopePlace};
use crate::model::oauth::client::{AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::Subdomain;
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::params::ParamValues;
use crate::model::oauth::profile::TokenRequestFormat;
use crate::secret::Secret;

/// A request to a client's token endpoint.
#[derive(Clone, Copy, Debug)]
pub struct TokenRequest<'a> {
    /// The client whose endpoint is asked, with its credentials.
    pub client: &'a ClientRecord,
    /// The text for `{subdomain}` in the client's URLs and parameters.
    pub subdomain: Option<&'a Subdomain>,
    /// The grant, and its parameters.
    pub grant_params: GrantParams<'a>,
    /// The scopes that count where the answer names none (RFC 6749 §5.1).
    pub scopes: &'a str,
}

/// The grant that tokens are asked for by, with its parameters.
#[derive(Clone, Copy, Debug)]
pub enum GrantParams<'a> {
    /// The first tokens of a grant.
    AuthorizationCode {
        /// The code (RFC 6749 §4.1.2).
        code: &'a Secret,
        /// The URL that the browser was sent back to.
        redirect_uri: &'a str,
        /// The code verifier (RFC 7636 §4.5), where a challenge was sent.
        verifier: Option<&'a Secret>,
    },
    /// Tokens for the client itself.
    ClientCredentials {
        /// The scopes, if any are wanted.
        scopes: &'a str,
    },
    /// The tokens of a GitHub App's installation.
    GithubApp,
    /// Tokens for an assertion that the client signs (RFC 7523 §2.1).
    JwtBearer {
        /// The scopes, if any are wanted.
        scopes: &'a str,
    },
    /// Other tokens in the place of those that end.
    Refresh {
        /// The refresh token.
        refresh_token: &'a Secret,
        /// The access token that it came with.
        access_token: &'a Secret,
        /// The scopes that were asked for at first.
        scopes: &'a str,
    },
}

impl<'a> GrantParams<'a> {
    /// The secrets that are shown, beside the client's.
    pub(super) fn secrets(&self) -> [Option<&'a Secret>; 2] {
        match *self {
            Self::AuthorizationCode { code, verifier, .. } => [Some(code), verifier],
            Self::ClientCredentials { .. } | Self::GithubApp | Self::JwtBearer { .. } => {
                [None, None]
            }
            Self::Refresh { refresh_token, access_token, .. } => {
                [Some(refresh_token), Some(access_token)]
            }
        }
    }

    /// The grant that the client's own credentials are; `None` where a user is asked.
    #[must_use]
    pub fn own(grant_type: GrantType, scopes: &'a str) -> Option<Self> {
        match grant_type {
            GrantType::AuthorizationCode => None,
            GrantType::ClientCredentials => Some(Self::ClientCredentials { scopes }),
            GrantType::GithubApp => Some(Self::GithubApp),
            GrantType::JwtBearer => Some(Self::JwtBearer { scopes }),
        }
    }
}

/// A request with the client's credentials, ready for the wire.
#[derive(Debug)]
pub(super) struct EncodedRequest {
    pub(super) body: Secret,
    /// The media type of the body.
    pub(super) kind: HeaderValue,
    /// The client's credentials, where they are shown in a field.
    pub(super) authorization: Option<HeaderValue>,
}

impl GrantParams<'_> {
    /// Tells whether there is a refresh token that is not the access token itself.
    pub(super) fn has_kept_token(&self) -> bool {
        match self {
            Self::Refresh { refresh_token, access_token, .. } => {
                refresh_token.expose() != access_token.expose()
            }
            _ => false,
        }
    }
}

impl EncodedRequest {
    /// Encodes a request with the client's secret.
    ///
    /// # Errors
    /// [`TokenFailure::Seal`] when a secret is not text, which no client's is;
    /// [`TokenFailure::Endpoint`] when a parameter needs a subdomain and there is none.
    pub(super) fn of(
        token_request: &TokenRequest<'_>,
        client_secret: &Secret,
        assertions: &Assertions,
    ) -> Result<Self, TokenFailure> {
        let TokenRequest { client, subdomain, grant_params, .. } = token_request;
        let profile = &client.profile;
        if let GrantParams::GithubApp = grant_params {
            return Self::of_installation(&profile.installation, assertions);
        }
        // A key is never sent.
        let secret = if client.has_key() { "" } else { text(client_secret)? };
        let mut params = RequestParams(Vec::new());
        // 1. The grant (RFC 6749 §4.1.3, §4.4.2, §6; RFC 7521 §4.1), and the client's credentials
        // (RFC 6749 §2.3.1, RFC 7521 §4.2).
        params.set_grant(client, grant_params, assertions)?;
        let authorization = params.set_credentials(client, secret, assertions)?;
        // 2. What the provider wants beside it, which may name another grant type.
        let (further, access_token) = match grant_params {
            GrantParams::Refresh { access_token, .. } => {
                (&profile.refresh_params, Some(*access_token))
            }
            _ => (&profile.token_params, None),
        };
        let values =
            ParamValues { client_id: &client.client_id, subdomain: *subdomain, access_token };
        for (name, value) in values.resolve(further).map_err(TokenFailure::Endpoint)? {
            params.set(name, value);
        }
        // 3. The body.
        let (body, kind) = match profile.token_request_format {
            TokenRequestFormat::Form => (params.into_form(), FORM),
            TokenRequestFormat::Json => (params.into_json(), JSON),
        };
        Ok(Self { body, kind, authorization })
    }

    /// Encodes a request for the tokens of a GitHub App's installation, with no more rights than
    /// these.
    fn of_installation(
        installation: &Installation,
        assertions: &Assertions,
    ) -> Result<Self, TokenFailure> {
        let Installation { repositories, permissions, .. } = installation;
        let mut members = Map::new();
        if !repositories.is_empty() {
            let names: Vec<&str> = repositories.iter().map(|name| &**name).collect();
            members.insert("repositories".to_owned(), names.into());
        }
        if !permissions.is_empty() {
            let levels = permissions.iter();
            let levels: Map<_, _> =
                levels.map(|(name, level)| (name.clone(), level.as_str().into())).collect();
            members.insert("permissions".to_owned(), levels.into());
        }
        let field = Zeroizing::new(format!("Bearer {}", assertions.grant()?));
        Ok(Self {
            body: Secret::new(Value::Object(members).to_string()),
            kind: JSON,
            authorization: Some(sensitive(&field).ok_or(TokenFailure::Seal)?),
        })
    }

    /// Encodes a request to revoke a token (RFC 7009 §2.1), which is always a form.
    ///
    /// # Errors
    /// [`TokenFailure::Seal`] when a secret is not text, which no client's is.
    pub(super) fn of_revocation(
        client: &ClientRecord,
        client_secret: &Secret,
        token: &Secret,
        hint: &str,
        assertions: &Assertions,
    ) -> Result<Self, TokenFailure> {
        let mut params = RequestParams(Vec::new());
        params.set("token", text(token)?);
        params.set("token_type_hint", hint);
        let authorization = params.set_credentials(client, text(client_secret)?, assertions)?;
        Ok(Self { body: params.into_form(), kind: FORM, authorization })
    }
}

/// The parameters of a request, in the order in which they were set first.
struct RequestParams<'a>(Vec<(&'a str, Cow<'a, str>)>);

impl<'a> RequestParams<'a> {
    /// Sets a parameter: none is there twice (RFC 6749 §3.2).
    fn set(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    fn set_grant(
        &mut self,
        client: &'a ClientRecord,
        grant_params: &GrantParams<'a>,
        assertions: &'a Assertions,
    ) -> Result<(), TokenFailure> {
        let profile = &client.profile;
        let joined = |scopes: &str| profile.scope_separator.join(scopes);
        match *grant_params {
            GrantParams::AuthorizationCode { code, redirect_uri, verifier } => {
                self.set("grant_type", "authorization_code");
                self.set("code", text(code)?);
                self.set("redirect_uri", redirect_uri);
                if let Some(verifier) = verifier {
                    self.set("code_verifier", text(verifier)?);
                }
            }
            GrantParams::ClientCredentials { scopes } => {
                self.set("grant_type", "client_credentials");
                if !scopes.is_empty() {
                    self.set("scope", joined(scopes));
                }
            }
            // Its body has no grant.
            GrantParams::GithubApp => {}
            GrantParams::JwtBearer { scopes } => {
                self.set("grant_type", JWT_BEARER);
                self.set("assertion", assertions.grant()?);
                let is_parameter = profile.assertion.scope_in == ScopePlace::Parameter;
                if is_parameter && !scopes.is_empty() {
                    self.set("scope", joined(scopes));
                }
            }
            GrantParams::Refresh { refresh_token, scopes, .. } => {
                // The profile's parameters name the grant type and carry the access token.
                if !profile.exchanges_access_token() {
                    self.set("grant_type", "refresh_token");
                    self.set("refresh_token", text(refresh_token)?);
                }
                if profile.scope_on_refresh && !scopes.is_empty() {
                    self.set("scope", joined(scopes));
                }
            }
        }
        Ok(())
    }

    /// Sets the client's credentials, or gives the field that shows them.
    fn set_credentials(
        &mut self,
        client: &'a ClientRecord,
        secret: &'a str,
        assertions: &'a Assertions,
    ) -> Result<Option<HeaderValue>, TokenFailure> {
        let client_id = &*client.client_id;
        let field = match client.auth_method {
            AuthMethod::ClientSecretBasic => basic(client_id, secret),
            AuthMethod::ClientSecretBasicRaw => basic_raw(client_id, secret),
            // The issuer of an assertion says whose it is.
            AuthMethod::None if client.has_key() => return Ok(None),
            AuthMethod::None => {
                self.set("client_id", client_id);
                return Ok(None);
            }
            AuthMethod::PrivateKeyJwt => {
                self.set("client_id", client_id);
                self.set("client_assertion_type", CLIENT_ASSERTION_TYPE);
                self.set("client_assertion", assertions.client()?);
                return Ok(None);
            }
            AuthMethod::ClientSecretPost => {
                self.set("client_id", client_id);
                self.set("client_secret", secret);
                return Ok(None);
            }
        };
        field.map(Some).ok_or(TokenFailure::Seal)
    }

    fn into_form(self) -> Secret {
        let mut form = Serializer::new(String::with_capacity(BUFFER_LEN));
        form.extend_pairs(self.0);
        Secret::new(form.finish())
    }

    fn into_json(self) -> Secret {
        let members = self.0.into_iter();
        let members = members.map(|(name, value)| (name.to_owned(), Value::from(value)));
        Secret::new(Value::Object(members.collect::<Map<_, _>>()).to_string())
    }
}

pub(super) fn text(secret: &Secret) -> Result<&str, TokenFailure> {
    std::str::from_utf8(secret.expose()).map_err(|_bytes| TokenFailure::Seal)
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
    sensitive(&field)
}

fn sensitive(field: &str) -> Option<HeaderValue> {
    let shared = Secret::new(field.as_bytes()).into_shared();
    let mut value = HeaderValue::from_maybe_shared(shared).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The capacity that a body begins with, in bytes.
const BUFFER_LEN: usize = 4096;

pub(super) const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";

const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::oauth::client::tests::example;
    use crate::model::oauth::endpoint::EndpointError;
    use crate::model::oauth::profile::Profile;

    fn client(auth_method: AuthMethod, profile: &Value) -> ClientRecord {
        let profile = Box::new(Profile::decode(&profile.to_string()).unwrap());
        ClientRecord { client_id: "id:1".into(), auth_method, profile, ..example() }
    }

    fn encoded(client: &ClientRecord, grant_params: GrantParams<'_>) -> EncodedRequest {
        let token_request = TokenRequest { client, subdomain: None, grant_params, scopes: "" };
        let secret = Secret::new("s &é");
        EncodedRequest::of(&token_request, &secret, &Assertions::default()).unwrap()
    }

    fn body(request: &EncodedRequest) -> String {
        String::from_utf8(request.body.expose().to_vec()).unwrap()
    }

    fn asked(grant_params: GrantParams<'_>, method: AuthMethod) -> (String, Option<String>) {
        let request = encoded(&client(method, &json!({})), grant_params);
        let field = request.authorization.as_ref().map(|value| value.to_str().unwrap().to_owned());
        (body(&request), field)
    }

    /// The body in which a client of this profile, which shows its secret by Basic, asks.
    fn asked_by(profile: &Value, grant_params: GrantParams<'_>) -> String {
        body(&encoded(&client(AuthMethod::ClientSecretBasic, profile), grant_params))
    }

    #[test]
    fn a_client_shows_its_secret_in_the_body_or_in_a_field() {
        let (refresh_token, access_token) = (&Secret::new("r+/="), &Secret::new("a"));
        let refresh = GrantParams::Refresh { refresh_token, access_token, scopes: "s" };
        let (body, field) = asked(refresh, AuthMethod::ClientSecretPost);
        let grant_params = "grant_type=refresh_token&refresh_token=r%2B%2F%3D";
        assert_eq!(body, format!("{grant_params}&client_id=id%3A1&client_secret=s+%26%C3%A9"));
        assert_eq!(field, None);
        let (body, field) = asked(refresh, AuthMethod::ClientSecretBasic);
        assert_eq!(body, grant_params);
        let encoded = STANDARD.encode("id%3A1:s+%26%C3%A9");
        assert_eq!(field, Some(format!("Basic {encoded}")));
        let (body, field) = asked(refresh, AuthMethod::ClientSecretBasicRaw);
        assert_eq!(body, grant_params);
        assert_eq!(field, Some(format!("Basic {}", STANDARD.encode("id:1:s &é"))));
        let (body, field) = asked(refresh, AuthMethod::None);
        assert_eq!((body, field), (format!("{grant_params}&client_id=id%3A1"), None));
    }

    #[test]
    fn each_grant_is_asked_for_in_its_own_form() {
        let post = AuthMethod::ClientSecretBasic;
        let code = GrantParams::AuthorizationCode {
            code: &Secret::new("c&d"),
            redirect_uri: "https://k.example/cb",
            verifier: Some(&Secret::new("v")),
        };
        assert_eq!(
            asked(code, post).0,
            "grant_type=authorization_code&code=c%26d&redirect_uri=https%3A%2F%2Fk.example%2Fcb&code_verifier=v"
        );
        for (scopes, body) in [
            ("", "grant_type=client_credentials"),
            ("a b", "grant_type=client_credentials&scope=a+b"),
        ] {
            assert_eq!(asked(GrantParams::ClientCredentials { scopes }, post).0, body);
        }
    }

    #[test]
    fn a_profile_adds_parameters_and_may_name_another_grant_type() {
        let own = GrantParams::ClientCredentials { scopes: "a b" };
        let zoom =
            json!({"token_params": {"grant_type": "account_credentials", "account_id": "7"}});
        assert_eq!(asked_by(&zoom, own), "grant_type=account_credentials&scope=a+b&account_id=7");
        let (refresh_token, access_token) = (&Secret::new("r"), &Secret::new("a&"));
        let refresh = GrantParams::Refresh { refresh_token, access_token, scopes: "a b" };
        let ours = json!({
            "scope_on_refresh": true, "scope_separator": ",",
            "token_params": {"none": "of these"}, "refresh_params": {"key": "{client_id}"},
        });
        let body = "grant_type=refresh_token&refresh_token=r&scope=a%2Cb&key=id%3A1";
        assert_eq!(asked_by(&ours, refresh), body);
        let facebook = json!({"refresh_params": {
            "grant_type": "fb_exchange_token", "fb_exchange_token": "{access_token}",
        }});
        let body = "fb_exchange_token=a%26&grant_type=fb_exchange_token";
        assert_eq!(asked_by(&facebook, refresh), body);
        // Beside a refresh token, the access token may be wanted as well.
        let both = json!({"refresh_params": {"old": "{access_token}"}});
        let body = "grant_type=refresh_token&refresh_token=r&old=a%26";
        assert_eq!(asked_by(&both, refresh), body);
    }

    #[test]
    fn a_body_may_be_json() {
        let profile =
            json!({"token_request_format": "json", "token_params": {"x": "\"{client_id}"}});
        let own = GrantParams::ClientCredentials { scopes: "" };
        let request = encoded(&client(AuthMethod::ClientSecretPost, &profile), own);
        let members: Value = serde_json::from_str(&body(&request)).unwrap();
        let expected = json!({
            "grant_type": "client_credentials", "client_id": "id:1", "client_secret": "s &é",
            "x": "\"id:1",
        });
        assert_eq!((members, request.kind), (expected, JSON));
    }

    #[test]
    fn a_parameter_without_its_subdomain_is_not_sent() {
        let profile = json!({"token_params": {"shop": "{subdomain}"}});
        let client = client(AuthMethod::None, &profile);
        let grant_params = GrantParams::ClientCredentials { scopes: "" };
        let ask = |subdomain: Option<&Subdomain>| {
            let token_request =
                TokenRequest { client: &client, subdomain, grant_params, scopes: "" };
            let none = Assertions::default();
            EncodedRequest::of(&token_request, &Secret::new(""), &none)
                .map(|request| body(&request))
        };
        assert_eq!(ask(None), Err(TokenFailure::Endpoint(EndpointError::Missing)));
        let shop = Subdomain::parse("acme").unwrap();
        assert!(ask(Some(&shop)).unwrap().ends_with("&shop=acme"));
    }
}
