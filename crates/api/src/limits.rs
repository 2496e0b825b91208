//! Every limit of the port, with its unit and its reason. What goes past one is refused and counted.

#[cfg(test)]
mod table;

/// Connections at once: each watcher holds one, and each costs some 20 KiB with TLS.
pub const CONNECTIONS_MAX: usize = 8_192;
/// Seconds for the TLS handshake: a slow line with a lost packet or two, not more.
pub const HANDSHAKE_SECONDS_MAX: u64 = 10;
/// Seconds for a request's head, and for which a connection may idle between two requests.
pub const HEADER_SECONDS_MAX: u64 = 30;
/// Bytes of a request's head: the longest URL, a token, and what clients add.
pub const HEADER_BYTES_MAX: usize = 32 * 1024;
/// Lines in a request's head: kubectl sends about ten.
pub const HEADER_LINES_MAX: usize = 64;
/// Bytes of a request's path and query: a selector with some hundred values.
pub const URI_BYTES_MAX: usize = 16 * 1024;
/// Bytes of a request's body: an object of the record's limit, and its copy in `last-applied-configuration`.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Bytes of a submitted Change: a site's manifests, as one transaction takes them.
pub const SUBMISSION_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Signed Changes beyond the usual size of a body that are taken at once, from whomever: so many of the largest fit into memory.
pub const LARGE_SUBMISSIONS_MAX: usize = 4;
/// Bytes of a body that comes before login.
pub const ANONYMOUS_BODY_BYTES_MAX: usize = 16 * 1024;
/// Seconds for a request's body.
pub const BODY_SECONDS_MAX: u64 = 60;
/// Seconds for which a client may take nothing of what it is sent.
pub const WRITE_STALL_SECONDS_MAX: u64 = 30;
/// Writes of one client at once: as many as the store commits together, several times over.
pub const WRITES_PER_CLIENT_MAX: usize = 256;
/// Reads of one client at once.
pub const READS_PER_CLIENT_MAX: usize = 128;
/// Watches of one client at once: a thousand dashboards behind one login.
pub const WATCHES_PER_CLIENT_MAX: usize = 2_048;
/// Seconds between two bookmarks of a watch, as Kubernetes has it.
pub const BOOKMARK_SECONDS: u64 = 60;
/// Seconds after which a watch ends where the client names no limit of its own, and the longest that it may name.
pub const WATCH_SECONDS_MAX: u64 = 3_600;

/// Levels to which the objects and lists of a body are nested: the deepest kind has fewer than ten.
pub const JSON_DEPTH_MAX: usize = 64;
/// Fields and items of a body, all levels together: an object of the record's limit with fifteen bytes a field.
pub const JSON_MEMBERS_MAX: usize = 100_000;
/// Parameters of a query: kubectl sends fewer than ten.
pub const QUERY_PARAMETERS_MAX: usize = 64;
/// Bytes of a label or field selector: some hundred values.
pub const SELECTOR_BYTES_MAX: usize = 8 * 1024;
/// Requirements of a label or field selector, which are all held against each object.
pub const SELECTOR_TERMS_MAX: usize = 64;
/// Operations of a JSON patch; Kubernetes has the same limit.
pub const PATCH_OPERATIONS_MAX: usize = 10_000;

