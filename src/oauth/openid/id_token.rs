//! ID tokens (OpenID Connect Core §2, §3.1.3.7). The signature is checked by jsonwebtoken; what the
//! claims must say is checked here, by the process's own clock.

use jiff::Timestamp;
use jsonwebtoken::jwk::{Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, Validation, decode, decode_header};
use serde_json::{Map, Value};

use crate::oauth::discovery::MetadataError;
use crate::secret::Secret;

/// The keys by which a provider signs ID tokens (RFC 7517).
#[derive(Clone, Debug)]
pub(super) struct IdTokenKeys(Vec<Jwk>);

/// The rules that an ID token must follow.
#[derive(Clone, Copy, Debug)]
pub(super) struct IdTokenRules<'a> {
    /// The issuer.
    pub(super) issuer: &'a str,
    /// The only audience.
    pub(super) client_id: &'a str,
    /// The nonce that the browser was sent to the provider with.
    pub(super) nonce: &'a str,
    /// An email address counts of which the provider does not say whether it was verified.
    pub(super) trusts_email: bool,
    /// The time.
    pub(super) now: Timestamp,
}

/// The claims of an ID token that counts.
#[derive(Clone, Debug)]
pub struct IdClaims {
    /// The provider's identifier of the person.
    pub subject: Box<str>,
    /// The email address, where the provider vouches for it.
    pub email: Option<Box<str>>,
    /// All claims.
    pub claims: Map<String, Value>,
}

/// The reason why an ID token does not count. None of its own words are in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdTokenFault {
    /// It is not a JWT.
    #[error("it is not a signed JWT")]
    Malformed,
    /// Its algorithm is none by which ID tokens are signed here.
    #[error(
        "its algorithm is not one of RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 and \
         EdDSA"
    )]
    Algorithm,
    /// The provider has no key of its id and algorithm, or several.
    #[error("the provider's keys have no single one that fits its kid and its algorithm")]
    UnknownKey,
    /// The signature does not verify.
    #[error("its signature does not verify")]
    Signature,
    /// It is another issuer's.
    #[error("it is of another issuer")]
    Issuer,
    /// It is for another client, or for others too.
    #[error("it is not for this client alone")]
    Audience,
    /// It has expired.
    #[error("it has expired: check the clocks of the server and the provider")]
    Expired,
    /// Its time has not come.
    #[error("it is not valid yet: check the clocks of the server and the provider")]
    Early,
    /// It belongs to another sign-in.
    #[error("its nonce is not that of this sign-in")]
    Nonce,
    /// It names nobody.
    #[error("it has no sub that can be kept")]
    Subject,
}

impl IdTokenKeys {
    /// Reads a set of keys. One that can't be read is left out.
    pub(super) fn read(body: &[u8]) -> Result<Self, MetadataError> {
        let document: Value =
            serde_json::from_slice(body).map_err(|_where| MetadataError::NotJson)?;
        let keys = document.get("keys").and_then(Value::as_array).ok_or(MetadataError::NoKeys)?;
        let read = |key: &Value| serde_json::from_value::<Jwk>(key.clone()).ok();
        let keys: Vec<_> = keys.iter().take(MAX_KEYS).filter_map(read).collect();
        if keys.is_empty() { Err(MetadataError::NoKeys) } else { Ok(Self(keys)) }
    }

    /// Tells whether there is a key of the id that the token names, or of any where it names none.
    pub(super) fn have_key_of(&self, token: &Secret) -> bool {
        let Ok(header) = decode_header(token.expose()) else { return true };
        let is_named = |key: &Jwk| header.kid.is_none() || key.common.key_id == header.kid;
        self.0.iter().any(is_named)
    }

    /// Checks an ID token, and gives its claims.
    ///
    /// # Errors
    /// [`IdTokenFault`] names the rule that it breaks.
    pub(super) fn verify(
        &self,
        token: &Secret,
        rules: &IdTokenRules<'_>,
    ) -> Result<IdClaims, IdTokenFault> {
        let parts = token.expose().split(|byte| *byte == b'.').count();
        if token.len() > MAX_TOKEN_LEN || parts != 3 {
            return Err(IdTokenFault::Malformed);
        }
        // 1. The algorithm is one of a public key, and the key is of that kind: a secret, such as a
        // public key's own bytes, never verifies anything.
        let header = decode_header(token.expose()).map_err(|_wordy| IdTokenFault::Algorithm)?;
        let algorithm = header.alg;
        if algorithm.family() == AlgorithmFamily::Hmac {
            return Err(IdTokenFault::Algorithm);
        }
        let fits = |key: &&Jwk| fits(key, header.kid.as_deref(), algorithm);
        let mut fitting = self.0.iter().filter(fits);
        let (Some(key), None) = (fitting.next(), fitting.next()) else {
            return Err(IdTokenFault::UnknownKey);
        };
        let key = DecodingKey::from_jwk(key).map_err(|_wordy| IdTokenFault::UnknownKey)?;
        // 2. The signature. Times are checked by our own clock.
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = decode::<Map<String, Value>>(token.expose(), &key, &validation);
        let claims = decoded.map_err(|_wordy| IdTokenFault::Signature)?.claims;
        // 3. The claims.
        check_claims(claims, rules)
    }
}

