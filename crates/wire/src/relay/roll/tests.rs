//! What a relay that runs alone takes, from whom, and what it keeps.

use std::sync::{Arc, Mutex};

use jiff::Timestamp;
use stead_trust::{Root, Signer as _, SigningKey};

use super::*;

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn peer(seed: u8) -> PeerKey {
    PeerKey(*key(seed).machine_key().unwrap().as_bytes())
}

/// What a relay keeps on its disk.
#[derive(Clone, Default)]
struct Disk(Arc<Mutex<Option<Vec<u8>>>>);

impl Disk {
    fn open(&self, fleet: Digest) -> Result<RollKeeper, TakeError> {
        let (kept, disk) = (self.0.lock().unwrap().clone(), self.clone());
        let keep = move |bytes: &[u8]| {
            *disk.0.lock().unwrap() = Some(bytes.to_vec());
            Ok(())
        };
        RollKeeper::open(fleet, kept.as_deref(), Box::new(keep))
    }
}

/// A fleet with an owner (1) and two coordinators (2, 3).
struct World {
    first: Root,
    root: SignedRoot,
}

impl World {
    fn new() -> Self {
        let online = [2, 3].map(|seed| key(seed).public_key().clone()).to_vec();
        let first = Root::default_for(vec![key(1).public_key().clone()], online, Timestamp::from_second(1).unwrap());
        let root = SignedRoot::sign(&first, &[&key(1)]).unwrap();
        Self { first, root }
    }

    fn fleet(&self) -> Digest {
        self.root.digest()
    }

    /// The next version, in which the coordinator 2 counts no more.
    fn without_the_first_coordinator(&self) -> SignedRoot {
        let mut next = self.first.clone();
        next.version = 2;
        next.fleet = Some(self.fleet());
        next.previous = Some(self.root.digest());
        next.online.keys.retain(|online| online != key(2).public_key());
        SignedRoot::sign(&next, &[&key(1)]).unwrap()
    }

    fn roll(&self, coordinator: u8, sequence: u64, members: &[u8], marks: &[String]) -> (SignedRoll, Vec<u8>) {
        let members = roll_members(members.iter().map(|seed| peer(*seed)));
        let roll = Roll {
            fleet: self.fleet(),
            time: Timestamp::from_second(1).unwrap(),
            coordinator: key(coordinator).public_key().clone(),
            sequence,
            record: "record".to_owned(),
            revision: 1,
            members: Digest::of(&members),
            count: u64::try_from(members.len() / PEER_KEY_BYTES).unwrap(),
            marks: marks.to_vec(),
        };
        (SignedRoll::sign(&roll, &key(coordinator)).unwrap(), members)
    }
}

fn body(roots: &[&SignedRoot]) -> Vec<u8> {
    serde_json::to_vec(roots).unwrap()
}

#[tokio::test]
async fn a_relay_admits_whom_a_coordinator_names_and_remembers_it() {
    let (world, disk) = (World::new(), Disk::default());
    let keeper = disk.open(world.fleet()).unwrap();
    let (roll, members) = world.roll(2, 5, &[10, 11], &[relay_token_mark("token")]);
    assert!(!keeper.admits(&peer(2), None), "nobody is admitted who was not named");
    assert!(matches!(keeper.take_roll(roll.clone(), members.clone()).await, Err(TakeError::NoRoot)));
    keeper.take_roots(&body(&[&world.root])).await.unwrap();
    assert!(keeper.admits(&peer(2), None) && keeper.admits(&peer(3), None), "coordinators, by the root alone");
    assert!(!keeper.admits(&peer(10), None));
    keeper.take_roll(roll, members).await.unwrap();

    let admits = |keeper: &RollKeeper| {
        let by_key = [2, 3, 10, 11, 12].map(|seed| keeper.admits(&peer(seed), None));
        (by_key, keeper.admits(&peer(12), Some("token")), keeper.admits(&peer(12), Some("a guess")))
    };
    let expected = ([true, true, true, true, false], true, false);
    assert_eq!(admits(&keeper), expected);
    let restarted = disk.open(world.fleet()).unwrap();
    assert_eq!(admits(&restarted), expected, "it needs no coordinator to go on");
    assert_eq!(restarted.standing(), keeper.standing());
    assert_eq!((restarted.standing().count, restarted.standing().sequence, restarted.standing().root_version), (2, 5, 1));
    assert!(disk.open(Digest::of(b"another fleet")).is_err());
}

