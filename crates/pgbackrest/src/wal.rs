//! Segments of the write-ahead log by their names: which are missing between those that are there.

use std::collections::BTreeMap;
use std::fmt;

/// A segment, as its name says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) timeline: u32,
    /// Its place in the log, in segments.
    number: u64,
    /// Segments whose names share their middle third.
    in_a_log: u64,
}

impl Segment {
    /// From `TTTTTTTTLLLLLLLLSSSSSSSS`, whatever comes after it, in a log whose segments have this size.
    pub(crate) fn parse(name: &str, segment_bytes: u64) -> Option<Self> {
        let in_a_log = (1_u64 << 32).checked_div(segment_bytes)?;
        let part = |from: usize| name.get(from..from.checked_add(8)?);
        let timeline = u32::from_str_radix(part(0)?, 16).ok()?;
        let log = u64::from(u32::from_str_radix(part(8)?, 16).ok()?);
        let number = u64::from(u32::from_str_radix(part(16)?, 16).ok()?);
        Some(Self { timeline, number: log.checked_mul(in_a_log)?.checked_add(number)?, in_a_log })
    }

    /// Whether it may be what comes after another.
    const fn is_of(self, needed: Self) -> bool {
        self.timeline >= needed.timeline && self.number >= needed.number
    }

    const fn at(self, number: u64) -> Self {
        Self { number, ..self }
    }
}

impl fmt::Display for Segment {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let log = self.number.checked_div(self.in_a_log).unwrap_or_default();
        let number = self.number.checked_rem(self.in_a_log).unwrap_or_default();
        write!(formatter, "{:08X}{log:08X}{number:08X}", self.timeline)
    }
}

/// Segments that are not there: from the first to the last of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gap {
    first: Segment,
    last: Segment,
}

impl fmt::Display for Gap {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            write!(formatter, "{}", self.first)
        } else {
            write!(formatter, "{} to {}", self.first, self.last)
        }
    }
}

/// What is missing among the segments of a folder's files, from `needed` on: within each timeline, between one and the next, and
/// before the first. Half segments, labels and histories are passed over.
pub(crate) fn gaps<'a>(files: impl Iterator<Item = &'a str>, segment_bytes: u64, needed: Option<Segment>) -> Vec<Gap> {
    let mut timelines: BTreeMap<u32, Vec<Segment>> = BTreeMap::new();
    for file in files {
        // A whole segment's name goes on with its SHA-1.
        let whole = file.as_bytes().get(24) == Some(&b'-');
        if let Some(segment) = Segment::parse(file, segment_bytes).filter(|_| whole) {
            timelines.entry(segment.timeline).or_default().push(segment);
        }
    }
    let mut gaps = Vec::new();
    // What comes next, and the timeline on which it should.
    let mut next = needed;
    for segments in timelines.values_mut() {
        segments.sort_unstable();
        segments.dedup();
        let mut first = true;
        for segment in segments.iter().filter(|segment| needed.is_none_or(|needed| segment.is_of(needed))) {
            if let Some(next) = next
                && segment.number > next.number
            {
                gaps.push(Gap { first: next, last: next.at(segment.number.saturating_sub(1)) });
            }
            // A new timeline begins with the segment in which the old one was left, which may have gone on after that.
            if first || next.is_none_or(|next| segment.number >= next.number) {
                next = Some(segment.at(segment.number.saturating_add(1)));
            }
            first = false;
        }
    }
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = 16 * 1024 * 1024;

    #[test]
    fn names_and_back() {
        for name in ["000000010000000000000001", "0000000A00000002000000FF", "000000020000000100000000"] {
            assert_eq!(Segment::parse(name, BYTES).unwrap().to_string(), name);
        }
        for bad in ["", "00000002.history", "0000000100000000000000XY", "é0000000000000000000000000"] {
            assert!(Segment::parse(bad, BYTES).is_none(), "{bad}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let one = "00000001";
        let two = "00000002";
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Option<&'a str>, &'a [&'a str]);
        let cases: [Case<'_>; 8] = [
            ("nothing is there", &[], None, &[]),
            ("one after the other", &[(one, "01"), (one, "02"), (one, "03")], None, &[]),
            ("one is missing", &[(one, "01"), (one, "03")], None, &["000000010000000000000002"]),
            ("two are", &[(one, "01"), (one, "04")], None, &["000000010000000000000002 to 000000010000000000000003"]),
            ("before what is needed, it does not matter", &[(one, "01"), (one, "03"), (one, "04")], Some("03"), &[]),
            ("the first that is needed", &[(one, "04")], Some("03"), &["000000010000000000000003"]),
            (
                "a new timeline, the old one left in the middle",
                &[(one, "01"), (one, "02"), (one, "03"), (two, "02"), (two, "03")],
                None,
                &[],
            ),
            ("a new timeline with a gap", &[(one, "01"), (two, "01"), (two, "03")], None, &["000000020000000000000002"]),
        ];
        for (what, segments, needed, expected) in cases {
            let files: Vec<String> =
                segments.iter().rev().map(|(timeline, number)| format!("{timeline}00000000000000{number}-abc.zst")).collect();
            let others =
                ["000000010000000000000003.00000028.backup", "00000002.history", "000000010000000000000002.partial-abc.zst"];
            let files = files.iter().map(String::as_str).chain(others);
            let needed = needed.map(|number| Segment::parse(&format!("{one}00000000000000{number}"), BYTES).unwrap());
            let found: Vec<String> = gaps(files, BYTES, needed).iter().map(Gap::to_string).collect();
            assert_eq!(found, expected, "{what}");
        }
    }
}
