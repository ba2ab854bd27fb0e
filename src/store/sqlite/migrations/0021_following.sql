-- By what an operator finds a conversation. A message's id is unique within its conversation only.
CREATE INDEX turns_by_message ON turns (message_id);
CREATE INDEX turns_by_request ON turns (request_id) WHERE request_id IS NOT NULL;
CREATE INDEX events_by_id ON events (id);
-- Since when a conversation has been in quarantine; NULL where a version before put it there.
ALTER TABLE conversations ADD COLUMN quarantined_since INTEGER;

-- Requests to Fini that are over, one row each; what is under way stands with its turn.
CREATE TABLE turn_tries (
    turn_key  INTEGER NOT NULL REFERENCES turns (key) ON DELETE CASCADE,
    number    INTEGER  NOT NULL,
    began_at  INTEGER  NOT NULL,
    ended_at  INTEGER  NOT NULL,
    outcome   TEXT    NOT NULL,
    error     TEXT,
    PRIMARY KEY (turn_key, number)
) WITHOUT ROWID;

-- Attempts at callbacks that failed, the first hundred of each delivery; one that succeeded stands with the delivery.
CREATE TABLE delivery_tries (
    delivery_key  INTEGER NOT NULL REFERENCES deliveries (key) ON DELETE CASCADE,
    number        INTEGER  NOT NULL,
    ended_at      INTEGER  NOT NULL,
    status        INTEGER,
    error         TEXT,
    PRIMARY KEY (delivery_key, number)
) WITHOUT ROWID;
