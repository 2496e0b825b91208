//! The campaign of forgeries: statements altered at random in one place each, served to a live agent. Not one changes a file.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::Value;
use stead_trust::{Bundle, Signature};

use crate::fleet::{Seen, World, file, holds, profile_key};

/// Statements in a full campaign.
const FULL: usize = 1_000;
/// Statements without a word from outside.
const SHARE_DEFAULT: usize = 50;
/// Statements that are served in one state, before an honest change shows that the machine still listens.
const SERVED_AT_ONCE: usize = 10;
/// Fixed, so that a campaign can be run again; what is printed names the statement that broke it.
const SEED: u64 = 0x5715_ead0_2026_1120;

/// SplitMix64: enough to choose places, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.roll() % end as u64).unwrap()
    }

    /// Makes one byte another one.
    fn alter(&mut self, bytes: &mut [u8]) {
        let place = self.below(bytes.len());
        bytes[place] ^= u8::try_from(1 + self.below(255)).unwrap();
    }

    /// Takes one byte away, or puts one in.
    fn shift(&mut self, bytes: &mut Vec<u8>) {
        let place = self.below(bytes.len());
        if self.roll().is_multiple_of(2) {
            bytes.remove(place);
        } else {
            bytes.insert(place, b"0a \"{}"[self.below(6)]);
        }
    }

    /// Gives one member of a canonical document the value of another one, or a number one more.
    fn alter_member(&mut self, document: &mut Vec<u8>) {
        let mut value: Value = serde_json::from_slice(document).unwrap();
        let members = value.as_object_mut().unwrap();
        let names: Vec<String> = members.keys().cloned().collect();
        let (one, other) = (&names[self.below(names.len())], &names[self.below(names.len())]);
        let taken = members[other].clone();
        let member = &mut members[one];
        *member = match member.as_u64() {
            Some(number) => Value::from(number + 1),
            None => taken,
        };
        *document = serde_json::to_vec(&value).unwrap();
    }

    fn alter_signature(&mut self, signature: &mut Signature) {
        loop {
            let mut blob = signature.as_blob().to_vec();
            self.alter(&mut blob);
            if let Ok(altered) = Signature::from_blob(&blob) {
                *signature = altered;
                return;
            }
        }
    }
}

type Alteration = fn(&mut Dice, &mut Bundle);

/// Every kind of alteration but that of the encoded bytes.
const ALTERATIONS: [(&str, Alteration); 15] = [
    ("a byte of the statement", |dice, bundle| dice.alter(&mut bundle.statement)),
    ("a byte more or less in the statement", |dice, bundle| dice.shift(&mut bundle.statement)),
    ("a member of the statement", |dice, bundle| dice.alter_member(&mut bundle.statement)),
    ("a byte of a signature", |dice, bundle| dice.alter_signature(&mut bundle.signatures[0])),
    ("a byte of a leaf", |dice, bundle| dice.alter(&mut some(dice.0, bundle).leaf)),
    ("a member of a leaf", |dice, bundle| dice.alter_member(&mut some(dice.0, bundle).leaf)),
    ("a byte of an object", |dice, bundle| dice.alter(some(dice.0, bundle).object.as_mut().unwrap())),
    ("a byte more or less in an object", |dice, bundle| dice.shift(some(dice.0, bundle).object.as_mut().unwrap())),
    ("an object left out", |dice, bundle| some(dice.0, bundle).object = None),
    ("a byte of a proof", |dice, bundle| {
        let proof = &mut some(dice.0, bundle).proof;
        let step = dice.below(proof.len());
        dice.alter(&mut proof[step]);
    }),
    ("a step of a proof left out", |dice, bundle| {
        some(dice.0, bundle).proof.pop();
    }),
    ("a place in the tree", |dice, bundle| some(dice.0, bundle).index += 1 + dice.roll() % 3),
    ("a byte of the receipt", |dice, bundle| dice.alter(&mut bundle.receipt)),
    ("a member of the receipt", |dice, bundle| dice.alter_member(&mut bundle.receipt)),
    ("a byte of the receipt's signature", |dice, bundle| dice.alter_signature(&mut bundle.receipt_signature)),
];
const ENCODED: &str = "a byte of the encoded bundle";

