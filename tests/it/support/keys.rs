//! Key pairs of clients, in every form in which people have them.

use std::sync::LazyLock;

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED,
    ECDSA_P384_SHA384_FIXED_SIGNING, ED25519, EcdsaKeyPair, EcdsaSigningAlgorithm, Ed25519KeyPair,
    KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key pair.
pub(crate) struct KeyPair {
    /// PEM with PKCS #8.
    pub(crate) pkcs8: String,
    /// PEM in the older format of its kind; nothing for Ed25519.
    pub(crate) older: Option<String>,
    pub(crate) jwk: Value,
    /// The public key.
    public: Vec<u8>,
}

pub(crate) static RSA: LazyLock<KeyPair> = LazyLock::new(rsa);
pub(crate) static OTHER_RSA: LazyLock<KeyPair> = LazyLock::new(rsa);
pub(crate) static P256: LazyLock<KeyPair> =
    LazyLock::new(|| ec("P-256", 32, &ECDSA_P256_SHA256_FIXED_SIGNING));
pub(crate) static P384: LazyLock<KeyPair> =
    LazyLock::new(|| ec("P-384", 48, &ECDSA_P384_SHA384_FIXED_SIGNING));
pub(crate) static ED: LazyLock<KeyPair> = LazyLock::new(ed25519);

impl KeyPair {
    /// Tells whether the key has signed this by the algorithm of this name.
    pub(crate) fn has_signed(&self, algorithm: &str, message: &str, signature: &[u8]) -> bool {
        let algorithm: &dyn VerificationAlgorithm = match algorithm {
            "RS256" => &RSA_PKCS1_2048_8192_SHA256,
            "PS256" => &RSA_PSS_2048_8192_SHA256,
            "ES256" => &ECDSA_P256_SHA256_FIXED,
            "ES384" => &ECDSA_P384_SHA384_FIXED,
            "EdDSA" => &ED25519,
            _ => return false,
        };
        let key = UnparsedPublicKey::new(algorithm, &self.public);
        key.verify(message.as_bytes(), signature).is_ok()
    }
}

/// PEM with this label and content (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> =
        text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn rsa() -> KeyPair {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    let der = key.as_der().unwrap().as_ref().to_vec();
    // The version and the name of the algorithm come before; an octet string has the rest.
    let pkcs1 = der[26..].to_vec();
    let numbers = integers(&pkcs1);
    let number = |at: usize| URL_SAFE_NO_PAD.encode(&numbers[at]);
    KeyPair {
        pkcs8: pem("PRIVATE KEY", &der),
        older: Some(pem("RSA PRIVATE KEY", &pkcs1)),
        jwk: json!({
            "kty": "RSA", "n": number(1), "e": number(2), "d": number(3), "p": number(4),
            "q": number(5), "dp": number(6), "dq": number(7), "qi": number(8),
        }),
        public: key.public_key().as_ref().to_vec(),
    }
}

/// The integers of a sequence in DER, without the zero that keeps one positive.
fn integers(der: &[u8]) -> Vec<Vec<u8>> {
    let mut at = 4;
    let mut found = Vec::new();
    while at < der.len() {
        assert_eq!(der[at], 2, "an integer");
        let (length, skip) = match der[at + 1] {
            0x82 => (usize::from(der[at + 2]) << 8 | usize::from(der[at + 3]), 4),
            0x81 => (usize::from(der[at + 2]), 3),
            short => (usize::from(short), 2),
        };
        let number = &der[at + skip..at + skip + length];
        found.push(
            number.strip_prefix(&[0]).filter(|rest| !rest.is_empty()).unwrap_or(number).to_vec(),
        );
        at += skip + length;
    }
    found
}

fn ec(curve: &str, length: usize, algorithm: &'static EcdsaSigningAlgorithm) -> KeyPair {
    let key = EcdsaKeyPair::generate(algorithm).unwrap();
    let der = key.to_pkcs8v1().unwrap().as_ref().to_vec();
    let sec1 = key.private_key().as_der().unwrap().as_ref().to_vec();
    let private = key.private_key().as_be_bytes().unwrap().as_ref().to_vec();
    let public = key.public_key().as_ref().to_vec();
    let (x, y) = public[1..].split_at(length);
    let [d, x, y] = [&private[..], x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
    KeyPair {
        pkcs8: pem("PRIVATE KEY", &der),
        older: Some(pem("EC PRIVATE KEY", &sec1)),
        jwk: json!({"kty": "EC", "crv": curve, "d": d, "x": x, "y": y}),
        public,
    }
}

fn ed25519() -> KeyPair {
    let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap().as_ref().to_vec();
    let key = Ed25519KeyPair::from_pkcs8(&der).unwrap();
    let seed = key.seed().unwrap().as_be_bytes().unwrap().as_ref().to_vec();
    let public = key.public_key().as_ref().to_vec();
    let [d, x] = [&seed, &public].map(|number| URL_SAFE_NO_PAD.encode(number));
    KeyPair {
        pkcs8: pem("PRIVATE KEY", &der),
        older: None,
        jwk: json!({"kty": "OKP", "crv": "Ed25519", "d": d, "x": x}),
        public,
    }
}
