//! What a kind is, from its one Rust definition: names, schema, columns, and how its objects are read.

use std::sync::LazyLock;

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::field::SelectableField;
use crate::kinds;
use crate::name::{validate_label_key, validate_label_value, validate_name};
use crate::schema::{Cause, CauseReason, check_schema};
use crate::table::Column;
use crate::{GroupKind, Object, ObjectError, ObjectMeta};

/// A kind of object. Its documentation, schema, columns and checks all come from the one type that implements this.
pub trait Kind: Serialize + DeserializeOwned + JsonSchema {
    /// The API group; empty for the core group.
    const GROUP: &'static str;
    /// The served version.
    const VERSION: &'static str;
    /// The kind, such as `Machine`.
    const KIND: &'static str;
    /// The name in paths, such as `machines`.
    const PLURAL: &'static str;
    /// The name for one, such as `machine`.
    const SINGULAR: &'static str;
    /// Abbreviations for the command line.
    const SHORT_NAMES: &'static [&'static str] = &[];
    /// Groups of kinds that are listed together, such as `all`.
    const CATEGORIES: &'static [&'static str] = &[];
    /// Whether objects live in namespaces.
    const NAMESPACED: bool = false;
    /// Whether the kind has a `status` that machines write.
    const HAS_STATUS: bool = true;
    /// Whether clients may only read it.
    const READ_ONLY: bool = false;
    /// The columns after the name and before the age.
    const COLUMNS: &'static [Column];
    /// Fields by which objects can be selected, beside their name and namespace.
    const SELECTABLE: &'static [SelectableField] = &[];

    /// Checks what a schema cannot say.
    fn validate(&self) -> Vec<Cause> {
        Vec::new()
    }
}

/// A kind, as data.
pub struct KindInfo {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The served version.
    pub version: &'static str,
    /// The kind, such as `Machine`.
    pub kind: &'static str,
    /// The name in paths, such as `machines`.
    pub plural: &'static str,
    /// The name for one, such as `machine`.
    pub singular: &'static str,
    /// Abbreviations for the command line.
    pub short_names: &'static [&'static str],
    /// Groups of kinds that are listed together.
    pub categories: &'static [&'static str],
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether the kind has a `status` that machines write.
    pub has_status: bool,
    /// Whether clients may only read it.
    pub read_only: bool,
    /// The columns after the name and before the age.
    pub columns: &'static [Column],
    /// Fields by which objects can be selected, beside their name and namespace.
    pub selectable: &'static [SelectableField],
    /// JSON schema of a whole object, with every reference in place and `null` left out (a null counts as absent).
    pub schema: Value,
    /// Checks what a schema cannot say, of an object and the same as JSON.
    validate: fn(&Object, Value) -> Vec<Cause>,
}

/// Why a manifest is refused, with every cause found.
#[derive(Debug, thiserror::Error)]
#[error("{kind} {name:?} is invalid: {}", .causes.iter().map(|cause| format!("{}: {}", cause.path, cause.message)).collect::<Vec<_>>().join("; "))]
pub struct ParseError {
    kind: String,
    name: String,
    causes: Vec<Cause>,
}

impl ParseError {
    /// The kind as given.
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// The object's name as given.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong; never empty.
    pub fn causes(&self) -> &[Cause] {
        &self.causes
    }
}

impl KindInfo {
    fn of<K: Kind>() -> Self {
        Self {
            group: K::GROUP,
            version: K::VERSION,
            kind: K::KIND,
            plural: K::PLURAL,
            singular: K::SINGULAR,
            short_names: K::SHORT_NAMES,
            categories: K::CATEGORIES,
            namespaced: K::NAMESPACED,
            has_status: K::HAS_STATUS,
            read_only: K::READ_ONLY,
            columns: K::COLUMNS,
            selectable: K::SELECTABLE,
            schema: schema_of::<K>(),
            validate: |object, value| match serde_json::from_value::<K>(value) {
                Ok(typed) => typed.validate(),
                Err(source) => {
                    let error = ObjectError::Shape { key: object.key(), source };
                    vec![Cause::new("(object)", CauseReason::Invalid, error.to_string())]
                }
            },
        }
    }

    /// The kind with its group.
    pub fn group_kind(&self) -> GroupKind {
        GroupKind::new(self.group, self.kind)
    }

    /// `apiVersion` of its objects.
    pub fn api_version(&self) -> String {
        api_version(self.group, self.version)
    }