#[tokio::test]
async fn who_was_struck_off_never_comes_back() {
    let (world, disk) = (World::new(), Disk::default());
    let keeper = disk.open(world.fleet()).unwrap();
    keeper.take_roots(&body(&[&world.root])).await.unwrap();
    let (before, members) = world.roll(2, 5, &[10, 11], &[]);
    keeper.take_roll(before.clone(), members.clone()).await.unwrap();
    let (after, fewer) = world.roll(3, 6, &[10], &[]);
    keeper.take_roll(after, fewer).await.unwrap();
    assert!(keeper.admits(&peer(10), None) && !keeper.admits(&peer(11), None));
    // Recorded on the way, and said again; by the same relay after a restart, too.
    for keeper in [keeper, disk.open(world.fleet()).unwrap()] {
        let again = keeper.take_roll(before.clone(), members.clone()).await;
        assert!(matches!(again, Err(TakeError::Old { sequence: 5, held: 6 })), "{again:?}");
        assert!(!keeper.admits(&peer(11), None));
    }
}

#[tokio::test]
async fn nobody_speaks_for_a_coordinator() {
    let (world, disk) = (World::new(), Disk::default());
    let keeper = disk.open(world.fleet()).unwrap();
    keeper.take_roots(&body(&[&world.root])).await.unwrap();
    // An owner is no coordinator, and neither is a member.
    for seed in [1, 10] {
        let (roll, members) = world.roll(seed, 5, &[10], &[]);
        assert!(matches!(keeper.take_roll(roll, members).await, Err(TakeError::NotCoordinator { .. })));
    }
    let (roll, members) = world.roll(2, 5, &[10], &[]);
    assert!(matches!(keeper.take_roll(roll.clone(), Vec::new()).await, Err(TakeError::OtherMembers)));
    assert!(matches!(keeper.take_roll(roll.clone(), [members.clone(), vec![1]].concat()).await, Err(TakeError::OtherMembers)));
    let mut altered = roll.clone();
    altered.document[40] ^= 1;
    assert!(matches!(keeper.take_roll(altered, members.clone()).await, Err(TakeError::Roll(_))));
    assert!(keeper.take_roots(b"nonsense").await.is_err());
    // Another fleet's chain, however well it is signed.
    let other = Root::default_for(
        vec![key(7).public_key().clone()],
        vec![key(8).public_key().clone()],
        Timestamp::from_second(1).unwrap(),
    );
    let other = SignedRoot::sign(&other, &[&key(7)]).unwrap();
    assert!(keeper.take_roots(&body(&[&other])).await.is_err());
    assert!(Disk::default().open(world.fleet()).unwrap().take_roots(&body(&[&other])).await.is_err());
    assert_eq!(keeper.standing().sequence, 0);
}

#[tokio::test]
async fn a_coordinator_that_the_owners_dropped_counts_no_more_and_blocks_nobody() {
    let (world, disk) = (World::new(), Disk::default());
    let keeper = disk.open(world.fleet()).unwrap();
    keeper.take_roots(&body(&[&world.root])).await.unwrap();
    // Whoever had its key could sign the highest of all sequences.
    let (roll, members) = world.roll(2, (1 << 53) - 1, &[12], &[]);
    keeper.take_roll(roll, members).await.unwrap();
    let next = world.without_the_first_coordinator();
    keeper.take_roots(&body(&[&world.root, &next])).await.unwrap();
    keeper.take_roots(&body(&[&next])).await.unwrap();
    assert_eq!(keeper.standing().root_version, 2);
    assert!(!keeper.admits(&peer(2), None));
    let (roll, members) = world.roll(3, 7, &[10], &[]);
    keeper.take_roll(roll, members).await.unwrap();
    assert!(keeper.admits(&peer(10), None) && !keeper.admits(&peer(12), None));
    // The chain never goes back.
    keeper.take_roots(&body(&[&world.root])).await.unwrap();
    assert_eq!(keeper.standing().root_version, 2);
}

#[test]
fn fuzz_roll() {
    let fleet = World::new().fleet();
    bolero::check!().for_each(|bytes: &[u8]| {
        // Strangers' roots and rolls, and a file that was spoilt.
        let keeper = RollKeeper::open(fleet, None, Box::new(|_| Ok(()))).unwrap();
        assert!(futures::executor::block_on(keeper.take_roots(bytes)).is_err());
        if let Ok(signed) = serde_json::from_slice::<SignedRoll>(bytes) {
            assert!(keeper.look(&signed).is_err());
        }
        let _ = RollKeeper::open(fleet, Some(bytes), Box::new(|_| Ok(())));
    });
}
