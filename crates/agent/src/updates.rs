//! How many packages have a newer version at hand, as the machine's package manager says.

use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

/// How often the package manager is asked: it reads all its lists for it, which takes seconds of a small board.
pub(crate) const UPDATES_PERIOD: Duration = Duration::from_secs(6 * 3_600);
/// How long it may take.
const UPDATES_TIMEOUT: Duration = Duration::from_secs(300);

/// The number of pending updates; none where nobody can tell: on a machine that is only a folder, or has no apt.
pub(crate) async fn pending(root: &Path) -> Option<u32> {
    if root != Path::new("/") {
        return None;
    }
    // A simulation changes nothing, and takes no lock that somebody else may wait for (apt-get(8), --simulate).
    let mut command = Command::new("apt-get");
    command.args(["--simulate", "--quiet=2", "-o", "Debug::NoLocking=true", "upgrade"]).env("LC_ALL", "C").kill_on_drop(true);
    command.stdin(std::process::Stdio::null());
    let output = tokio::time::timeout(UPDATES_TIMEOUT, command.output()).await.ok()?.ok()?;
    output.status.success().then(|| count(&String::from_utf8_lossy(&output.stdout)))
}

/// The packages that would be installed: one line each that begins with `Inst`.
fn count(simulation: &str) -> u32 {
    let lines = simulation.lines().filter(|line| line.starts_with("Inst ")).count();
    u32::try_from(lines).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_package_is_counted_once() {
        let text =
            "Inst libc6 [2.36-9] (2.36-10 Debian:12 [amd64])\nConf libc6 (2.36-10)\nInst tzdata [1] (2)\nConf tzdata (2)\n";
        assert_eq!(count(text), 2);
        assert_eq!(count(""), 0);
    }

    #[tokio::test]
    async fn a_folder_has_no_packages() {
        assert_eq!(pending(Path::new("/srv/machine")).await, None);
    }
}
