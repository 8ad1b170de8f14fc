//! The origin's certificate, from a certification authority that exists for one run.

use std::{fs, io, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};

/// The origin's name. Reserved for tests (RFC 2606), so nothing here can reach the network.
pub(crate) const HOST: &str = "api.example.test";

/// The authority's certificate, which the contenders must trust.
pub(crate) const AUTHORITY: &str = "ca.pem";

/// The authority's private key, for those who sign in its name.
pub(crate) const AUTHORITY_KEY: &str = "ca.key";

/// The origin's certificate.
pub(crate) const LEAF: &str = "leaf.pem";

/// The origin's private key.
pub(crate) const KEY: &str = "leaf.key";

/// Makes an authority and a leaf for [`HOST`] and writes them to `directory`.
///
/// # Errors
/// When the files can't be written.
pub(crate) fn create(directory: &Path) -> io::Result<()> {
    let mut authority = CertificateParams::new(Vec::new()).map_err(io::Error::other)?;
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    // Names of their own: OpenSSL takes a leaf that is named as its issuer for self-signed.
    authority.distinguished_name.push(DnType::CommonName, "load benchmark authority");
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let authority = CertifiedIssuer::self_signed(authority, key).map_err(io::Error::other)?;

    let mut leaf = CertificateParams::new(vec![HOST.to_owned()]).map_err(io::Error::other)?;
    leaf.distinguished_name.push(DnType::CommonName, HOST);
    leaf.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(io::Error::other)?;
    let leaf = leaf.signed_by(&key, &authority).map_err(io::Error::other)?;

    fs::write(directory.join(AUTHORITY), authority.pem())?;
    fs::write(directory.join(AUTHORITY_KEY), authority.key().serialize_pem())?;
    fs::write(directory.join(LEAF), leaf.pem())?;
    fs::write(directory.join(KEY), key.serialize_pem())
}
