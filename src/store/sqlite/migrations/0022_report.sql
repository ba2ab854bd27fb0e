-- What happened in each quarter of an hour, kept for good: the events themselves are pruned. The frontend is empty for what
-- belongs to all of them.
CREATE TABLE report_sums (
    -- Quarters of an hour since the epoch.
    slot           INTEGER NOT NULL,
    frontend       TEXT    NOT NULL,
    messages       INTEGER NOT NULL DEFAULT 0,
    answered       INTEGER NOT NULL DEFAULT 0,
    escalated      INTEGER NOT NULL DEFAULT 0,
    resolved       INTEGER NOT NULL DEFAULT 0,
    failed         INTEGER NOT NULL DEFAULT 0,
    dead_letters   INTEGER NOT NULL DEFAULT 0,
    requests       INTEGER NOT NULL DEFAULT 0,
    -- Histograms as JSON: counts by bucket.
    first_answers  TEXT    NOT NULL DEFAULT '{}',
    humans         TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (slot, frontend)
) WITHOUT ROWID;

-- What the customers of conversations wait for, as far as it is measured. Without a reference: whoever counts must not wait for
-- whoever works on a conversation.
CREATE TABLE report_waits (
    conversation_key  INTEGER PRIMARY KEY,
    asked_at          INTEGER,
    answered          BOOLEAN NOT NULL,
    human_asked_at    INTEGER
);
