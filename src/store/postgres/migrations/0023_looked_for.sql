-- Conversations that look for their Fini conversation, and no others: those that were set aside are never looked for, and there
-- may be any number of them.
CREATE INDEX conversations_looked_for ON conversations (first_sent_at)
    WHERE interaction_id IS NULL AND first_sent_at IS NOT NULL AND state NOT IN ('quarantined', 'continued') AND erased_at IS NULL;
