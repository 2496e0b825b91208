-- Where the record was put back from a backup, or had lost its newest batches: when it began anew, and the newest revision it then had.
ALTER TABLE meta ADD COLUMN restored_at TEXT;
ALTER TABLE meta ADD COLUMN restored_revision INTEGER;
