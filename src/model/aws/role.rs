//! Roles that the keys of a connection to AWS assume, and the sessions that come of it (contract §8,
//! `assume_role`).

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::endpoint::{SigningScope, is_region};
use super::payload::sha256;
use super::signer::AwsKeys;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::packer::{Packer, Unpacker};
use crate::secret::Secret;

/// A role that a connection's keys assume: its requests are signed with the keys of a session.
///
/// Its encoding is stored and sealed with that of its connection, so that it must stay as it is in
/// every later version.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AssumeRole {
    /// The role's ARN.
    pub role_arn: Box<str>,
    /// The id that the role's owner has agreed on with who assumes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<Box<str>>,
    /// The length of a session in seconds; `None` for the one that STS chooses, an hour.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<u32>,
}

/// A session of a role.
#[derive(Clone, Debug)]
pub struct RoleSession {
    /// Its keys, with its token.
    pub keys: AwsKeys,
    /// The time at which it was requested.
    pub issued_at: Timestamp,
    /// The time at which it ends.
    pub expires_at: Timestamp,
}

/// The sessions of a connection's role: the present one, and the number of all so far.
#[derive(Clone, Debug, Default)]
pub struct RoleSessions {
    /// The number of sessions so far, the present one included.
    pub generation: i64,
    /// The present one; `None` before the first, and where the keys were replaced.
    pub current: Option<RoleSession>,
}

/// The part of AWS in which a role is: no keys count in two of them.
struct Partition {
    /// Its name in ARNs.
    name: &'static str,
    /// The domain of its services.
    domain: &'static str,
    /// The region whose STS is asked where the connection has none of its own.
    region: &'static str,
}

impl AssumeRole {
    /// Checks its texts, beside the connection's own region.
    ///
    /// # Errors
    /// The text states the rule that one breaks.
    pub fn check(&self, region: Option<&str>) -> Result<(), &'static str> {
        check_role_arn(&self.role_arn)?;
        self.external_id.as_deref().map_or(Ok(()), check_external_id)?;
        self.duration.map_or(Ok(()), check_session_length)?;
        self.check_region(region)
    }

    /// Checks that its role is in the partition of the connection's own region.
    ///
    /// # Errors
    /// The text states the rule.
    pub fn check_region(&self, region: Option<&str>) -> Result<(), &'static str> {
        match self.sts_scope(region) {
            Some(_scope) => Ok(()),
            None => Err("must be a role of the partition that the connection's region is in"),
        }
    }

    /// The region whose STS is asked, and the service: the connection's own region, else the first
    /// of the role's partition. `None` where the region is of another partition, or of none.
    #[must_use]
    pub fn sts_scope(&self, region: Option<&str>) -> Option<SigningScope> {
        let partition = Partition::of_arn(&self.role_arn)?;
        let region = region.unwrap_or(partition.region);
        let fits = is_region(region) && Partition::name_of_region(region) == partition.name;
        fits.then(|| SigningScope { region: region.into(), service: "sts".into() })
    }

    /// The host of STS in that region.
    #[must_use]
    pub fn sts_host(&self, region: Option<&str>) -> Option<String> {
        let SigningScope { region, .. } = self.sts_scope(region)?;
        let domain = Partition::of_arn(&self.role_arn)?.domain;
        Some(format!("sts.{region}.{domain}"))
    }
}

impl Partition {
    fn of_arn(arn: &str) -> Option<&'static Self> {
        let name = arn.strip_prefix("arn:")?.split(':').next()?;
        PARTITIONS.iter().find(|known| known.name == name)
    }

    /// The name of the partition that a region is in. Those that have no public network are not
    /// known.
    fn name_of_region(region: &str) -> &'static str {
        let begins = |prefix: &str| region.starts_with(prefix);
        if begins("cn-") {
            "aws-cn"
        } else if begins("us-gov-") {
            "aws-us-gov"
        } else if begins("us-iso") || begins("eu-iso") || begins("eusc-") {
            ""
        } else {
            "aws"
        }
    }
}

