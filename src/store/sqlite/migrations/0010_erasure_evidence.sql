-- What is known of a conversation before it is deleted at Fini, so that reading can prove afterwards that it is gone.
ALTER TABLE erasures ADD COLUMN latest_message_at INTEGER;
-- Ids of conversations that List showed beside it, as a JSON array; NULL until List has shown it.
ALTER TABLE erasures ADD COLUMN beside TEXT;
-- When Fini first said that it does not know it, as long as nothing else has shown it since.
ALTER TABLE erasures ADD COLUMN missed_since INTEGER;
-- Until when a send into it may be under way that would bring it back; NULL where none is.
ALTER TABLE erasures ADD COLUMN busy_until INTEGER;
-- The conversation here that it was; NULL for those of the version before.
ALTER TABLE erasures ADD COLUMN conversation_key INTEGER;

-- Conversations that were erased here before anybody knew which one at Fini is theirs, with what it can be told by. A row
-- becomes one of `erasures` when it is found.
CREATE TABLE erasure_searches (
    conversation_key INTEGER PRIMARY KEY,
    frontend         TEXT NOT NULL,
    conversation_id  TEXT NOT NULL,
    requested_at     INTEGER NOT NULL,
    first_sent_at    INTEGER NOT NULL,
    attribute        TEXT NOT NULL,
    -- Ids of Fini's events, and digests of texts, as JSON arrays.
    events           TEXT NOT NULL,
    texts            TEXT NOT NULL,
    busy_until       INTEGER,
    -- When it is looked for next; NULL once that has ended.
    look_at          INTEGER,
    looks            INTEGER NOT NULL DEFAULT 0,
    -- pending, erased (nothing is there) or failed
    state            TEXT NOT NULL DEFAULT 'pending',
    settled_at       INTEGER
);
CREATE INDEX erasure_searches_due ON erasure_searches (look_at) WHERE look_at IS NOT NULL;
CREATE INDEX erasure_searches_by_conversation ON erasure_searches (frontend, conversation_id, requested_at);
CREATE INDEX erasure_searches_settled ON erasure_searches (settled_at) WHERE settled_at IS NOT NULL;
