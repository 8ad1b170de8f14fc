-- The connections of which the webhook was told that they need attention, or is to be told
-- something: told is what it knows, needs what is so. Where they differ the notice is sent at
-- next_at.
CREATE TABLE webhook_notices (
    integration TEXT NOT NULL,
    connection TEXT NOT NULL,
    told INTEGER NOT NULL,
    needs INTEGER NOT NULL,
    notice_id TEXT NOT NULL,
    changed_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    next_at INTEGER NOT NULL,
    PRIMARY KEY (integration, connection)
) STRICT;

-- Work that one instance does for all, and until when it is that one's.
CREATE TABLE leases (
    name TEXT NOT NULL PRIMARY KEY,
    holder TEXT NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
