-- One row: what the last write was numbered, and up to where the history was pruned.
CREATE TABLE revision (
    only_one BIGINT NOT NULL PRIMARY KEY CHECK (only_one = 1),
    revision BIGINT NOT NULL,
    pruned BIGINT NOT NULL
);
INSERT INTO revision (only_one, revision, pruned) VALUES (1, 0, 0);

-- What each write has changed, by the key of the record.
CREATE TABLE changes (
    revision BIGINT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL,
    integration TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL
);

-- Times are microseconds of the Unix epoch. A connection without a name has its uuid as one.
CREATE TABLE connections (
    uuid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    integration TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    type TEXT NOT NULL,
    allowed_domain TEXT,
    detail TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    payload BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (integration, name)
);

CREATE TABLE tokens (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    integration TEXT NOT NULL,
    connections TEXT,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    last_used_at BIGINT,
    digest BYTEA NOT NULL UNIQUE,
    key_id TEXT NOT NULL,
    mac BYTEA NOT NULL
);

-- One row: a sealed constant, which shows that the master key is the right one.
CREATE TABLE key_check (
    only_one BIGINT NOT NULL PRIMARY KEY CHECK (only_one = 1),
    key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    payload BYTEA NOT NULL
);

-- One row: how many of these steps the schema has seen.
CREATE TABLE keyferry_schema (
    only_one BIGINT NOT NULL PRIMARY KEY CHECK (only_one = 1),
    version BIGINT NOT NULL
);
