//! The options of a connection of any type, as the command line names them.

use std::fs::File;

use jiff::SignedDuration;

use crate::cli::output;
use crate::cli::rules::{self, RULE_HELP};
use crate::cli::unset::MemberParser;
use crate::clock::Clock;
use crate::model::client_identity::MAX_PEM_LEN;
use crate::model::options::{ConnectionOptions, parse_day};
use crate::model::rules::WrittenRule;
use crate::secret::Secret;
use crate::wire::{Member, OPTION_MEMBERS, OptionMembers};

#[derive(clap::Args)]
#[command(next_help_heading = "What it may be used for")]
pub(super) struct OptionArgs {
    #[arg(long = "rule", value_name = "RULE", value_parser = WrittenRule::parse, help = RULE_HELP)]
    rules: Vec<WrittenRule>,
    /// Allow GET, HEAD and OPTIONS alone
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    read_only: Option<bool>,
    /// false refuses every request, and keeps the connection
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Mask the credential in text bodies that an origin sends, too
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true"
    )]
    mask_echo: Option<bool>,
    /// Day on which the secret expires, as 2030-01-31: it is shown and warned of
    #[arg(long, value_name = "DAY")]
    expires_on: Option<String>,
    /// The operator's words about it, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// File with the client certificate that TLS to the origin presents, with its chain (PEM)
    #[arg(long, value_name = "FILE", value_parser = read_pem)]
    client_certificate: Option<Secret>,
    /// File with the key of that certificate (PEM)
    #[arg(long, value_name = "FILE", value_parser = read_pem)]
    client_key: Option<Secret>,
}

/// Reads a file in PEM.
fn read_pem(path: &str) -> Result<Secret, String> {
    let pem = File::open(path).and_then(|file| Secret::read(file, MAX_PEM_LEN));
    let pem = pem.map_err(|why| format!("the file can't be read: {why}"))?;
    match std::str::from_utf8(pem.expose()) {
        Ok(_text) => Ok(pem),
        Err(_binary) => Err("the file is not PEM: openssl x509 and openssl pkey make it so".into()),
    }
}

#[derive(clap::Args)]
pub(super) struct UnsetArgs {
    /// Option that is taken away, as rules; may be given several times
    #[arg(
        long,
        value_name = "MEMBER",
        value_parser = MemberParser::of(OPTION_MEMBERS),
        help_heading = "What it may be used for"
    )]
    unset: Vec<String>,
}

impl OptionArgs {
    pub(super) fn members(&self) -> OptionMembers {
        OptionMembers {
            enabled: self.enabled.into(),
            description: self.description.as_deref().into(),
            expires_on: self.expires_on.as_deref().into(),
            rules: rules::members(&self.rules).into(),
            read_only: self.read_only.into(),
            mask_echo: self.mask_echo.into(),
            client_certificate: self.certificate().into(),
        }
    }

    /// Tells whether any is given.
    pub(super) fn are_given(&self) -> bool {
        self.members().are_given() || self.client_key.is_some()
    }

    /// Says what is given although it is over, or not valid yet.
    pub(super) fn note_ends(&self) {
        for notice in notices(&self.members()) {
            output::note(&format!("warning: {notice}"));
        }
    }

    /// The key of the client certificate.
    pub(super) fn client_key(&self) -> Option<Secret> {
        self.client_key.clone()
    }

    fn certificate(&self) -> Option<&str> {
        let pem = self.client_certificate.as_ref()?;
        std::str::from_utf8(pem.expose()).ok()
    }
}

impl UnsetArgs {
    /// Tells whether this member is named.
    pub(super) fn names(&self, member: &str) -> bool {
        self.unset.iter().any(|name| name == member)
    }

    /// Makes the named members null, which takes them away.
    pub(super) fn take_away(&self, members: &mut OptionMembers) {
        for name in &self.unset {
            members.take_away(name);
        }
    }
}

/// Everything about the secret and the client certificate that is over, or not valid yet.
fn notices(options: &OptionMembers) -> Vec<String> {
    let read = ConnectionOptions {
        expires_on: options.expires_on.filled().and_then(|day| parse_day(day).ok()),
        client_certificate: options.client_certificate.filled().map(Box::from),
        ..ConnectionOptions::default()
    };
    let notices = read.expiry_notices(Clock::system().now(), SignedDuration::ZERO);
    notices.iter().map(ToString::to_string).collect()
}

/// The options of a connection as rows for people; what is not set says nothing.
pub(super) fn rows(options: &OptionMembers) -> [(&'static str, String); 8] {
    let yes = |member: &Member<bool>, is: bool| {
        let is_said = member.value() == Some(&is);
        if is_said { "yes".to_owned() } else { String::new() }
    };
    let text = |member: &Member<String>| member.filled().unwrap_or_default().to_owned();
    let rules = options.rules.value().into_iter().flatten().cloned();
    let rules: Vec<_> = rules.map(|rule| WrittenRule::from(rule).to_string()).collect();
    [
        ("switched off", yes(&options.enabled, false)),
        ("description", text(&options.description)),
        ("expires on", text(&options.expires_on)),
        ("rules", rules.join("; ")),
        ("read only", yes(&options.read_only, true)),
        ("masks echoes in bodies", yes(&options.mask_echo, true)),
        ("client certificate", certificate(&options.client_certificate)),
        ("warning", notices(options).join("; ")),
    ]
}

fn certificate(member: &Member<String>) -> String {
    member.filled().map(|_pem| "yes".to_owned()).unwrap_or_default()
}

/// The members of the API's documents, and the options that fill them.
pub(super) const MEMBERS: [(&str, &str); 8] = [
    ("enabled", "--enabled"),
    ("description", "--description"),
    ("expires_on", "--expires-on"),
    ("rules", "--rule"),
    ("read_only", "--read-only"),
    ("mask_echo", "--mask-echo"),
    ("client_certificate", "--client-certificate"),
    ("client_key", "--client-key"),
];
