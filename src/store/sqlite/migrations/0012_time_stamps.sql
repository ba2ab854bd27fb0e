-- What people read: the wall clock's times, while created_at and updated_at are of the clock that waiting goes by.
ALTER TABLE conversations ADD COLUMN shown_created_at INTEGER;
ALTER TABLE conversations ADD COLUMN shown_updated_at INTEGER;
