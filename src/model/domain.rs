//! The allowed domain of a connection, to which its credential may be sent (ZIS spec §5.4).

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;

use super::origin::HostName;

/// A domain to which a connection's credential may be sent: exact, or with a leading `*.`.
///
/// It is stored as lower-case A-labels (RFC 5890 §2.3.2.1), so that matching compares bytes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AllowedDomain {
    base: Arc<str>,
    wildcard: bool,
    /// Set for a wildcard over names of different owners, which older rules allowed. It covers
    /// nothing.
    too_wide: bool,
}

/// An allowed domain that was refused. The text states the rule.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum DomainError {
    #[error("an allowed domain is a host name alone: no scheme, port, path, user or space")]
    NotAName,
    #[error("an allowed domain is at most 253 characters long")]
    TooLong,
    #[error(
        "each label of an allowed domain is 1 to 63 letters, digits and hyphens, and neither begins nor ends with a hyphen"
    )]
    Label,
    #[error("a wildcard stands only at the beginning, as in *.example.com")]
    Wildcard,
    #[error("a wildcard can't cover a public suffix such as *.com or *.github.io")]
    PublicSuffix,
    #[error("an allowed domain is a name, not an IP address")]
    Address,
    #[error("an allowed domain has at least two labels, as in example.com")]
    SingleLabel,
}

impl AllowedDomain {
    /// Reads an allowed domain, normalized to lower-case A-labels (UTS #46).
    pub fn parse(text: &str) -> Result<Self, DomainError> {
        let domain = Self::read_kept(text)?;
        if domain.too_wide { Err(DomainError::PublicSuffix) } else { Ok(domain) }
    }

    /// Reads a stored allowed domain. It may have been accepted under older rules or an older
    /// Public Suffix List, so a wildcard may turn out to be too wide.
    pub fn read_kept(text: &str) -> Result<Self, DomainError> {
        let (wildcard, name) = match text.strip_prefix("*.") {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        if name.contains('*') {
            return Err(DomainError::Wildcard);
        }
        let base = to_a_labels(name)?;
        let length = base.len() + if wildcard { 2 } else { 0 };
        if length > 253 {
            return Err(DomainError::TooLong);
        }
        check_labels(&base)?;
        if !wildcard && !base.contains('.') {
            return Err(DomainError::SingleLabel);
        }
        let too_wide = wildcard && is_public_suffix(&base);
        Ok(Self { base: base.into(), wildcard, too_wide })
    }

    /// Tells whether it is a wildcard over names of different owners, and so covers nothing.
    pub fn is_too_wide(&self) -> bool {
        self.too_wide
    }

    /// Tells whether the credential may be sent to `host`: the base itself, or with a wildcard any
    /// name below it too.
    pub fn covers(&self, host: &HostName) -> bool {
        let host = host.as_str();
        match host.strip_suffix(&*self.base) {
            _ if self.too_wide => false,
            Some("") => true,
            Some(below) => self.wildcard && below.ends_with('.'),
            None => false,
        }
    }

    /// The one host that an exact domain covers; `None` for a wildcard.
    pub fn exact(&self) -> Option<HostName> {
        if self.wildcard { None } else { HostName::parse(&self.base).ok() }
    }

    /// The name without its `*.`.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The base as a shared reference.
    pub fn shared_base(&self) -> Arc<str> {
        Arc::clone(&self.base)
    }

    /// Tells whether it covers the names below its base too.
    pub fn is_wildcard(&self) -> bool {
        self.wildcard
    }
}

impl fmt::Display for AllowedDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = if self.wildcard { "*." } else { "" };
        write!(f, "{star}{}", self.base)
    }
}

/// Converts a name to A-labels (UTS #46) and refuses ASCII characters that host names can't have.
fn to_a_labels(name: &str) -> Result<String, DomainError> {
    if name.is_empty() {
        return Err(DomainError::Label);
    }
    if name.starts_with('[') {
        return Err(DomainError::Address);
    }
    if name.bytes().any(|byte| b" \t/:@?#\\%[]".contains(&byte) || byte.is_ascii_control()) {
        return Err(DomainError::NotAName);
    }
    idna::domain_to_ascii_cow(name.as_bytes(), idna::AsciiDenyList::STD3)
        .map(std::borrow::Cow::into_owned)
        .map_err(|_silent| DomainError::Label)
}

