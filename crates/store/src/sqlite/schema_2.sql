-- Several coordinators share a record in PostgreSQL; a record here has the same fields, so that it can move there and back.
-- A batch is told from others that might have led to the same revision by a token; `before_` is the batch before the newest.
ALTER TABLE meta ADD COLUMN leader_term INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN batch TEXT NOT NULL DEFAULT '';
ALTER TABLE meta ADD COLUMN before_revision INTEGER NOT NULL DEFAULT 0;
ALTER TABLE meta ADD COLUMN before_batch TEXT NOT NULL DEFAULT '';
