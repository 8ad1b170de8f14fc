-- Sessions at the console, by the digest of their cookie. The principal is a digest of the holder,
-- by which the sessions of one are counted. The MAC covers digest, holder and both times.
CREATE TABLE sessions (
    digest BLOB NOT NULL PRIMARY KEY,
    principal BLOB NOT NULL,
    holder TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    seen_at INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX sessions_by_principal ON sessions (principal, seen_at);
CREATE INDEX sessions_by_time ON sessions (seen_at);

-- Sign-ins that have ended in a session, until they could not be shown again anyway.
CREATE TABLE spent_sign_ins (
    digest BLOB NOT NULL PRIMARY KEY,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX spent_sign_ins_by_end ON spent_sign_ins (ends_at);

-- The connection that a token was last used for, as integration.name; NULL for none yet.
ALTER TABLE tokens ADD COLUMN last_used_for TEXT;
