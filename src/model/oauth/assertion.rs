//! Assertions that a client signs with its own key (RFC 7521, RFC 7523), and the installation of a
//! GitHub App that its tokens are for.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::profile::Lifetime;
use crate::model::{named_enum, parsed_by_name, stored_as_text};

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

named_enum! {
    /// The place of a grant's scopes in a request with an assertion.
    #[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
    pub enum ScopePlace {
        /// A claim of the assertion.
        #[default]
        Claim = "claim",
        /// A parameter of the request (RFC 7521 §4.1).
        Parameter = "parameter",
    }
}

named_enum! {
    /// An algorithm by which a client signs (RFC 7518 §3.1, RFC 8037 §3.1), by its name in a
    /// header (`alg`).
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum SignatureAlgorithm {
        /// `RS256`
        Rs256 = "RS256",
        /// `PS256`
        Ps256 = "PS256",
        /// `ES256`
        Es256 = "ES256",
        /// `ES384`
        Es384 = "ES384",
        /// `EdDSA`, with Ed25519.
        EdDsa = "EdDSA",
    }
}

parsed_by_name!(ScopePlace, SignatureAlgorithm);
stored_as_text!(ScopePlace, SignatureAlgorithm);

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
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes the member as it is")]
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
