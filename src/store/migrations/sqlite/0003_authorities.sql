-- Interception CAs: certificates, and their keys, sealed. The time is microseconds of the Unix epoch.
CREATE TABLE authorities (
    id TEXT NOT NULL PRIMARY KEY,
    certificate TEXT NOT NULL,
    signs_from INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    wrapped BLOB NOT NULL,
    payload BLOB NOT NULL
) STRICT;
