-- Every name and kind is ordered by its bytes, as SQLite and the view order them.
CREATE TABLE stead.schema_version (version BIGINT NOT NULL);
INSERT INTO stead.schema_version VALUES (0);

-- One row, whose lock is the writers' turn. The incarnation is new whenever a record is made; `batch` is the token of the newest batch.
CREATE TABLE stead.meta (
    incarnation TEXT NOT NULL,
    last_revision BIGINT NOT NULL,
    compacted_revision BIGINT NOT NULL,
    leader_term BIGINT NOT NULL,
    batch TEXT NOT NULL
) WITH (fillfactor = 10);
INSERT INTO stead.meta VALUES (replace(gen_random_uuid()::text, '-', ''), 0, 0, 0, '');

-- The batches that led here: how a coordinator finds out what became of one, and whether the record still goes by where it is.
-- Compacted with the history.
CREATE TABLE stead.batches (
    last_revision BIGINT PRIMARY KEY,
    token TEXT NOT NULL
);

CREATE TABLE stead.objects (
    kind TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    uid TEXT NOT NULL,
    revision BIGINT NOT NULL,
    -- Text, not jsonb: an object is kept to the byte.
    json TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) WITH (fillfactor = 80);

-- Undo steps, for watches; compacted. `before` is NULL where the object was created.
CREATE TABLE stead.history (
    revision BIGINT NOT NULL,
    position BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    operation TEXT NOT NULL,
    before_uid TEXT,
    before_revision BIGINT,
    before TEXT,
    PRIMARY KEY (revision, position)
);

-- Signed Changes. Kept for ever.
CREATE TABLE stead.changes (
    revision BIGINT PRIMARY KEY,
    id TEXT COLLATE "C" NOT NULL UNIQUE,
    statement BYTEA NOT NULL,
    signatures BYTEA NOT NULL,
    receipt BYTEA NOT NULL,
    receipt_signature BYTEA NOT NULL,
    author TEXT NOT NULL,
    message TEXT NOT NULL,
    time TEXT NOT NULL
);

-- The leaves of their trees. Kept for ever.
CREATE TABLE stead.entries (
    revision BIGINT NOT NULL,
    leaf_index BIGINT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    operation TEXT NOT NULL,
    leaf BYTEA NOT NULL,
    proof BYTEA NOT NULL,
    object BYTEA,
    PRIMARY KEY (revision, leaf_index)
);
CREATE UNIQUE INDEX entries_by_object ON stead.entries (kind, namespace, name, sequence);

-- How far each object name has come; a deletion keeps it. Kept for ever.
CREATE TABLE stead.sequences (
    kind TEXT COLLATE "C" NOT NULL,
    namespace TEXT COLLATE "C" NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    sequence BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    deleted BIGINT NOT NULL,
    PRIMARY KEY (kind, namespace, name)
);
-- What others have signed is followed by revision.
CREATE INDEX sequences_by_revision ON stead.sequences (revision);

-- Versions of the trust root. Kept for ever.
CREATE TABLE stead.roots (
    version BIGINT PRIMARY KEY,
    document BYTEA NOT NULL,
    signatures BYTEA NOT NULL
);
