-- One row: what the last write was numbered, and up to where the history was pruned.
CREATE TABLE revision (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    revision INTEGER NOT NULL,
    pruned INTEGER NOT NULL
) STRICT;
INSERT INTO revision (only_one, revision, pruned) VALUES (1, 0, 0);

-- What each write has changed, by the key of the record.
CREATE TABLE changes (
    revision INTEGER NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    integration TEXT NOT NULL,
    name TEXT NOT NULL
) STRICT;

-- Times are microseconds of the Unix epoch. A connection without a name has its uuid as one.
CREATE TABLE connections (
    uuid TEXT NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    name TEXT NOT NULL,
    type TEXT NOT NULL,
    allowed_domain TEXT,
    detail TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    payload BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (integration, name)
) STRICT;

CREATE TABLE tokens (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    integration TEXT NOT NULL,
    connections TEXT,
    scopes TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    last_used_at INTEGER,
    digest BLOB NOT NULL UNIQUE,
    key_id TEXT NOT NULL,
    mac BLOB NOT NULL
) STRICT;

-- One row: a sealed constant, which shows that the master key is the right one.
CREATE TABLE key_check (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
