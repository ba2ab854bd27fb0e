-- Replays by range: delivered events that are sent again, piece by piece.
CREATE TABLE replays (
    id           TEXT PRIMARY KEY,
    frontend     TEXT    NOT NULL,
    destination  TEXT,
    since        BIGINT  NOT NULL,
    until        BIGINT  NOT NULL,
    -- A JSON array of patterns; empty for all.
    types        TEXT    NOT NULL,
    per_second   BIGINT  NOT NULL,
    state        TEXT    NOT NULL,
    matched      BIGINT  NOT NULL,
    -- Up to which delivery it has come, and with which one it ends.
    after_key    BIGINT  NOT NULL,
    last_key     BIGINT  NOT NULL,
    due          BIGINT  NOT NULL,
    -- Counted when it ended.
    sent         BIGINT  NOT NULL DEFAULT 0,
    failed       BIGINT  NOT NULL DEFAULT 0,
    next_at      BIGINT,
    created_at   BIGINT  NOT NULL,
    ended_at     BIGINT
);
CREATE INDEX replays_next ON replays (next_at) WHERE next_at IS NOT NULL;
-- The latest replay that sends it again.
ALTER TABLE deliveries ADD COLUMN replay_id TEXT;
CREATE INDEX deliveries_by_replay ON deliveries (replay_id) WHERE replay_id IS NOT NULL;

-- What operators did, and which texts they looked at.
CREATE TABLE audit (
    key              BIGSERIAL PRIMARY KEY,
    at               BIGINT  NOT NULL,
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
