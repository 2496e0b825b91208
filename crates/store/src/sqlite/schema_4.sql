-- Watches go forward through the undo steps: the state after a step is the state before the object's next one, which is found by the
-- revision that it replaced.
CREATE INDEX history_by_before ON history (before_revision, name) WHERE before_revision IS NOT NULL;
