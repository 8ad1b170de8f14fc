//! The private keys by which clients sign (RFC 7518, RFC 8037), as people enter them: PEM, a JWK
//! (RFC 7517), or a service account's file.

mod jwk;
mod pem;

use std::fmt;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
};
use serde_json::Value;

use self::pem::PemContent;
use crate::model::oauth::assertion::SignatureAlgorithm;
use crate::secret::Secret;

/// A private key that can sign.
pub struct SigningKey(KeyKind);

enum KeyKind {
    Rsa(Box<RsaKeyPair>),
    P256(Box<EcdsaKeyPair>),
    P384(Box<EcdsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// A key as it was entered, and everything else that was entered with it.
#[derive(Debug)]
pub struct EnteredKey {
    /// The key.
    pub key: SigningKey,
    /// The text to keep, which is the key alone.
    pub secret: Secret,
    /// Its id, as a JWK or a service account's file names it.
    pub key_id: Option<Box<str>>,
    /// Its algorithm, as a JWK names it.
    pub algorithm: Option<SignatureAlgorithm>,
    /// The SHA-256 thumbprint of its certificate in base64url, where that came along.
    pub certificate_thumbprint: Option<Box<str>>,
    /// The service account's address, which is its id at the provider.
    pub client_email: Option<Box<str>>,
    /// The token endpoint that a service account's file names.
    pub token_uri: Option<Box<str>>,
}

/// A private key that was refused. The text says why, and quotes nothing of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyFault {
    /// It is neither PEM nor JSON.
    #[error(
        "is not a private key: enter it as PEM, as a JWK, or as the whole JSON file of a service \
         account"
    )]
    NotAKey,
    /// It is cut, or changed.
    #[error(
        "is damaged, or not complete: enter it as the provider gave it, from its first line to \
             its last"
    )]
    Damaged,
    /// It is encrypted with a passphrase.
    #[error("is encrypted with a passphrase: decrypt it (openssl pkey -in KEY.pem -out PLAIN.pem)")]
    Encrypted,
    /// It is in the format of OpenSSH.
    #[error("is in the format of OpenSSH: convert a copy (ssh-keygen -p -m PKCS8 -f COPY)")]
    OpenSsh,
    /// It is a public key.
    #[error("is a public key: enter the private one")]
    Public,
    /// It is a certificate alone.
    #[error("is a certificate: enter its private key, with the certificate or without it")]
    CertificateOnly,
    /// The certificate is another key's.
    #[error("does not belong to the certificate that came with it")]
    Mismatch,
    /// There are several keys.
    #[error("has more than one private key in it: enter one")]
    Several,
    /// It is a set of keys.
    #[error("is a set of keys (JWKS): enter one key of it")]
    KeySet,
    /// It is the file of an OAuth client.
    #[error("is the file of an OAuth client, which has no key: enter a service account's file")]
    ClientFile,
    /// It is JSON without a key.
    #[error("is JSON, and neither a JWK nor the file of a service account")]
    OtherJson,
    /// It is an RSA key of another size.
    #[error("is an RSA key that is not of 2048 to 8192 bits, and can't be used")]
    RsaSize,
    /// It is an RSA key without its primes.
    #[error("is an RSA key without p, q, dp, dq and qi: enter the whole JWK, or PEM")]
    RsaPrimes,
    /// It is a key of another kind.
    #[error(
        "can't be read, or is of a kind that can't sign here: use RSA, EC on P-256 or P-384, or \
             Ed25519"
    )]
    Unsupported,
    /// The algorithm needs another kind of key.
    #[error(
        "is of another kind than the algorithm: RS256 and PS256 need RSA, ES256 needs EC on \
             P-256, ES384 needs EC on P-384, and EdDSA needs Ed25519"
    )]
    Algorithm,
}

impl EnteredKey {
    /// Reads a key as it was entered.
    ///
    /// # Errors
    /// [`KeyFault`] says what is wrong with it.
    pub fn read(entered: &Secret) -> Result<Self, KeyFault> {
        let entered = Self::parse(entered)?;
        // Numbers that don't fit together show when they are used.
        let signed = entered.key.sign(entered.key.algorithm(entered.algorithm)?, b"a message");
        signed.map(|_signature| entered).ok_or(KeyFault::Damaged)
    }

    fn parse(entered: &Secret) -> Result<Self, KeyFault> {
        let text = std::str::from_utf8(entered.expose()).map_err(|_binary| KeyFault::NotAKey)?;
        let text = text.trim_matches(|letter: char| letter.is_whitespace() || letter == '\u{feff}');
        if text.starts_with('{') {
            return Self::of_json(text);
        }
        let PemContent { key, certificate_thumbprint } = pem::read(text)?;
        Ok(Self { certificate_thumbprint, ..Self::bare(key, Secret::new(text)) })
    }

    fn bare(key: SigningKey, secret: Secret) -> Self {
        Self {
            key,
            secret,
            key_id: None,
            algorithm: None,
            certificate_thumbprint: None,
            client_email: None,
            token_uri: None,
        }
    }

    fn of_json(text: &str) -> Result<Self, KeyFault> {
        let json: Value = serde_json::from_str(text).map_err(|_where| KeyFault::Damaged)?;
        let member = |name: &str| json.get(name).and_then(Value::as_str);
        if let Some(key) = member("private_key") {
            // The file of a service account. Beside the key, nothing in it is secret.
            let PemContent { key: signing, .. } = pem::read(key)?;
            return Ok(Self {
                key_id: member("private_key_id").map(Into::into),
                client_email: member("client_email").map(Into::into),
                token_uri: member("token_uri").map(Into::into),
                ..Self::bare(signing, Secret::new(key))
            });
        }
        if json.get("keys").is_some() {
            return Err(KeyFault::KeySet);
        }
        let is_client = ["installed", "web", "client_secret"].iter().any(|n| json.get(n).is_some());
        if member("kty").is_none() {
            return Err(if is_client { KeyFault::ClientFile } else { KeyFault::OtherJson });
        }
        Ok(Self {
            key_id: member("kid").map(Into::into),
            algorithm: member("alg").and_then(|name| SignatureAlgorithm::parse(name).ok()),
            ..Self::bare(jwk::read(&json)?, Secret::new(text))
        })
    }

