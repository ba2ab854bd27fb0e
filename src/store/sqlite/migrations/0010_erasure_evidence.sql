-- What is known of a conversation before it is deleted at Fini, so that reading can prove afterwards that it is gone.
ALTER TABLE erasures ADD COLUMN latest_message_at INTEGER;
-- Ids of conversations that List showed beside it, as a JSON array; NULL until List has shown it.
ALTER TABLE erasures ADD COLUMN beside TEXT;
-- When Fini first said that it does not know it, as long as nothing else has shown it since.
ALTER TABLE erasures ADD COLUMN missed_since INTEGER;
