//! Faults of a configuration, and the places where they were written.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// One broken rule: where, which key, which rule. Never a secret, never another value.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct ConfigFault {
    /// The place where it was written.
    pub place: SourcePlace,
    /// The key, as `proxy.listen[1]` or `connections[0].name`; empty for the file as a whole.
    pub key: String,
    /// The rule that was broken.
    pub rule: String,
}

/// A place where something was written.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum SourcePlace {
    /// An option of the command line.
    Argument(&'static str),
    /// A file as a whole.
    File(Arc<Path>),
    /// A place in a file.
    Line {
        /// The file, as it was named by the operator.
        file: Arc<Path>,
        /// Counted from 1.
        line: usize,
        /// In characters, counted from 1.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
    /// The table of keys: it is a default.
    Default,
}

/// Every fault of a configuration, in the order of the file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConfigFaults {
    /// At least one.
    pub faults: Vec<ConfigFault>,
    /// The warnings that were found beside them.
    pub warnings: Vec<ConfigFault>,
}

impl SourcePlace {
    /// The directory of the file at this place, to which the file names in it are relative; names
    /// that stand elsewhere are relative to the working directory.
    pub(super) fn directory(&self) -> &Path {
        match self {
            Self::File(file) | Self::Line { file, .. } => {
                file.parent().unwrap_or_else(|| Path::new(""))
            }
            Self::Argument(_) | Self::Variable(_) | Self::Default => Path::new(""),
        }
    }

    /// Compares two places by file and line.
    pub(super) fn shares_line_with(&self, other: &Self) -> bool {
        let line = |place: &Self| match place {
            Self::Line { file, line, .. } => Some((Arc::clone(file), *line)),
            _ => None,
        };
        line(self).is_some() && line(self) == line(other)
    }
}

impl fmt::Display for SourcePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argument(name) => f.write_str(name),
            Self::File(file) => write!(f, "{}", file.display()),
            Self::Line { file, line, column } => write!(f, "{}:{line}:{column}", file.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.rule)
    }
}

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.faults.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            fmt::Display::fmt(fault, f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigFaults {}
