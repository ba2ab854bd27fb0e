-- The Fini conversation that this one shares with somebody: the reason of a quarantine, also after it was settled.
ALTER TABLE conversations ADD COLUMN shared_interaction_id TEXT;
-- When its first message was created in its Fini conversation, by Fini's clock.
ALTER TABLE conversations ADD COLUMN own_since INTEGER;
-- Whether its Fini conversation is known to have begun before it: what was said there earlier is never news.
ALTER TABLE conversations ADD COLUMN has_past BOOLEAN NOT NULL DEFAULT FALSE;
-- The frontend's user, and whether a server token or the token's subject vouches for it.
ALTER TABLE conversations ADD COLUMN user_id TEXT;
ALTER TABLE conversations ADD COLUMN user_vouched BOOLEAN NOT NULL DEFAULT FALSE;
-- Reserved for a conversation without proof, and shown to nobody.
ALTER TABLE marks ADD COLUMN withheld BOOLEAN NOT NULL DEFAULT FALSE;
CREATE INDEX conversations_sharing ON conversations (shared_interaction_id) WHERE shared_interaction_id IS NOT NULL;
CREATE INDEX conversations_continued ON conversations (frontend, turn_due_at)
    WHERE state = 'continued' AND turn_due_at IS NOT NULL;
CREATE INDEX conversations_by_user ON conversations (frontend, user_id) WHERE user_id IS NOT NULL;
