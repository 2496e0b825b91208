//! How the parts of a kind merge, read from its schema: which structs and maps have fields of their own, and by what the items of
//! lists are told apart.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde_json::{Map, Value};
use stead_model::{KindInfo, registry};

use crate::path::{Scalar, Step};

/// Schemas within schemas: our deepest kind has 6.
const DEPTH_MAX: usize = 32;

/// How one part of an object merges.
#[derive(Debug, PartialEq)]
pub(crate) enum Shape {
    /// There is no schema: maps have fields, lists are taken whole.
    Deduced,
    /// One field, whatever it holds: a scalar, or a map or list that is taken whole.
    Whole,
    /// A struct's fields, and the shape of further members where it is a map (too).
    Members { fields: BTreeMap<String, Shape>, rest: Option<Box<Shape>> },
    /// A list of scalars, each its own field.
    Set,
    /// A list whose items are told apart by some of their fields.
    Keyed { keys: Vec<String>, item: Box<Shape> },
}

/// Where there is no schema for the members of a map, this is theirs.
pub(crate) static DEDUCED: Shape = Shape::Deduced;

static OF_KINDS: LazyLock<Vec<((&str, &str), Shape)>> =
    LazyLock::new(|| registry().iter().map(|info| ((info.group, info.kind), Shape::of_schema(&info.schema))).collect());

impl Shape {
    /// The shape of a kind's objects.
    pub(crate) fn of(info: &KindInfo) -> &'static Self {
        OF_KINDS.iter().find(|((group, kind), _)| (*group, *kind) == (info.group, info.kind)).map_or(&DEDUCED, |(_, shape)| shape)
    }

    /// Reads a structural schema (see `KindInfo::schema`) with the extensions that Kubernetes has for this.
    pub(crate) fn of_schema(schema: &Value) -> Self {
        read(schema, 0)
    }

    /// The shape of a member.
    pub(crate) fn member(&self, name: &str) -> &Self {
        match self {
            Self::Members { fields, rest } => fields.get(name).or(rest.as_deref()).unwrap_or(&DEDUCED),
            _ => &DEDUCED,
        }
    }

    /// Whether a member is a field that the kind declares, rather than a key of a map.
    pub(crate) fn declares(&self, name: &str) -> bool {
        matches!(self, Self::Members { fields, .. } if fields.contains_key(name))
    }

    /// The shape of a list's items, where they are fields of their own.
    pub(crate) fn item(&self) -> &Self {
        match self {
            Self::Keyed { item, .. } => item,
            _ => &Self::Whole,
        }
    }

    /// The members of a value that has fields of its own.
    pub(crate) fn members<'v>(&self, value: Option<&'v Value>) -> Option<&'v Map<String, Value>> {
        match self {
            Self::Deduced | Self::Members { .. } => value.and_then(Value::as_object),
            _ => None,
        }
    }

    /// The items of a list whose items are fields of their own.
    pub(crate) fn items<'v>(&self, value: Option<&'v Value>) -> Option<&'v [Value]> {
        match self {
            Self::Set | Self::Keyed { .. } => value.and_then(Value::as_array).map(Vec::as_slice),
            _ => None,
        }
    }

    /// Which step leads to an item; `None` where it has not what tells it apart.
    pub(crate) fn step(&self, item: &Value) -> Option<Step> {
        match self {
            Self::Set => Scalar::of(item).map(Step::Value),
            Self::Keyed { keys, .. } => {
                let members = item.as_object()?;
                let field = |key: &String| Some((key.clone(), Scalar::of(members.get(key)?)?));
                keys.iter().map(field).collect::<Option<_>>().map(Step::Key)
            }
            _ => None,
        }
    }
}

