-- What operators did. The content is JSON; the columns before it repeat parts of it, by which
-- events are found. The hash covers number, content and the hash of the event before.
CREATE TABLE events (
    number INTEGER NOT NULL PRIMARY KEY,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    integration TEXT NOT NULL,
    connection TEXT NOT NULL,
    operator TEXT NOT NULL,
    content TEXT NOT NULL,
    hash BLOB NOT NULL,
    key_id TEXT NOT NULL,
    mac BLOB NOT NULL
) STRICT;
CREATE INDEX events_by_time ON events (time);
CREATE INDEX events_by_connection ON events (integration, connection, number);

-- One row: the ends of the chain, signed. Before the first event nothing has signed it.
CREATE TABLE event_chain (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    cut INTEGER NOT NULL,
    cut_hash BLOB,
    last INTEGER NOT NULL,
    last_hash BLOB,
    key_id TEXT,
    mac BLOB
) STRICT;
INSERT INTO event_chain (only_one, cut, last) VALUES (1, 0, 0);
