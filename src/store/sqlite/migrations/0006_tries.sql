-- When a message was first sent in vain: what is proved absent is sent again for a time counted from here.
ALTER TABLE turns ADD COLUMN tried_since INTEGER;
-- When Fini first said that it does not know a conversation, as long as nothing else has shown it since.
ALTER TABLE conversations ADD COLUMN missed_since INTEGER;
-- The time of the latest message that Fini ever showed in a conversation; NULL where it was last seen by a version before.
ALTER TABLE conversations ADD COLUMN latest_message_at INTEGER;
