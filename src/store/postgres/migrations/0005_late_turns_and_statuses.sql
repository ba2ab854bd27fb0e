-- Turns that Fini has but that hold the next message no more stay open, in the state 'late'.
ALTER TABLE turns ADD COLUMN held_until BIGINT;
CREATE INDEX turns_late ON turns (conversation_key, key) WHERE state = 'late';
-- Until when the turn in flight holds the next one; NULL while nobody knows whether Fini has its message.
ALTER TABLE conversations ADD COLUMN held_until BIGINT;

-- What Fini's statuses are worth: whether the customer is asked for something, what is known of the escalation that lasts (a
-- sum of flags), since when the status waits to be judged anew, and the time as of which Fini showed what is on record.
ALTER TABLE conversations ADD COLUMN awaiting_customer BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE conversations ADD COLUMN escalation BIGINT NOT NULL DEFAULT 0;
ALTER TABLE conversations ADD COLUMN unjudged_since BIGINT;
ALTER TABLE conversations ADD COLUMN status_as_of BIGINT NOT NULL DEFAULT 0;

-- What an event was like when it was last seen, as digests; and when it was first seen.
ALTER TABLE marks ADD COLUMN content TEXT;
ALTER TABLE marks ADD COLUMN seen_at BIGINT;