    /// `machines.stead.dev`, or `namespaces` for the core group.
    pub fn qualified_plural(&self) -> String {
        if self.group.is_empty() { self.plural.to_owned() } else { format!("{}.{}", self.plural, self.group) }
    }

    /// Reads a whole object strictly: unknown fields, wrong types, bad names and labels are all refused, with every cause.
    ///
    /// # Errors
    ///
    /// [`ParseError`] lists each field that is wrong and what was expected.
    pub fn parse(&self, value: Value) -> Result<Object, ParseError> {
        let (object, unknown) = self.parse_lenient(value)?;
        if unknown.is_empty() { Ok(object) } else { Err(self.error(&object.metadata.name, unknown)) }
    }

    /// Reads an object, and gives back the unknown fields (which are dropped from it) rather than refusing them.
    ///
    /// # Errors
    ///
    /// [`ParseError`] for everything but unknown fields.
    pub fn parse_lenient(&self, mut value: Value) -> Result<(Object, Vec<Cause>), ParseError> {
        let name = value.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
        remove_nulls(&mut value);
        let (unknown, wrong): (Vec<_>, Vec<_>) =
            check_schema(&self.schema, &value).into_iter().partition(|cause| cause.reason == CauseReason::UnknownField);
        if !wrong.is_empty() {
            return Err(self.error(&name, wrong.into_iter().chain(unknown).collect()));
        }
        for cause in &unknown {
            remove_path(&mut value, &cause.path);
        }
        let misshapen =
            |error: serde_json::Error| self.error(&name, vec![Cause::new("(object)", CauseReason::Invalid, error.to_string())]);
        let object: Object = serde_json::from_value(value).map_err(misshapen)?;
        let mut causes = self.check_identity(&object);
        if causes.is_empty() {
            causes = (self.validate)(&object, serde_json::to_value(&object).map_err(misshapen)?);
        }
        // Whoever mends the file wants to know all that is wrong with it.
        if causes.is_empty() {
            Ok((object, unknown))
        } else {
            Err(self.error(&name, causes.into_iter().chain(unknown).collect()))
        }
    }

    /// Says of an object that was read elsewhere whether [`KindInfo::parse`] would have read it.
    ///
    /// # Errors
    ///
    /// As [`KindInfo::parse`].
    pub fn check(&self, object: &Object) -> Result<(), ParseError> {
        let name = &object.metadata.name;
        let misshapen =
            |error: serde_json::Error| self.error(name, vec![Cause::new("(object)", CauseReason::Invalid, error.to_string())]);
        let value = serde_json::to_value(object).map_err(misshapen)?;
        // Reading leaves nulls out, and puts what is wrong in order.
        if has_nulls(&value) || !check_schema(&self.schema, &value).is_empty() {
            return self.parse(value).map(drop);
        }
        let mut causes = self.check_identity(object);
        if causes.is_empty() {
            causes = (self.validate)(object, value);
        }
        if causes.is_empty() { Ok(()) } else { Err(self.error(name, causes)) }
    }

    fn check_identity(&self, object: &Object) -> Vec<Cause> {
        let mut causes = Vec::new();
        let expected = [("apiVersion", &object.api_version, self.api_version()), ("kind", &object.kind, self.kind.to_owned())];
        for (path, found, expected) in expected {
            if *found != expected {
                causes.push(Cause::new(path, CauseReason::Invalid, format!("Invalid value: {found:?}: expected {expected:?}")));
            }
        }
        causes.extend(check_meta(&object.metadata));
        if !self.namespaced && !object.metadata.namespace.is_empty() {
            let message = format!("{} has cluster scope: a namespace is not allowed", self.kind);
            causes.push(Cause::new("metadata.namespace", CauseReason::Forbidden, message));
        }
        causes
    }

    fn error(&self, name: &str, causes: Vec<Cause>) -> ParseError {
        ParseError { kind: self.kind.to_owned(), name: name.to_owned(), causes }
    }
}

pub(crate) fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Bytes of the keys and values of an object's labels together, and of its annotations, as Kubernetes has it.
pub const META_MAP_BYTES_MAX: usize = 256 * 1024;

