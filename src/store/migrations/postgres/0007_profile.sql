-- The token-request profile of a client, as JSON; NULL for a provider as RFC 6749 has it.
ALTER TABLE oauth_clients ADD COLUMN profile TEXT;
