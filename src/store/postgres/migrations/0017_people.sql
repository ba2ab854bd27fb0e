-- How far the customer has read, and when a message was last handed out for it.
ALTER TABLE conversations ADD COLUMN read_sequence BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN last_sent_at BIGINT;
-- A person's conversations in the order in which they are listed; and when the person was served last.
CREATE INDEX conversations_of_person ON conversations (frontend, user_id, updated_at, conversation_id) WHERE user_id IS NOT NULL;
CREATE INDEX conversations_served ON conversations (frontend, user_id, last_sent_at)
    WHERE user_id IS NOT NULL AND last_sent_at IS NOT NULL;

-- Persons of whom everything is erased, by the hash of their id.
CREATE TABLE person_erasures (
    frontend       TEXT    NOT NULL,
    person         TEXT    NOT NULL,
    -- The id itself, as long as conversations of it are to be erased here.
    user_id        TEXT,
    requested_at   BIGINT NOT NULL,
    -- The same by the clock that tokens are judged by.
    shown_at       BIGINT NOT NULL,
    -- Whether Fini is to delete them too.
    upstream       BOOLEAN NOT NULL,
    -- How many were erased.
    conversations  BIGINT NOT NULL DEFAULT 0,
    PRIMARY KEY (frontend, person)
);
CREATE INDEX person_erasures_open ON person_erasures (requested_at) WHERE user_id IS NOT NULL;
CREATE INDEX person_erasures_by_time ON person_erasures (requested_at);

-- The hash of the person with whom it was erased.
ALTER TABLE erasures ADD COLUMN person TEXT;
CREATE INDEX erasures_of_person ON erasures (frontend, person) WHERE person IS NOT NULL;
ALTER TABLE erasure_searches ADD COLUMN person TEXT;
CREATE INDEX erasure_searches_of_person ON erasure_searches (frontend, person) WHERE person IS NOT NULL;
