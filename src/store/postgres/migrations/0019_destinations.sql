-- Further destinations of a frontend: on record their deliveries go by frontend/name, the frontend's own callback by the
-- frontend's name alone. Their lanes, one per conversation and destination, are like those of the table lanes.
CREATE TABLE destination_lanes (
    conversation_key  BIGINT  NOT NULL REFERENCES conversations (key) ON DELETE CASCADE,
    frontend          TEXT    NOT NULL,
    due_at            BIGINT,
    is_retry          BOOLEAN NOT NULL DEFAULT FALSE,
    blocked_by        BIGINT,
    token             TEXT,
    owner             TEXT,
    lease_until       BIGINT,
    PRIMARY KEY (conversation_key, frontend)
);
CREATE INDEX destination_lanes_due ON destination_lanes (frontend, is_retry, due_at);
CREATE INDEX destination_lanes_overdue ON destination_lanes (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX destination_lanes_leased ON destination_lanes (lease_until) WHERE lease_until IS NOT NULL;
CREATE INDEX destination_lanes_blocked ON destination_lanes (blocked_by) WHERE blocked_by IS NOT NULL;
CREATE INDEX deliveries_owed_to ON deliveries (conversation_key, frontend, sequence) WHERE state = 'pending';