fn read(schema: &Value, depth: usize) -> Shape {
    let text = |name: &str| schema.get(name).and_then(Value::as_str);
    if depth > DEPTH_MAX {
        return Shape::Whole;
    }
    let below = |schema: &Value| read(schema, depth.saturating_add(1));
    match text("type") {
        Some("object") if text("x-kubernetes-map-type") == Some("atomic") => Shape::Whole,
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let rest = schema.get("additionalProperties").filter(|rest| rest.as_bool() != Some(false));
            if properties.is_none() && rest.is_none() {
                return Shape::Deduced;
            }
            let fields = properties.into_iter().flatten().map(|(name, schema)| (name.clone(), below(schema))).collect();
            Shape::Members { fields, rest: rest.map(|rest| Box::new(below(rest))) }
        }
        Some("array") => match text("x-kubernetes-list-type") {
            Some("set") => Shape::Set,
            Some("map") => {
                let keys = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array);
                let keys = keys.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
                Shape::Keyed { keys, item: Box::new(schema.get("items").map_or(Shape::Deduced, below)) }
            }
            _ => Shape::Whole,
        },
        Some(_) => Shape::Whole,
        None => Shape::Deduced,
    }
}

#[cfg(test)]
mod tests {
    use stead_model::GroupKind;

    use super::*;

    fn at<'a>(shape: &'a Shape, path: &str) -> &'a Shape {
        path.split('.').filter(|part| !part.is_empty()).fold(shape, |shape, part| match part {
            "[]" => shape.item(),
            name => shape.member(name),
        })
    }

    #[test]
    fn kinds_say_how_their_lists_merge() {
        for (group, kind, path, expected) in [
            ("stead.dev", "Profile", "metadata.labels", "map"),
            ("stead.dev", "Profile", "metadata.finalizers", "set"),
            ("stead.dev", "Profile", "metadata.ownerReferences", "by uid"),
            ("stead.dev", "Profile", "metadata.ownerReferences.[]", "whole"),
            ("stead.dev", "Profile", "metadata.managedFields", "whole"),
            ("stead.dev", "Profile", "spec", "struct"),
            ("stead.dev", "Profile", "spec.selector", "whole"),
            ("stead.dev", "Profile", "spec.files", "by path"),
            ("stead.dev", "Profile", "spec.files.[]", "struct"),
            ("stead.dev", "Profile", "spec.files.[].content", "whole"),
            ("stead.dev", "Profile", "spec.directories", "by path"),
            ("stead.dev", "Profile", "spec.links", "by path"),
            ("stead.dev", "Profile", "spec.commands", "by name"),
            ("stead.dev", "Profile", "spec.commands.[].run", "whole"),
            ("stead.dev", "Profile", "status.conditions", "by type"),
            ("stead.dev", "Machine", "status.conditions", "by type"),
            ("stead.dev", "Machine", "status.units", "whole"),
            ("stead.dev", "Enrollment", "status.conditions", "by type"),
            ("stead.dev", "Enrollment", "spec.labels", "map"),
            ("", "Namespace", "spec.finalizers", "whole"),
            ("", "Event", "involvedObject", "whole"),
            ("", "Event", "source", "struct"),
            ("coordination.k8s.io", "Lease", "spec.holderIdentity", "whole"),
        ] {
            let info = registry().by_group_kind(&GroupKind::new(group, kind)).unwrap();
            let found = match at(Shape::of(info), path) {
                Shape::Deduced => "deduced".to_owned(),
                Shape::Whole => "whole".to_owned(),
                Shape::Members { rest: Some(_), .. } => "map".to_owned(),
                Shape::Members { rest: None, .. } => "struct".to_owned(),
                Shape::Set => "set".to_owned(),
                Shape::Keyed { keys, .. } => format!("by {}", keys.join(",")),
            };
            assert_eq!(found, expected, "{kind} {path}");
        }
    }

    /// A key that may be missing tells nothing apart.
    #[test]
    fn what_tells_items_apart_is_required() {
        fn check(schema: &Value, at: &str) {
            if let Some(keys) = schema.get("x-kubernetes-list-map-keys").and_then(Value::as_array) {
                let required = schema["items"].get("required").and_then(Value::as_array).cloned().unwrap_or_default();
                // `uid` of an owner is required by the server, as in Kubernetes, where its schema says so as well.
                assert!(keys.iter().all(|key| required.contains(key) || key == "uid"), "{at}");
            }
            for (name, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
                check(inner, &format!("{at}.{name}"));
            }
            if let Some(items) = schema.get("items") {
                check(items, &format!("{at}[]"));
            }
        }
        registry().iter().for_each(|info| check(&info.schema, info.kind));
    }
}
