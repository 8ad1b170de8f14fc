//! Errors as people read them in a log.
//!
//! Owns the one way to write an error together with its causes, promises that every cause is
//! written once, and must never know the subject of an error.

use std::error::Error;
use std::fmt;

/// An error and all its causes in one line, the nearest first: `what failed: why: why that`.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(&'a (dyn Error + 'a));

/// Shows `error` with all its causes.
#[must_use]
pub fn chain<'a>(error: &'a (dyn Error + 'a)) -> Chain<'a> {
    Chain(error)
}

/// The text with its first letter in upper case.
#[must_use]
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        for cause in std::iter::successors(self.0.source(), |&cause| cause.source()) {
            let text = cause.to_string();
            // Some libraries repeat the cause at the end of the error's own text.
            if !said.ends_with(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Link(&'static str, #[source] Option<Box<Self>>);

    #[test]
    fn every_cause_is_written_once() {
        let link = |text, cause: Option<Link>| Link(text, cause.map(Box::new));
        let full = || link("the disk is full", None);
        let repeated = link("the driver failed: the disk is full", Some(full()));
        for (error, written) in [
            (full(), "the disk is full"),
            (link("nothing kept", Some(full())), "nothing kept: the disk is full"),
            (
                link("nothing kept", Some(repeated)),
                "nothing kept: the driver failed: the disk is full",
            ),
        ] {
            assert_eq!(chain(&error).to_string(), written);
        }
    }
}
