//! The place of connections and tokens: one of three kinds of store.

use std::fmt;
use std::path::PathBuf;

use crate::secret::Secret;

/// `store.url`
#[derive(Clone)]
pub enum StoreUrl {
    /// `memory:`, which knows what is declared and nothing else.
    Memory,
    /// `sqlite:FILE`, relative to the data directory.
    Sqlite(PathBuf),
    /// `postgres://…`, which may contain a password.
    Postgres(Secret),
}

impl StoreUrl {
    /// Reads one of the three kinds of URL.
    pub fn parse(text: &str) -> Option<Self> {
        let is_postgres = |rest: &&str| !rest.is_empty();
        match text.split_once(':')? {
            ("memory", "") => Some(Self::Memory),
            ("sqlite", path) if !path.is_empty() => Some(Self::Sqlite(PathBuf::from(path))),
            ("postgres" | "postgresql", rest) => {
                rest.strip_prefix("//").filter(is_postgres)?;
                Some(Self::Postgres(Secret::new(text)))
            }
            _ => None,
        }
    }
}

impl PartialEq for StoreUrl {
    /// Compares the operator's own two files on a reload, so timing tells nobody anything.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Memory, Self::Memory) => true,
            (Self::Sqlite(one), Self::Sqlite(two)) => one == two,
            (Self::Postgres(one), Self::Postgres(two)) => one.expose() == two.expose(),
            _ => false,
        }
    }
}

impl Eq for StoreUrl {}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory:"),
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres:*****"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_kinds_of_store_are_read() {
        assert_eq!(StoreUrl::parse("memory:"), Some(StoreUrl::Memory));
        assert_eq!(StoreUrl::parse("sqlite:a.db"), Some(StoreUrl::Sqlite("a.db".into())));
        let postgres = StoreUrl::parse("postgres://u:hunter2@db/keyferry").unwrap();
        assert_eq!(format!("{postgres:?}"), "postgres:*****");
        for text in ["", "memory", "memory:x", "sqlite:", "postgres:", "postgres://", "mysql://x"] {
            assert_eq!(StoreUrl::parse(text), None, "{text}");
        }
    }
}
