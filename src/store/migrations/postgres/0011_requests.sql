-- The index of the audit trail. A batch without `indexed` has none yet. Rows with `joined` = 0 are
-- for one batch, and are joined later.
ALTER TABLE audit ADD COLUMN indexed BIGINT;
CREATE INDEX audit_unindexed ON audit (id) WHERE indexed IS NULL;
CREATE TABLE audit_index (
    last_batch BIGINT NOT NULL PRIMARY KEY,
    first_batch BIGINT NOT NULL,
    oldest BIGINT NOT NULL,
    newest BIGINT NOT NULL,
    stored BIGINT NOT NULL,
    joined BIGINT NOT NULL,
    data BYTEA NOT NULL
);
ALTER TABLE audit_index ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE INDEX audit_index_unjoined ON audit_index (last_batch) WHERE joined = 0;

-- Counts of requests: those of one instance in one minute or hour. `subject` is 0 for all of an
-- integration, 1 for those of a connection by a caller, 2 for those of a caller.
CREATE TABLE request_counts (
    span BIGINT NOT NULL,
    subject BIGINT NOT NULL,
    integration TEXT NOT NULL,
    connection TEXT NOT NULL,
    start BIGINT NOT NULL,
    caller TEXT NOT NULL,
    instance TEXT NOT NULL,
    counts TEXT NOT NULL,
    PRIMARY KEY (span, subject, integration, connection, start, caller, instance)
);
CREATE INDEX request_counts_by_start ON request_counts (span, start);

-- How each connection stands, as far as one instance knows.
CREATE TABLE connection_health (
    integration TEXT NOT NULL,
    connection TEXT NOT NULL,
    instance TEXT NOT NULL,
    last_used BIGINT NOT NULL,
    health TEXT NOT NULL,
    PRIMARY KEY (integration, connection, instance)
);
