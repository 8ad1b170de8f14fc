-- A random number that tells a write from another one that has the same revision in a copy of the
-- database. A version that knows no identities writes NULL.
ALTER TABLE changes ADD COLUMN identity BIGINT;
UPDATE changes SET identity = CAST(random() * 9000000000000000 AS BIGINT);
