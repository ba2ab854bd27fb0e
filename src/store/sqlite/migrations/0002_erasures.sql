-- Conversations that Fini is to delete: wanted together with the erasure here, and tried until reading proves it.
CREATE TABLE erasures (
    interaction_id   TEXT PRIMARY KEY,
    frontend         TEXT    NOT NULL,
    conversation_id  TEXT    NOT NULL,
    requested_at     INTEGER NOT NULL,
    -- When it is tried next; moved on while it is tried; NULL once it has ended.
    due_at           INTEGER,
    attempts         INTEGER NOT NULL DEFAULT 0,
    -- pending, erased or failed
    state            TEXT    NOT NULL DEFAULT 'pending',
    settled_at       INTEGER
);
CREATE INDEX erasures_due ON erasures (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX erasures_by_conversation ON erasures (frontend, conversation_id, requested_at);
CREATE INDEX erasures_settled ON erasures (settled_at) WHERE settled_at IS NOT NULL;
