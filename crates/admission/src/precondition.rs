//! What a Change depends on beside what it writes: checked in its own transaction, and by nobody else.
//!
//! A statement says by its sequences on top of what each object is written. What it should depend on beyond that stands beside it in the
//! submission and is not signed: the coordinator that admits the Change looks at it, machines never hear of it.

use serde::{Deserialize, Serialize};
use stead_model::{GroupKind, ObjectKey, Revision};
use stead_store::{CommitError, Expect, Op};

use crate::error::WriteError;

/// The most preconditions of one Change: beside its objects, so that one transaction takes both.
pub const PRECONDITIONS_MAX: usize = 1_000;

/// Something that must hold of an object for a Change to be admitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Precondition {
    /// Group and version of the object's kind.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace; empty for kinds of cluster scope.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// There is none of that name (`true`), or there is one (`false`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<bool>,
    /// Its last signed change has this sequence; 0 where there never was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u64>,
    /// It was last written at this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_version: Option<String>,
}

impl Precondition {
    /// Nothing yet that must hold of an object.
    pub fn of(api_version: &str, key: &ObjectKey) -> Self {
        Self {
            api_version: api_version.to_owned(),
            kind: key.kind.kind().to_owned(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            absent: None,
            sequence: None,
            resource_version: None,
        }
    }

    /// The object that it is about.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(GroupKind::from_api_version(&self.api_version, &self.kind), &self.namespace, &self.name)
    }

    /// The checks as the record makes them.
    fn ops(&self) -> Result<Vec<Op>, WriteError> {
        let key = self.key();
        let invalid = |reason: String| WriteError::Invalid { key: key.clone(), reason };
        let mut expected = Vec::new();
        expected.extend(self.absent.map(|absent| if absent { Expect::Absent } else { Expect::Exists }));
        expected.extend(self.sequence.map(Expect::Sequence));
        if let Some(text) = &self.resource_version {
            let revision = text.parse().map_err(|_| invalid(format!("{text:?} is no resourceVersion")))?;
            expected.push(Expect::Revision(Revision(revision)));
        }
        if expected.is_empty() {
            return Err(invalid("a precondition says absent, sequence or resourceVersion".to_owned()));
        }
        Ok(expected.into_iter().map(|expect| Op::Check { key: key.clone(), expect }).collect())
    }
}

/// The checks of some preconditions.
pub(crate) fn checks(preconditions: &[Precondition]) -> Result<Vec<Op>, WriteError> {
    if preconditions.len() > PRECONDITIONS_MAX {
        let what = "the preconditions of a change".to_owned();
        return Err(CommitError::TooLarge { what, size: preconditions.len(), limit: PRECONDITIONS_MAX }.into());
    }
    let ops = preconditions.iter().map(Precondition::ops).collect::<Result<Vec<_>, _>>()?;
    Ok(ops.into_iter().flatten().collect())
}

/// The record's refusal, told from one about what is written.
pub(crate) fn told_apart(error: CommitError, preconditions: &[Precondition]) -> WriteError {
    let key = match &error {
        CommitError::NotFound { key }
        | CommitError::AlreadyExists { key }
        | CommitError::Conflict { key, .. }
        | CommitError::OtherSequence { key, .. } => key.clone(),
        _ => return error.into(),
    };
    if preconditions.iter().any(|precondition| precondition.key() == key) {
        WriteError::Precondition { key, source: error }
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn each_form_is_read_and_becomes_a_check() {
        let named = |member: &str, value: serde_json::Value| {
            let mut precondition = json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "name": "web"});
            precondition[member] = value;
            serde_json::from_value::<Precondition>(precondition)
        };
        let cases = [
            ("absent", json!(true), Expect::Absent),
            ("absent", json!(false), Expect::Exists),
            ("sequence", json!(4), Expect::Sequence(4)),
            ("resourceVersion", json!("9"), Expect::Revision(Revision(9))),
        ];
        for (member, value, expected) in cases {
            let ops = named(member, value).unwrap().ops().unwrap();
            let [Op::Check { key, expect }] = ops.as_slice() else { panic!("{ops:?}") };
            assert_eq!((key.to_string().as_str(), expect), ("Profile/web", &expected));
        }
        assert!(named("resourceVersion", json!("x")).unwrap().ops().is_err());
        assert!(named("namespace", json!("a")).unwrap().ops().is_err(), "nothing is expected");
        assert!(named("sequense", json!(4)).is_err());
    }
}