/// Checks the ARN of a role.
///
/// # Errors
/// The text states the rule.
pub fn check_role_arn(arn: &str) -> Result<(), &'static str> {
    let name = |rest: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@/-".contains(&byte);
        let last = rest.rsplit('/').next().unwrap_or_default();
        (1..=64).contains(&last.len()) && rest.bytes().all(is_allowed)
    };
    let is_role = || {
        let (_, rest) = arn.strip_prefix("arn:")?.split_once(":iam::")?;
        let (account, rest) = rest.split_once(":role/")?;
        let is_account = account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit());
        (is_account && name(rest) && Partition::of_arn(arn).is_some()).then_some(())
    };
    let fits = arn.len() <= MAX_ARN_LEN && is_role().is_some();
    let rule = "must be the ARN of a role in the partition aws, aws-cn or aws-us-gov, as \
                arn:aws:iam::123456789012:role/name";
    if fits { Ok(()) } else { Err(rule) }
}

/// Checks an external id.
///
/// # Errors
/// The text states the rule.
pub fn check_external_id(id: &str) -> Result<(), &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=,.@:/-".contains(&byte);
    let fits = (2..=1224).contains(&id.len()) && id.bytes().all(is_allowed);
    let rule = "must be 2 to 1224 letters, digits, or characters out of _ + = , . @ : / -";
    if fits { Ok(()) } else { Err(rule) }
}

/// Checks the length of a session, in seconds.
///
/// # Errors
/// The text states the rule.
pub fn check_session_length(seconds: u32) -> Result<(), &'static str> {
    let fits = (MIN_SESSION_SECS..=MAX_SESSION_SECS).contains(&seconds);
    if fits { Ok(()) } else { Err(SESSION_LENGTH_RULE) }
}

/// Reads the length of a session, as `1h`.
///
/// # Errors
/// The text states the rule.
pub fn parse_session_length(text: &str) -> Result<u32, &'static str> {
    let length = humantime::parse_duration(text).ok().filter(|it| it.subsec_nanos() == 0);
    let seconds = length.and_then(|length| u32::try_from(length.as_secs()).ok());
    let seconds = seconds.ok_or(SESSION_LENGTH_RULE)?;
    check_session_length(seconds).map(|()| seconds)
}

/// The name of a connection's sessions, by which AWS's own records know its requests: that of the
/// connection, made to fit. Of a longer one the end is a hash of the whole.
#[must_use]
pub fn session_name(integration: &IntegrationName, name: &ConnectionName) -> String {
    let whole = format!("keyferry-{integration}.{name}");
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "_=,.@-".contains(letter);
    let fitting: String =
        whole.chars().map(|letter| if is_allowed(letter) { letter } else { '-' }).collect();
    if fitting == whole && whole.len() <= MAX_SESSION_NAME_LEN {
        return whole;
    }
    let hash: String = sha256(whole.as_bytes()).chars().take(HASH_DIGITS).collect();
    let kept = MAX_SESSION_NAME_LEN - HASH_DIGITS - 1;
    let begin: String = fitting.chars().take(kept).collect();
    format!("{begin}-{hash}")
}

impl RoleSessions {
    /// Tells whether there is a session, and a newer one than this generation's.
    #[must_use]
    pub fn are_newer_than(&self, generation: i64) -> bool {
        self.current.is_some() && self.generation > generation
    }

    /// The sessions once this one has begun.
    #[must_use]
    pub fn followed_by(&self, session: RoleSession) -> Self {
        Self { generation: self.generation.saturating_add(1), current: Some(session) }
    }

    pub(super) fn pack_into(&self, packer: Packer) -> Packer {
        let packer = packer.number(self.generation).number(i64::from(self.current.is_some()));
        let Some(RoleSession { keys, issued_at, expires_at }) = &self.current else {
            return packer;
        };
        packer
            .text(keys.access_key_id.as_bytes())
            .text(keys.secret_access_key.expose())
            .optional_text(keys.session_token.as_ref().map(Secret::expose))
            .number(issued_at.as_microsecond())
            .number(expires_at.as_microsecond())
    }

    pub(super) fn unpack_from(unpacking: &mut Unpacker<'_>) -> Option<Self> {
        let generation = unpacking.number()?;
        let current = match unpacking.number()? {
            0 => None,
            _ => Some(RoleSession {
                keys: AwsKeys {
                    access_key_id: unpacking.utf8()?.into(),
                    secret_access_key: Secret::new(unpacking.text()?),
                    session_token: unpacking.optional_text()?.map(Secret::new),
                },
                issued_at: Timestamp::from_microsecond(unpacking.number()?).ok()?,
                expires_at: Timestamp::from_microsecond(unpacking.number()?).ok()?,
            }),
        };
        Some(Self { generation, current })
    }
}

