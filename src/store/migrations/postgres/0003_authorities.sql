-- Interception CAs: certificates, and their keys, sealed. The time is microseconds of the Unix epoch.
CREATE TABLE authorities (
    id TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    certificate TEXT NOT NULL,
    signs_from BIGINT NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BYTEA NOT NULL,
    payload BYTEA NOT NULL
);
