-- What operators did. The content is JSON; the columns before it repeat parts of it, by which
-- events are found. The hash covers number, content and the hash of the event before.
CREATE TABLE events (
    number BIGINT NOT NULL PRIMARY KEY,
    time BIGINT NOT NULL,
    kind TEXT NOT NULL,
    integration TEXT NOT NULL,
    connection TEXT NOT NULL,
    operator TEXT NOT NULL,
    content TEXT NOT NULL,
    hash BYTEA NOT NULL,
    key_id TEXT NOT NULL,
    mac BYTEA NOT NULL
);
CREATE INDEX events_by_time ON events (time);
CREATE INDEX events_by_connection ON events (integration, connection, number);

-- One row: the ends of the chain, signed. Before the first event nothing has signed it.
CREATE TABLE event_chain (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    cut BIGINT NOT NULL,
    cut_hash BYTEA,
    last BIGINT NOT NULL,
    last_hash BYTEA,
    key_id TEXT,
    mac BYTEA
);
INSERT INTO event_chain (only_one, cut, last) VALUES (1, 0, 0);
