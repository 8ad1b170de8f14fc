//! The question before something is deleted, for a person at a terminal alone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use super::output::CliError;

/// The answer that is given in advance.
#[derive(clap::Args)]
pub(super) struct ConfirmArgs {
    /// Deletes without asking; on a terminal it asks otherwise
    #[arg(long)]
    yes: bool,
}

impl ConfirmArgs {
    /// Asks on a terminal whether to go on; `what` says what would be gone. A script is not asked.
    pub(super) fn ask(
        &self,
        what: impl FnOnce() -> Result<String, CliError>,
    ) -> Result<(), CliError> {
        let is_seen = io::stdin().is_terminal() && io::stderr().is_terminal();
        if self.yes || !is_seen || says_yes(&what()?).map_err(|why| unreadable(&why))? {
            return Ok(());
        }
        Err(CliError::Message("nothing was deleted: answer y, or give --yes".to_owned()))
    }
}

fn says_yes(what: &str) -> io::Result<bool> {
    let mut terminal = io::stderr().lock();
    write!(terminal, "{what}\nGo on? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    // Ctrl-D ends no line.
    if !answer.ends_with('\n') {
        writeln!(terminal)?;
    }
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

fn unreadable(why: &io::Error) -> CliError {
    CliError::Message(format!("the terminal can't be asked ({why}): give --yes"))
}
