//! What becomes of a path when its wish goes away: a pure decision over what is there and what is remembered.

use stead_unit::Removal;

use super::place::{Current, Step};
use super::saved::Memory;
use crate::host::{HostPath, Thing};

/// Decides. What we wrote is taken back, what a person changed since is kept, and what is as it was is left.
pub(super) fn plan(path: &HostPath, current: &Current) -> Removal<Step> {
    let Some(Memory::Place { original, written, kept }) = &current.memory else {
        return Removal::Steps(Vec::new());
    };
    let forget = || Removal::Steps(vec![Step::Forget { path: path.clone() }]);
    let keep = |reason: String| Removal::Steps(vec![Step::Keep { path: path.clone(), reason }]);
    if current.thing == Thing::Absent || (kept.is_none() && current.thing == *original) {
        // Removed by hand, or as it was: either way there is nothing of ours.
        return forget();
    }
    if let Some(reason) = kept {
        return Removal::Kept { reason: reason.clone() };
    }
    if !written.contains(&current.thing) {
        return keep(format!("{path} was changed by hand after we wrote it, and is now {}", current.thing));
    }
    if *original == Thing::Absent && !current.empty {
        return keep(format!("{path} was made by us, but there is something in it"));
    }
    Removal::Steps(vec![Step::PutBack { path: path.clone(), original: original.clone() }])
}

#[cfg(test)]
mod tests {
    use super::*;
    use stead_model::Digest;

    fn file(content: &str) -> Thing {
        let bytes = content.len() as u64;
        Thing::File { digest: Digest::of(content.as_bytes()), bytes, mode: 0o644, uid: 0, gid: 0 }
    }

    fn directory(mode: u32) -> Thing {
        Thing::Directory { mode, uid: 0, gid: 0 }
    }

    fn decide(thing: Thing, empty: bool, original: Thing, written: &[Thing], kept: Option<&str>) -> &'static str {
        let memory = Some(Memory::Place { original, written: written.to_vec(), kept: kept.map(str::to_owned) });
        let current = Current { thing, empty, memory, ids: None };
        match plan(&HostPath::parse("/a").unwrap(), &current) {
            Removal::Kept { .. } => "kept",
            Removal::Steps(steps) => match steps.as_slice() {
                [Step::Forget { .. }] => "forget",
                [Step::Keep { .. }] => "keep",
                [Step::PutBack { .. }] => "put back",
                _ => "other",
            },
        }
    }

    #[test]
    fn what_we_wrote_goes_and_what_a_person_made_stays() {
        use Thing::Absent;
        let (old, new, hand) = (file("old"), file("new"), file("hand"));
        for (thing, original, expected) in [
            (&new, &old, "put back"),
            (&new, &Absent, "put back"),
            (&hand, &old, "keep"),
            (&hand, &Absent, "keep"),
            (&old, &old, "forget"),
            (&Absent, &old, "forget"),
            (&Absent, &Absent, "forget"),
            (&directory(0o755), &old, "keep"),
        ] {
            assert_eq!(
                decide(thing.clone(), true, original.clone(), std::slice::from_ref(&new), None),
                expected,
                "{thing}, {original}"
            );
        }
        assert_eq!(decide(hand.clone(), true, old.clone(), std::slice::from_ref(&new), Some("by hand")), "kept");
        assert_eq!(decide(Absent, true, old, &[new], Some("by hand")), "forget");
    }

    #[test]
    fn a_directory_that_we_made_goes_only_when_empty() {
        let made = [directory(0o755)];
        assert_eq!(decide(directory(0o755), true, Thing::Absent, &made, None), "put back");
        assert_eq!(decide(directory(0o755), false, Thing::Absent, &made, None), "keep");
        assert_eq!(decide(directory(0o755), false, directory(0o700), &made, None), "put back");
        assert_eq!(decide(directory(0o711), true, Thing::Absent, &made, None), "keep");
    }

    #[test]
    fn nothing_remembered_means_nothing_done() {
        let current = Current { thing: file("x"), empty: true, memory: None, ids: None };
        assert_eq!(plan(&HostPath::parse("/a").unwrap(), &current), Removal::Steps(Vec::new()));
    }
}
