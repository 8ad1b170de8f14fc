-- The failures of a connection's refreshes since the last that has brought tokens, as JSON; NULL for
-- none. A refresh that brings tokens takes its row away.
ALTER TABLE oauth_refreshes ADD COLUMN failure TEXT;

-- The time at which a refresh has last brought tokens of a client's; NULL for never.
ALTER TABLE oauth_clients ADD COLUMN refreshed_at BIGINT;
