//! Errors of requests to origins.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use jiff::Timestamp;
use rustls::{AlertDescription, CertificateError, OtherError};
use rustls_pki_types::UnixTime;

use super::body::BodyError;
use super::departure::DepartureWithdrawn;
use super::guard::Prohibited;
use super::http1::MalformedResponse;
use super::lookups::LookupError;
use crate::error::chain;

/// The reason why there is no reply.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum Error {
    #[error("the origin's name does not resolve")]
    NameUnresolved(#[source] Arc<io::Error>),
    #[error("the origin's name did not resolve in time")]
    NameTimeout,
    /// The look-up did not start in time, because others of the same integration have not ended.
    #[error(
        "the integration has too many look-ups of names in flight: look for an origin whose name does not resolve"
    )]
    TooManyLookups,
    #[error("the origin's address is prohibited")]
    Prohibited(#[source] Prohibited),
    #[error("the origin can't be connected to")]
    ConnectRefused(#[source] io::Error),
    #[error("the origin could not be connected to in time")]
    ConnectTimeout,
    #[error("the origin's certificate is not valid")]
    CertificateInvalid(#[source] io::Error),
    #[error("TLS with the origin failed")]
    TlsFailed(#[source] io::Error),
    #[error("the origin demands a client certificate")]
    CertificateDemanded(#[source] io::Error),
    #[error("the origin refuses the connection's client certificate")]
    CertificateRefused(#[source] io::Error),
    /// The conn ended before the end of the response's head.
    #[error("the origin closed the conn {0}")]
    Closed(ResponsePhase, #[source] io::Error),
    #[error("the origin did not answer in time")]
    ResponseTimeout,
    #[error("the origin's response is not well-formed")]
    ResponseMalformed(#[source] MalformedResponse),
    #[error("the request's body failed")]
    RequestBody(#[source] BodyError),
    #[error("the origin does not speak HTTP/1.1, which the target needs")]
    TargetNotCarried(#[source] io::Error),
    #[error("the request was withdrawn before it was sent")]
    Withdrawn(#[source] DepartureWithdrawn),
    #[error("the origin's answer to the upgrade is not valid")]
    UpgradeFailed,
}

/// The progress of a response.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponsePhase {
    /// Before its first byte.
    BeforeResponse,
    /// After the first byte of the head, before its last.
    WithinHead,
}

impl std::fmt::Display for ResponsePhase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::BeforeResponse => "before the response",
            Self::WithinHead => "within the response's head",
        })
    }
}

impl From<LookupError> for Error {
    fn from(error: LookupError) -> Self {
        match error {
            LookupError::Failed(error) => Self::NameUnresolved(error),
            LookupError::TimedOut => Self::NameTimeout,
            LookupError::NoSlot => Self::TooManyLookups,
        }
    }
}

impl Error {
    /// The error of a conn that has ended. With TLS 1.3 an origin that demands a certificate sends
    /// its alert after the handshake (RFC 8446 §4.4.2.4), so alerts are told apart here too.
    pub(super) fn closed(phase: ResponsePhase, error: io::Error) -> Self {
        if is_about_certificate(&error) {
            Self::from_tls(error)
        } else {
            Self::Closed(phase, error)
        }
    }

    /// The error of a TLS failure. Certificate faults are told from others.
    pub(super) fn from_tls(error: io::Error) -> Self {
        match tls_cause(&error) {
            Some(rustls::Error::InvalidCertificate(fault)) => {
                let words = certificate_words(fault);
                Self::CertificateInvalid(io::Error::new(error.kind(), words))
            }
            Some(rustls::Error::NoCertificatesPresented) => Self::CertificateInvalid(error),
            Some(rustls::Error::AlertReceived(AlertDescription::CertificateRequired)) => {
                Self::CertificateDemanded(error)
            }
            _ => Self::TlsFailed(error),
        }
    }

    /// The error as it is of a conn that has presented a client certificate: an alert about one can
    /// be about no other.
    pub(super) fn of_certified_conn(self) -> Self {
        match self {
            Self::TlsFailed(error) | Self::CertificateDemanded(error) => {
                if is_about_certificate(&error) {
                    Self::CertificateRefused(error)
                } else {
                    Self::TlsFailed(error)
                }
            }
            other => other,
        }
    }

    /// Tells whether the error came before any byte of the request was written.
    pub fn is_before_sending(&self) -> bool {
        matches!(
            self,
            Self::NameUnresolved(_)
                | Self::NameTimeout
                | Self::TooManyLookups
                | Self::Prohibited(_)
                | Self::ConnectRefused(_)
                | Self::ConnectTimeout
                | Self::CertificateInvalid(_)
                | Self::TlsFailed(_)
                | Self::CertificateDemanded(_)
                | Self::CertificateRefused(_)
                | Self::TargetNotCarried(_)
                | Self::Withdrawn(_)
        )
    }

    /// The error and all its causes in one line, for the operator's log.
    pub fn chain(&self) -> String {
        chain(self).to_string()
    }
}

/// Says what is wrong with a certificate.
fn certificate_words(fault: &CertificateError) -> Cow<'static, str> {
    use CertificateError as Fault;
    let words = match fault {
        Fault::BadEncoding => "it is not well-formed",
        Fault::BadSignature => "its signature does not verify",
        Fault::Expired => "it has expired",
        Fault::InvalidPurpose | Fault::InvalidPurposeContext { .. } => "it is not for a server",
        Fault::NotValidForName => "it is for another name",
        Fault::NotValidYet => "it is not valid yet",
        Fault::Revoked => "it is revoked",
        Fault::UnhandledCriticalExtension => "it has a critical extension that is not known here",
        Fault::UnknownIssuer => {
            "its issuer is not a CA that is trusted here, which upstream.extra_roots can add, or \
             the origin leaves out the certificate between"
        }
        Fault::ExpiredContext { not_after, .. } => {
            return format!("it has expired on {}", day_of(*not_after)).into();
        }
        Fault::NotValidYetContext { not_before, .. } => {
            return format!("it is not valid before {}", day_of(*not_before)).into();
        }
        // The library has words of its own for names, and for what it names itself.
        Fault::NotValidForNameContext { .. } => return fault.to_string().into(),
        Fault::Other(OtherError(rule)) => match rule.to_string().as_str() {
            "CaUsedAsEndEntity" => "it is a CA's own, and no server's",
            "EndEntityUsedAsCa" => "it is issued by a certificate that is no CA's",
            "UnsupportedCertVersion" => "it is not of X.509 version 3",
            rule => return format!("it violates a rule, {rule}").into(),
        },
        other => return other.to_string().into(),
    };
    words.into()
}

/// The day and minute of a time in a certificate, in UTC.
fn day_of(time: UnixTime) -> String {
    let second = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
    time.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

/// Tells whether the peer's alert is about the certificate of its client, or the lack of one.
fn is_about_certificate(error: &io::Error) -> bool {
    use AlertDescription as Alert;
    matches!(
        tls_cause(error),
        Some(rustls::Error::AlertReceived(
            Alert::AccessDenied
                | Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::DecryptError
                | Alert::HandshakeFailure
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate,
        ))
    )
}

fn tls_cause(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("CaUsedAsEndEntity")]
    struct CaUsedAsEndEntity;

    #[test]
    fn a_bad_certificate_is_told_in_words() {
        let at = |second| UnixTime::since_unix_epoch(std::time::Duration::from_secs(second));
        let expired =
            CertificateError::ExpiredContext { time: at(9), not_after: at(1_800_000_000) };
        let other = CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity)));
        for (fault, said) in [
            (expired, "it has expired on 2027-01-15 08:00 UTC"),
            (other, "it is a CA's own, and no server's"),
            (CertificateError::UnknownIssuer, "its issuer is not a CA that is trusted here"),
        ] {
            let error = io::Error::other(rustls::Error::InvalidCertificate(fault));
            let said = format!("the origin's certificate is not valid: {said}");
            let chain = Error::from_tls(error).chain();
            assert!(chain.starts_with(&said), "{chain}");
        }
    }
}
