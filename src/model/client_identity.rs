//! A client certificate and its key, by which a connection authenticates itself in TLS (contract
//! §8).

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rustls::crypto::aws_lc_rs as provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::prelude::{FromDer as _, X509Certificate, X509Version};

use crate::secret::Secret;

/// A client certificate with the chain that it was entered with. It is not secret.
#[derive(Clone, Eq, PartialEq)]
pub struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    not_before: Timestamp,
    not_after: Timestamp,
}

/// A client certificate with its key.
pub struct ClientIdentity {
    certified: Arc<CertifiedKey>,
    id: IdentityId,
    not_after: Timestamp,
}

impl PartialEq for ClientIdentity {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for ClientIdentity {}

impl Hash for ClientIdentity {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.id.hash(hasher);
    }
}

/// The SHA-256 digest of a certificate and its chain, by which conns are kept apart.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct IdentityId([u8; 32]);

/// A certificate, or a key, that breaks a rule. The text states it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum IdentityFault {
    /// There is no certificate in it.
    #[error("must have a certificate in PEM: -----BEGIN CERTIFICATE-----")]
    NoCertificate,
    /// A certificate can't be read.
    #[error("has a certificate that can't be read")]
    Certificate,
    /// A certificate is of an old version of X.509.
    #[error("has a certificate of X.509 version 1: have one of version 3 issued, with extensions")]
    Version,
    /// The certificate would be stored in clear, and the key with it.
    #[error("has a private key in it: enter that as client_key alone")]
    KeyInCertificate,
    /// It is too long.
    #[error("must be at most 32 KiB")]
    TooLong,
    /// There is no key in it.
    #[error("must have a private key in PEM: -----BEGIN PRIVATE KEY-----")]
    NoKey,
    /// The key needs a passphrase.
    #[error("is encrypted: enter the key as openssl pkey writes it, without a passphrase")]
    EncryptedKey,
    /// TLS can't sign with the key.
    #[error(
        "must be a key that TLS can sign with: RSA of 2048 bits or more, P-256, P-384 or Ed25519"
    )]
    Key,
    /// The key is another certificate's.
    #[error("does not belong to client_certificate: enter the certificate and the key of one pair")]
    Mismatch,
}

impl ClientCertificate {
    /// Reads a certificate, and the chain behind it, in PEM.
    ///
    /// # Errors
    /// [`IdentityFault`] states the rule that the text breaks.
    pub fn parse(pem: &str) -> Result<Self, IdentityFault> {
        if pem.len() > MAX_PEM_LEN {
            return Err(IdentityFault::TooLong);
        }
        if pem.contains("PRIVATE KEY-----") {
            return Err(IdentityFault::KeyInCertificate);
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = chain.map_err(|_why| IdentityFault::Certificate)?;
        let mut validities = Vec::with_capacity(chain.len());
        for certificate in &chain {
            let parsed = X509Certificate::from_der(certificate);
            let (_rest, parsed) = parsed.map_err(|_why| IdentityFault::Certificate)?;
            // Of others no key can be told to be theirs.
            if parsed.version() != X509Version::V3 {
                return Err(IdentityFault::Version);
            }
            let validity = parsed.validity();
            validities.push((validity.not_before.timestamp(), validity.not_after.timestamp()));
        }
        let (begin, end) = validities.first().ok_or(IdentityFault::NoCertificate)?;
        let not_before = Timestamp::from_second(*begin).unwrap_or(Timestamp::MIN);
        let not_after = Timestamp::from_second(*end).unwrap_or(Timestamp::MAX);
        Ok(Self { chain, not_before, not_after })
    }

    /// The time from which on the certificate is valid; its chain is not looked at.
    pub fn not_before(&self) -> Timestamp {
        self.not_before
    }

    /// The time at which the certificate expires; its chain is not looked at.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// The certificate and its chain in PEM, without anything else that was between them.
    pub fn to_pem(&self) -> String {
        let mut pem = String::new();
        for certificate in &self.chain {
            pem.push_str("-----BEGIN CERTIFICATE-----\n");
            let text = STANDARD.encode(certificate);
            for (place, letter) in text.chars().enumerate() {
                if place > 0 && place % 64 == 0 {
                    pem.push('\n');
                }
                pem.push(letter);
            }
            pem.push_str("\n-----END CERTIFICATE-----\n");
        }
        pem
    }

    /// Joins the certificate with its key, in PEM.
    ///
    /// # Errors
    /// [`IdentityFault`] says why they can't be used together.
    pub fn with_key(&self, key: &Secret) -> Result<ClientIdentity, IdentityFault> {
        if key.len() > MAX_PEM_LEN {
            return Err(IdentityFault::TooLong);
        }
        if memchr::memmem::find(key.expose(), b"ENCRYPTED").is_some() {
            return Err(IdentityFault::EncryptedKey);
        }
        let key = PrivateKeyDer::from_pem_slice(key.expose())
            .map_err(|_may_show_the_key| IdentityFault::NoKey)?;
        let signer = provider::default_provider()
            .key_provider
            .load_private_key(key)
            .map_err(|_may_show_the_key| IdentityFault::Key)?;
        let certified = CertifiedKey::new(self.chain.clone(), signer);
        certified.keys_match().map_err(|_why| IdentityFault::Mismatch)?;
        let whole: Vec<u8> = self.chain.iter().flat_map(|it| it.iter().copied()).collect();
        let mut id = [0; 32];
        id.copy_from_slice(digest(&SHA256, &whole).as_ref());
        let (id, certified) = (IdentityId(id), Arc::new(certified));
        Ok(ClientIdentity { certified, id, not_after: self.not_after })
    }
}

impl ClientIdentity {
    /// The certificate and its key, as TLS presents them.
    pub fn certified_key(&self) -> &Arc<CertifiedKey> {
        &self.certified
    }

