-- Entries of requests, a batch a row: lines of JSON, oldest first. The time is that of the last.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    last INTEGER NOT NULL,
    entries TEXT NOT NULL
) STRICT;
CREATE INDEX audit_by_time ON audit (last);
