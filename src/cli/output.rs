//! What is printed, where, and the exit code that follows.

use std::error::Error;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;

use clap::ValueEnum;

/// How a result is printed.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// For people
    #[value(alias = "table")]
    Text,
    /// One JSON object
    Json,
}

/// How what the server answers is printed.
#[derive(Clone, Copy, Eq, PartialEq, ValueEnum)]
pub(super) enum Shape {
    /// For people
    #[value(alias = "text")]
    Table,
    /// As the API answers it
    Json,
}

/// Why a command failed.
pub(super) enum Failure {
    /// One sentence, with what to do next.
    Because(String),
    /// The server's sentences, one for each fault that it found.
    Refused(Vec<String>),
    /// What the arguments leave out, in one sentence.
    Usage(String),
    /// All that is to say has been said as the command's result.
    AsPrinted,
    /// The program that was run has ended with this code.
    Ended(u8),
    /// The result could not be printed.
    Output(io::Error),
}

impl Failure {
    /// An error with its causes, the nearest first.
    pub(super) fn of(error: &dyn Error) -> Self {
        let said = error.to_string();
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        let mut causes: Vec<String> = causes.map(ToString::to_string).collect();
        // Some errors have the next cause in their own words, and so do some libraries' causes.
        let mut before = said.clone();
        causes.retain(|cause| !std::mem::replace(&mut before, cause.clone()).contains(cause));
        if causes.is_empty() {
            Self::Because(said)
        } else {
            Self::Because(format!("{said} ({})", causes.join(": ")))
        }
    }

    /// The same, with the members that the server speaks of as the options that they were given
    /// by: pairs of a member and its option.
    pub(super) fn by_options(self, options: &[(&str, &str)]) -> Self {
        let Self::Refused(sentences) = self else { return self };
        let by_option = |sentence: String| {
            let Some((member, why)) = sentence.split_once(": ") else { return sentence };
            // OAuth's paths write `Allowed domain` for `allowed_domain`.
            let member = member.to_ascii_lowercase().replace(' ', "_");
            match options.iter().find(|(known, _)| *known == member) {
                Some((_, option)) => format!("{option}: {why}"),
                None => sentence,
            }
        };
        Self::Refused(sentences.into_iter().map(by_option).collect())
    }
}

/// Prints a result on standard output.
pub(super) fn result(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Failure::Output)
}

/// Prints on standard error; where that is closed there is nobody left to tell.
pub(super) fn note(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// The exit code of a command. A reader that has gone away, as `head` does, is no failure.
pub(super) fn exit_code(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Output(why)) if why.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(Failure::Output(why)) => {
            note(&format!("keyferry: the result can't be printed: {why}"));
            ExitCode::FAILURE
        }
        Err(Failure::Because(sentence)) => {
            note(&format!("keyferry: {sentence}"));
            ExitCode::FAILURE
        }
        Err(Failure::Refused(sentences)) => {
            for sentence in sentences {
                note(&format!("keyferry: {sentence}"));
            }
            ExitCode::FAILURE
        }
        Err(Failure::Usage(sentence)) => {
            note(&format!("keyferry: {sentence}"));
            ExitCode::from(WRONG_USAGE)
        }
        Err(Failure::AsPrinted) => ExitCode::FAILURE,
        Err(Failure::Ended(code)) => ExitCode::from(code),
    }
}

/// Help, the version, or what was wrong with the arguments.
pub(super) fn usage(message: &clap::Error) -> ExitCode {
    drop(message.print());
    u8::try_from(message.exit_code()).unwrap_or(WRONG_USAGE).into()
}

/// `1 fault`, `2 faults`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let ending = if number == 1 { "" } else { "s" };
    format!("{number} {noun}{ending}")
}

/// What came from elsewhere, fit for a terminal: control characters could rewrite what it shows.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .map(|letter| if letter.is_control() { char::REPLACEMENT_CHARACTER } else { letter })
        .collect()
}

/// A path as a shell reads it from anywhere.
pub(super) fn quoted(path: &Path) -> String {
    let absolute = std::path::absolute(path);
    let shown = absolute.as_deref().unwrap_or(path).display().to_string();
    format!("'{}'", shown.replace('\'', "'\\''"))
}

const WRONG_USAGE: u8 = 2;
