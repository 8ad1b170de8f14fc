-- The audit trail has a file of its own.
DROP TABLE IF EXISTS audit;

-- One row, of no meaning: it is written to learn whether the database can be written.
CREATE TABLE IF NOT EXISTS write_probe (
    only_one INTEGER NOT NULL PRIMARY KEY CHECK (only_one = 1),
    body BLOB NOT NULL
) STRICT;
INSERT INTO write_probe (only_one, body) VALUES (1, x'00')
    ON CONFLICT (only_one) DO NOTHING;
