-- Entries of requests, a batch a row: lines of JSON, oldest first. The time is that of the last.
CREATE TABLE audit (
    id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    last BIGINT NOT NULL,
    entries TEXT NOT NULL
);
CREATE INDEX audit_by_time ON audit (last);
