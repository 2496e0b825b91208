-- What people ask for from psql: a coordinator takes it, puts it through admission as if it had come by the API, and notes the
-- outcome here, in the transaction that does it.
CREATE TABLE stead.inbox (
    id TEXT PRIMARY KEY DEFAULT replace(gen_random_uuid()::text, '-', ''),
    -- submit, put or delete
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_at TIMESTAMPTZ NOT NULL DEFAULT clock_timestamp(),
    -- The coordinator that has it gives it up then, if it has not said anything.
    taken_until TIMESTAMPTZ,
    -- waiting, done or refused
    state TEXT NOT NULL DEFAULT 'waiting',
    message TEXT NOT NULL DEFAULT '',
    revision BIGINT,
    settled_at TIMESTAMPTZ
);
CREATE INDEX inbox_waiting ON stead.inbox (asked_at) WHERE state = 'waiting';
CREATE INDEX inbox_settled ON stead.inbox (settled_at) WHERE state <> 'waiting';

CREATE FUNCTION stead.ask(kind TEXT, body TEXT) RETURNS TEXT LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- As large as a Change may be over the API.
    body_bytes_max CONSTANT BIGINT := 67108864;
    waiting_max CONSTANT BIGINT := 1000;
    asked TEXT;
BEGIN
    IF body IS NULL THEN
        RAISE EXCEPTION 'there is nothing to submit: the argument is null' USING ERRCODE = 'null_value_not_allowed';
    END IF;
    IF octet_length(body) > body_bytes_max THEN
        RAISE EXCEPTION 'this has % bytes, and % is the limit; split it up', octet_length(body), body_bytes_max
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    IF (SELECT count(*) FROM stead.inbox WHERE state = 'waiting') >= waiting_max THEN
        RAISE EXCEPTION '% requests wait for a coordinator already; see that one is running, and try again', waiting_max
            USING ERRCODE = 'program_limit_exceeded';
    END IF;
    INSERT INTO stead.inbox (kind, body, asked_by) VALUES (kind, body, session_user) RETURNING id INTO asked;
    PERFORM pg_notify('stead_inbox', '');
    RETURN asked;
END
$$;

CREATE FUNCTION stead.submit(envelope JSONB) RETURNS TEXT
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT stead.ask('submit', envelope::text)
$$;
COMMENT ON FUNCTION stead.submit(JSONB) IS
    'Submits a Change that owners signed, as POST /apis/stead.dev/v1/changes takes it; returns the id that stead.outcome takes.';

CREATE FUNCTION stead.propose(manifest JSONB, operation TEXT DEFAULT 'put') RETURNS TEXT
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF operation IS NULL OR operation NOT IN ('put', 'delete') THEN
        RAISE EXCEPTION 'the operation is put or delete, not %', operation USING ERRCODE = 'invalid_parameter_value';
    END IF;
    RETURN stead.ask(operation, manifest::text);
END
$$;
COMMENT ON FUNCTION stead.propose(JSONB, TEXT) IS
    'Asks for an object of a kind that the trust root leaves to the online keys to be put or deleted; returns the id that stead.outcome takes.';

CREATE FUNCTION stead.outcome(asked TEXT) RETURNS TABLE (state TEXT, message TEXT, revision BIGINT)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT inbox.state, inbox.message, inbox.revision FROM stead.inbox WHERE inbox.id = asked AND inbox.asked_by = session_user
$$;
COMMENT ON FUNCTION stead.outcome(TEXT) IS
    'What became of a request of your own: waiting, done (with its revision) or refused (with the reason). Kept for seven days.';

-- Who may use them is for the database's owner to say; see docs/postgresql.md.
REVOKE ALL ON FUNCTION stead.ask(TEXT, TEXT), stead.submit(JSONB), stead.propose(JSONB, TEXT), stead.outcome(TEXT) FROM PUBLIC;
