-- A connection by OAuth is a client's.
ALTER TABLE connections ADD COLUMN client TEXT;
CREATE INDEX connections_by_client ON connections (client) WHERE client IS NOT NULL;

-- OAuth clients. One without a name has its uuid as one.
CREATE TABLE oauth_clients (
    uuid TEXT NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    name TEXT NOT NULL,
    client_id TEXT NOT NULL,
    auth_url TEXT,
    token_url TEXT NOT NULL,
    default_scopes TEXT NOT NULL,
    grant_type TEXT NOT NULL,
    auth_method TEXT NOT NULL,
    created_by TEXT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    payload BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    UNIQUE (integration, name)
) STRICT;

-- Flows between two of their steps. The digest is that of the one token that takes them on.
CREATE TABLE oauth_flows (
    id TEXT NOT NULL PRIMARY KEY,
    integration TEXT NOT NULL,
    client TEXT NOT NULL,
    step TEXT NOT NULL,
    digest BLOB NOT NULL UNIQUE,
    ends_at INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
CREATE INDEX oauth_flows_by_end ON oauth_flows (ends_at);

-- Refreshes under way, by the connection's uuid: who is at it, until when that counts, whether the
-- provider was asked without a definite answer, and whether that has happened before.
CREATE TABLE oauth_refreshes (
    uuid TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    ends_at INTEGER NOT NULL,
    asked INTEGER NOT NULL,
    unanswered INTEGER NOT NULL
) STRICT;