/// The partitions that are reached over the public network with one set of accounts each.
const PARTITIONS: [Partition; 3] = [
    Partition { name: "aws", domain: "amazonaws.com", region: "us-east-1" },
    Partition { name: "aws-cn", domain: "amazonaws.com.cn", region: "cn-north-1" },
    Partition { name: "aws-us-gov", domain: "amazonaws.com", region: "us-gov-west-1" },
];

/// The longest ARN that STS takes, in bytes.
const MAX_ARN_LEN: usize = 2048;

/// The longest name of a session that STS takes, in characters.
const MAX_SESSION_NAME_LEN: usize = 64;

/// The hexadecimal digits that tell names apart which have the same beginning.
const HASH_DIGITS: usize = 12;

/// The shortest and the longest session that STS gives, in seconds.
const MIN_SESSION_SECS: u32 = 15 * 60;
const MAX_SESSION_SECS: u32 = 12 * 3600;

const SESSION_LENGTH_RULE: &str = "must be a whole number of seconds from \"15m\" to \"12h\"";

#[cfg(test)]
mod tests {
    use super::*;

    fn role(arn: &str) -> AssumeRole {
        AssumeRole { role_arn: arn.into(), external_id: None, duration: None }
    }

    #[test]
    fn sts_is_asked_in_the_roles_partition_alone() {
        for (arn, region, host) in [
            ("arn:aws:iam::123456789012:role/a", None, Some("sts.us-east-1.amazonaws.com")),
            (
                "arn:aws:iam::123456789012:role/p/a",
                Some("eu-west-1"),
                Some("sts.eu-west-1.amazonaws.com"),
            ),
            ("arn:aws-cn:iam::123456789012:role/a", None, Some("sts.cn-north-1.amazonaws.com.cn")),
            (
                "arn:aws-us-gov:iam::123456789012:role/a",
                None,
                Some("sts.us-gov-west-1.amazonaws.com"),
            ),
            ("arn:aws-cn:iam::123456789012:role/a", Some("eu-west-1"), None),
            ("arn:aws:iam::123456789012:role/a", Some("us-gov-east-1"), None),
            ("arn:aws:iam::123456789012:role/a", Some("us-iso-east-1"), None),
            ("arn:aws:iam::123456789012:role/a", Some("auto"), None),
            ("arn:aws-iso:iam::123456789012:role/a", None, None),
        ] {
            assert_eq!(role(arn).sts_host(region).as_deref(), host, "{arn} {region:?}");
            assert_eq!(role(arn).check(region).is_ok(), host.is_some(), "{arn} {region:?}");
        }
    }

    #[test]
    fn texts_that_sts_would_refuse_are_refused_before() {
        for arn in [
            "",
            "arn:aws:iam::123456789012:user/a",
            "arn:aws:iam::12345678901:role/a",
            "arn:aws:iam::123456789012:role/",
            "arn:aws:iam::123456789012:role/a b",
            "arn:aws:sts::123456789012:assumed-role/a/b",
            "arn:evil.example:iam::123456789012:role/a",
        ] {
            assert!(check_role_arn(arn).is_err(), "{arn}");
        }
        for (id, fits) in [("a", false), ("ab", true), ("a b", false), ("a:/@=+,.-_9", true)] {
            assert_eq!(check_external_id(id).is_ok(), fits, "{id}");
        }
        for (text, length) in
            [("15m", Some(900)), ("12h", Some(43_200)), ("14m", None), ("13h", None), ("x", None)]
        {
            assert_eq!(parse_session_length(text).ok(), length, "{text}");
        }
        assert!(parse_session_length("900s 1ms").is_err());
    }

    #[test]
    fn a_sessions_name_fits_and_tells_connections_apart() {
        let named = |integration: &str, name: &str| {
            let integration = IntegrationName::parse(integration).unwrap();
            session_name(&integration, &ConnectionName::parse(name).unwrap())
        };
        assert_eq!(named("acme", "bucket"), "keyferry-acme.bucket");
        let long = "a".repeat(60);
        let (one, other) = (named(&long, "one"), named(&long, "other"));
        assert_ne!(one, other);
        for name in [one, other] {
            assert!(name.len() == 64 && name.starts_with("keyferry-aaa"), "{name}");
        }
    }
}
