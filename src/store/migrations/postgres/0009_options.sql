-- The options of a connection, as JSON; NULL for one as ZIS has it.
ALTER TABLE connections ADD COLUMN options TEXT;

-- The rules of the requests that a token may be used for, as JSON; NULL for none.
ALTER TABLE tokens ADD COLUMN rules TEXT;
