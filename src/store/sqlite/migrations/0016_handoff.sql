-- Who may speak to the customer: a human whom somebody asked for, or who came by himself.
ALTER TABLE conversations ADD COLUMN speaker TEXT NOT NULL DEFAULT 'bot';
-- What is known of the handoff, as JSON; NULL where there never was one.
ALTER TABLE conversations ADD COLUMN handoff TEXT;
-- When there is something to do about it that nobody else will.
ALTER TABLE conversations ADD COLUMN handoff_due_at INTEGER;
CREATE INDEX conversations_handed_off ON conversations (frontend, speaker) WHERE speaker <> 'bot';
CREATE INDEX conversations_handoff_due ON conversations (handoff_due_at) WHERE handoff_due_at IS NOT NULL;
CREATE INDEX conversations_by_attribute ON conversations (attribute) WHERE attribute <> '';
-- Whether the bot answered while a desk had the conversation.
ALTER TABLE turns ADD COLUMN withheld BOOLEAN NOT NULL DEFAULT FALSE;

-- Requests for a human that Fini made by its action and that fit no conversation, or none yet.
CREATE TABLE fini_pushes (
    id              TEXT   PRIMARY KEY,
    received_at     INTEGER NOT NULL,
    shown_at        INTEGER NOT NULL,
    interaction_id  TEXT,
    attribute       TEXT,
    note            TEXT
);
CREATE INDEX fini_pushes_by_interaction ON fini_pushes (interaction_id) WHERE interaction_id IS NOT NULL;
CREATE INDEX fini_pushes_by_time ON fini_pushes (received_at);
