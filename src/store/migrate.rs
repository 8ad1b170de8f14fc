//! The schema, version by version: forward only, each in one transaction.

use super::Error;

/// One step of the schema for each backend.
pub(super) struct Migration {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// The steps, from the first; the version of a schema is how many of them it has seen.
pub(super) const MIGRATIONS: [Migration; 5] = [
    Migration {
        sqlite: include_str!("migrations/sqlite/0001_records.sql"),
        postgres: include_str!("migrations/postgres/0001_records.sql"),
    },
    Migration {
        sqlite: include_str!("migrations/sqlite/0002_audit.sql"),
        postgres: include_str!("migrations/postgres/0002_audit.sql"),
    },
    Migration {
        sqlite: include_str!("migrations/sqlite/0003_authorities.sql"),
        postgres: include_str!("migrations/postgres/0003_authorities.sql"),
    },
    Migration {
        sqlite: include_str!("migrations/sqlite/0004_oauth.sql"),
        postgres: include_str!("migrations/postgres/0004_oauth.sql"),
    },
    Migration {
        sqlite: include_str!("migrations/sqlite/0006_identity.sql"),
        postgres: include_str!("migrations/postgres/0006_identity.sql"),
    },
];

/// The newest version of the schema that is known here.
pub(super) fn newest() -> i64 {
    i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX)
}

/// The steps that a schema of this version has yet to see.
pub(super) fn missing(found: i64) -> Result<&'static [Migration], Error> {
    let steps = usize::try_from(found).ok().and_then(|seen| MIGRATIONS.get(seen..));
    steps.ok_or(Error::Newer { found, known: newest() })
}
