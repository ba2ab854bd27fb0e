-- The log of each frontend. An event is numbered after it was committed, so that the numbers follow the commits; until then,
-- and where an older version wrote it, it has none.
ALTER TABLE events ADD COLUMN log_position BIGINT;
CREATE INDEX events_unlogged ON events (recorded_at) WHERE log_position IS NULL;

CREATE TABLE log_entries (
    frontend          TEXT    NOT NULL,
    position          BIGINT  NOT NULL,
    event_id          TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    conversation_key  BIGINT  NOT NULL,
    sequence          BIGINT  NOT NULL,
    -- Of what stands in no feed; otherwise the event's.
    body              TEXT,
    recorded_at       BIGINT  NOT NULL,
    -- The latest time stamp that people read, of this entry and of those before it.
    shown_at          TEXT    NOT NULL,
    PRIMARY KEY (frontend, position)
);
CREATE INDEX log_entries_by_time ON log_entries (frontend, shown_at, position);

-- What stands in no feed, until it is numbered.
CREATE TABLE log_notices (
    key               BIGSERIAL PRIMARY KEY,
    frontend          TEXT    NOT NULL,
    conversation_key  BIGINT  NOT NULL,
    event_id          TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    body              TEXT    NOT NULL,
    recorded_at       BIGINT  NOT NULL
);

-- The last number that was given, and the latest time stamp; one row.
CREATE TABLE log_head (
    name      TEXT PRIMARY KEY,
    position  BIGINT NOT NULL,
    shown_at  TEXT   NOT NULL
);

-- Up to where each log was pruned.
CREATE TABLE log_pruned (
    frontend  TEXT PRIMARY KEY,
    position  BIGINT NOT NULL,
    event_id  TEXT   NOT NULL
);