fn check_meta(meta: &ObjectMeta) -> Vec<Cause> {
    let (mut causes, mut long) = (Vec::new(), Vec::new());
    let mut wrong =
        |path: String, message: String| causes.push(Cause::new(path, CauseReason::Invalid, format!("Invalid value: {message}")));
    if let Err(error) = validate_name(&meta.name) {
        wrong("metadata.name".to_owned(), error.to_string());
    }
    if !meta.namespace.is_empty()
        && let Err(error) = validate_name(&meta.namespace)
    {
        wrong("metadata.namespace".to_owned(), error.to_string());
    }
    for (path, map) in [("metadata.labels", &meta.labels), ("metadata.annotations", &meta.annotations)] {
        let bytes: usize = map.iter().map(|(key, value)| key.len().saturating_add(value.len())).sum();
        if bytes > META_MAP_BYTES_MAX {
            let message = format!("Too long: {bytes} bytes: may not be more than {META_MAP_BYTES_MAX} bytes");
            long.push(Cause::new(path, CauseReason::TooLong, message));
        }
    }
    for (key, value) in &meta.labels {
        if let Err(error) = validate_label_key(key).and_then(|()| validate_label_value(value)) {
            wrong(format!("metadata.labels.{key}"), error.to_string());
        }
    }
    for key in meta.annotations.keys() {
        // Kubernetes lowers the case of an annotation's key before it checks it.
        if let Err(error) = validate_label_key(&key.to_ascii_lowercase()) {
            wrong(format!("metadata.annotations.{key}"), error.to_string());
        }
    }
    causes.append(&mut long);
    causes
}

/// The kinds that are served, in the order in which they are documented.
pub struct Registry {
    kinds: Vec<KindInfo>,
}

impl Registry {
    /// All kinds.
    pub fn iter(&self) -> impl Iterator<Item = &KindInfo> {
        self.kinds.iter()
    }

    /// The kind of that group and name.
    pub fn by_group_kind(&self, kind: &GroupKind) -> Option<&KindInfo> {
        self.iter().find(|info| info.group == kind.group() && info.kind == kind.kind())
    }

    /// The kind that a path names, such as `("stead.dev", "v1", "machines")`.
    pub fn by_path(&self, group: &str, version: &str, plural: &str) -> Option<&KindInfo> {
        self.iter().find(|info| info.group == group && info.version == version && info.plural == plural)
    }

    /// The kind that a person means: plural, singular, kind or short name, in any case, with or without the group.
    pub fn by_word(&self, word: &str) -> Option<&KindInfo> {
        let word = word.to_ascii_lowercase();
        self.iter().find(|info| {
            let names =
                [info.plural.to_owned(), info.singular.to_owned(), info.kind.to_ascii_lowercase(), info.qualified_plural()];
            names.contains(&word) || info.short_names.contains(&word.as_str())
        })
    }
}

/// Every kind of this version of Stead.
pub fn registry() -> &'static Registry {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| Registry {
        kinds: vec![
            KindInfo::of::<kinds::machine::Machine>(),
            KindInfo::of::<kinds::profile::Profile>(),
            KindInfo::of::<kinds::enrollment::Enrollment>(),
            KindInfo::of::<kinds::change::Change>(),
            KindInfo::of::<kinds::trust_root::TrustRoot>(),
            KindInfo::of::<kinds::proposal::Proposal>(),
            KindInfo::of::<kinds::namespace::Namespace>(),
            KindInfo::of::<kinds::event::Event>(),
            KindInfo::of::<kinds::lease::Lease>(),
        ],
    });
    &REGISTRY
}

/// The kinds that are asked and answered, and never stored: no Change can hold one, and there is nothing to list.
pub fn reviews() -> &'static Registry {
    static REVIEWS: LazyLock<Registry> = LazyLock::new(|| Registry {
        kinds: vec![
            KindInfo::of::<kinds::review::SelfSubjectAccessReview>(),
            KindInfo::of::<kinds::review::SelfSubjectRulesReview>(),
            KindInfo::of::<kinds::review::SelfSubjectReview>(),
        ],
    });
    &REVIEWS
}

fn schema_of<K: Kind>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<K>().to_value();
    simplify(&mut schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        let text = |description: &str| serde_json::json!({"type": "string", "description": description});
        properties.insert("apiVersion".to_owned(), text("Group and version of the kind."));
        properties.insert("kind".to_owned(), text("The kind of the object."));
    }
    schema
}

