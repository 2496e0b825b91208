//! Selectors: which objects are meant, by their labels or their fields.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::{validate_label_key, validate_label_value};

/// A label selector as objects hold it. All its parts must match; an empty one matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-map-type" = "atomic"))]
pub struct Selector {
    /// Labels that must be there with just these values.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_expressions: Vec<LabelRequirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LabelRequirement {
    /// The label.
    pub key: String,
    /// What is required of it.
    pub operator: Operator,
    /// The values that `In` and `NotIn` speak of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// What a requirement asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// The label is there, with one of the values.
    In,
    /// The label is absent, or has none of the values.
    NotIn,
    /// The label is there.
    Exists,
    /// The label is absent.
    DoesNotExist,
}

/// Why a selector in text is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unable to parse selector at {part:?}: {expected}")]
pub struct SelectorError {
    part: String,
    expected: String,
}

impl Selector {
    /// Whether labels fit.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }

    /// Whether it matches everything.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// The label keys it looks at.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.match_labels
            .keys()
            .map(String::as_str)
            .chain(self.match_expressions.iter().map(|requirement| requirement.key.as_str()))
    }
}

impl LabelRequirement {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// The form of `kubectl -l`: `a=b`, `a!=b`, `a in (b, c)`, `a notin (b)`, `a`, `!a`, joined by commas.
impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut selector = Self::default();
        for part in split_outside_parentheses(text) {
            let part = part.trim();
            if part.is_empty() {
                continue;
            }
            selector.match_expressions.push(requirement(part)?);
        }
        Ok(selector)
    }
}

fn split_outside_parentheses(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ',' && depth == 0
    })
    .collect()
}

fn requirement(part: &str) -> Result<LabelRequirement, SelectorError> {
    let error = |expected: &str| SelectorError { part: part.to_owned(), expected: expected.to_owned() };
    let (key, operator, values) = if let Some(key) = part.strip_prefix('!') {
        (key, Operator::DoesNotExist, vec![])
    } else if let Some((key, value)) = part.split_once("!=") {
        (key, Operator::NotIn, vec![value.trim()])
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        (key, Operator::In, vec![value.trim()])
    } else if let Some((head, values)) = part.split_once('(') {
        let values = values.strip_suffix(')').ok_or_else(|| error("expected ')'"))?;
        let values = values.split(',').map(str::trim).collect();
        match head.trim().split_once(char::is_whitespace).map(|(key, word)| (key, word.trim())) {
            Some((key, "in")) => (key, Operator::In, values),
            Some((key, "notin")) => (key, Operator::NotIn, values),
            _ => return Err(error("expected `KEY in (…)` or `KEY notin (…)`")),
        }
    } else {
        (part, Operator::Exists, vec![])
    };
    let key = key.trim();
    validate_label_key(key).map_err(|cause| error(cause.expected))?;
    for value in &values {
        validate_label_value(value).map_err(|cause| error(cause.expected))?;
    }
    Ok(LabelRequirement { key: key.to_owned(), operator, values: values.into_iter().map(str::to_owned).collect() })
}

impl fmt::Display for Selector {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.match_labels.iter().map(|(key, value)| format!("{key}={value}"));
        let expressions = self.match_expressions.iter().map(|requirement| {
            let LabelRequirement { key, operator, values } = requirement;
            match operator {
                Operator::In => format!("{key} in ({})", values.join(",")),
                Operator::NotIn => format!("{key} notin ({})", values.join(",")),
                Operator::Exists => key.clone(),
                Operator::DoesNotExist => format!("!{key}"),
            }
        });
        formatter.write_str(&labels.chain(expressions).collect::<Vec<_>>().join(","))
    }
}

/// A field selector: `metadata.name=a,type!=Normal`. The fields a kind supports are checked by who evaluates it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// Field, whether it must equal (or differ from) the value, and the value.
    pub requirements: Vec<(String, bool, String)>,
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let mut requirements = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (field, equal, value) = if let Some((field, value)) = part.split_once("!=") {
                (field, false, value)
            } else if let Some((field, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
                (field, true, value)
            } else {
                return Err(SelectorError {
                    part: part.to_owned(),
                    expected: "expected `FIELD=VALUE` or `FIELD!=VALUE`".to_owned(),
                });
            };
            requirements.push((field.trim().to_owned(), equal, value.trim().to_owned()));
        }
        Ok(Self { requirements })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn text_form() {
        let web = labels(&[("role", "web"), ("site", "graz")]);
        for (text, expected) in [
            ("", true),
            ("role=web", true),
            ("role==web,site=graz", true),
            ("role!=web", false),
            ("missing!=x", true),
            ("role in (db, web),site", true),
            ("role notin (web)", false),
            ("!missing", true),
            ("missing", false),
            ("a in (b,c1), x != y , role", false),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().matches(&web), expected, "{text}");
        }
        for bad in ["role in web", "role in (web", "=x", "a b", "role=a b", "-x"] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }

    #[test]
    fn field_form() {
        let selector: FieldSelector = "metadata.name=a,type!=Normal".parse().unwrap();
        assert_eq!(selector.requirements, [("metadata.name".into(), true, "a".into()), ("type".into(), false, "Normal".into())]);
        assert!("metadata.name".parse::<FieldSelector>().is_err());
    }

    fn any_requirement() -> impl Strategy<Value = LabelRequirement> {
        let operator =
            prop_oneof![Just(Operator::In), Just(Operator::NotIn), Just(Operator::Exists), Just(Operator::DoesNotExist)];
        ("[a-c]", operator, prop::collection::vec("[x-z]", 1..3)).prop_map(|(key, operator, values)| {
            let values = if matches!(operator, Operator::In | Operator::NotIn) { values } else { vec![] };
            LabelRequirement { key, operator, values }
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_selects_the_same(
            requirements in prop::collection::vec(any_requirement(), 0..4),
            labels in prop::collection::btree_map("[a-c]", "[x-z]", 0..3),
        ) {
            let selector = Selector { match_labels: BTreeMap::new(), match_expressions: requirements };
            let again: Selector = selector.to_string().parse().unwrap();
            prop_assert_eq!(selector.matches(&labels), again.matches(&labels));
        }

        #[test]
        fn opposite_operators_exclude_each_other(
            requirement in any_requirement(),
            labels in prop::collection::btree_map("[a-c]", "[x-z]", 0..3),
        ) {
            let opposite = LabelRequirement {
                operator: match requirement.operator {
                    Operator::In => Operator::NotIn,
                    Operator::NotIn => Operator::In,
                    Operator::Exists => Operator::DoesNotExist,
                    Operator::DoesNotExist => Operator::Exists,
                },
                ..requirement.clone()
            };
            prop_assert_ne!(requirement.matches(&labels), opposite.matches(&labels));
        }
    }
}
