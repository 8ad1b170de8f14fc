//! The schemas, version by version: forward only, each step in one transaction.

use super::Error;

/// One step of a schema for each backend.
pub(super) struct Migration {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

/// The contents that a database is to hold.
pub(super) struct Schema {
    /// Marks a file of SQLite as ours.
    pub(super) application: i64,
    /// The steps, from the first; the version of a schema is how many of them it has seen.
    steps: &'static [Migration],
    /// Tells whether it is the audit trail: its file has to shrink, and its last second may be lost
    /// with the machine's power.
    pub(super) is_trail: bool,
}

impl Schema {
    /// The newest version that is known here.
    pub(super) fn newest(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// The steps that a schema of this version has yet to see.
    pub(super) fn missing(&self, found: i64) -> Result<&'static [Migration], Error> {
        let steps = usize::try_from(found).ok().and_then(|seen| self.steps.get(seen..));
        steps.ok_or(Error::Newer { found, known: self.newest() })
    }
}

/// The store's own database: "Kfry".
pub(super) const STORE: Schema = Schema {
    application: 0x4b66_7279,
    steps: &[
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
            sqlite: include_str!("migrations/sqlite/0005_write_probe.sql"),
            postgres: include_str!("migrations/postgres/0005_write_probe.sql"),
        },
        Migration {
            sqlite: include_str!("migrations/sqlite/0006_identity.sql"),
            postgres: include_str!("migrations/postgres/0006_identity.sql"),
        },
    ],
    is_trail: false,
};

/// From this version on, the audit trail is not in the file of the store.
pub(super) const WITHOUT_TRAIL: i64 = 5;

/// The audit trail, where it has a file of its own: "Kfra".
pub(super) const TRAIL: Schema = Schema {
    application: 0x4b66_7261,
    steps: &[Migration {
        sqlite: include_str!("migrations/sqlite/0002_audit.sql"),
        // There it is a table among the store's.
        postgres: "",
    }],
    is_trail: true,
};
