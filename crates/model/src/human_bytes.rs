//! Numbers of bytes as people read them.

/// A number of bytes as people read it: `1023 B`, `1.5 MiB`.
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let (mut whole, mut tenths, mut unit) = (bytes, 0, "B");
    for next in UNITS {
        if whole < 1_024 {
            break;
        }
        (tenths, whole, unit) = ((whole % 1_024) * 10 / 1_024, whole / 1_024, next);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{whole}.{tenths} {unit}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_as_people_read_them() {
        for (bytes, text) in [(0, "0 B"), (1_023, "1023 B"), (1_024, "1.0 KiB"), (1_600_000, "1.5 MiB"), (3 << 40, "3.0 TiB")] {
            assert_eq!(human_bytes(bytes), text);
        }
    }
}
