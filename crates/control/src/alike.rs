//! Which machine one that asks to join looks like: perhaps that one, set up anew. A hint for owners, and nothing more. Pure.

use stead_model::{Facts, LooksLike};

/// Machines that are named at most. Where more look alike, what they have in common tells nothing.
const ALIKE_MAX: usize = 3;

/// The machines that hardware looks like, by the strongest of what they have in common: the serial number, the machine id, a network card.
pub fn plan<'a>(facts: &Facts, machines: impl Iterator<Item = (&'a str, &'a Facts)> + Clone) -> Vec<LooksLike> {
    for (by, same) in [("serial", same_serial as fn(&Facts, &Facts) -> bool), ("machine-id", same_id), ("mac", same_mac)] {
        let found: Vec<LooksLike> = machines
            .clone()
            .filter(|(_, other)| same(facts, other))
            .take(ALIKE_MAX + 1)
            .map(|(machine, _)| LooksLike { machine: machine.to_owned(), by: by.to_owned() })
            .collect();
        if (1..=ALIKE_MAX).contains(&found.len()) {
            return found;
        }
    }
    Vec::new()
}

fn same_serial(one: &Facts, other: &Facts) -> bool {
    !one.serial.is_empty() && one.serial == other.serial && one.hardware == other.hardware
}

fn same_id(one: &Facts, other: &Facts) -> bool {
    !one.machine_id.is_empty() && one.machine_id == other.machine_id
}

fn same_mac(one: &Facts, other: &Facts) -> bool {
    let burnt_in = |mac: &str| {
        // A locally administered address was made up, often by the same program on many machines (IEEE 802 section 8.2.2).
        let first = mac.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        first.is_some_and(|first| first & 0b10 == 0) && mac != "00:00:00:00:00:00"
    };
    let mut macs = one.interfaces.iter().map(|interface| interface.mac.as_str()).filter(|mac| burnt_in(mac));
    macs.any(|mac| other.interfaces.iter().any(|interface| interface.mac == mac))
}

/// The hint in words, to follow a sentence; empty where there is none.
pub(crate) fn hint(alike: &[LooksLike]) -> String {
    let named: Vec<String> = alike.iter().map(|one| format!("{} (the same {})", one.machine, one.by)).collect();
    if named.is_empty() {
        return String::new();
    }
    format!("; its hardware looks like that of {}: if it was set up anew, `stead approve --replace`", named.join(" or "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::NetworkInterface;

    fn facts(serial: &str, id: &str, mac: &str) -> Facts {
        let interface = NetworkInterface { mac: mac.to_owned(), ..NetworkInterface::default() };
        Facts { serial: serial.to_owned(), machine_id: id.to_owned(), interfaces: vec![interface], ..Facts::default() }
    }

    #[test]
    fn the_strongest_likeness_counts() {
        let machines = [("a", facts("S1", "i1", "52:54:00:00:00:01")), ("b", facts("", "i2", "b8:27:eb:00:00:01"))];
        let like = |asks: &Facts| {
            let found = plan(asks, machines.iter().map(|(name, facts)| (*name, facts)));
            found.iter().map(|one| format!("{} by {}", one.machine, one.by)).collect::<Vec<_>>().join(", ")
        };
        assert_eq!(like(&facts("S1", "i2", "b8:27:eb:00:00:01")), "a by serial");
        assert_eq!(like(&facts("", "i2", "")), "b by machine-id");
        assert_eq!(like(&facts("", "", "b8:27:eb:00:00:01")), "b by mac");
        assert_eq!(like(&facts("", "", "52:54:00:00:00:01")), "", "a made-up address is no likeness");
        assert_eq!(like(&facts("", "", "")), "");
        let many = vec![("x", facts("S", "", "")); 4];
        assert_eq!(
            plan(&facts("S", "", ""), many.iter().map(|(name, facts)| (*name, facts))),
            [],
            "boards that all say the same"
        );
    }
}
