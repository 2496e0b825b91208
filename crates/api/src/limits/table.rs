//! `docs/limits.md`, made of the constants themselves: their names, values and reasons, and what passing one is answered with.

use std::path::Path;

/// What tells the test to write the table rather than to compare it.
const ORDER: &str = "STEAD_LIMITS";

/// Where the limits of requests are, the port's first.
const SOURCES: [&str; 5] = [
    include_str!("../limits.rs"),
    include_str!("../../../model/src/info.rs"),
    include_str!("../../../store/src/transaction.rs"),
    include_str!("../../../store/src/retained.rs"),
    include_str!("../../../store/src/history.rs"),
];

/// What happens past each.
const ANSWERS: &[(&str, &str)] = &[
    ("CONNECTIONS_MAX", "the connection is closed at once"),
    ("HANDSHAKE_SECONDS_MAX", "the connection is closed"),
    ("HEADER_SECONDS_MAX", "the connection is closed"),
    ("HEADER_BYTES_MAX", "431"),
    ("HEADER_LINES_MAX", "431"),
    ("URI_BYTES_MAX", "414 `RequestURITooLong`"),
    ("BODY_BYTES_MAX", "413 `RequestEntityTooLarge`"),
    ("SUBMISSION_BYTES_MAX", "413 `RequestEntityTooLarge`"),
    ("LARGE_SUBMISSIONS_MAX", "429 `TooManyRequests`, `Retry-After`"),
    ("ANONYMOUS_BODY_BYTES_MAX", "413 `RequestEntityTooLarge`"),
    ("BODY_SECONDS_MAX", "408 `Timeout`"),
    ("WRITE_STALL_SECONDS_MAX", "the connection is closed"),
    ("WRITES_PER_CLIENT_MAX", "429 `TooManyRequests`, `Retry-After`"),
    ("READS_PER_CLIENT_MAX", "429 `TooManyRequests`, `Retry-After`"),
    ("WATCHES_PER_CLIENT_MAX", "429 `TooManyRequests`, `Retry-After`"),
    ("BOOKMARK_SECONDS", "-"),
    ("WATCH_SECONDS_MAX", "the watch ends in good order, with a bookmark where bookmarks are asked for"),
    ("JSON_DEPTH_MAX", "400 `BadRequest`"),
    ("JSON_MEMBERS_MAX", "413 `RequestEntityTooLarge`"),
    ("QUERY_PARAMETERS_MAX", "400 `BadRequest`"),
    ("SELECTOR_BYTES_MAX", "400 `BadRequest`"),
    ("SELECTOR_TERMS_MAX", "400 `BadRequest`"),
    ("PATCH_OPERATIONS_MAX", "413 `RequestEntityTooLarge`"),
    ("PART_OBJECTS_MAX", "the list comes in parts, at its client's turn"),
    ("PART_BYTES_MAX", "the part ends"),
    ("PAGE_CHANGES_MAX", "the list comes in parts"),
    ("SCANNED_CHANGES_MAX", "the page ends early, with a token"),
    ("LISTS_PER_CLIENT_MAX", "the list waits for the client's others"),
    ("LOOK_BACKS_PER_CLIENT_MAX", "the watch waits for the client's others"),
    ("PARTS_AT_ONCE_MAX", "the part waits for its client's turn"),
    ("LIST_SECONDS_MAX", "429 `TooManyRequests` before the first part; after it the answer is cut off"),
    ("REVISION_WAIT_SECONDS_MAX", "504 `Timeout`, cause `ResourceVersionTooLarge`"),
    ("META_MAP_BYTES_MAX", "422 `Invalid`, cause `FieldValueTooLong`"),
    ("OPERATIONS_PER_TRANSACTION_MAX", "413 `RequestEntityTooLarge`"),
    ("OBJECT_BYTES_MAX", "413 `RequestEntityTooLarge`"),
    ("TRANSACTION_BYTES_MAX", "413 `RequestEntityTooLarge`"),
    ("RETAINED_SNAPSHOTS_MAX", "410 `Expired`, with a token for the rest"),
    ("REWOUND_SNAPSHOTS_MAX", "410 `Expired`, with a token for the rest"),
    ("RETAINED_SECONDS_MAX", "410 `Expired`, with a token for the rest"),
    ("RETAINED_REPLACED_BYTES_MAX", "410 `Expired`, with a token for the rest"),
    ("HISTORY_PAGE_STEPS_MAX", "the watch is told the rest from the next page"),
    ("HISTORY_PAGE_BYTES_MAX", "the watch is told the rest from the next page"),
    ("HISTORY_PAGES_AT_ONCE_MAX", "the watch waits"),
];

const HEAD: &str = "\
# Limits of the API

What goes past a limit is refused with an error of its own; nothing is cut short in silence. Where the port itself answers with a `Status`,
its cause `LimitExceeded` names the limit. This table is made of the constants in the code (`cargo xtask openapi` writes it, a test
compares it).

| limit | value | why | past it |
|---|---|---|---|
";

/// The public constants of a source: name, value and documentation.
fn constants(source: &str) -> Vec<(String, u64, String)> {
    let (mut found, mut documentation) = (Vec::new(), Vec::new());
    for line in source.lines() {
        if let Some(text) = line.strip_prefix("/// ") {
            documentation.push(text);
            continue;
        }
        let constant = line.strip_prefix("pub const ").and_then(|line| line.split_once(": "));
        if let Some((name, rest)) = constant {
            let value = rest.split_once(" = ").unwrap().1.trim_end_matches(';');
            let number = |factor: &str| factor.trim().replace('_', "").parse::<u64>().unwrap();
            found.push((name.to_owned(), value.split('*').map(number).product(), documentation.join(" ")));
        }
        documentation.clear();
    }
    found
}

fn table() -> String {
    let mut table = HEAD.to_owned();
    for (name, value, why) in SOURCES.into_iter().flat_map(constants) {
        let answer = ANSWERS.iter().find(|(known, _)| *known == name);
        let (_, answer) = answer.unwrap_or_else(|| panic!("it is not said here what happens past {name}"));
        table.push_str(&format!("| `{name}` | {value} | {why} | {answer} |\n"));
    }
    table
}

#[test]
fn the_table_of_limits_is_the_one_of_the_code() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/limits.md");
    let table = table();
    if std::env::var_os(ORDER).is_some() {
        return std::fs::write(place, table).unwrap();
    }
    let known: Vec<String> = SOURCES.into_iter().flat_map(constants).map(|(name, _, _)| name).collect();
    for (name, _) in ANSWERS {
        assert!(known.iter().any(|known| known == name), "there is no limit {name}");
    }
    assert!(std::fs::read_to_string(place).unwrap() == table, "docs/limits.md is another: `cargo xtask openapi` writes it");
}
