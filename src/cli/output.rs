//! Standard output, standard error and the exit code that follows.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;
use serde_json::json;

use crate::config::{ConfigFault, ConfigFaults};

/// The form in which results and errors are printed.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(super) enum OutputFormat {
    // Documentation of a value would make every help twice as long.
    #[value(alias = "table")]
    Text,
    Json,
}

/// The reason why a command failed.
pub(super) enum CliError {
    /// The API refused the request, for these reasons.
    Api(Vec<ApiFault>),
    /// The program that was run has ended with this code.
    Exit(u8),
    /// The configuration has faults.
    Faults(ConfigFaults),
    /// One sentence, with what to do next.
    Message(String),
    /// The result could not be printed.
    Output(io::Error),
    /// The command's result has said everything.
    Printed,
    /// The arguments lack something, in one sentence.
    Usage(String),
}

/// One reason for which the API refused a request.
pub(super) struct ApiFault {
    /// The API's code, where it gave one.
    pub(super) code: Option<String>,
    /// One sentence.
    pub(super) message: String,
}

impl CliError {
    /// An error with its causes, the nearest first.
    fn of(error: &dyn Error) -> Self {
        let said = error.to_string();
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let mut causes: Vec<String> = causes.map(ToString::to_string).collect();
        // Some errors have the next cause in their own words, and so do some libraries' causes.
        let mut before = said.clone();
        causes.retain(|cause| !std::mem::replace(&mut before, cause.clone()).contains(cause));
        if causes.is_empty() {
            Self::Message(said)
        } else {
            Self::Message(format!("{said} ({})", causes.join(": ")))
        }
    }

    /// Names the options in place of the API's members that they fill: pairs of a member and its
    /// option.
    pub(super) fn by_options(mut self, options: &[(&str, &str)]) -> Self {
        let Self::Api(faults) = &mut self else { return self };
        for fault in faults {
            let Some((member, why)) = fault.message.split_once(": ") else { continue };
            // OAuth's paths write `Allowed domain` for `allowed_domain`.
            let member = member.to_ascii_lowercase().replace(' ', "_");
            if let Some((_, option)) = options.iter().find(|(known, _)| *known == member) {
                fault.message = format!("{option}: {why}");
            }
        }
        self
    }

    fn exit_code(&self) -> ExitCode {
        match self {
            // A reader that has gone away, as `head` does, is no failure.
            Self::Output(why) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
            Self::Exit(code) => ExitCode::from(*code),
            Self::Usage(_) => ExitCode::from(WRONG_USAGE),
            _ => ExitCode::FAILURE,
        }
    }

    /// The sentences to print, each with its code, if it has one.
    fn into_sentences(self) -> Vec<ApiFault> {
        let one = |message| vec![ApiFault { code: None, message }];
        match self {
            Self::Api(faults) => faults,
            Self::Faults(faults) => {
                let sentence =
                    |fault: &ConfigFault| ApiFault { code: None, message: fault.to_string() };
                faults.faults.iter().map(sentence).collect()
            }
            Self::Message(sentence) | Self::Usage(sentence) => one(sentence),
            Self::Output(why) if why.kind() != io::ErrorKind::BrokenPipe => {
                one(format!("the result can't be printed: {why}"))
            }
            Self::Exit(_) | Self::Output(_) | Self::Printed => Vec::new(),
        }
    }
}

/// Any error is told with its causes.
impl<E: Error> From<E> for CliError {
    fn from(error: E) -> Self {
        Self::of(&error)
    }
}

/// Prints the error of a command, if it has failed, and gives its exit code.
pub(super) fn exit_code(outcome: Result<(), CliError>, format: OutputFormat) -> ExitCode {
    let Err(error) = outcome else { return ExitCode::SUCCESS };
    let code = error.exit_code();
    match (format, error) {
        (OutputFormat::Json, error) => note_json(&error.into_sentences()),
        (OutputFormat::Text, CliError::Faults(faults)) => note_faults(&faults),
        (OutputFormat::Text, error) => {
            for ApiFault { message, .. } in error.into_sentences() {
                note(&format!("keyferry: {message}"));
            }
        }
    }
    code
}

/// Prints help, the version, or what is wrong with the arguments.
pub(super) fn usage(message: &clap::Error, format: OutputFormat) -> ExitCode {
    let is_error = message.use_stderr();
    if is_error && format == OutputFormat::Json {
        let text = message.render().to_string();
        let sentence = text.split("\n\n").next().unwrap_or_default();
        let words: Vec<_> = sentence.trim_start_matches("error: ").split_whitespace().collect();
        note_json(&[ApiFault { code: None, message: words.join(" ") }]);
    } else {
        drop(message.print());
    }
    u8::try_from(message.exit_code()).unwrap_or(WRONG_USAGE).into()
}

/// Prints a result on standard output.
pub(super) fn result(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(CliError::Output)
}

/// Prints on standard error; where that is closed there is nobody left to tell.
pub(super) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

pub(super) fn warn(warnings: &[ConfigFault]) {
    for warning in warnings {
        note(&format!("warning: {warning}"));
    }
}

fn note_faults(faults: &ConfigFaults) {
    warn(&faults.warnings);
    for fault in &faults.faults {
        note(&fault.to_string());
    }
    let count = count(faults.faults.len(), "fault");
    note(&format!("keyferry: the configuration has {count}: fix what is listed above"));
}

fn note_json(faults: &[ApiFault]) {
    if faults.is_empty() {
        return;
    }
    let object = |ApiFault { code, message }: &ApiFault| match code {
        Some(code) => json!({ "code": code, "message": message }),
        None => json!({ "message": message }),
    };
    note(&json!({ "errors": faults.iter().map(object).collect::<Vec<_>>() }).to_string());
}

/// Prints why something can't be used, if it can't.
pub(super) fn note_defect(what: &str, name: &str, defect: Option<&str>) {
    if let Some(why) = defect {
        let (name, why) = (printable(name), printable(why));
        note(&format!("keyferry: the {what} {name} can't be used: {why}"));
    }
}

/// `1 fault`, `2 faults`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// Makes foreign text fit for a terminal: control characters could rewrite the screen.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// A path as a shell reads it from any directory.
pub(super) fn quoted(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    let shown = absolute.as_deref().unwrap_or(path).display().to_string();
    format!("'{}'", shown.replace('\'', "'\\''"))
}

const WRONG_USAGE: u8 = 2;