fn some(number: u64, bundle: &mut Bundle) -> &mut stead_trust::BundleEntry {
    let place = usize::try_from(number % bundle.entries.len() as u64).unwrap();
    &mut bundle.entries[place]
}

/// One alteration, and its kind: each kind once, and then as the dice fall. What says the same in other bytes is no alteration, and is
/// drawn again.
fn forge(number: usize, dice: &mut Dice, honest: &Bundle) -> (&'static str, Bytes) {
    let kinds = ALTERATIONS.len() + 1;
    let kind = if number < kinds { number } else { dice.below(kinds) };
    loop {
        let Some((name, alter)) = ALTERATIONS.get(kind) else {
            let mut bytes = honest.to_bytes().unwrap();
            dice.alter(&mut bytes);
            match Bundle::from_bytes(&bytes) {
                Ok(bundle) if bundle == *honest => continue,
                _ => return (ENCODED, Bytes::from(bytes)),
            }
        };
        let mut forged = honest.clone();
        alter(dice, &mut forged);
        // Text fields cannot carry bytes that are no text.
        if let Ok(bytes) = forged.to_bytes()
            && forged != *honest
        {
            return (name, Bytes::from(bytes));
        }
    }
}

/// How many to run: all of them, the share that was asked for, or a few.
fn count() -> usize {
    if std::env::var("STEAD_CAMPAIGN_FULL").is_ok_and(|full| full == "1") {
        return FULL;
    }
    let share = std::env::var("STEAD_CAMPAIGN_SHARE").unwrap_or_default();
    let own = share.split(',').find_map(|part| part.trim().strip_prefix("forgeries="));
    own.map_or(SHARE_DEFAULT, |count| count.parse().expect("STEAD_CAMPAIGN_SHARE is NAME=COUNT, separated by commas"))
}

#[tokio::test]
async fn campaign_forgeries() {
    let count = count();
    let mut world = World::start().await;
    world.machine.write("/motd", "what was there", 0o644);
    world.serve(&file("web-1", "/etc-motd", "honest"), 1).await;
    world.acknowledged("Profile/web-1", 1, "Applied").await;
    let files = world.machine.files();
    let held = world.machine.holds().await;
    let change = world.fleet.change().put(&file("web-1", "/etc-motd", "forged"), 2);
    let change = change.put(&file("web-2", "/motd", "forged"), 1).put(&file("web-3", "/new", "forged"), 1);
    let honest = change.bundle();

    let mut dice = Dice(SEED);
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    let mut ran = 0;
    while ran < count {
        let forged: Vec<_> = (ran..count).take(SERVED_AT_ONCE).map(|number| forge(number, &mut dice, &honest)).collect();
        let names: Vec<&str> = forged.iter().map(|(name, _)| *name).collect();
        let numbers = ran + 1..=ran + forged.len();
        ran += forged.len();
        names.iter().for_each(|name| *kinds.entry(name).or_default() += 1);
        let marker = world.marker(ran as u64);
        world.centre.send(forged.into_iter().map(|(_, bytes)| bytes).chain([marker]).collect()).await;
        world.marked(ran as u64).await;
        assert_eq!(world.machine.files_but(&["/marker"]), files, "one of {numbers:?}: {names:?}");
    }
    let mut now = world.machine.holds().await;
    now.1.remove(&profile_key("web-marker"));
    assert_eq!(now, held, "the memory");
    world
        .centre
        .until("a refusal", |seen: &Seen| holds(&seen.status, "Refused").is_some() && seen.told("Refused", "refused"))
        .await;

    println!("forgeries: ran {ran}/{FULL}");
    for name in ALTERATIONS.iter().map(|(name, _)| *name).chain([ENCODED]) {
        let times = kinds.get(name).copied().unwrap_or(0);
        println!("  {times:>4} times {name}");
        assert!(times > 0, "{name} never occurred: run more");
    }
    // The very same change, unaltered, is obeyed: what was refused was refused for its alteration.
    world.centre.send(vec![Bytes::from(honest.to_bytes().unwrap())]).await;
    world.acknowledged("Profile/web-3", 1, "Applied").await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    assert_eq!(world.machine.read("/etc-motd").as_deref(), Some("forged"));
    world.stop().await;
}
