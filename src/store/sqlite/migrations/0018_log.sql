-- The log of each frontend. An event is numbered after it was committed, so that the numbers follow the commits; until then,
-- and where an older version wrote it, it has none.
ALTER TABLE events ADD COLUMN log_position INTEGER;
CREATE INDEX events_unlogged ON events (recorded_at) WHERE log_position IS NULL;

CREATE TABLE log_entries (
    frontend          TEXT    NOT NULL,
    position          INTEGER  NOT NULL,
    event_id          TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    conversation_key  INTEGER  NOT NULL,
    sequence          INTEGER  NOT NULL,
    -- Of what stands in no feed; otherwise the event's.
    body              TEXT,
    recorded_at       INTEGER  NOT NULL,
    -- The latest time stamp that people read, of this entry and of those before it.
    shown_at          TEXT    NOT NULL,
    PRIMARY KEY (frontend, position)
) WITHOUT ROWID;
CREATE INDEX log_entries_by_time ON log_entries (frontend, shown_at, position);

-- What stands in no feed, until it is numbered.
CREATE TABLE log_notices (
    key               INTEGER PRIMARY KEY AUTOINCREMENT,
    frontend          TEXT    NOT NULL,
    conversation_key  INTEGER  NOT NULL,
    event_id          TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    body              TEXT    NOT NULL,
    recorded_at       INTEGER  NOT NULL
);

-- The last number that was given, and the latest time stamp; one row.
CREATE TABLE log_head (
    name      TEXT PRIMARY KEY,
    position  INTEGER NOT NULL,
    shown_at  TEXT   NOT NULL
) WITHOUT ROWID;

-- Up to where each log was pruned.
CREATE TABLE log_pruned (
    frontend  TEXT PRIMARY KEY,
    position  INTEGER NOT NULL,
    event_id  TEXT   NOT NULL
) WITHOUT ROWID;
