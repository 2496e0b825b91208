//! How a file is opened: the lock, the schema, the mode.