/// Objects of a list that are made at once, in about a millisecond: kubectl's own size of a page. A larger list is made in parts of this
/// size at most.
pub const PART_OBJECTS_MAX: usize = 500;
/// Bytes at which a part ends before it has so many objects: what waits in memory for a slow client is counted in parts.
pub const PART_BYTES_MAX: usize = 1024 * 1024;
/// Changes of one page at most: each is read from the database with its entries.
pub const PAGE_CHANGES_MAX: usize = 500;
/// Changes that one page looks at where a field selector passes most of them over; the page then ends early, with a token.
pub const SCANNED_CHANGES_MAX: usize = 10_000;
/// Large lists of one client that are sent at once; its others wait. So one client takes no more of the lines out than two.
pub const LISTS_PER_CLIENT_MAX: usize = 2;
/// Watches of one client that are told at once what is no longer in memory, page by page from the database; its others wait. Each holds a
/// page.
pub const LOOK_BACKS_PER_CLIENT_MAX: usize = 2;
/// Parts of large lists, and pages for watches that look back, that are made at once, from whomever; clients take turns at them. With two, a slow selection among all objects does
/// not hold up everybody else's parts, and the rest of the machine is left to the agents.
pub const PARTS_AT_ONCE_MAX: usize = 2;
/// Seconds for the whole of a list, its wait for the first turn included: as long as the record keeps the revision between two pages.
pub const LIST_SECONDS_MAX: u64 = 300;
/// Seconds for which a request waits for a revision that the record has not reached yet, as Kubernetes has it.
pub const REVISION_WAIT_SECONDS_MAX: u64 = 3;

/// The limits of one server. The defaults are the constants of this crate; tests choose smaller ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// [`HANDSHAKE_SECONDS_MAX`], in milliseconds.
    pub handshake_milliseconds_max: u64,
    /// [`HEADER_SECONDS_MAX`], in milliseconds.
    pub header_milliseconds_max: u64,
    /// [`BODY_BYTES_MAX`].
    pub body_bytes_max: usize,
    /// [`BODY_SECONDS_MAX`], in milliseconds.
    pub body_milliseconds_max: u64,
    /// [`WRITE_STALL_SECONDS_MAX`], in milliseconds.
    pub write_stall_milliseconds_max: u64,
    /// [`WRITES_PER_CLIENT_MAX`].
    pub writes_per_client_max: usize,
    /// [`READS_PER_CLIENT_MAX`].
    pub reads_per_client_max: usize,
    /// [`WATCHES_PER_CLIENT_MAX`].
    pub watches_per_client_max: usize,
    /// [`BOOKMARK_SECONDS`], in milliseconds.
    pub bookmark_milliseconds: u64,
    /// [`WATCH_SECONDS_MAX`], in milliseconds.
    pub watch_milliseconds_max: u64,
    /// [`LISTS_PER_CLIENT_MAX`].
    pub lists_per_client_max: usize,
    /// [`LOOK_BACKS_PER_CLIENT_MAX`].
    pub look_backs_per_client_max: usize,
    /// [`PARTS_AT_ONCE_MAX`].
    pub parts_at_once_max: usize,
    /// [`LIST_SECONDS_MAX`], in milliseconds.
    pub list_milliseconds_max: u64,
    /// [`REVISION_WAIT_SECONDS_MAX`], in milliseconds.
    pub revision_wait_milliseconds_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            handshake_milliseconds_max: HANDSHAKE_SECONDS_MAX.saturating_mul(1_000),
            header_milliseconds_max: HEADER_SECONDS_MAX.saturating_mul(1_000),
            body_bytes_max: BODY_BYTES_MAX,
            body_milliseconds_max: BODY_SECONDS_MAX.saturating_mul(1_000),
            write_stall_milliseconds_max: WRITE_STALL_SECONDS_MAX.saturating_mul(1_000),
            writes_per_client_max: WRITES_PER_CLIENT_MAX,
            reads_per_client_max: READS_PER_CLIENT_MAX,
            watches_per_client_max: WATCHES_PER_CLIENT_MAX,
            bookmark_milliseconds: BOOKMARK_SECONDS.saturating_mul(1_000),
            watch_milliseconds_max: WATCH_SECONDS_MAX.saturating_mul(1_000),
            lists_per_client_max: LISTS_PER_CLIENT_MAX,
            look_backs_per_client_max: LOOK_BACKS_PER_CLIENT_MAX,
            parts_at_once_max: PARTS_AT_ONCE_MAX,
            list_milliseconds_max: LIST_SECONDS_MAX.saturating_mul(1_000),
            revision_wait_milliseconds_max: REVISION_WAIT_SECONDS_MAX.saturating_mul(1_000),
        }
    }
}
