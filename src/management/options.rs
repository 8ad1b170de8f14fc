//! The options of a connection, read by their rules and shown.

use super::fault::About;
use super::member_reader::{MemberReader, Named, named};
use crate::model::client_identity::{ClientCertificate, IdentityFault};
use crate::model::field::SecretError;
use crate::model::options::{ConnectionOptions, check_description, parse_day};
use crate::model::rules::{Rules, WrittenRule};
use crate::secret::Secret;
use crate::wire::{Member, OptionMembers, RuleMembers};

/// Reads the options of a connection that has `before`. A member that is left out stays as it is;
/// null, and an empty description, take it away.
pub(super) fn read(
    mut members: OptionMembers,
    before: &ConnectionOptions,
    reader: &mut MemberReader,
) -> ConnectionOptions {
    // 1. Members that are taken away.
    let mut options = without_nulls(before, &members);
    for member in [&mut members.description, &mut members.client_certificate] {
        // An empty text takes away, too.
        if member.value().is_some_and(String::is_empty) {
            *member = Member::Absent;
        }
    }
    // 2. Members that are given.
    if let Some(enabled) = reader.value(named!(members.enabled)) {
        options.disabled = !enabled;
    }
    let about = About::Request;
    let description = reader.take_filled(named!(members.description), about, |text| {
        check_description(text).map(|()| Box::from(text))
    });
    options.description = description.or(options.description);
    let day = reader.take(named!(members.expires_on), about, parse_day);
    options.expires_on = day.or(options.expires_on);
    if let Some(rules) = reader.value(("rules", std::mem::take(&mut members.rules))) {
        options.rules = parse_rules(rules, reader).unwrap_or_default();
    }
    if let Some(read_only) = reader.value(named!(members.read_only)) {
        options.read_only = read_only;
    }
    if let Some(mask_echo) = reader.value(named!(members.mask_echo)) {
        options.mask_echo = mask_echo;
    }
    let certificate = reader.take_filled(named!(members.client_certificate), about, |text| {
        ClientCertificate::parse(text).map(|certificate| certificate.to_pem().into())
    });
    options.client_certificate = certificate.or(options.client_certificate);
    options
}

/// The options without those that are taken away.
fn without_nulls(before: &ConnectionOptions, members: &OptionMembers) -> ConnectionOptions {
    let ConnectionOptions {
        disabled,
        description,
        expires_on,
        rules,
        read_only,
        mask_echo,
        client_certificate,
    } = before.clone();
    let is_emptied = |member: &Member<String>| {
        *member == Member::Null || member.value().is_some_and(String::is_empty)
    };
    ConnectionOptions {
        disabled: disabled && members.enabled != Member::Null,
        description: description.filter(|_| !is_emptied(&members.description)),
        expires_on: expires_on.filter(|_| members.expires_on != Member::Null),
        rules: if members.rules == Member::Null { Rules::default() } else { rules },
        read_only: read_only && members.read_only != Member::Null,
        mask_echo: mask_echo && members.mask_echo != Member::Null,
        client_certificate: client_certificate.filter(|_| !is_emptied(&members.client_certificate)),
    }
}

/// Reads the key of the client certificate that a connection has after a change of its options. A
/// new certificate needs a key, and a key its certificate.
pub(super) fn read_client_key(
    member: Named<Secret>,
    (before, after): (&ConnectionOptions, &ConnectionOptions),
    reader: &mut MemberReader,
) -> Option<Secret> {
    let name = member.0;
    let key = reader.take_secret(member, check_key);
    let is_changed = before.client_certificate != after.client_certificate;
    let fault = match (&after.client_certificate, &key) {
        (None, Some(_)) if !reader.is_faulty() => Some(IdentityFault::NoCertificate),
        (Some(_), None) if is_changed && !reader.is_faulty() => Some(IdentityFault::NoKey),
        (Some(certificate), Some(key)) => {
            ClientCertificate::parse(certificate).and_then(|it| it.with_key(key)).err()
        }
        _ => None,
    };
    if let Some(fault) = fault {
        let name = if fault == IdentityFault::NoCertificate { "client_certificate" } else { name };
        reader.fault(About::Credential, &format!("{name}: {fault}"));
    }
    key
}

/// Refuses an empty text alone: the rest is judged with the certificate.
fn check_key(key: &[u8]) -> Result<(), SecretError> {
    if key.is_empty() { Err(SecretError::Empty) } else { Ok(()) }
}

/// Reads rules; `None` where one is faulty.
pub(super) fn parse_rules(given: Vec<RuleMembers>, reader: &mut MemberReader) -> Option<Rules> {
    match Rules::parse(given.into_iter().map(WrittenRule::from).collect()) {
        Ok(rules) => Some(rules),
        Err(rule) => {
            reader.fault(About::Request, &format!("rules: {rule}"));
            None
        }
    }
}

impl From<RuleMembers> for WrittenRule {
    fn from(rule: RuleMembers) -> Self {
        let RuleMembers { allow, deny, methods, paths } = rule;
        Self { allow, deny, methods, paths }
    }
}

impl From<WrittenRule> for RuleMembers {
    fn from(rule: WrittenRule) -> Self {
        let WrittenRule { allow, deny, methods, paths } = rule;
        Self { allow, deny, methods, paths }
    }
}

impl From<&ConnectionOptions> for OptionMembers {
    /// Shows what differs from the default.
    fn from(options: &ConnectionOptions) -> Self {
        let yes = |is: bool| if is { Member::Given(true) } else { Member::Absent };
        let rules: Vec<_> = options.rules.written().into_iter().map(RuleMembers::from).collect();
        Self {
            enabled: if options.disabled { Member::Given(false) } else { Member::Absent },
            description: options.description.as_deref().into(),
            expires_on: options.expires_on.map(|day| day.to_string()).into(),
            rules: if rules.is_empty() { Member::Absent } else { Member::Given(rules) },
            read_only: yes(options.read_only),
            mask_echo: yes(options.mask_echo),
            client_certificate: options.client_certificate.as_deref().into(),
        }
    }
}