    /// Tells whether the secret that is kept is this key, however it is written.
    #[must_use]
    pub fn is_key_of(&self, kept: &Secret) -> bool {
        let kept = SigningKey::read(kept).ok().and_then(|kept| kept.public_der());
        kept.is_some() && kept == self.key.public_der()
    }

    /// Tells whether a text is a private key, or was meant to be: it must not be sent to anybody.
    #[must_use]
    pub fn is_meant(entered: &Secret) -> bool {
        let text = String::from_utf8_lossy(entered.expose());
        let is_pem = text.contains("-----BEGIN ") && text.contains("PRIVATE KEY-----");
        let is_json = text.trim_start().starts_with('{')
            && ["\"private_key\"", "\"kty\""].iter().any(|member| text.contains(member));
        is_pem || is_json
    }
}

impl SigningKey {
    /// Reads the key that is kept.
    ///
    /// # Errors
    /// [`KeyFault`] says what is wrong with it.
    pub fn read(kept: &Secret) -> Result<Self, KeyFault> {
        EnteredKey::parse(kept).map(|entered| entered.key)
    }

    /// The algorithm to sign with: the one that is wanted, or the usual one of such keys.
    ///
    /// # Errors
    /// [`KeyFault::Algorithm`] when it needs another kind of key.
    pub fn algorithm(
        &self,
        wanted: Option<SignatureAlgorithm>,
    ) -> Result<SignatureAlgorithm, KeyFault> {
        use SignatureAlgorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
        let own: &[SignatureAlgorithm] = match &self.0 {
            KeyKind::Rsa(_) => &[Rs256, Ps256],
            KeyKind::P256(_) => &[Es256],
            KeyKind::P384(_) => &[Es384],
            KeyKind::Ed25519(_) => &[EdDsa],
        };
        let found = own.iter().copied().find(|own| wanted.is_none_or(|wanted| wanted == *own));
        found.ok_or(KeyFault::Algorithm)
    }

    /// The signature of a message, as JWS has it (RFC 7518 §3). `None` when the algorithm is not
    /// one of this key's, or signing fails.
    #[must_use]
    pub fn sign(&self, algorithm: SignatureAlgorithm, message: &[u8]) -> Option<Vec<u8>> {
        use SignatureAlgorithm::{EdDsa, Es256, Es384, Ps256, Rs256};
        let random = SystemRandom::new();
        match (&self.0, algorithm) {
            (KeyKind::Rsa(key), Rs256 | Ps256) => {
                let encoding = if algorithm == Rs256 { &RSA_PKCS1_SHA256 } else { &RSA_PSS_SHA256 };
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(encoding, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            (KeyKind::P256(key), Es256) | (KeyKind::P384(key), Es384) => {
                Some(key.sign(&random, message).ok()?.as_ref().to_vec())
            }
            (KeyKind::Ed25519(key), EdDsa) => Some(key.try_sign(message).ok()?.as_ref().to_vec()),
            _ => None,
        }
    }

    /// Reads a key in PKCS #8 (RFC 5208): it may be of any kind.
    fn of_pkcs8(der: &[u8]) -> Result<Self, KeyFault> {
        match RsaKeyPair::from_pkcs8(der) {
            Ok(key) => return Ok(Self(KeyKind::Rsa(Box::new(key)))),
            Err(why) if is_size(&why) => return Err(KeyFault::RsaSize),
            Err(_of_another_kind) => {}
        }
        if let Ok(key) = Ed25519KeyPair::from_pkcs8(der) {
            return Ok(Self(KeyKind::Ed25519(Box::new(key))));
        }
        Self::of_sec1(der)
    }

    /// Reads an RSA key in PKCS #1 (RFC 8017 §A.1.2).
    fn of_pkcs1(der: &[u8]) -> Result<Self, KeyFault> {
        let key = RsaKeyPair::from_der(der)
            .map_err(|why| if is_size(&why) { KeyFault::RsaSize } else { KeyFault::Unsupported })?;
        Ok(Self(KeyKind::Rsa(Box::new(key))))
    }

    /// Reads an EC key in SEC 1 (RFC 5915), or in PKCS #8.
    fn of_sec1(der: &[u8]) -> Result<Self, KeyFault> {
        let p256 = EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, der);
        if let Ok(key) = p256 {
            return Ok(Self(KeyKind::P256(Box::new(key))));
        }
        let p384 = EcdsaKeyPair::from_private_key_der(&ECDSA_P384_SHA384_FIXED_SIGNING, der);
        p384.map(|key| Self(KeyKind::P384(Box::new(key)))).map_err(|_why| KeyFault::Unsupported)
    }

    /// The public key as a certificate has it (RFC 5280 §4.1.2.7), without its algorithm's name.
    fn public_der(&self) -> Option<Vec<u8>> {
        let der = match &self.0 {
            KeyKind::Rsa(key) => key.public_key().as_der(),
            KeyKind::P256(key) | KeyKind::P384(key) => key.public_key().as_der(),
            KeyKind::Ed25519(key) => key.public_key().as_der(),
        };
        Some(der.ok()?.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(*****)")
    }
}

fn is_size(why: &KeyRejected) -> bool {
    ["TooSmall", "TooLarge"].contains(&why.description_())
}
