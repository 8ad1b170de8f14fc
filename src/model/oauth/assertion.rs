//! Assertions that a client signs with its own key (RFC 7521, RFC 7523), and the installation of a
//! GitHub App that its tokens are for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::profile::Lifetime;

/// The header and the claims of a client's assertions. The default has those of RFC 7523 §3.
///
/// Texts may have `{client_id}` and `{subdomain}` in them.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AssertionProfile {
    /// The issuer, where it is not the client's id at the provider.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<Box<str>>,
    /// The subject: the user for whom a grant is asked, where it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<Box<str>>,
    /// The audience, where it is not the token endpoint's URL.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<Box<str>>,
    /// The claim `scope`, where it is not the flow's scopes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<Box<str>>,
    /// The place of a grant's scopes.
    #[serde(skip_serializing_if = "ScopePlace::is_default")]
    pub scope_in: ScopePlace,
    /// The id of the key, by which the provider finds the public one (`kid`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key_id: Option<Box<str>>,
    /// The signature algorithm, where it is not the usual one of the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SignatureAlgorithm>,
    /// The time from an assertion's issue to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<Lifetime>,
    /// The SHA-256 thumbprint of the key's certificate in base64url (`x5t#S256`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certificate_thumbprint: Option<Box<str>>,
    /// Further claims.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub claims: BTreeMap<String, String>,
}

/// The place of a grant's scopes in a request with an assertion.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopePlace {
    /// A claim of the assertion.
    #[default]
    Claim,
    /// A parameter of the request (RFC 7521 §4.1).
    Parameter,
}

/// An algorithm by which a client signs (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub enum SignatureAlgorithm {
    /// `RS256`
    #[serde(rename = "RS256")]
    Rs256,
    /// `PS256`
    #[serde(rename = "PS256")]
    Ps256,
    /// `ES256`
    #[serde(rename = "ES256")]
    Es256,
    /// `ES384`
    #[serde(rename = "ES384")]
    Es384,
    /// `EdDSA`, with Ed25519.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

/// The installation of a GitHub App, and the part of its rights that tokens are asked for.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Installation {
    /// The installation's id; without one, the token URL has a place for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u64>,
    /// The names of the repositories, without their owner; none: all of the installation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<Box<str>>,
    /// The permissions, each with its level; none: all of the installation.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub permissions: BTreeMap<String, String>,
}

impl AssertionProfile {
    /// Tells whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Installation {
    /// Tells whether nothing is set.
    #[must_use]
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl ScopePlace {
    /// Reads the name of a place.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text {
            "claim" => Ok(Self::Claim),
            "parameter" => Ok(Self::Parameter),
            _ => Err("must be claim or parameter"),
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Claim => "claim",
            Self::Parameter => "parameter",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the member as it is")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl SignatureAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 5] = [Self::Rs256, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Reads the name of an algorithm.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == text);
        found.ok_or("must be RS256, PS256, ES256, ES384 or EdDSA")
    }

    /// The name, as a header has it (`alg`).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
        }
    }
}
