//! The schemas and their migrations: forward only, in one transaction.

use super::Error;

pub(super) struct Migration {
    pub(super) sqlite: &'static str,
    pub(super) postgres: &'static str,
}

pub(super) struct Schema {
    /// SQLite's `application_id`, by which our files are recognized.
    pub(super) application: i64,
    /// The migrations. The version of a schema is the number of those that were run.
    steps: &'static [Migration],
    /// Set for the audit trail, whose file is shrunk, and may lose its last second in a power
    /// failure.
    pub(super) is_trail: bool,
}

impl Schema {
    pub(super) fn newest(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    /// The migrations that a schema of version `found` needs.
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
        Migration {
            sqlite: include_str!("migrations/sqlite/0007_profile.sql"),
            postgres: include_str!("migrations/postgres/0007_profile.sql"),
        },
        Migration {
            sqlite: include_str!("migrations/sqlite/0008_refusals.sql"),
            postgres: include_str!("migrations/postgres/0008_refusals.sql"),
        },
        Migration {
            sqlite: include_str!("migrations/sqlite/0009_options.sql"),
            postgres: include_str!("migrations/postgres/0009_options.sql"),
        },
        Migration {
            sqlite: include_str!("migrations/sqlite/0010_events.sql"),
            postgres: include_str!("migrations/postgres/0010_events.sql"),
        },
        Migration {
            // In SQLite all of it is in the trail's file.
            sqlite: "SELECT 1",
            postgres: include_str!("migrations/postgres/0011_requests.sql"),
        },
        Migration {
            sqlite: include_str!("migrations/sqlite/0012_sessions.sql"),
            postgres: include_str!("migrations/postgres/0012_sessions.sql"),
        },
        Migration {
            sqlite: include_str!("migrations/sqlite/0013_webhook.sql"),
            postgres: include_str!("migrations/postgres/0013_webhook.sql"),
        },
    ],
    is_trail: false,
};

/// The version from which on the audit trail is not in the store's file.
pub(super) const WITHOUT_TRAIL: i64 = 5;

/// The audit trail, where it has a file of its own: "Kfra".
pub(super) const TRAIL: Schema = Schema {
    application: 0x4b66_7261,
    // In PostgreSQL the trail is in tables of the store.
    steps: &[
        Migration { sqlite: include_str!("migrations/sqlite/0002_audit.sql"), postgres: "" },
        Migration { sqlite: include_str!("migrations/sqlite/0011_requests.sql"), postgres: "" },
    ],
    is_trail: true,
};
