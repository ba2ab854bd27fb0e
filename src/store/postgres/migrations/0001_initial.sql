-- Times are epoch milliseconds. Bodies are the exact text that is signed. Ids that are shown are text; keys are not shown.

CREATE TABLE conversations (
    key                   BIGSERIAL PRIMARY KEY,
    frontend              TEXT    NOT NULL,
    conversation_id       TEXT    NOT NULL,
    -- The value of our conversation attribute in Fini.
    attribute             TEXT    NOT NULL,
    state                 TEXT    NOT NULL DEFAULT 'open',
    note                  TEXT,
    status_text           TEXT,
    resolved              BOOLEAN,
    wrapper_read          BOOLEAN NOT NULL DEFAULT FALSE,
    interaction_id        TEXT,
    binding_version       BIGINT NOT NULL DEFAULT 0,
    -- Set while the Fini conversation is looked for.
    binding_wanted_since  BIGINT,
    binding_look_at       BIGINT,
    binding_looks         BIGINT NOT NULL DEFAULT 0,
    first_sent_at         BIGINT,
    last_sequence         BIGINT NOT NULL DEFAULT 0,
    queued                BIGINT NOT NULL DEFAULT 0,
    -- Whether a turn is in flight (sending, awaiting or unclear): no other is sent meanwhile.
    occupied              BOOLEAN NOT NULL DEFAULT FALSE,
    -- When the oldest queued turn may be claimed; NULL while a turn is in flight, a binding is wanted, or nothing waits.
    turn_due_at           BIGINT,
    created_at            BIGINT NOT NULL,
    updated_at            BIGINT NOT NULL,
    last_activity_at      BIGINT NOT NULL,
    watch_until           BIGINT,
    -- The next single read: urgency 0 = a turn has just ended, 1 = escalated, 2 = the rest.
    read_at               BIGINT,
    read_urgency          BIGINT NOT NULL DEFAULT 2,
    read_misses           BIGINT NOT NULL DEFAULT 0,
    erased_at             BIGINT
);
-- An erased conversation gives its id free.
CREATE UNIQUE INDEX conversations_by_id ON conversations (frontend, conversation_id) WHERE erased_at IS NULL;
-- Two conversations can never be bound to one Fini conversation.
CREATE UNIQUE INDEX conversations_by_interaction ON conversations (interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX conversations_due ON conversations (frontend, turn_due_at) WHERE turn_due_at IS NOT NULL;
CREATE INDEX conversations_wanted ON conversations (binding_wanted_since) WHERE binding_wanted_since IS NOT NULL;
-- Sent to Fini, into a conversation that is not known yet.
CREATE INDEX conversations_unbound ON conversations (first_sent_at) WHERE interaction_id IS NULL AND first_sent_at IS NOT NULL;
CREATE INDEX conversations_to_read ON conversations (read_urgency, read_at) WHERE read_at IS NOT NULL;
-- Holds all that the summary of the watch asks for.
CREATE INDEX conversations_watched ON conversations (watch_until, state, created_at)
    WHERE watch_until IS NOT NULL AND interaction_id IS NOT NULL;
CREATE INDEX conversations_by_update ON conversations (updated_at);
CREATE INDEX conversations_quarantined ON conversations (key) WHERE state = 'quarantined';

-- One inbound message and its replies.
CREATE TABLE turns (
    key               BIGSERIAL PRIMARY KEY,
    conversation_key  BIGINT NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    frontend          TEXT    NOT NULL,
    message_id        TEXT    NOT NULL,
    fingerprint       TEXT    NOT NULL,
    role              TEXT    NOT NULL,
    text              TEXT    NOT NULL,
    -- {"user_id", "attributes", "channel", "metadata"}
    extras            TEXT    NOT NULL,
    -- The value of our turn attribute in Fini.
    attribute         TEXT    NOT NULL,
    state             TEXT    NOT NULL DEFAULT 'queued',
    -- The turn it was joined into; members share its fate.
    leader_key        BIGINT,
    attempt           BIGINT NOT NULL DEFAULT 0,
    resends           BIGINT NOT NULL DEFAULT 0,
    token             TEXT,
    owner             TEXT,
    lease_until       BIGINT,
    accepted_at       BIGINT NOT NULL,
    due_at            BIGINT NOT NULL,
    sent_at           BIGINT,
    state_since       BIGINT NOT NULL,
    look_at           BIGINT,
    looks             BIGINT NOT NULL DEFAULT 0,
    echo              TEXT,
    replies           BIGINT NOT NULL DEFAULT 0,
    escalated         BOOLEAN NOT NULL DEFAULT FALSE,
    no_reply          BOOLEAN NOT NULL DEFAULT FALSE,
    detail            TEXT    NOT NULL DEFAULT '',
    UNIQUE (conversation_key, message_id)
);
CREATE INDEX turns_open ON turns (conversation_key, key) WHERE state IN ('queued', 'sending', 'awaiting', 'unclear');
CREATE INDEX turns_in_flight ON turns (lease_until) WHERE state = 'sending';
CREATE INDEX turns_to_look_for ON turns (look_at) WHERE look_at IS NOT NULL;
-- Messages whose own event was not seen in Fini yet.
CREATE INDEX turns_unechoed ON turns (conversation_key, key) WHERE echo IS NULL AND sent_at IS NOT NULL;
CREATE INDEX turns_waiting ON turns (accepted_at) WHERE state = 'queued';

-- How many turns wait per frontend; kept in the transactions that change it. In parts, whose sum it is, so that transactions
-- of different connections need not wait for each other. Every frontend that ever posted has a row.
CREATE TABLE waiting (
    frontend  TEXT    NOT NULL,
    shard     BIGINT NOT NULL,
    turns     BIGINT NOT NULL,
    PRIMARY KEY (frontend, shard)
);

-- Frontends whose callbacks are held.
CREATE TABLE frontends (
    frontend     TEXT PRIMARY KEY,
    hold_reason  TEXT,
    held_since   BIGINT
);

-- Fini's events that were seen; each belongs to the first conversation that saw it.
CREATE TABLE marks (
    fini_event_id     TEXT PRIMARY KEY,
    conversation_key  BIGINT NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    turn_key          BIGINT,
    -- The rating as JSON; NULL where nothing is rated.
    rating            TEXT
);
CREATE INDEX marks_by_conversation ON marks (conversation_key);

-- The feed.
CREATE TABLE events (
    conversation_key  BIGINT NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    sequence          BIGINT NOT NULL,
    id                TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    turn_key          BIGINT,
    body              TEXT    NOT NULL,
    recorded_at       BIGINT NOT NULL,
    PRIMARY KEY (conversation_key, sequence)
);
CREATE INDEX events_by_turn ON events (turn_key, sequence) WHERE turn_key IS NOT NULL;

-- The outbox. The body is the event's.
CREATE TABLE deliveries (
    key               BIGSERIAL PRIMARY KEY,
    id                TEXT    NOT NULL UNIQUE,
    conversation_key  BIGINT NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    frontend          TEXT    NOT NULL,
    sequence          BIGINT NOT NULL,
    event_id          TEXT    NOT NULL,
    kind              TEXT    NOT NULL,
    state             TEXT    NOT NULL DEFAULT 'pending',
    attempts          BIGINT NOT NULL DEFAULT 0,
    -- Attempts when the present schedule began: a replay starts a fresh one.
    attempts_before   BIGINT NOT NULL DEFAULT 0,
    replays           BIGINT NOT NULL DEFAULT 0,
    due_at            BIGINT,
    last_status       BIGINT,
    last_error        TEXT,
    last_response     TEXT,
    dead_end          TEXT,
    recorded_at       BIGINT NOT NULL,
    finished_at       BIGINT
);
CREATE INDEX deliveries_owed ON deliveries (conversation_key, sequence) WHERE state = 'pending';
CREATE INDEX deliveries_by_state ON deliveries (state, key);
CREATE INDEX deliveries_by_conversation ON deliveries (conversation_key, sequence);
CREATE INDEX deliveries_finished ON deliveries (finished_at) WHERE finished_at IS NOT NULL;

-- The order of callbacks: one lane per conversation that owes any. Leased as a whole; only the head is attempted.
CREATE TABLE lanes (
    conversation_key  BIGINT PRIMARY KEY REFERENCES conversations (key) ON DELETE CASCADE,
    frontend          TEXT    NOT NULL,
    -- When the head is due; NULL while a dead letter blocks the lane.
    due_at            BIGINT,
    -- Whether the head was attempted before.
    is_retry          BOOLEAN NOT NULL DEFAULT FALSE,
    -- The delivery that was given up and must be replayed before the lane goes on.
    blocked_by        BIGINT,
    token             TEXT,
    owner             TEXT,
    lease_until       BIGINT
);
CREATE INDEX lanes_due ON lanes (frontend, is_retry, due_at);
CREATE INDEX lanes_leased ON lanes (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX lanes_blocked ON lanes (blocked_by) WHERE blocked_by IS NOT NULL;

CREATE TABLE budget (
    key    BIGSERIAL PRIMARY KEY,
    class  TEXT    NOT NULL,
    at     BIGINT NOT NULL
);
CREATE INDEX budget_by_time ON budget (at, class);

CREATE TABLE leases (
    name   TEXT PRIMARY KEY,
    owner  TEXT    NOT NULL,
    until  BIGINT NOT NULL
);

CREATE TABLE notes (
    name   TEXT PRIMARY KEY,
    value  TEXT NOT NULL
);