fn check_labels(base: &str) -> Result<(), DomainError> {
    for label in base.split('.') {
        let shape = (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-');
        if !shape {
            return Err(DomainError::Label);
        }
    }
    if base.parse::<Ipv4Addr>().is_ok() || ends_in_a_number(base) {
        return Err(DomainError::Address);
    }
    Ok(())
}

/// Tells whether the last label is a number. Resolvers read such a name as an IPv4 address
/// (`127.1`, `0x7f.1`).
pub(super) fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    let hexadecimal = last
        .strip_prefix("0x")
        .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    hexadecimal || (!last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Tells whether names below `base` have different owners: it is a public suffix, or a wildcard
/// rule of the Public Suffix List makes each name right below it one. Both sections of the list
/// count, and so does an unlisted last label.
fn is_public_suffix(base: &str) -> bool {
    let is_suffix = |name: &str| psl::suffix_str(name).is_none_or(|suffix| suffix == name);
    // No rule names this label, so only a wildcard rule can match it.
    is_suffix(base) || is_suffix(&format!("xn--keyferry-no-rule.{base}"))
}

/// Tells whether anyone can register names below `name`: it is a public suffix, and not one of the
/// list's private section, whose owner vouches for the names below it.
pub fn is_registry_suffix(name: &str) -> bool {
    let suffix = psl::suffix(name.as_bytes());
    suffix.is_none_or(|suffix| {
        suffix.as_bytes() == name.as_bytes() && suffix.typ() != Some(psl::Type::Private)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn long_name(length: usize) -> String {
        let mut name = format!("{0}.{0}.{0}.", "a".repeat(63));
        name.push_str(&"b".repeat(length - name.len() - 4));
        name.push_str(".com");
        name
    }

    #[test]
    fn allowed_domains_follow_the_valid_vectors() {
        let longest = long_name(253);
        assert_eq!(longest.len(), 253);
        for (valid, printed) in [
            ("api.example.com", "api.example.com"),
            ("*.example.com", "*.example.com"),
            ("a.b-c.co.uk", "a.b-c.co.uk"),
            ("*.foo.myshopify.com", "*.foo.myshopify.com"),
            ("xn--bcher-kva.example", "xn--bcher-kva.example"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("API.Example.COM", "api.example.com"),
            ("*.www.ck", "*.www.ck"),
            ("*.svc.internal", "*.svc.internal"),
            ("github.io", "github.io"),
            ("bucket.nyc3.digitaloceanspaces.com", "bucket.nyc3.digitaloceanspaces.com"),
            ("*.bucket.nyc3.digitaloceanspaces.com", "*.bucket.nyc3.digitaloceanspaces.com"),
            ("*.city.kawasaki.jp", "*.city.kawasaki.jp"),
            (&longest, &longest),
        ] {
            assert_eq!(AllowedDomain::parse(valid).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn allowed_domains_follow_the_invalid_vectors() {
        use DomainError::*;
        let too_long = long_name(254);
        let long_label = format!("{}.com", "a".repeat(64));
        for (invalid, why) in [
            ("https://a.com", NotAName),
            ("a.com:443", NotAName),
            ("a.com/x", NotAName),
            ("u@a.com", NotAName),
            ("a.com?q", NotAName),
            ("a b.com", NotAName),
            ("a\0b.com", NotAName),
            ("", Label),
            ("*.", Label),
            ("*", Wildcard),
            ("exam*.com", Wildcard),
            ("my-*.zendesk.com", Wildcard),
            ("a.*.com", Wildcard),
            ("*.*.a.com", Wildcard),
            ("*.com", PublicSuffix),
            ("*.com.au", PublicSuffix),
            ("*.myshopify.com", PublicSuffix),
            ("*.github.io", PublicSuffix),
            ("*.foo.ck", PublicSuffix),
            ("*.internal", PublicSuffix),
            ("*.sch.uk", PublicSuffix),
            ("*.kawasaki.jp", PublicSuffix),
            ("*.nom.br", PublicSuffix),
            ("*.digitaloceanspaces.com", PublicSuffix),
            ("*.nyc3.digitaloceanspaces.com", PublicSuffix),
            ("*.linodeobjects.com", PublicSuffix),
            ("*.compute.amazonaws.com", PublicSuffix),
            ("*.r.appspot.com", PublicSuffix),
            ("*.DigitalOceanSpaces.com", PublicSuffix),
            ("-a.com", Label),
            ("a-.com", Label),
            ("a..com", Label),
            (".a.com", Label),
            ("a.com.", Label),
            ("a_b.com", Label),
            (&long_label, Label),
            (&too_long, TooLong),
            ("1.2.3.4", Address),
            ("[::1]", Address),
            ("*.2.3.4", Address),
            ("a.0x7f", Address),
            ("localhost", SingleLabel),
        ] {
            assert_eq!(AllowedDomain::parse(invalid), Err(why), "{invalid:?}");
        }
    }

    #[test]
    fn a_domain_that_older_rules_let_through_can_be_read_and_covers_nothing() {
        let kept = AllowedDomain::read_kept("*.sch.uk").unwrap();
        assert_eq!((kept.to_string().as_str(), kept.is_too_wide()), ("*.sch.uk", true));
        for host in ["sch.uk", "a.sch.uk", "a.b.sch.uk"] {
            assert!(!kept.covers(&HostName::parse(host).unwrap()), "{host}");
        }
        assert_eq!(
            AllowedDomain::read_kept("*.example.com"),
            AllowedDomain::parse("*.example.com")
        );
        assert_eq!(AllowedDomain::read_kept("a.com:443"), Err(DomainError::NotAName));
    }

    #[test]
    fn covering_follows_the_vectors() {
        let covers = |domain: &str, host: &str| {
            HostName::parse(host)
                .is_ok_and(|host| AllowedDomain::parse(domain).unwrap().covers(&host))
        };
        for host in ["example.com", "a.example.com", "a.b.example.com", "A.EXAMPLE.com"] {
            assert!(covers("*.example.com", host), "{host}");
        }
        for host in [
            "notexample.com",
            "example.com.evil.com",
            "example.comx",
            "evil.com/example.com",
            "example.com@evil.com",
            "example.com.",
            ".example.com",
        ] {
            assert!(!covers("*.example.com", host), "{host}");
        }
        assert!(covers("api.example.com", "api.example.com"));
        assert!(!covers("api.example.com", "example.com"));
        assert!(!covers("api.example.com", "x.api.example.com"));
    }

    proptest! {
        #[test]
        fn an_allowed_domain_prints_as_it_reads(text in "(\\*\\.)?[a-z0-9-]{1,8}(\\.[a-z0-9-]{1,8}){0,3}") {
            if let Ok(domain) = AllowedDomain::parse(&text) {
                prop_assert_eq!(AllowedDomain::parse(&domain.to_string()), Ok(domain));
            }
        }

        #[test]
        fn no_sibling_is_ever_covered(base in "[a-z]{1,6}\\.example\\.com", prefix in "[a-z0-9-]{1,8}") {
            let domain = AllowedDomain::parse(&format!("*.{base}")).unwrap();
            let sibling = HostName::parse(&format!("{prefix}{base}"));
            prop_assert!(!sibling.is_ok_and(|host| domain.covers(&host)));
        }

        #[test]
        fn only_names_of_hosts_are_taken(text in "\\PC{0,80}|[a-z.*_ /:@-]{0,12}\\.com") {
            if let Ok(taken) = AllowedDomain::parse(&text) {
                // Letters beyond ASCII are taken in their encoding.
                let taken = taken.to_string();
                let name = taken.strip_prefix("*.").unwrap_or(&taken);
                let is_label = |label: &str| {
                    !label.is_empty()
                        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
                };
                prop_assert!(name.split('.').all(is_label) && name.contains('.'), "{}", text);
            }
        }
    }

    /// The rule of ZIS spec §5.4 again, written over characters instead of suffixes.
    fn oracle(base: &[u8], wildcard: bool, host: &[u8]) -> bool {
        let host: Vec<u8> = host.iter().map(u8::to_ascii_lowercase).collect();
        let labels =
            |text: &[u8]| text.split(|byte| *byte == b'.').map(<[u8]>::to_vec).collect::<Vec<_>>();
        let (base, host) = (labels(base), labels(&host));
        let valid = host.iter().all(|label| {
            !label.is_empty()
                && label.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(byte))
        });
        valid && if wildcard { host.ends_with(&base) } else { host == base }
    }

    #[test]
    fn the_matcher_agrees_with_an_oracle_over_every_short_host() {
        const ALPHABET: &[u8] = b"a.*-_A\0";
        let domains = ["a.aa", "*.a.aa", "*.aa.a"].map(|text| AllowedDomain::parse(text).unwrap());
        let mut host = Vec::new();
        for length in 0..=7_u32 {
            for mut number in 0..ALPHABET.len().pow(length) {
                host.clear();
                for _ in 0..length {
                    host.push(ALPHABET[number % ALPHABET.len()]);
                    number /= ALPHABET.len();
                }
                let parsed = HostName::parse(std::str::from_utf8(&host).unwrap());
                for domain in &domains {
                    let ours = parsed.as_ref().is_ok_and(|host| domain.covers(host));
                    let expected = oracle(domain.base().as_bytes(), domain.is_wildcard(), &host);
                    assert_eq!(ours, expected, "{domain} {:?}", String::from_utf8_lossy(&host));
                }
            }
        }
    }
}
