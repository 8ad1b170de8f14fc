//! The secret of a connection or a client on its way in: from standard input, a file or a hidden
//! prompt, never from an argument, which others on the machine could see.

mod prompt;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::output::CliError;
use crate::model::field::MAX_SECRET;
use crate::secret::Secret;

/// The source of the secret; without either option it is asked for on the terminal.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(super) struct SecretArgs {
    /// Reads the secret from standard input; one newline at its end is removed
    #[arg(long)]
    secret_stdin: bool,
    /// Reads the secret from a file; one newline at its end is removed
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

/// The ways in which a secret can be given where there is no terminal to ask at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum SecretWays {
    /// By an option for the only secret.
    One,
    /// By an option for each of several.
    ByName,
}

impl SecretWays {
    /// The options, as a sentence goes on.
    const fn as_str(self) -> &'static str {
        match self {
            Self::One => "give it with --secret-stdin or --secret-file",
            Self::ByName => "give each of them with --secret-file-of NAME=FILE",
        }
    }
}

impl SecretArgs {
    /// Tells whether the command line names a source.
    pub(super) fn is_named(&self) -> bool {
        self.secret_stdin || self.secret_file.is_some()
    }

    /// Reads the secret, which must be text to stand in JSON; a person is asked for it by this
    /// label.
    pub(super) fn read(&self, label: &str) -> Result<Secret, CliError> {
        self.read_by(label, SecretWays::One)
    }

    /// The same, of one that can be given in these ways.
    pub(super) fn read_by(&self, label: &str, ways: SecretWays) -> Result<Secret, CliError> {
        self.read_bytes(label, ways).and_then(checked)
    }

    fn read_bytes(&self, label: &str, ways: SecretWays) -> Result<Secret, CliError> {
        if self.secret_stdin {
            return Secret::read(io::stdin().lock(), MAX_SECRET).map_err(|why| {
                CliError::Message(format!(
                    "standard input can't be read ({why}): try --secret-file"
                ))
            });
        }
        match &self.secret_file {
            Some(path) => bytes_of(path),
            None => prompt::read(label, ways),
        }
    }
}

/// Reads a secret, which must be text, from a file.
pub(super) fn from_file(path: &Path) -> Result<Secret, CliError> {
    bytes_of(path).and_then(checked)
}

fn bytes_of(path: &Path) -> Result<Secret, CliError> {
    File::open(path).and_then(|file| Secret::read(file, MAX_SECRET)).map_err(|why| {
        let path = path.display();
        CliError::Message(format!("{path} can't be read ({why}): name another file"))
    })
}

/// A secret is sent in JSON, which is text.
fn checked(secret: Secret) -> Result<Secret, CliError> {
    if std::str::from_utf8(secret.expose()).is_err() {
        let sentence = "the secret is not UTF-8 text: give it as it was issued";
        return Err(CliError::Message(sentence.to_owned()));
    }
    Ok(secret)
}
