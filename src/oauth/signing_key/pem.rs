//! Private keys in PEM (RFC 7468), tolerant of what forms and variables do to lines.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use zeroize::Zeroizing;

use super::{KeyFault, SigningKey};

/// The content of PEM: a private key, and what its certificate adds.
pub(super) struct PemContent {
    pub(super) key: SigningKey,
    /// The SHA-256 thumbprint of the certificate in base64url.
    pub(super) certificate_thumbprint: Option<Box<str>>,
}

/// Reads PEM with one private key in it.
pub(super) fn read(text: &str) -> Result<PemContent, KeyFault> {
    // 1. The private key, and the first certificate.
    let (mut key, mut certificate, mut other) = (None, None, KeyFault::NotAKey);
    for block in blocks(text)? {
        let read = match block.label {
            "PRIVATE KEY" => SigningKey::of_pkcs8,
            "RSA PRIVATE KEY" => SigningKey::of_pkcs1,
            "EC PRIVATE KEY" => SigningKey::of_sec1,
            "CERTIFICATE" => {
                // A chain begins with the certificate of the key.
                certificate = certificate.or(Some(block.content()?));
                other = KeyFault::CertificateOnly;
                continue;
            }
            "ENCRYPTED PRIVATE KEY" => return Err(KeyFault::Encrypted),
            "OPENSSH PRIVATE KEY" => return Err(KeyFault::OpenSsh),
            label if label.ends_with("PUBLIC KEY") => {
                other = KeyFault::Public;
                continue;
            }
            // Parameters of a curve, which the key names as well.
            _ => continue,
        };
        if key.is_some() {
            return Err(KeyFault::Several);
        }
        key = Some(read(&block.content()?)?);
    }
    let key = key.ok_or(other)?;
    // 2. The certificate is the key's.
    let thumbprint = certificate.map(|certificate| thumbprint(&key, &certificate)).transpose()?;
    Ok(PemContent { key, certificate_thumbprint: thumbprint })
}

struct Block<'a> {
    label: &'a str,
    body: &'a str,
}

/// The blocks of a text, in their order.
fn blocks(text: &str) -> Result<Vec<Block<'_>>, KeyFault> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_before, after)) = rest.split_once("-----BEGIN ") {
        let (label, after) = after.split_once("-----").ok_or(KeyFault::Damaged)?;
        let end = format!("-----END {label}-----");
        let (body, after) = after.split_once(&*end).ok_or(KeyFault::Damaged)?;
        blocks.push(Block { label, body });
        rest = after;
    }
    Ok(blocks)
}

impl Block<'_> {
    fn content(&self) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        // OpenSSL's older format has fields before the content (RFC 1421 §4.6).
        if self.body.contains("ENCRYPTED") {
            return Err(KeyFault::Encrypted);
        }
        // Variables and JSON have the two letters \n in the place of a line's end.
        let text = Zeroizing::new(self.body.replace("\\r", "").replace("\\n", ""));
        let letters = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
        let letters = Zeroizing::new(letters.collect::<Vec<u8>>());
        let content = STANDARD.decode(&*letters).map_err(|_where| KeyFault::Damaged)?;
        if content.is_empty() {
            return Err(KeyFault::Damaged);
        }
        Ok(Zeroizing::new(content))
    }
}

fn thumbprint(key: &SigningKey, certificate: &[u8]) -> Result<Box<str>, KeyFault> {
    let (_rest, parsed) =
        X509Certificate::from_der(certificate).map_err(|_why| KeyFault::Damaged)?;
    if key.public_der().as_deref() != Some(parsed.public_key().raw) {
        return Err(KeyFault::Mismatch);
    }
    Ok(URL_SAFE_NO_PAD.encode(digest(&SHA256, certificate)).into())
}
