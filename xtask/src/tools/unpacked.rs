//! Debian packages that are unpacked under `target/tools` and not installed: other versions than the machine's, and programs whose
//! package would start a service.

use super::sources::{self, Line};
use crate::command;
use crate::failure::{Failure, Outcome};
use crate::workspace;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One program: the Debian suite and package that hold it, and how it is told from another version.
pub(super) struct Release {
    pub(super) suite: &'static str,
    pub(super) package: &'static str,
    /// What asks the program for its version, and what the answer contains.
    pub(super) ask: &'static [&'static str],
    pub(super) version: &'static str,
    /// Where it is unpacked.
    pub(super) folder: &'static str,
    /// Its path in there.
    pub(super) program: &'static str,
}

/// Unpacks those that are not there yet.
pub(super) fn install(releases: &[&Release]) -> Outcome {
    let missing: Vec<&Release> = releases.iter().copied().filter(|release| !release.is_installed()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let apt = PrivateApt::create(&workspace::tools().join("apt"), &missing)?;
    for release in missing {
        eprintln!("installing {} from Debian's {} into target/tools/{}", release.package, release.suite, release.folder);
        apt.unpack(release)?;
        if !release.is_installed() {
            return Err(Failure::Machine(format!(
                "Debian's {} {} holds no {} {}*",
                release.suite, release.package, release.program, release.version
            )));
        }
    }
    apt.remove();
    Ok(())
}

impl Release {
    pub(super) fn program(&self) -> PathBuf {
        workspace::tools().join(self.folder).join(self.program)
    }

    fn is_installed(&self) -> bool {
        let mut command = command::program(self.program());
        command::output(command.args(self.ask)).is_ok_and(|text| text.contains(self.version))
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
