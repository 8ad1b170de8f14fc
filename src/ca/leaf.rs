//! The certificate of one host and its key.

use std::sync::Arc;

use jiff::Timestamp;
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::aws_lc_rs::sign::any_ecdsa_type;
use rustls::sign::CertifiedKey;
use rustls_pki_types::PrivateKeyDer;

use super::authority::{
    CaError, CertificateAuthority, DAY_SECONDS, offset_date_time, random_serial,
};

/// A leaf, its signer, and the time from which it is replaced.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) key: Arc<CertifiedKey>,
    pub(super) signer: Arc<CertificateAuthority>,
    pub(super) renewed_at: Timestamp,
}

/// Mints the leaf of `host`, with a P-256 key of its own.
pub(super) fn mint(
    signer: &Arc<CertificateAuthority>,
    host: &str,
    now: Timestamp,
) -> Result<Leaf, CaError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CaError::Library)?;
    let ends = (now.as_second() + LEAF_LIFETIME_SECONDS).min(signer.expires_at().as_second());
    let params = certificate_params(host, now, ends)?;
    let certificate = params.signed_by(&key, signer.issuer()).map_err(CaError::Library)?;
    let der =
        PrivateKeyDer::try_from(key.serialize_der()).map_err(|_may_show_the_key| CaError::Key)?;
    let signing = any_ecdsa_type(&der).map_err(|_may_show_the_key| CaError::Key)?;
    let mut chain = vec![certificate.der().clone()];
    chain.extend_from_slice(signer.chain());
    // It is replaced when a third of its time is left, so that no conn begins with an old one.
    let renewed_at = now.as_second() + (ends - now.as_second()) * 2 / 3;
    Ok(Leaf {
        key: Arc::new(CertifiedKey::new(chain, signing)),
        signer: Arc::clone(signer),
        renewed_at: Timestamp::from_second(renewed_at).unwrap_or(now),
    })
}

/// The fields that strict verifiers require of a server's certificate (RFC 5280 §4.2, RFC 9525).
fn certificate_params(host: &str, now: Timestamp, ends: i64) -> Result<CertificateParams, CaError> {
    let name = host.try_into().map_err(CaError::Library)?;
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![SanType::DnsName(name)];
    params.distinguished_name = DistinguishedName::new();
    // A common name holds 64 characters. Without one the subject is empty, and rcgen marks the
    // alternative names as critical (RFC 5280 §4.2.1.6).
    if host.len() <= MAX_COMMON_NAME_LEN {
        params.distinguished_name.push(DnType::CommonName, host);
    }
    params.serial_number = Some(random_serial()?);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = offset_date_time(now.as_second() - DAY_SECONDS)?;
    params.not_after = offset_date_time(ends)?;
    Ok(params)
}

const MAX_COMMON_NAME_LEN: usize = 64;

/// 60 days: with the day before `now`, well within the 90 days that the room promises.
const LEAF_LIFETIME_SECONDS: i64 = 60 * DAY_SECONDS;

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::certificate::X509Certificate;
    use x509_parser::prelude::FromDer as _;

    #[test]
    fn a_leaf_is_what_strict_verifiers_ask_for() {
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let signer = Arc::new(CertificateAuthority::generate(now).unwrap());
        let long = format!("{}.{}.example.com", "a".repeat(60), "b".repeat(60));
        for (host, has_subject) in [("api.example.com", true), (long.as_str(), false)] {
            let leaf = mint(&signer, host, now).unwrap();
            let (_, leaf) = X509Certificate::from_der(&leaf.key.cert[0]).unwrap();
            let names = leaf.subject_alternative_name().unwrap().unwrap();
            assert_eq!(names.value.general_names.len(), 1);
            assert!(format!("{:?}", names.value.general_names[0]).contains(host));
            assert_eq!(names.critical, !has_subject);
            assert_eq!(leaf.subject().iter_common_name().count(), usize::from(has_subject));
            let validity = leaf.validity();
            let days =
                (validity.not_after.timestamp() - validity.not_before.timestamp()) / DAY_SECONDS;
            assert!(days <= 90 && validity.not_before.timestamp() < now.as_second(), "{days}");
            assert!(!leaf.is_ca());
            assert!(leaf.key_usage().unwrap().unwrap().value.digital_signature());
            assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
            let issuer = der(&signer);
            let (_, issuer) = X509Certificate::from_der(&issuer).unwrap();
            assert_eq!(leaf.issuer(), issuer.subject());
            assert!(leaf.verify_signature(Some(issuer.public_key())).is_ok());
        }
        let two = [mint(&signer, "a.example", now), mint(&signer, "a.example", now)];
        let [one, other] = two.map(|leaf| leaf.unwrap().key.cert[0].to_vec());
        let serial = |der: &[u8]| X509Certificate::from_der(der).unwrap().1.raw_serial_as_string();
        assert_ne!(serial(&one), serial(&other));
    }

    fn der(authority: &CertificateAuthority) -> Vec<u8> {
        use rustls_pki_types::pem::PemObject as _;
        rustls_pki_types::CertificateDer::from_pem_slice(authority.certificate().as_bytes())
            .unwrap()
            .to_vec()
    }
}
