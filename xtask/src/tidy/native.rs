//! Crates that bring a C library of their own: two cryptographic back-ends in one binary, or a library of the system's.

use super::Finding;
use crate::command;
use crate::failure::Outcome;

/// What must not be among the dependencies, and why.
const FORBIDDEN: [(&str, &str); 2] = [
    ("aws-lc-sys", "the workspace uses ring alone: turn the feature off that brings it"),
    ("openssl-sys", "the binary would need the system's OpenSSL: turn the feature off that brings it"),
];

/// Asks cargo for everything that is built here, tests included.
pub(super) fn check() -> Outcome<Vec<Finding>> {
    let mut findings = Vec::new();
    let all = command::output(command::cargo().args(["tree", "--quiet", "--workspace", "--prefix", "none", "--format", "{p}"]))?;
    for (name, reason) in FORBIDDEN {
        let present = all.lines().any(|line| line.split(' ').next() == Some(name));
        if present {
            findings.push(Finding {
                path: "Cargo.lock".to_owned(),
                line: 1,
                rule: "native-library",
                what_to_do: format!("`cargo tree -i {name}` finds users; {reason}"),
            });
        }
    }
    Ok(findings)
}
