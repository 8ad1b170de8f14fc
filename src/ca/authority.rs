//! A CA: the certificate that callers trust, and the key that signs leaves.

use std::fmt;

use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData as _, SerialNumber,
};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer as _;

use crate::random;
use crate::secret::Secret;

/// A CA that can sign.
pub struct CertificateAuthority {
    /// The certificate as PEM, with the whole content of the file of an operator's own CA.
    pem: String,
    /// The certificates that are sent after a leaf: all between it and the root.
    chain: Vec<CertificateDer<'static>>,
    issuer: Issuer<'static, KeyPair>,
    ends: Timestamp,
}

/// The reason why a CA can't be used. No text quotes a key.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum CaError {
    #[error("there is no certificate in PEM form")]
    Certificate,
    #[error("there is no private key in PEM form that can sign")]
    Key,
    #[error("the key does not belong to the certificate")]
    Mismatch,
    #[error(
        "the certificate is not a CA's: it needs CA:TRUE and, if it limits its key's use, keyCertSign"
    )]
    NoAuthority,
    #[error("the certificate has expired, or is not valid yet")]
    Ended,
    #[error(transparent)]
    Chance(#[from] random::RandomError),
    #[error("the certificate can't be made")]
    Library(#[source] rcgen::Error),
}

impl CertificateAuthority {
    /// Makes a CA with a P-256 key. It is valid from a day before `now`, for clocks that are slow,
    /// and for ten years.
    pub fn generate(now: Timestamp) -> Result<Self, CaError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Library)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        // The date tells this CA from its successors in a list of trusted ones.
        let year = now.strftime("%Y-%m-%d");
        params.distinguished_name.push(DnType::CommonName, format!("Keyferry CA {year}"));
        params.distinguished_name.push(DnType::OrganizationName, "Keyferry");
        params.serial_number = Some(random_serial()?);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = offset_date_time(now.as_second() - DAY_SECONDS)?;
        params.not_after = offset_date_time(now.as_second() + CA_LIFETIME_SECONDS)?;
        let certificate = params.self_signed(&key).map_err(CaError::Library)?;
        Self::new(certificate.pem(), key, now)
    }

    /// The CA of a certificate, followed by its chain, and of a key, both as PEM.
    pub fn from_pem(certificates: &str, key: &Secret, now: Timestamp) -> Result<Self, CaError> {
        let key = PrivateKeyDer::from_pem_slice(key.expose())
            .map_err(|_may_show_the_key| CaError::Key)?;
        let key = KeyPair::try_from(&key).map_err(|_may_show_the_key| CaError::Key)?;
        Self::new(certificates.to_owned(), key, now)
    }

    /// The CA of a certificate (PEM) and of a key as [`Self::key`] gave it.
    pub fn restore(certificate: &str, key: &Secret, now: Timestamp) -> Result<Self, CaError> {
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.expose()));
        let key = KeyPair::try_from(&der).map_err(|_may_show_the_key| CaError::Key)?;
        Self::new(certificate.to_owned(), key, now)
    }

    fn new(pem: String, key: KeyPair, now: Timestamp) -> Result<Self, CaError> {
        let certificates: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
        let chain = certificates.map_err(|_damaged| CaError::Certificate)?;
        let first = chain.first().ok_or(CaError::Certificate)?;
        let (_rest, parsed) =
            X509Certificate::from_der(first).map_err(|_damaged| CaError::Certificate)?;
        let ends = check_certificate(&parsed, &key, now)?;
        // Callers have the root itself, so it is not sent; an intermediate CA is.
        let is_root = parsed.subject() == parsed.issuer();
        let issuer =
            Issuer::from_ca_cert_der(first, key).map_err(|_unusable| CaError::Certificate)?;
        let chain = if is_root { Vec::new() } else { chain };
        Ok(Self { pem, chain, issuer, ends })
    }

    /// The certificate to trust, as PEM.
    pub fn certificate(&self) -> &str {
        &self.pem
    }

    /// The private key (PKCS#8, DER), to be sealed and stored.
    pub fn key(&self) -> Secret {
        Secret::new(self.issuer.key().serialized_der())
    }

    /// The time at which the certificate expires.
    pub fn expires_at(&self) -> Timestamp {
        self.ends
    }

    pub(super) fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    pub(super) fn issuer(&self) -> &Issuer<'static, KeyPair> {
        &self.issuer
    }
}

