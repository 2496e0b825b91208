//! Vitals: load, memory, disk space, temperature, uptime, clock. What always changes.

use std::path::Path;

use jiff::Timestamp;
use stead_model::Vitals;
use sysinfo::{Components, System};

/// Measures the machine. `state_dir` is where the agent keeps its state: the disk that must not fill up.
pub fn measure(state_dir: &Path, now: Timestamp, clock_offset_milliseconds: Option<i64>, updates_pending: Option<u32>) -> Vitals {
    let memory = System::new().map(|mut system| {
        system.refresh_memory();
        (system.available_memory(), system.total_memory())
    });
    let (memory_available_bytes, memory_total_bytes) = memory.unwrap_or_default();
    let (disk_available_bytes, disk_total_bytes) = disk_space(state_dir);
    Vitals {
        measured_at: Timestamp::from_second(now.as_second()).ok(),
        load_percent: load_percent(),
        memory_available_bytes,
        memory_total_bytes,
        disk_available_bytes,
        disk_total_bytes,
        temperature_millicelsius: temperature_millicelsius(),
        uptime_seconds: System::uptime().unwrap_or_default(),
        clock_offset_milliseconds,
        updates_pending,
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a load average is small and not negative")]
fn load_percent() -> u64 {
    System::load_average().map_or(0, |load| (load.one.max(0.0) * 100.0) as u64)
}

fn disk_space(path: &Path) -> (u64, u64) {
    let Ok(stat) = rustix::fs::statvfs(path) else { return (0, 0) };
    (stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_blocks.saturating_mul(stat.f_frsize))
}

/// The hottest sensor, where there is one.
#[expect(clippy::cast_possible_truncation, reason = "a temperature in thousandths of a degree fits by far")]
fn temperature_millicelsius() -> Option<i64> {
    let components = Components::new_with_refreshed_list().ok()?;
    let hottest =
        components.iter().filter_map(sysinfo::Component::temperature).filter(|degrees| degrees.is_finite()).reduce(f32::max)?;
    Some((f64::from(hottest) * 1000.0) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_says_how_it_is() {
        let vitals = measure(Path::new("/"), Timestamp::from_second(5).unwrap(), Some(-3), None);
        assert!(vitals.memory_total_bytes >= vitals.memory_available_bytes && vitals.memory_total_bytes > 0);
        assert!(vitals.disk_total_bytes > 0 && vitals.uptime_seconds > 0);
        assert_eq!(vitals.clock_offset_milliseconds, Some(-3));
    }
}
