-- What happened in each quarter of an hour, kept for good: the events themselves are pruned. The frontend is empty for what
-- belongs to all of them.
CREATE TABLE report_sums (
    -- Quarters of an hour since the epoch.
    slot           BIGINT  NOT NULL,
    frontend       TEXT    NOT NULL,
    messages       BIGINT  NOT NULL DEFAULT 0,
    answered       BIGINT  NOT NULL DEFAULT 0,
    escalated      BIGINT  NOT NULL DEFAULT 0,
    resolved       BIGINT  NOT NULL DEFAULT 0,
    failed         BIGINT  NOT NULL DEFAULT 0,
    dead_letters   BIGINT  NOT NULL DEFAULT 0,
    requests       BIGINT  NOT NULL DEFAULT 0,
    -- Histograms as JSON: counts by bucket.
    first_answers  TEXT    NOT NULL DEFAULT '{}',
    humans         TEXT    NOT NULL DEFAULT '{}',
    PRIMARY KEY (slot, frontend)
);

-- What the customers of conversations wait for, as far as it is measured. Without a reference: whoever counts must not wait for
-- whoever works on a conversation.
CREATE TABLE report_waits (
    conversation_key  BIGINT  PRIMARY KEY,
    asked_at          BIGINT,
    answered          BOOLEAN NOT NULL,
    human_asked_at    BIGINT
);
