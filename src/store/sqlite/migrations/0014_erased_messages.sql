-- Messages of erased conversations that may stand in a Fini conversation which nobody knows: what they can be recognised by,
-- so that they are never told as somebody else's.
CREATE TABLE erased_messages (
    turn_key         INTEGER PRIMARY KEY,
    conversation_key INTEGER NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    role             TEXT NOT NULL,
    -- The digest of the text.
    digest           TEXT NOT NULL,
    sent_at          INTEGER NOT NULL,
    -- Until when its answer may come; NULL where that is over.
    busy_until       INTEGER
);
CREATE INDEX erased_messages_by_time ON erased_messages (sent_at);
CREATE INDEX erased_messages_by_conversation ON erased_messages (conversation_key);
