-- Replays by range: delivered events that are sent again, piece by piece.
CREATE TABLE replays (
    id           TEXT PRIMARY KEY,
    frontend     TEXT    NOT NULL,
    destination  TEXT,
    since        INTEGER  NOT NULL,
    until        INTEGER  NOT NULL,
    -- A JSON array of patterns; empty for all.
    types        TEXT    NOT NULL,
    per_second   INTEGER  NOT NULL,
    state        TEXT    NOT NULL,
    matched      INTEGER  NOT NULL,
    -- Up to which delivery it has come, and with which one it ends.
    after_key    INTEGER  NOT NULL,
    last_key     INTEGER  NOT NULL,
    due          INTEGER  NOT NULL,
    -- Counted when it ended.
    sent         INTEGER  NOT NULL DEFAULT 0,
    failed       INTEGER  NOT NULL DEFAULT 0,
    next_at      INTEGER,
    created_at   INTEGER  NOT NULL,
    ended_at     INTEGER
) WITHOUT ROWID;
CREATE INDEX replays_next ON replays (next_at) WHERE next_at IS NOT NULL;
-- The latest replay that sends it again.
ALTER TABLE deliveries ADD COLUMN replay_id TEXT;
CREATE INDEX deliveries_by_replay ON deliveries (replay_id) WHERE replay_id IS NOT NULL;

-- What operators did, and which texts they looked at.
CREATE TABLE audit (
    key              INTEGER PRIMARY KEY AUTOINCREMENT,
    at               INTEGER  NOT NULL,
    operator         TEXT    NOT NULL,
    act              TEXT    NOT NULL,
    -- The path below /admin/v1, with {id} where a conversation's id stands.
    object           TEXT    NOT NULL,
    frontend         TEXT,
    -- Of an erased conversation the hash.
    conversation_id  TEXT,
    reason           TEXT,
    refused          BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE INDEX audit_by_conversation ON audit (frontend, conversation_id) WHERE conversation_id IS NOT NULL;
