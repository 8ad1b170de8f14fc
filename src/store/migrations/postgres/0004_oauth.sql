-- A connection by OAuth is a client's.
ALTER TABLE connections ADD COLUMN client TEXT COLLATE "C";
CREATE INDEX connections_by_client ON connections (client) WHERE client IS NOT NULL;

-- OAuth clients. One without a name has its uuid as one.
CREATE TABLE oauth_clients (
    uuid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    integration TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    client_id TEXT NOT NULL,
    auth_url TEXT,
    token_url TEXT NOT NULL,
    default_scopes TEXT NOT NULL,
    grant_type TEXT NOT NULL,
    auth_method TEXT NOT NULL,
    created_by TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    payload BYTEA NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    UNIQUE (integration, name)
);

-- Flows between two of their steps. The digest is that of the one token that takes them on.
CREATE TABLE oauth_flows (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    integration TEXT COLLATE "C" NOT NULL,
    client TEXT COLLATE "C" NOT NULL,
    step TEXT NOT NULL,
    digest BYTEA NOT NULL UNIQUE,
    ends_at BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    payload BYTEA NOT NULL
);
CREATE INDEX oauth_flows_by_end ON oauth_flows (ends_at);

-- Refreshes under way, by the connection's uuid: who is at it, until when that counts, whether the
-- provider was asked without a definite answer, and whether that has happened before.
CREATE TABLE oauth_refreshes (
    uuid TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    ends_at BIGINT NOT NULL,
    asked BIGINT NOT NULL,
    unanswered BIGINT NOT NULL
);