/// Checks that the certificate is one of a CA, is valid now and belongs to the key. Gives its end.
fn check_certificate(
    certificate: &X509Certificate<'_>,
    key: &KeyPair,
    now: Timestamp,
) -> Result<Timestamp, CaError> {
    if certificate.public_key().raw != key.subject_public_key_info() {
        return Err(CaError::Mismatch);
    }
    let may_sign = match certificate.key_usage() {
        Ok(Some(usage)) => usage.value.key_cert_sign(),
        Ok(None) => true,
        Err(_damaged) => return Err(CaError::Certificate),
    };
    if !certificate.is_ca() || !may_sign {
        return Err(CaError::NoAuthority);
    }
    let validity = certificate.validity();
    let (begins, ends) = (validity.not_before.timestamp(), validity.not_after.timestamp());
    if !(begins..ends).contains(&now.as_second()) {
        return Err(CaError::Ended);
    }
    Ok(Timestamp::from_second(ends).unwrap_or(Timestamp::MAX))
}

impl fmt::Debug for CertificateAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CertificateAuthority").field("ends", &self.ends).finish_non_exhaustive()
    }
}

/// An unpredictable serial number (RFC 5280 §4.1.2.2: positive, at most 20 octets).
pub(super) fn random_serial() -> Result<SerialNumber, random::RandomError> {
    let mut bytes = random::bytes::<16>()?;
    let [first, ..] = &mut bytes;
    *first = *first & 0x7f | 0x40;
    Ok(SerialNumber::from_slice(&bytes))
}

pub(super) fn offset_date_time(seconds: i64) -> Result<OffsetDateTime, CaError> {
    OffsetDateTime::from_unix_timestamp(seconds)
        .map_err(|_beyond| CaError::Library(rcgen::Error::Time))
}

pub(super) const DAY_SECONDS: i64 = 24 * 60 * 60;

const CA_LIFETIME_SECONDS: i64 = 10 * 365 * DAY_SECONDS;

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn pem(key: &KeyPair) -> Secret {
        Secret::new(key.serialize_pem())
    }

    /// A certificate and its key, as `change` has it.
    fn made(change: impl FnOnce(&mut CertificateParams)) -> (String, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.not_before = offset_date_time(now().as_second() - DAY_SECONDS).unwrap();
        params.not_after = offset_date_time(now().as_second() + DAY_SECONDS).unwrap();
        change(&mut params);
        (params.self_signed(&key).unwrap().pem(), key)
    }

    #[test]
    fn a_ca_is_the_same_after_it_was_kept() {
        let made = CertificateAuthority::generate(now()).unwrap();
        let kept = CertificateAuthority::restore(made.certificate(), &made.key(), now()).unwrap();
        assert_eq!(kept.certificate(), made.certificate());
        assert_eq!(kept.key().expose(), made.key().expose());
        assert!(kept.expires_at() > now());
        assert!(!format!("{kept:?}").contains("key"));
    }

    #[test]
    fn an_operators_ca_must_be_one_that_can_sign() {
        let (good, key) = made(|_| {});
        assert!(CertificateAuthority::from_pem(&good, &pem(&key), now()).is_ok());
        let other = pem(&KeyPair::generate().unwrap());
        let outcome = |(certificate, key): (String, KeyPair)| {
            CertificateAuthority::from_pem(&certificate, &pem(&key), now()).unwrap_err().to_string()
        };
        let refused = |certificate: &str, key: &Secret| {
            CertificateAuthority::from_pem(certificate, key, now()).unwrap_err().to_string()
        };
        assert_eq!(refused(&good, &other), CaError::Mismatch.to_string());
        assert_eq!(refused(&good, &Secret::new("x")), CaError::Key.to_string());
        assert_eq!(refused("x", &pem(&key)), CaError::Certificate.to_string());
        let no_authority = CaError::NoAuthority.to_string();
        assert_eq!(outcome(made(|params| params.is_ca = IsCa::ExplicitNoCa)), no_authority);
        let signs_messages = |params: &mut CertificateParams| {
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        };
        assert_eq!(outcome(made(signs_messages)), no_authority);
        let ended = made(|params| params.not_after = offset_date_time(now().as_second()).unwrap());
        assert_eq!(outcome(ended), CaError::Ended.to_string());
        let begins =
            made(|params| params.not_before = offset_date_time(now().as_second() + 1).unwrap());
        assert_eq!(outcome(begins), CaError::Ended.to_string());
    }
}
