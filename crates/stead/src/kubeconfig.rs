//! The kubeconfig: one context of ours, and everything else in the file as it was.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Map, Value, json};

use crate::commands::credential;
use crate::config::{Settings, home};
use crate::failure::{Failure, FailureKind};
use crate::{output, private_file};

/// The name of our cluster, user and context.
pub(crate) const CONTEXT: &str = "stead";

/// The file that kubectl writes to: `--kubeconfig`, the first of `KUBECONFIG`, `~/.kube/config`.
pub(crate) fn location(flag: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let from_environment = || {
        let list = std::env::var_os("KUBECONFIG")?;
        std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty())
    };
    let standard = || home().map(|home| home.join(".kube/config"));
    flag.or_else(from_environment).or_else(standard).ok_or_else(|| {
        Failure::user("there is no place for the kubeconfig: HOME is not set")
            .hint("Name a file with --kubeconfig, or leave it with --no-kubeconfig.")
    })
}

/// Puts our context into the file and makes it the current one.
pub(crate) fn write_context(path: &Path, settings: &Settings) -> Result<(), Failure> {
    let wrong = |what: &str| {
        Failure::user(format!("the kubeconfig {} cannot be changed: {what}", path.display()))
            .hint("Name another file with --kubeconfig, or leave it with --no-kubeconfig.")
    };
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(wrong(&error.to_string())),
    };
    let old = if text.trim().is_empty() {
        Value::Null
    } else {
        serde_saphyr::from_str(&text).map_err(|error| wrong(&error.to_string()))?
    };
    let ca = settings.ca_file().map(std::fs::read).transpose().map_err(|error| wrong(&format!("the CA file: {error}")))?;
    let program = std::env::current_exe().map_err(|error| wrong(&format!("this program has no path: {error}")))?;
    let entry = Entry { server: settings.server()?, ca, program: &program, arguments: arguments(settings)? };
    let new = merged(old, &entry).ok_or_else(|| wrong("it is no kubeconfig: clusters, users and contexts should be lists"))?;
    private_file::write(path, output::yaml(&new)?.as_bytes()).map_err(|error| Failure::of(FailureKind::User, error))
}

/// The arguments with which kubectl asks for a token: everything by name, as kubectl runs in other folders and shells.
fn arguments(settings: &Settings) -> Result<Vec<String>, Failure> {
    let config = std::path::absolute(settings.file()).unwrap_or_else(|_| settings.file().to_owned());
    Ok(vec![
        "credential".to_owned(),
        "--config".to_owned(),
        config.to_string_lossy().into_owned(),
        "--server".to_owned(),
        settings.server()?.to_owned(),
    ])
}

struct Entry<'a> {
    server: &'a str,
    ca: Option<Vec<u8>>,
    program: &'a Path,
    arguments: Vec<String>,
}

fn merged(old: Value, entry: &Entry<'_>) -> Option<Value> {
    let mut config = match old {
        Value::Null => Map::new(),
        Value::Object(members) => members,
        _ => return None,
    };
    config.entry("apiVersion").or_insert_with(|| "v1".into());
    config.entry("kind").or_insert_with(|| "Config".into());
    let mut cluster = json!({"server": entry.server});
    if let (Some(ca), Some(members)) = (&entry.ca, cluster.as_object_mut()) {
        let data = base64::engine::general_purpose::STANDARD.encode(ca);
        members.insert("certificate-authority-data".to_owned(), data.into());
    }
    let exec = json!({
        "apiVersion": credential::API_VERSION, "command": entry.program.to_string_lossy(), "args": entry.arguments,
        "interactiveMode": "IfAvailable", "provideClusterInfo": false,
    });
    set(&mut config, "clusters", json!({"name": CONTEXT, "cluster": cluster}))?;
    set(&mut config, "users", json!({"name": CONTEXT, "user": {"exec": exec}}))?;
    set(&mut config, "contexts", json!({"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT}}))?;
    config.insert("current-context".to_owned(), CONTEXT.into());
    Some(Value::Object(config))
}

/// Replaces the entry of our name in a list, or adds it.
fn set(config: &mut Map<String, Value>, list: &str, entry: Value) -> Option<()> {
    let place = config.entry(list).or_insert(Value::Null);
    if place.is_null() {
        *place = Value::Array(Vec::new());
    }
    let items = place.as_array_mut()?;
    items.retain(|item| item.get("name").and_then(Value::as_str) != Some(CONTEXT));
    items.push(entry);
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_contexts_stay() {
        let entry = Entry {
            server: "https://a:1",
            ca: Some(b"pem".to_vec()),
            program: Path::new("/bin/stead"),
            arguments: vec!["credential".into()],
        };
        let old = json!({"clusters": [{"name": "other", "cluster": {"server": "x"}}, {"name": "stead"}], "users": null, "preferences": {"colors": true}});
        let new = merged(old, &entry).unwrap();
        assert_eq!(new["clusters"][0]["name"], "other");
        assert_eq!(new["clusters"][1]["cluster"], json!({"server": "https://a:1", "certificate-authority-data": "cGVt"}));
        assert_eq!(new["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(new["users"][0]["user"]["exec"]["interactiveMode"], "IfAvailable");
        assert_eq!(new["preferences"]["colors"], true);
        assert_eq!(new["current-context"], "stead");
        assert_eq!(merged(new.clone(), &entry).unwrap(), new);
        assert_eq!(merged(json!({"clusters": 5}), &entry), None);
    }
}
