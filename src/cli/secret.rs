//! The secret of a connection or a client on its way in: from standard input, a file or a hidden prompt,
//! never from an argument, which others on the machine could see.

mod prompt;

use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::output::Failure;
use crate::model::field::MAX_SECRET;
use crate::secret::Secret;

/// Where the secret is read from; without either option it is asked for on the terminal.
#[derive(clap::Args)]
#[group(multiple = false)]
pub(super) struct Source {
    /// Reads the secret from standard input; one newline at its end is removed
    #[arg(long)]
    secret_stdin: bool,
    /// Reads the secret from a file; one newline at its end is removed
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
}

impl Source {
    /// Whether the command line says where the secret is.
    pub(super) fn is_named(&self) -> bool {
        self.secret_stdin || self.secret_file.is_some()
    }

    /// Reads the secret; `label` is what a person is asked for.
    pub(super) fn read(&self, label: &str) -> Result<Secret, Failure> {
        if self.secret_stdin {
            return Secret::read(io::stdin().lock(), MAX_SECRET).map_err(|why| {
                Failure::Because(format!("standard input can't be read ({why}): try --secret-file"))
            });
        }
        let Some(path) = &self.secret_file else { return prompt::ask(label) };
        File::open(path).and_then(|file| Secret::read(file, MAX_SECRET)).map_err(|why| {
            let path = path.display();
            Failure::Because(format!("{path} can't be read ({why}): name another --secret-file"))
        })
    }
}