/// Tells whether a key may have signed by this algorithm a token that names this key id.
fn fits(key: &Jwk, key_id: Option<&str>, algorithm: Algorithm) -> bool {
    let common = &key.common;
    let is_named = key_id.is_none() || common.key_id.as_deref() == key_id;
    let signs = common.public_key_use.as_ref().is_none_or(|it| *it == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|all| all.contains(&KeyOperations::Verify));
    let is_of_algorithm = common.key_algorithm.is_none_or(|it| it == KeyAlgorithm::from(algorithm));
    let is_of_family =
        DecodingKey::from_jwk(key).is_ok_and(|key| key.family() == algorithm.family());
    is_named && signs && is_of_algorithm && is_of_family
}

fn check_claims(
    claims: Map<String, Value>,
    rules: &IdTokenRules<'_>,
) -> Result<IdClaims, IdTokenFault> {
    let text = |name: &str| claims.get(name).and_then(Value::as_str);
    // 1. By whom, and for whom: an audience beside us is none that we know to trust.
    if text("iss") != Some(rules.issuer) {
        return Err(IdTokenFault::Issuer);
    }
    let is_ours = match claims.get("aud") {
        Some(Value::String(one)) => one == rules.client_id,
        Some(Value::Array(all)) => all.as_slice() == [Value::from(rules.client_id)],
        _ => false,
    };
    let is_for_us = claims.get("azp").is_none_or(|party| *party == *rules.client_id);
    if !is_ours || !is_for_us {
        return Err(IdTokenFault::Audience);
    }
    // 2. When. Clocks may differ a little.
    let seconds = |name: &str| claims.get(name).map(|time| time.as_f64().unwrap_or(f64::NAN));
    #[expect(clippy::cast_precision_loss, reason = "seconds of this age fit")]
    let now = rules.now.as_second() as f64;
    if !seconds("exp").is_some_and(|end| end + MAX_CLOCK_SKEW > now) {
        return Err(IdTokenFault::Expired);
    }
    let is_past = |time: f64| time - MAX_CLOCK_SKEW <= now;
    if !seconds("iat").is_some_and(is_past) || !seconds("nbf").is_none_or(is_past) {
        return Err(IdTokenFault::Early);
    }
    // 3. For which sign-in, and who.
    if text("nonce") != Some(rules.nonce) {
        return Err(IdTokenFault::Nonce);
    }
    let subject = text("sub").filter(|text| is_plain(text, MAX_SUBJECT_LEN));
    let subject = subject.ok_or(IdTokenFault::Subject)?.into();
    // 4. An address that people can enter themselves names nobody.
    let is_vouched_for = match claims.get("email_verified") {
        None => rules.trusts_email,
        Some(Value::String(text)) => text == "true",
        Some(verified) => *verified == Value::Bool(true),
    };
    let is_address = |text: &&str| is_plain(text, MAX_EMAIL_LEN) && text.contains('@');
    let email = text("email").filter(|_| is_vouched_for).filter(is_address).map(Into::into);
    Ok(IdClaims { subject, email, claims })
}

/// Tells whether a text can be logged and shown as it is.
fn is_plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The most by which clocks may differ, in seconds.
const MAX_CLOCK_SKEW: f64 = 60.0;

/// The most keys of a provider that are looked at.
const MAX_KEYS: usize = 100;

/// The longest ID token, in bytes.
const MAX_TOKEN_LEN: usize = 64 << 10;

/// The longest identifier, in bytes (OpenID Connect Core §2).
const MAX_SUBJECT_LEN: usize = 255;

/// The longest email address (RFC 5321 §4.5.3.1).
const MAX_EMAIL_LEN: usize = 254;

#[cfg(test)]
mod tests;
