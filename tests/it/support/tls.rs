//! The tests' own authority, and certificates by it.

use std::sync::{Arc, LazyLock};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

/// A certificate authority.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key.
pub(crate) struct Leaf {
    pub(crate) der: CertificateDer<'static>,
    pub(crate) pem: String,
    pub(crate) key: KeyPair,
}

/// The authority that the program is told to trust.
pub(crate) static TRUSTED: LazyLock<Authority> = LazyLock::new(Authority::new);

/// The names that origins have.
pub(crate) const NAMES: &[&str] = &[
    "api.example.test",
    "other.example.test",
    "id.example.test",
    "id2.example.test",
    "acme.zendesk.com",
    "wild.example.test",
    "*.wild.example.test",
    "oauth2.googleapis.com",
    "login.salesforce.com",
    "account-d.docusign.com",
    "acme.okta.com",
    "api.github.com",
    "zoom.us",
    "dynamodb.us-west-2.amazonaws.com",
    "bucket.s3.eu-west-1.amazonaws.com",
    "sts.us-east-1.amazonaws.com",
];

impl Authority {
    pub(crate) fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "The tests' authority");
        let certificate = params.self_signed(&key).unwrap();
        Self { pem: certificate.pem(), issuer: Issuer::new(params, key) }
    }

    /// A certificate by itself.
    pub(crate) fn self_signed(names: &[&str]) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().self_signed(&key).unwrap();
        Leaf { der: certificate.der().clone(), pem: certificate.pem(), key }
    }

    pub(crate) fn leaf(&self, names: &[&str]) -> Leaf {
        self.leaf_until(names, 2090)
    }

    /// A certificate that ends with the year.
    pub(crate) fn leaf_until(&self, names: &[&str], year: i32) -> Leaf {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_after = rcgen::date_time_ymd(year, 12, 31);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Leaf { der: certificate.der().clone(), pem: certificate.pem(), key }
    }
}

impl Leaf {
    /// TLS as a server with this certificate.
    pub(crate) fn serve(&self, alpn: &[&str]) -> Arc<ServerConfig> {
        self.serve_versions(alpn, rustls::DEFAULT_VERSIONS)
    }

    fn serve_versions(
        &self,
        alpn: &[&str],
        versions: &[&'static SupportedProtocolVersion],
    ) -> Arc<ServerConfig> {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.clone()], key)
            .unwrap();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Arc::new(config)
    }
}

/// TLS as an origin of all [`NAMES`] that demands a client certificate of this authority.
pub(crate) fn demanding(
    authority: &Authority,
    alpn: &[&str],
    version: &'static SupportedProtocolVersion,
) -> Arc<ServerConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let leaf = TRUSTED.leaf(NAMES);
    let key = PrivateKeyDer::try_from(leaf.key.serialize_der()).unwrap();
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .unwrap()
        .with_client_cert_verifier(verifier.build().unwrap())
        .with_single_cert(vec![leaf.der.clone()], key)
        .unwrap();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

/// TLS as an origin of all [`NAMES`].
pub(crate) fn origin(alpn: &[&str]) -> Arc<ServerConfig> {
    TRUSTED.leaf(NAMES).serve(alpn)
}

/// The same in TLS 1.2, in which the server's end of the handshake is the last.
pub(crate) fn old_origin(alpn: &[&str]) -> Arc<ServerConfig> {
    TRUSTED.leaf(NAMES).serve_versions(alpn, &[&rustls::version::TLS12])
}

/// TLS as a caller that trusts the tests' authority.
pub(crate) fn caller(alpn: &[&str]) -> Arc<ClientConfig> {
    trusting(&TRUSTED.pem, alpn)
}

/// TLS as a caller that trusts these authorities (PEM).
pub(crate) fn trusting(pem: &str, alpn: &[&str]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config)
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
