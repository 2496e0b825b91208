//! Manifests: files, folders and standard input, read strictly into objects.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use stead_model::{GroupKind, Object, ParseError, registry};

use crate::failure::{Failure, FailureKind};

/// The largest manifest file in bytes: a change of some hundred objects with files in them.
const FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// How deep folders are read: deeper means a link that leads back.
const FOLDERS_DEPTH_MAX: usize = 32;

/// Why manifests are refused. Nothing was sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ManifestError {
    #[error("cannot read {}", path.display())]
    Read {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{} is larger than {FILE_BYTES_MAX} bytes", path.display())]
    Large { path: PathBuf },
    #[error("the folder {} has no .yaml, .yml or .json file", path.display())]
    EmptyFolder { path: PathBuf },
    #[error("the folder {} is more than {FOLDERS_DEPTH_MAX} levels down: does a link lead back?", path.display())]
    Deep { path: PathBuf },
    #[error("{place}: not YAML: {message}")]
    Yaml { place: String, message: String },
    #[error("{place}: a manifest is an object with apiVersion, kind and metadata; found {found}")]
    Shape { place: String, found: String },
    #[error("{place}: {kind:?} of {api_version:?} is no kind that Stead knows; there are {known}")]
    Kind { place: String, kind: String, api_version: String, known: String },
    #[error("{place}: {source}")]
    Object {
        place: String,
        #[source]
        source: ParseError,
    },
    #[error("{place}: {object} is written by the coordinator alone")]
    ReadOnly { place: String, object: String },
    #[error("{second}: {object} stands in {first} already; each object once")]
    Twice { first: String, second: String, object: String },
    #[error("there is no object in {files}")]
    Nothing { files: String },
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        let causes = match &error {
            ManifestError::Object { source, .. } if source.causes().len() > 1 => {
                source.causes().iter().map(|cause| format!("{}: {}", cause.path, cause.message)).collect()
            }
            _ => Vec::new(),
        };
        causes.into_iter().fold(Self::of(FailureKind::User, error), Self::hint)
    }
}

/// An object and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Manifest {
    pub(crate) object: Object,
    /// `web.yaml, document 2`.
    pub(crate) place: String,
}

/// How manifests are read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading<'a> {
    /// The namespace of objects that live in one and name none.
    pub(crate) namespace: &'a str,
    /// Whether folders below a folder count.
    pub(crate) recursive: bool,
    /// Whether there may be no object at all.
    pub(crate) may_be_empty: bool,
}

/// Reads every object in some files, folders (not those below them) or `-`.
pub(crate) fn read(files: &[PathBuf], namespace: &str) -> Result<Vec<Manifest>, ManifestError> {
    Reading { namespace, recursive: false, may_be_empty: false }.read(files)
}

impl Reading<'_> {
    /// Reads every object in some files, folders or `-`.
    pub(crate) fn read(&self, files: &[PathBuf]) -> Result<Vec<Manifest>, ManifestError> {
        let (mut manifests, mut places) = (Vec::new(), BTreeMap::new());
        for file in files {
            for (name, text) in self.texts(file)? {
                for manifest in parse(&name, &text, self.namespace)? {
                    let key = manifest.object.key();
                    if let Some(first) = places.insert(key.clone(), manifest.place.clone()) {
                        return Err(ManifestError::Twice { first, second: manifest.place, object: key.to_string() });
                    }
                    manifests.push(manifest);
                }
            }
        }
        if manifests.is_empty() && !self.may_be_empty {
            let files = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
            return Err(ManifestError::Nothing { files });
        }
        Ok(manifests)
    }

    fn texts(&self, file: &Path) -> Result<Vec<(String, String)>, ManifestError> {
        let read = |path: &Path| {
            let error = |source| ManifestError::Read { path: path.to_owned(), source };
            let open = std::fs::File::open(path).map_err(error)?;
            limited(path, open).map(|text| (path.display().to_string(), text))
        };
        if file.as_os_str() == "-" {
            return Ok(vec![("standard input".to_owned(), limited(Path::new("standard input"), std::io::stdin())?)]);
        }
        if !file.is_dir() {
            return Ok(vec![read(file)?]);
        }
        let mut paths = Vec::new();
        self.collect(file, 0, &mut paths)?;
        paths.sort();
        if paths.is_empty() && !self.may_be_empty {
            return Err(ManifestError::EmptyFolder { path: file.to_owned() });
        }
        paths.iter().map(|path| read(path)).collect()
    }

    /// The manifests of a folder. What is hidden (a `.git`) is left out.
    fn collect(&self, folder: &Path, depth: usize, paths: &mut Vec<PathBuf>) -> Result<(), ManifestError> {
        let error = |source| ManifestError::Read { path: folder.to_owned(), source };
        if depth > FOLDERS_DEPTH_MAX {
            return Err(ManifestError::Deep { path: folder.to_owned() });
        }
        for entry in std::fs::read_dir(folder).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let hidden = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
            if path.is_dir() && self.recursive && !hidden {
                self.collect(&path, depth.saturating_add(1), paths)?;
            } else if path.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json") && !path.is_dir() {
                paths.push(path);
            }
        }
        Ok(())
    }
}

fn limited(path: &Path, source: impl std::io::Read) -> Result<String, ManifestError> {
    let mut text = String::new();
    let error = |source| ManifestError::Read { path: path.to_owned(), source };
    source.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > FILE_BYTES_MAX { Err(ManifestError::Large { path: path.to_owned() }) } else { Ok(text) }
}

