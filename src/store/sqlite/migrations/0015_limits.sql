-- Whom a message of a browser is counted for; and erased conversations by what is left of their id.
ALTER TABLE turns ADD COLUMN counted_for TEXT;
CREATE INDEX turns_of_person ON turns (frontend, counted_for, accepted_at) WHERE counted_for IS NOT NULL;
CREATE INDEX conversations_erased ON conversations (frontend, conversation_id) WHERE erased_at IS NOT NULL;
