//! Ends of secrets and of client certificates that an operator should know of.

use std::fmt;

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};

use super::client_identity::ClientCertificate;
use super::options::ConnectionOptions;

/// An end that is near or over, of a connection's secret or of its client certificate.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum ExpiryNotice {
    /// The day on which the secret expires, as the operator has written it down.
    SecretExpires(Date),
    /// The day on which it has expired.
    SecretExpired(Date),
    /// The time at which the client certificate expires.
    CertificateExpires(Timestamp),
    /// The time at which it has expired.
    CertificateExpired(Timestamp),
    /// The time from which on it is valid.
    CertificateNotYetValid(Timestamp),
}

impl ConnectionOptions {
    /// Everything that is over at `now`, and what ends within `ahead` of it.
    #[must_use]
    pub fn expiry_notices(&self, now: Timestamp, ahead: SignedDuration) -> Vec<ExpiryNotice> {
        let is_near = |end: Timestamp| end.duration_since(now) <= ahead;
        // 1. The secret, by the day that is written down.
        let secret = self.expires_on.zip(self.expires_at()).and_then(|(day, end)| {
            let notice = if end <= now {
                ExpiryNotice::SecretExpired(day)
            } else {
                ExpiryNotice::SecretExpires(day)
            };
            (end <= now || is_near(end)).then_some(notice)
        });
        // 2. The certificate, by its own validity.
        let parsed = self.client_certificate.as_deref().map(ClientCertificate::parse);
        let certificate = parsed.and_then(Result::ok).and_then(|certificate| {
            let (begin, end) = (certificate.not_before(), certificate.not_after());
            if end <= now {
                Some(ExpiryNotice::CertificateExpired(end))
            } else if begin > now {
                Some(ExpiryNotice::CertificateNotYetValid(begin))
            } else {
                is_near(end).then_some(ExpiryNotice::CertificateExpires(end))
            }
        });
        secret.into_iter().chain(certificate).collect()
    }
}

impl fmt::Display for ExpiryNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SecretExpires(day) => {
                write!(f, "the secret expires on {day}, as expires_on says: {REPLACE_SECRET}")
            }
            Self::SecretExpired(day) => {
                write!(f, "the secret expired on {day}, as expires_on says: {REPLACE_SECRET}")
            }
            Self::CertificateExpires(end) => {
                write!(f, "the client certificate expires at {end}: {REPLACE_CERTIFICATE}")
            }
            Self::CertificateExpired(end) => {
                write!(f, "the client certificate expired at {end}: {REPLACE_CERTIFICATE}")
            }
            Self::CertificateNotYetValid(begin) => {
                write!(
                    f,
                    "the client certificate is not valid before {begin}: {REPLACE_CERTIFICATE}, or wait"
                )
            }
        }
    }
}

const REPLACE_SECRET: &str = "replace it, and its expires_on";
const REPLACE_CERTIFICATE: &str = "give the connection another";

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn each_end_is_told_from_its_time_on() {
        let mut params = CertificateParams::new(vec!["client".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2030, 1, 1);
        params.not_after = date_time_ymd(2031, 1, 1);
        let pem = params.self_signed(&KeyPair::generate().unwrap()).unwrap().pem();
        let options = ConnectionOptions {
            expires_on: Some(jiff::civil::date(2030, 6, 30)),
            client_certificate: Some(pem.into()),
            ..ConnectionOptions::default()
        };
        let fortnight = SignedDuration::from_hours(14 * 24);
        let told = |now: &str, ahead| {
            let notices = options.expiry_notices(now.parse().unwrap(), ahead);
            notices.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
        };
        for (now, ahead, words) in [
            ("2029-12-31T23:59:59Z", SignedDuration::ZERO, "not valid before 2030-01-01T00:00:00Z"),
            ("2030-01-01T00:00:00Z", fortnight, ""),
            ("2030-06-20T00:00:00Z", fortnight, "the secret expires on 2030-06-30"),
            ("2030-06-30T23:59:59Z", SignedDuration::ZERO, ""),
            ("2030-07-01T00:00:00Z", SignedDuration::ZERO, "the secret expired on 2030-06-30"),
            ("2030-12-31T00:00:00Z", fortnight, "certificate expires at 2031-01-01T00:00:00Z"),
            ("2031-01-01T00:00:00Z", SignedDuration::ZERO, "certificate expired at 2031-01-01"),
        ] {
            let told = told(now, ahead);
            assert!(told.contains(words) && told.is_empty() == words.is_empty(), "{now}: {told}");
        }
        assert!(ConnectionOptions::default().expiry_notices(Timestamp::MAX, fortnight).is_empty());
    }
}
