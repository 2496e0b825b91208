//! What kubectl's current context says of the coordinator, for `kubectl stead`.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::Value;

use super::location::home;
use crate::failure::{Failure, FailureKind};

/// Bytes of one kubeconfig at most: those of people with hundreds of clusters have some 100 KiB.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// A coordinator, as a kubeconfig names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cluster {
    /// The file that names it.
    pub(super) file: PathBuf,
    pub(super) server: String,
    pub(super) authority: Authority,
}

/// What the coordinator's certificate is checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Authority {
    System,
    File(PathBuf),
    Pem(Vec<u8>),
}

/// The files that kubectl reads: `KUBECONFIG`, else `~/.kube/config`.
fn files() -> Vec<PathBuf> {
    let list = std::env::var_os("KUBECONFIG").filter(|list| !list.is_empty());
    match list {
        Some(list) => std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty()).collect(),
        None => home().map(|home| home.join(".kube/config")).into_iter().collect(),
    }
}

/// The cluster of the current context; none where there is no kubeconfig, or no current context in it.
pub(super) fn current() -> Result<Option<Cluster>, Failure> {
    let mut read = Vec::new();
    for path in files() {
        match std::fs::metadata(&path) {
            Ok(present) if present.len() <= FILE_BYTES_MAX => {}
            Ok(_) => return Err(wrong(&path, "it is too large")),
            Err(_) => continue,
        }
        let text = std::fs::read_to_string(&path).map_err(|error| wrong(&path, &error.to_string()))?;
        let value: Value = serde_saphyr::from_str(&text).map_err(|error| wrong(&path, &error.to_string()))?;
        read.push((path, value));
    }
    cluster(&read)
}

fn wrong(path: &Path, what: &str) -> Failure {
    Failure::new(FailureKind::Config, format!("the kubeconfig {} cannot be used: {what}", path.display()))
        .hint("Name the coordinator with --server and --ca-file, or set KUBECONFIG to another file.")
}

/// Of several files the first that says something counts, as kubectl has it.
fn cluster(files: &[(PathBuf, Value)]) -> Result<Option<Cluster>, Failure> {
    let text =
        |value: &Value, name: &str| value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty()).map(str::to_owned);
    let Some(context) = files.iter().find_map(|(_, file)| text(file, "current-context")) else { return Ok(None) };
    let named = |list: &str, member: &str, name: &str| {
        files.iter().find_map(|(path, file)| {
            let items = file.get(list)?.as_array()?;
            let item = items.iter().find(|item| text(item, "name").as_deref() == Some(name))?;
            Some((path, item.get(member)?))
        })
    };
    let Some((path, found)) = named("contexts", "context", &context) else { return Ok(None) };
    let name = text(found, "cluster").unwrap_or_default();
    let (path, cluster) =
        named("clusters", "cluster", &name).ok_or_else(|| wrong(path, &format!("it has no cluster {name:?}")))?;
    let server = text(cluster, "server").ok_or_else(|| wrong(path, &format!("the cluster {name:?} has no server")))?;
    let authority = match (text(cluster, "certificate-authority-data"), text(cluster, "certificate-authority")) {
        (Some(data), _) => {
            let pem = base64::engine::general_purpose::STANDARD.decode(data.trim());
            Authority::Pem(pem.map_err(|error| wrong(path, &format!("certificate-authority-data: {error}")))?)
        }
        // Beside the file that names it.
        (None, Some(file)) => Authority::File(path.parent().map_or_else(|| PathBuf::from(&file), |folder| folder.join(&file))),
        (None, None) => Authority::System,
    };
    Ok(Some(Cluster { file: path.clone(), server, authority }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_current_context_is_found_over_several_files() {
        let first = json!({"current-context": "b", "contexts": [{"name": "a", "context": {"cluster": "one"}}]});
        let second = json!({
            "current-context": "a",
            "contexts": [{"name": "b", "context": {"cluster": "two"}}],
            "clusters": [{"name": "two", "cluster": {"server": "https://x:1", "certificate-authority": "ca.pem"}}],
        });
        let files = |values: &[&Value]| -> Vec<(PathBuf, Value)> {
            values.iter().enumerate().map(|(at, value)| (PathBuf::from(format!("/k{at}/config")), (*value).clone())).collect()
        };
        let found = cluster(&files(&[&first, &second])).unwrap().unwrap();
        assert_eq!(found.server, "https://x:1");
        assert_eq!(found.authority, Authority::File(PathBuf::from("/k1/ca.pem")));
        assert_eq!(cluster(&files(&[&json!({})])).unwrap(), None);
        assert_eq!(cluster(&[]).unwrap(), None);
        let mut data = second.clone();
        data["clusters"][0]["cluster"] = json!({"server": "https://x:1", "certificate-authority-data": "cGVt"});
        assert_eq!(cluster(&files(&[&first, &data])).unwrap().unwrap().authority, Authority::Pem(b"pem".to_vec()));
        data["clusters"] = json!([]);
        assert!(cluster(&files(&[&first, &data])).is_err());
    }
}
