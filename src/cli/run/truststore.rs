//! Certificates in the form that every Java reads (JKS): there is no other that needs no library.

use aws_lc_rs::digest::{Context, SHA1_FOR_LEGACY_USE_ONLY};
use rustls_pki_types::CertificateDer;

/// The password with which Java checks the file; it protects nothing, for nothing in it is secret.
pub(super) const PASSWORD: &str = "changeit";

/// A truststore with these certificates.
pub(super) fn write(certificates: &[CertificateDer<'_>]) -> Vec<u8> {
    let mut store = Vec::new();
    store.extend(MAGIC);
    store.extend(VERSION);
    number(&mut store, certificates.len());
    for (index, certificate) in certificates.iter().enumerate() {
        store.extend(TRUSTED_CERTIFICATE);
        text(&mut store, &format!("keyferry-{index}"));
        // When it was entered; nobody asks.
        store.extend([0; 8]);
        text(&mut store, "X.509");
        number(&mut store, certificate.len());
        store.extend_from_slice(certificate);
    }
    let mut digest = Context::new(&SHA1_FOR_LEGACY_USE_ONLY);
    for unit in PASSWORD.encode_utf16() {
        digest.update(&unit.to_be_bytes());
    }
    digest.update(WHITENER);
    digest.update(&store);
    store.extend_from_slice(digest.finish().as_ref());
    store
}

fn number(store: &mut Vec<u8>, number: usize) {
    store.extend(u32::try_from(number).unwrap_or(u32::MAX).to_be_bytes());
}

/// As `DataOutputStream.writeUTF` has it, for ASCII.
fn text(store: &mut Vec<u8>, text: &str) {
    store.extend(u16::try_from(text.len()).unwrap_or(u16::MAX).to_be_bytes());
    store.extend_from_slice(text.as_bytes());
}

const MAGIC: [u8; 4] = [0xfe, 0xed, 0xfe, 0xed];
const VERSION: [u8; 4] = [0, 0, 0, 2];
const TRUSTED_CERTIFICATE: [u8; 4] = [0, 0, 0, 2];

/// The bytes that the format puts between the password and the content.
const WHITENER: &[u8] = b"Mighty Aphrodite";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_truststore_has_its_certificates_and_a_digest_at_its_end() {
        let certificates = [CertificateDer::from(vec![1, 2, 3]), CertificateDer::from(vec![4])];
        let store = write(&certificates);
        assert_eq!(store[..12], [0xfe, 0xed, 0xfe, 0xed, 0, 0, 0, 2, 0, 0, 0, 2]);
        let entry = |number: u8, der: &[u8]| {
            let mut entry = vec![0, 0, 0, 2, 0, 10];
            entry.extend_from_slice(format!("keyferry-{number}").as_bytes());
            entry.extend([0; 8]);
            entry.extend_from_slice(b"\0\x05X.509\0\0\0");
            entry.push(u8::try_from(der.len()).unwrap());
            entry.extend_from_slice(der);
            entry
        };
        let content = [entry(0, &[1, 2, 3]), entry(1, &[4])].concat();
        assert_eq!(store[12..store.len() - 20], content);
        assert_ne!(store[store.len() - 20..], write(&certificates[..1])[..20]);
    }
}
