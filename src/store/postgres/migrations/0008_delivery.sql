-- Until when a frontend's receiver wants to be left alone (429, or 503 with a time); NULL where it never did.
ALTER TABLE frontends ADD COLUMN not_before BIGINT;
-- When a callback's present schedule began, where it was replayed; NULL: when it was recorded.
ALTER TABLE deliveries ADD COLUMN owed_since BIGINT;