    /// The id by which its conns are kept apart from others.
    pub fn id(&self) -> IdentityId {
        self.id
    }

    /// The time at which the certificate expires.
    pub fn not_after(&self) -> Timestamp {
        self.not_after
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientCertificate(until {})", self.not_after)
    }
}

impl fmt::Debug for ClientIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientIdentity(*****, until {})", self.not_after)
    }
}

/// The longest certificate with its chain, or key, in bytes of PEM.
pub const MAX_PEM_LEN: usize = 32 << 10;

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate until the end of 2031, and its key.
    fn pair() -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.not_after = rcgen::date_time_ymd(2031, 12, 31);
        (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
    }

    fn fault(certificate: &str, key: &str) -> Option<IdentityFault> {
        let parsed = ClientCertificate::parse(certificate);
        parsed.and_then(|it| it.with_key(&Secret::new(key))).err()
    }

    #[test]
    fn a_certificate_and_its_key_are_one_identity() {
        let (certificate, key) = pair();
        let parsed = ClientCertificate::parse(&certificate).unwrap();
        assert_eq!(parsed.not_after().to_string(), "2031-12-31T00:00:00Z");
        let identity = parsed.with_key(&Secret::new(key.clone())).unwrap();
        assert_eq!(identity.not_after(), parsed.not_after());
        let around = format!("Bag Attributes\n  name: x\n{certificate}\n{certificate}");
        let chain = ClientCertificate::parse(&around).unwrap();
        assert_ne!(chain.with_key(&Secret::new(key)).unwrap().id(), identity.id());
        let written = chain.to_pem();
        assert!(!written.contains("Bag") && written.lines().all(|line| line.len() <= 64));
        assert_eq!(ClientCertificate::parse(&written).unwrap(), chain);
        assert!(!format!("{chain:?} {identity:?}").contains("BEGIN"));
    }

    #[test]
    fn each_fault_says_what_to_enter() {
        let ((certificate, key), (_, other)) = (pair(), pair());
        let encrypted = key.replace("PRIVATE", "ENCRYPTED PRIVATE");
        let damaged = certificate.replacen("MII", "AAA", 1);
        for (certificate, key, found) in [
            (&*certificate, &*key, None),
            (&certificate, &other, Some(IdentityFault::Mismatch)),
            (&certificate, &certificate, Some(IdentityFault::NoKey)),
            (&certificate, &encrypted, Some(IdentityFault::EncryptedKey)),
            (&certificate, "", Some(IdentityFault::NoKey)),
            (&format!("{certificate}{key}"), &key, Some(IdentityFault::KeyInCertificate)),
            ("", &key, Some(IdentityFault::NoCertificate)),
            (&damaged, &key, Some(IdentityFault::Certificate)),
            (&certificate.repeat(100), &key, Some(IdentityFault::TooLong)),
        ] {
            assert_eq!(fault(certificate, key), found, "{found:?}");
        }
    }
}
