//! `KIND/NAME=NUMBER` and `KIND/NAME` on the command line: what a change depends on.

use std::str::FromStr;

use stead_admission::Precondition;
use stead_model::{KindInfo, ObjectKey};

use crate::cli::Conditions;
use crate::failure::Failure;
use crate::kind_word::{info, namespace_of};

/// An object as it is named on the command line: `KIND/NAME`, or `KIND/NAMESPACE/NAME`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    kind: String,
    namespace: Option<String>,
    name: String,
}

/// An object, and the sequence that its last signed change should have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IfSequence {
    named: Named,
    sequence: u64,
}

impl FromStr for Named {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, namespace, name) = match parts.as_slice() {
            [kind, name] => (*kind, None, *name),
            [kind, namespace, name] => (*kind, Some((*namespace).to_owned()), *name),
            _ => return Err(format!("{text:?}: write KIND/NAME, or KIND/NAMESPACE/NAME")),
        };
        if kind.is_empty() || name.is_empty() {
            return Err(format!("{text:?}: write KIND/NAME, or KIND/NAMESPACE/NAME"));
        }
        Ok(Self { kind: kind.to_owned(), namespace, name: name.to_owned() })
    }
}

impl FromStr for IfSequence {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: write KIND/NAME=NUMBER, such as profile/web=4");
        let (named, sequence) = text.rsplit_once('=').ok_or_else(wrong)?;
        Ok(Self { named: named.parse()?, sequence: sequence.parse().map_err(|_| wrong())? })
    }
}

impl Named {
    /// The object that is meant, with its kind.
    pub(crate) fn resolve(&self, namespace: &str) -> Result<(&'static KindInfo, ObjectKey), Failure> {
        let info = info(&self.kind)?;
        let namespace = self.namespace.as_deref().unwrap_or_else(|| namespace_of(info, namespace));
        Ok((info, ObjectKey::new(info.group_kind(), namespace, &self.name)))
    }
}

/// What the coordinator is to check.
pub(crate) fn preconditions(conditions: &Conditions, namespace: &str) -> Result<Vec<Precondition>, Failure> {
    let of = |named: &Named| -> Result<Precondition, Failure> {
        let (info, key) = named.resolve(namespace)?;
        Ok(Precondition::of(&info.api_version(), &key))
    };
    let mut all = Vec::new();
    for condition in &conditions.if_sequence {
        all.push(Precondition { sequence: Some(condition.sequence), ..of(&condition.named)? });
    }
    for named in &conditions.if_absent {
        all.push(Precondition { absent: Some(true), ..of(named)? });
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_becomes_what_is_checked() {
        let conditions = Conditions {
            if_sequence: vec!["profile/web=4".parse().unwrap()],
            if_absent: vec!["lease/lab/a".parse().unwrap(), "lease/b".parse().unwrap()],
        };
        let all = preconditions(&conditions, "default").unwrap();
        let shown: Vec<String> = all.iter().map(|condition| condition.key().to_string()).collect();
        assert_eq!(shown, ["Profile/web", "Lease/lab/a", "Lease/default/b"]);
        assert_eq!((all[0].sequence, all[1].absent), (Some(4), Some(true)));
        for bad in ["profile/web", "web=4", "profile/web=x", "=", "profile/=1"] {
            assert!(bad.parse::<IfSequence>().is_err(), "{bad}");
        }
        for bad in ["", "profile", "a/b/c/d", "/a"] {
            assert!(bad.parse::<Named>().is_err(), "{bad}");
        }
    }
}
