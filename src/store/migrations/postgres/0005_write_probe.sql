-- One row, of no meaning: it is written to learn whether the database can be written.
CREATE TABLE IF NOT EXISTS write_probe (
    only_one BIGINT NOT NULL PRIMARY KEY CHECK (only_one = 1),
    body BYTEA NOT NULL
);
INSERT INTO write_probe (only_one, body) VALUES (1, '\x00')
    ON CONFLICT (only_one) DO NOTHING;
