-- The request that brought a message: its id, and its place in a trace as a W3C traceparent. NULL for messages of before.
ALTER TABLE turns ADD COLUMN request_id TEXT;
ALTER TABLE turns ADD COLUMN traceparent TEXT;
