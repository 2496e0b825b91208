CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
INSERT INTO schema_version VALUES (0);

-- One row. The incarnation is new whenever a record is made.
CREATE TABLE meta (
    incarnation TEXT NOT NULL,
    last_revision INTEGER NOT NULL,
    compacted_revision INTEGER NOT NULL
) STRICT;
INSERT INTO meta VALUES (lower(hex(randomblob(16))), 0, 0);

CREATE TABLE objects (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    uid TEXT NOT NULL,
    revision INTEGER NOT NULL,
    json TEXT NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) STRICT;

-- Undo steps, for watches; compacted. `before` is NULL where the object was created.
CREATE TABLE history (
    revision INTEGER NOT NULL,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    operation TEXT NOT NULL,
    before_uid TEXT,
    before_revision INTEGER,
    before TEXT,
    PRIMARY KEY (revision, position)
) STRICT;

-- Signed Changes. Kept for ever.
CREATE TABLE changes (
    revision INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    statement BLOB NOT NULL,
    signatures BLOB NOT NULL,
    receipt BLOB NOT NULL,
    receipt_signature BLOB NOT NULL,
    author TEXT NOT NULL,
    message TEXT NOT NULL,
    time TEXT NOT NULL
) STRICT;

-- The leaves of their trees. Kept for ever.
CREATE TABLE entries (
    revision INTEGER NOT NULL,
    leaf_index INTEGER NOT NULL,
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    operation TEXT NOT NULL,
    leaf BLOB NOT NULL,
    proof BLOB NOT NULL,
    object BLOB,
    PRIMARY KEY (revision, leaf_index)
) STRICT;
CREATE UNIQUE INDEX entries_by_object ON entries (kind, namespace, name, sequence);

-- How far each object name has come; a deletion keeps it. Kept for ever.
CREATE TABLE sequences (
    kind TEXT NOT NULL,
    namespace TEXT NOT NULL,
    name TEXT NOT NULL,
    sequence INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
    PRIMARY KEY (kind, namespace, name)
) STRICT, WITHOUT ROWID;

-- Versions of the trust root. Kept for ever.
CREATE TABLE roots (
    version INTEGER PRIMARY KEY,
    document BLOB NOT NULL,
    signatures BLOB NOT NULL
) STRICT;
