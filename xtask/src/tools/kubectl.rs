//! Two versions of kubectl side by side, from Debian, without installing either: no package manager would have both.

use super::sources::{self, Line};
use crate::command;
use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One kubectl: the Debian suite and package that hold it, and what `kubectl version` says.
struct Release {
    suite: &'static str,
    package: &'static str,
    version: &'static str,
    folder: &'static str,
}

/// The last that reads OpenAPI as protobuf only.
const OLD: Release = Release { suite: "bookworm", package: "kubernetes-client", version: "v1.20.", folder: "kubectl-1.20" };
/// A current one that still runs on Debian 12.
const NEW: Release = Release { suite: "trixie", package: "kubectl", version: "v1.32.", folder: "kubectl-1.32" };

/// Paths of the two programs.
pub(super) struct Kubectl {
    pub(super) old: PathBuf,
    pub(super) new: PathBuf,
}

/// Unpacks both under `target/tools`, where they are not there yet.
pub(super) fn install() -> Outcome<Kubectl> {
    let missing: Vec<&Release> = [&OLD, &NEW].into_iter().filter(|release| !release.is_installed()).collect();
    if !missing.is_empty() {
        let apt = PrivateApt::create(&workspace::tools().join("apt"), &missing)?;
        for release in missing {
            eprintln!("installing {} from Debian's {} into target/tools/{}", release.package, release.suite, release.folder);
            apt.unpack(release)?;
            if !release.is_installed() {
                return Err(Failure::Machine(format!(
                    "Debian's {} {} holds no kubectl {}*",
                    release.suite, release.package, release.version
                )));
            }
        }
        apt.remove();
    }
    Ok(Kubectl { old: OLD.program(), new: NEW.program() })
}

impl Release {
    fn program(&self) -> PathBuf {
        workspace::tools().join(self.folder).join("usr/bin/kubectl")
    }

    fn is_installed(&self) -> bool {
        let mut command = command::program(self.program());
        command::output(command.args(["version", "--client"])).is_ok_and(|text| text.contains(self.version))
    }
}

/// An apt with its own source list and state, which leaves the machine's alone.
struct PrivateApt {
    folder: PathBuf,
    user: &'static str,
}

impl PrivateApt {
    fn create(folder: &Path, releases: &[&Release]) -> Outcome<Self> {
        for part in ["lists/partial", "cache/archives/partial", "packages"] {
            let part = folder.join(part);
            fs::create_dir_all(&part).map_err(|error| Failure::file("create", &part, &error))?;
        }
        let own = sources::debian_line()?;
        let list: String =
            releases.iter().map(|release| own.with_suite(release.suite)).map(|line: Line| format!("{line}\n")).collect();
        write(&folder.join("sources.list"), &list)?;
        write(&folder.join("status"), "")?;
        let user = if command::output(command::program("id").arg("-u"))?.trim() == "0" {
            // The lists lie in a folder that apt's own unprivileged user may be unable to enter.
            "root"
        } else {
            "_apt"
        };
        let apt = Self { folder: folder.to_path_buf(), user };
        command::run_beside(apt.command("apt-get").args(["--quiet", "update"]))?;
        Ok(apt)
    }

    /// What it leaves is large and of no further use; a rest of it does no harm.
    fn remove(&self) {
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} stays: {error}", self.folder.display());
        }
    }

    fn command(&self, name: &str) -> Command {
        let mut command = command::program(name);
        for (option, part) in [
            ("Dir::Etc::sourcelist", "sources.list"),
            ("Dir::State::lists", "lists"),
            ("Dir::State::status", "status"),
            ("Dir::Cache", "cache"),
        ] {
            let value = self.folder.join(part);
            command.args(["-o", &format!("{option}={}", value.display())]);
        }
        command.args(["-o", "Dir::Etc::sourceparts=/dev/null"]);
        command.args(["-o", &format!("APT::Sandbox::User={}", self.user)]);
        command
    }

    fn unpack(&self, release: &Release) -> Outcome {
        let packages = self.folder.join("packages");
        let wanted = format!("{}/{}", release.package, release.suite);
        command::run_beside(self.command("apt-get").current_dir(&packages).args(["--quiet", "download", &wanted]))?;
        let prefix = format!("{}_", release.package);
        let package = newest(&packages, &prefix)?;
        command::run_beside(command::program("dpkg").arg("-x").arg(package).arg(workspace::tools().join(release.folder)))
    }
}

/// The file that was downloaded last among those with this prefix.
fn newest(folder: &Path, prefix: &str) -> Outcome<PathBuf> {
    let entries = fs::read_dir(folder).map_err(|error| Failure::file("read", folder, &error))?;
    entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .max_by_key(|entry| entry.metadata().and_then(|meta| meta.modified()).ok())
        .map(|entry| entry.path())
        .ok_or_else(|| Failure::Machine(format!("apt-get left no {prefix}* in {}", folder.display())))
}

fn write(path: &Path, text: &str) -> Outcome {
    fs::write(path, text).map_err(|error| Failure::file("write", path, &error))
}