/// Reads the documents of one text. JSON is YAML as well, so there is one reader.
fn parse(name: &str, text: &str, namespace: &str) -> Result<Vec<Manifest>, ManifestError> {
    let yaml = |error: serde_saphyr::Error| {
        let message = error.without_snippet().to_string();
        let line = error.location().map_or_else(String::new, |place| format!(":{}", place.line()));
        ManifestError::Yaml { place: format!("{name}{line}"), message }
    };
    let documents: Vec<serde_saphyr::Spanned<Value>> = serde_saphyr::from_multiple(text).map_err(yaml)?;
    let single = documents.len() == 1;
    let mut manifests = Vec::new();
    for (index, document) in documents.into_iter().enumerate() {
        // Empty documents are not counted, so the line says which one is meant.
        let (line, document) = (document.referenced.line(), document.value);
        let place = if single { name.to_owned() } else { format!("{name}, document {} (line {line})", index + 1) };
        let is_list = document.get("kind").and_then(Value::as_str) == Some("List");
        match document {
            Value::Null => {}
            Value::Object(mut list) if is_list => {
                let items =
                    list.remove("items").and_then(|items| if let Value::Array(items) = items { Some(items) } else { None });
                for (item, value) in items.unwrap_or_default().into_iter().enumerate() {
                    manifests.push(object(format!("{place}, item {}", item + 1), value, namespace)?);
                }
            }
            value => manifests.push(object(place, value, namespace)?),
        }
    }
    Ok(manifests)
}

fn object(place: String, mut value: Value, namespace: &str) -> Result<Manifest, ManifestError> {
    let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (api_version, kind) = (text("apiVersion"), text("kind"));
    if !value.is_object() || kind.is_empty() || api_version.is_empty() {
        /// Enough to recognise the document by.
        const SHOWN_CHARACTERS: usize = 60;
        return Err(ManifestError::Shape { place, found: value.to_string().chars().take(SHOWN_CHARACTERS).collect() });
    }
    let Some(info) = registry().by_group_kind(&GroupKind::from_api_version(&api_version, &kind)) else {
        let known =
            registry().iter().map(|info| format!("{} ({})", info.kind, info.api_version())).collect::<Vec<_>>().join(", ");
        return Err(ManifestError::Kind { place, kind, api_version, known });
    };
    if info.namespaced
        && let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut)
    {
        metadata.entry("namespace").or_insert_with(|| namespace.into());
    }
    let object = info.parse(value).map_err(|source| ManifestError::Object { place: place.clone(), source })?;
    if info.read_only {
        return Err(ManifestError::ReadOnly { place, object: object.key().to_string() });
    }
    Ok(Manifest { object, place })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "apiVersion: stead.dev/v1\nkind: Profile\nmetadata: {name: web}\nspec: {selector: {}}\n";

    #[test]
    fn documents_lists_and_json_are_read() {
        let two = format!("---\n{GOOD}---\n---\n{}", GOOD.replace("web", "db"));
        let names = |text: &str| {
            let manifests = parse("a.yaml", text, "default").unwrap();
            manifests.iter().map(|manifest| format!("{}: {}", manifest.place, manifest.object.key())).collect::<Vec<_>>()
        };
        assert_eq!(names(GOOD), ["a.yaml: Profile/web"]);
        assert_eq!(names(&two), ["a.yaml, document 1 (line 2): Profile/web", "a.yaml, document 2 (line 8): Profile/db"]);
        let json = serde_json::json!({"kind": "List", "items": [serde_saphyr::from_str::<Value>(GOOD).unwrap()]});
        assert_eq!(names(&json.to_string()), ["a.yaml, item 1: Profile/web"]);
        assert_eq!(names("# nothing\n"), [""; 0]);
    }

    #[test]
    fn kinds_in_namespaces_get_one() {
        let lease = "apiVersion: coordination.k8s.io/v1\nkind: Lease\nmetadata: {name: a}\nspec: {}\n";
        assert_eq!(parse("a", lease, "lab").unwrap()[0].object.metadata.namespace, "lab");
    }

    #[test]
    fn bad_manifests_are_refused_with_their_place() {
        let second = |text: &str| format!("{GOOD}---\n{text}");
        let cases = [
            (
                second(&GOOD.replace("spec: {", "spec: {filez: [], ")),
                "a.yaml, document 2 (line 6): Profile \"web\" is invalid: spec.filez: unknown field",
            ),
            (
                GOOD.replace("{}}", "{}, files: [{path: /a, content: 5}]}"),
                "a.yaml: Profile \"web\" is invalid: spec.files[0].content: Invalid value: 5: expected string",
            ),
            (GOOD.replace("web", "Web"), "metadata.name"),
            (GOOD.replace("Profile", "Pod"), "a.yaml: \"Pod\" of \"stead.dev/v1\" is no kind"),
            (GOOD.replace("kind", "kindd"), "a.yaml: a manifest is an object with apiVersion, kind and metadata"),
            ("- 1\n".to_owned(), "found [1]"),
            ("a: [1\n".to_owned(), "a.yaml:"),
            ("a: 1\na: 2\n".to_owned(), "not YAML"),
        ];
        for (text, expected) in cases {
            let error = parse("a.yaml", &text, "default").unwrap_err().to_string();
            assert!(error.contains(expected), "{error}\n  lacks {expected}");
        }
    }
}
