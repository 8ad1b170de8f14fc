//! The options of a connection of any type, as the command line names them.

use clap::builder::PossibleValuesParser;

use crate::cli::rules::{self, RULE_HELP};
use crate::model::rules::WrittenRule;
use crate::wire::{Member, OPTION_MEMBERS, OptionMembers};

#[derive(clap::Args)]
#[command(next_help_heading = "What it may be used for")]
pub(super) struct OptionArgs {
    #[arg(long = "rule", value_name = "RULE", value_parser = WrittenRule::parse, help = RULE_HELP)]
    rules: Vec<WrittenRule>,
    /// Allow GET, HEAD and OPTIONS alone
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    read_only: Option<bool>,
    /// false refuses every request, and keeps the connection
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Mask the credential in text bodies that an origin sends, too
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    mask_echo: Option<bool>,
    /// Day on which the secret expires, as 2030-01-31: it is shown and warned of
    #[arg(long, value_name = "DAY")]
    expires_on: Option<String>,
    /// The operator's words about it, in one line
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(clap::Args)]
pub(super) struct UnsetArgs {
    /// Option that is taken away, as rules; may be given several times
    #[arg(
        long,
        value_name = "MEMBER",
        value_parser = PossibleValuesParser::new(OPTION_MEMBERS),
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
        }
    }
}

impl UnsetArgs {
    /// Makes the named members null, which takes them away.
    pub(super) fn take_away(&self, members: &mut OptionMembers) {
        for name in &self.unset {
            members.take_away(name);
        }
    }
}

/// The options of a connection as rows for people; what is not set says nothing.
pub(super) fn rows(options: &OptionMembers) -> [(&'static str, String); 6] {
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
    ]
}

/// The members of the API's documents, and the options that fill them.
pub(super) const MEMBERS: [(&str, &str); 6] = [
    ("enabled", "--enabled"),
    ("description", "--description"),
    ("expires_on", "--expires-on"),
    ("rules", "--rule"),
    ("read_only", "--read-only"),
    ("mask_echo", "--mask-echo"),
];