/// Makes a schema structural: no null among the types, no choice whose only other branch is null, no title, no format of a width.
fn simplify(schema: &mut Value) {
    if let Some(members) = schema.as_object_mut() {
        for name in ["title", "default", "format", "$schema"] {
            if members.get(name).is_some_and(|value| name != "default" || value.is_null()) {
                members.remove(name);
            }
        }
        if let Some(Value::Array(types)) = members.get("type") {
            let kept = types.iter().find(|name| name.as_str() != Some("null")).cloned();
            members.insert("type".to_owned(), kept.unwrap_or(Value::Null));
        }
        if let Some(Value::Array(branches)) = members.remove("anyOf") {
            let mut kept: Vec<Value> =
                branches.into_iter().filter(|branch| branch.get("type").and_then(Value::as_str) != Some("null")).collect();
            if let (1, Some(Value::Object(only))) = (kept.len(), kept.pop()) {
                for (name, value) in only {
                    members.entry(name).or_insert(value);
                }
            }
        }
        // A map's own members have the names of fields, not of schema words.
        if let Some(Value::Object(properties)) = members.get_mut("properties") {
            properties.values_mut().for_each(simplify);
        }
        for name in ["items", "additionalProperties"] {
            if let Some(inner) = members.get_mut(name) {
                simplify(inner);
            }
        }
    }
}

/// Takes `null` members out: a client that writes null means absent.
fn remove_nulls(value: &mut Value) {
    match value {
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(remove_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(remove_nulls),
        _ => {}
    }
}

fn has_nulls(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(members) => members.values().any(has_nulls),
        Value::Array(items) => items.iter().any(has_nulls),
        _ => false,
    }
}

/// Removes the member at a path such as `spec.files[0].x`.
fn remove_path(value: &mut Value, path: &str) {
    let Some((head, last)) = path.rsplit_once('.') else {
        if let Some(members) = value.as_object_mut() {
            members.remove(path);
        }
        return;
    };
    let pointer: String =
        head.split('.').fold(String::new(), |pointer, part| format!("{pointer}/{}", part.replace('[', "/").replace(']', "")));
    if let Some(Value::Object(members)) = value.pointer_mut(&pointer) {
        members.remove(last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn profile(spec: Value) -> Value {
        json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web"}, "spec": spec})
    }

    #[test]
    fn every_schema_is_structural_and_documented() {
        for info in registry().iter().chain(reviews().iter()) {
            let text = info.schema.to_string();
            for word in ["\"$ref\"", "\"anyOf\"", "\"null\""] {
                assert!(!text.contains(word), "{}: {word} in {text}", info.kind);
            }
            assert!(info.schema["description"].as_str().is_some_and(|text| text.len() > 20), "{}", info.kind);
            assert_eq!(info.schema["properties"]["kind"]["type"], "string");
        }
    }

    #[test]
    fn bad_manifests_say_where_and_what() {
        let cases = [
            (profile(json!({"selector": {}, "filez": []})), "spec.filez", "unknown field"),
            (
                profile(json!({"selector": {}, "files": [{"path": "/a", "content": 5}]})),
                "spec.files[0].content",
                "expected string, found number",
            ),
            (profile(json!({"selector": {}, "files": [{"content": "x"}]})), "spec.files[0].path", "Required value"),
            (profile(json!({"selector": {}, "files": [{"path": "/a", "mode": "999"}]})), "spec.files[0].mode", "octal"),
            (profile(json!({"selector": {}, "files": [{"path": "a/../b"}]})), "spec.files[0].path", "absolute"),
            (
                profile(json!({"selector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}})),
                "spec.selector.matchExpressions[0].operator",
                "one of",
            ),
            (
                json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "Web"}, "spec": {"selector": {}}}),
                "metadata.name",
                "lowercase",
            ),
            (
                json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web", "labels": {"a b": "c"}}, "spec": {"selector": {}}}),
                "metadata.labels.a b",
                "key",
            ),
            (
                json!({"apiVersion": "stead.dev/v2", "kind": "Profile", "metadata": {"name": "web"}, "spec": {"selector": {}}}),
                "apiVersion",
                "stead.dev/v1",
            ),
            (
                json!({"apiVersion": "stead.dev/v1", "kind": "Profile", "metadata": {"name": "web", "namespace": "x"}, "spec": {"selector": {}}}),
                "metadata.namespace",
                "cluster scope",
            ),
        ];
        let info = registry().by_word("profile").unwrap();
        for (manifest, path, word) in cases {
            let error = info.parse(manifest.clone()).expect_err(&manifest.to_string());
            let cause = &error.causes()[0];
            assert_eq!(cause.path, path);
            assert!(cause.message.contains(word), "{path}: {}", cause.message);
        }
    }

    #[test]
    fn null_counts_as_absent_and_unknown_fields_can_be_dropped() {
        let info = registry().by_word("profiles.stead.dev").unwrap();
        let (object, unknown) = info.parse_lenient(profile(json!({"selector": {}, "links": null, "x": 1}))).unwrap();
        assert_eq!(unknown[0].path, "spec.x");
        assert_eq!(object.spec(), &json!({"selector": {}}));
    }
}
