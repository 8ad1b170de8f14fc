//! The prompt for a secret on the terminal, which shows nothing of it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use zeroize::Zeroizing;

use super::SecretWays;
use crate::cli::output::CliError;
use crate::model::field::MAX_SECRET;
use crate::secret::Secret;

/// Asks at the terminal, wherever standard input comes from.
pub(super) fn read(label: &str, ways: SecretWays) -> Result<Secret, CliError> {
    let ways = ways.as_str();
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").map_err(|_none| {
        CliError::Message(format!("there is no terminal to ask for the secret: {ways}"))
    })?;
    match hidden(&terminal, label) {
        Ok(Some(secret)) => Ok(secret),
        Ok(None) => Err(CliError::Message("no secret was given: nothing has changed".to_owned())),
        Err(why) => Err(CliError::Message(format!(
            "the terminal can't be asked for the secret ({why}): {ways}"
        ))),
    }
}

/// A terminal that shows nothing of what is typed and hands it over key by key: a line that the
/// terminal edits itself would end after 4095 bytes, and Ctrl-C would leave the terminal silent.
struct RawTerminal<'t> {
    terminal: &'t File,
    before: Termios,
}

impl<'t> RawTerminal<'t> {
    fn new(terminal: &'t File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut raw = before.clone();
        raw.local_modes -=
            LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG | LocalModes::IEXTEN;
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(terminal, OptionalActions::Flush, &raw)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for RawTerminal<'_> {
    fn drop(&mut self) {
        // When the terminal has gone there is nothing to put back.
        let _gone = tcsetattr(self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Reads up to the end of the line; `None` when it is broken off.
fn hidden(terminal: &File, label: &str) -> io::Result<Option<Secret>> {
    let raw = RawTerminal::new(terminal)?;
    let mut terminal = raw.terminal;
    write!(terminal, "{label} (not shown): ")?;
    terminal.flush()?;
    let read = line(terminal);
    writeln!(terminal)?;
    read
}

fn line(mut keys: impl io::Read) -> io::Result<Option<Secret>> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 1));
    loop {
        let mut key = [0];
        if keys.read(&mut key)? == 0 {
            return Ok(None);
        }
        match key {
            [b'\n' | b'\r'] => return Ok(Some(Secret::new(typed.to_vec()))),
            [CTRL_C | CTRL_D] => return Ok(None),
            [CTRL_U] => typed.clear(),
            [BACKSPACE | DELETE] => erase(&mut typed),
            // One more than fits is kept, to be seen as too long.
            [byte] if typed.len() <= MAX_SECRET => typed.push(byte),
            [_] => {}
        }
    }
}

/// Takes the last letter away, whatever its length in UTF-8.
fn erase(typed: &mut Vec<u8>) {
    while typed.pop().is_some_and(|byte| byte & 0b1100_0000 == 0b1000_0000) {}
}

const CTRL_C: u8 = 0x03;
const CTRL_D: u8 = 0x04;
const BACKSPACE: u8 = 0x08;
const CTRL_U: u8 = 0x15;
const DELETE: u8 = 0x7f;

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(keys: &[u8]) -> Option<Vec<u8>> {
        line(keys).unwrap().map(|secret| secret.expose().to_vec())
    }

    #[test]
    fn a_line_is_read_as_it_is_edited() {
        for (keys, secret) in [
            ("hunter2\n", "hunter2"),
            ("hunter2\rmore", "hunter2"),
            ("hunter\u{7f}\u{7f}er2\n", "hunter2"),
            ("wrong\u{15}right\n", "right"),
            ("p\u{e9}\u{7f}w\n", "pw"),
            ("\n", ""),
        ] {
            assert_eq!(typed(keys.as_bytes()).as_deref(), Some(secret.as_bytes()), "{keys:?}");
        }
    }

    #[test]
    fn a_prompt_that_is_broken_off_gives_no_secret() {
        for keys in ["abc", "abc\u{3}", "abc\u{4}\n", ""] {
            assert_eq!(typed(keys.as_bytes()), None, "{keys:?}");
        }
    }

    #[test]
    fn a_secret_that_is_too_long_is_seen_to_be() {
        let keys = [vec![b'a'; MAX_SECRET + 50], vec![b'\n']].concat();
        assert_eq!(typed(&keys).unwrap().len(), MAX_SECRET + 1);
    }
}
