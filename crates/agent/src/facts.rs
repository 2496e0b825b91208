//! Facts: hardware, operating system, kernel, addresses, disks. What rarely changes.

use std::path::Path;
use std::sync::OnceLock;
use std::{fs, io};

use stead_model::{Digest, Disk, Facts, NetworkInterface};
use sysinfo::{Networks, System};

/// The most disks and interfaces that facts list: a machine with more is shown by its first ones.
pub const LISTED_MAX: usize = 64;

/// Gathers the facts of this machine. What the machine doesn't say is left empty; nothing here fails.
///
/// `root` is the machine's root directory, from which its id and its release are read.
pub fn gather(root: &Path, agent_version: &str) -> Facts {
    let system = System::new().map(|mut system| {
        system.refresh_memory();
        system.refresh_cpu_all();
        system
    });
    let (cpus, memory_bytes) = system.as_ref().map_or((&[][..], 0), |system| (system.cpus(), system.total_memory()));
    Facts {
        hostname: System::host_name().unwrap_or_default(),
        machine_id: machine_id(root),
        os: release(root).or_else(|| System::long_os_version().ok()).unwrap_or_default(),
        kernel: System::kernel_version().unwrap_or_default(),
        architecture: std::env::consts::ARCH.to_owned(),
        hardware: hardware(),
        cpu: cpus.first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default(),
        cpu_count: u32::try_from(cpus.len()).unwrap_or(u32::MAX),
        memory_bytes,
        disks: disks(),
        interfaces: interfaces(),
        agent_version: agent_version.to_owned(),
        agent_digest: own_digest(),
    }
}

/// `/etc/machine-id` below the root, or empty.
pub fn machine_id(root: &Path) -> String {
    read_line(&root.join("etc/machine-id"))
}

fn read_line(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default().trim_matches(['\0', '\n', ' ']).to_owned()
}

/// `PRETTY_NAME` of `/etc/os-release` (os-release(5)).
fn release(root: &Path) -> Option<String> {
    let text = fs::read_to_string(root.join("etc/os-release")).ok()?;
    let value = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches('"').to_owned())
}

/// Maker and model as the firmware says: SMBIOS on PCs, the device tree on boards.
fn hardware() -> String {
    let dmi = Path::new("/sys/class/dmi/id");
    let parts = [read_line(&dmi.join("sys_vendor")), read_line(&dmi.join("product_name"))];
    let text = parts.join(" ").trim().to_owned();
    if text.is_empty() { read_line(Path::new("/proc/device-tree/model")) } else { text }
}

fn disks() -> Vec<Disk> {
    /// `/sys/block/*/size` counts sectors of this many bytes, whatever the disk's own are (sysfs-block(5)).
    const SECTOR_BYTES: u64 = 512;
    let mut disks: Vec<Disk> = fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| Disk {
            name: entry.file_name().to_string_lossy().into_owned(),
            size_bytes: read_line(&entry.path().join("size")).parse::<u64>().unwrap_or_default().saturating_mul(SECTOR_BYTES),
            model: read_line(&entry.path().join("device/model")),
        })
        .collect();
    disks.sort_by(|left, right| left.name.cmp(&right.name));
    disks.truncate(LISTED_MAX);
    disks
}

fn interfaces() -> Vec<NetworkInterface> {
    let Ok(networks) = Networks::new_with_refreshed_list() else { return Vec::new() };
    let mut interfaces: Vec<NetworkInterface> = networks
        .iter()
        .filter(|(name, _)| name.as_os_str() != "lo")
        .map(|(name, network)| {
            let mut addresses: Vec<String> =
                network.ip_networks().iter().map(|address| format!("{}/{}", address.addr, address.prefix)).collect();
            addresses.sort();
            NetworkInterface { name: name.to_string_lossy().into_owned(), mac: network.mac_address().to_string(), addresses }
        })
        .collect();
    interfaces.sort_by(|left, right| left.name.cmp(&right.name));
    interfaces.truncate(LISTED_MAX);
    interfaces
}

/// The digest of the running binary: which revision of the program this is. It is read once a process.
pub fn own_digest() -> Option<Digest> {
    static OWN: OnceLock<Option<Digest>> = OnceLock::new();
    *OWN.get_or_init(|| read_own_digest().ok())
}

fn read_own_digest() -> io::Result<Digest> {
    use sha2::{Digest as _, Sha256};
    let mut hasher = Sha256::new();
    io::copy(&mut fs::File::open("/proc/self/exe")?, &mut hasher)?;
    Ok(Digest::from_bytes(hasher.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_what_it_is() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
        fs::write(root.path().join("etc/os-release"), "NAME=x\nPRETTY_NAME=\"A Linux 7\"\n").unwrap();
        let facts = gather(root.path(), "1.2.3");
        assert_eq!(facts.machine_id, "0123456789abcdef0123456789abcdef");
        assert_eq!(facts.os, "A Linux 7");
        assert_eq!(facts.agent_version, "1.2.3");
        assert!(facts.cpu_count > 0 && facts.memory_bytes > 0 && !facts.kernel.is_empty());
        assert!(facts.agent_digest.is_some());
    }
}
