//! The lying coordinator: whatever it serves that owners did not sign, or signed for another time or fleet, changes no file.

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use stead_model::ObjectKey;
use stead_trust::{Authorship, Bundle, Root, Signature, SignedRoot, Signer as _, SigningKey};
use stead_wire::State;

use crate::fleet::{Fleet, World, file, holds, minutes, object, profile, profile_key, root_bytes};

/// What an honest fleet has sent before the lies begin, and what the liar has at hand.
struct Before {
    /// Sequence 1 of `web-1`, which sequence 2 has replaced.
    replaced: Bytes,
    own: Bytes,
    /// Version 2 of the root.
    second_root: Root,
    other: Fleet,
}

/// One lie, and the words by which the machine names it; none where it is to be passed over.
struct Lie {
    name: &'static str,
    served: State,
    named: Option<&'static str>,
}

fn bundles(name: &'static str, bundles: Vec<Bytes>, named: &'static str) -> Lie {
    Lie { name, served: State { bundles, ..State::default() }, named: Some(named) }
}

fn roots(name: &'static str, roots: Vec<Bytes>, named: &'static str) -> Lie {
    Lie { name, served: State { roots, ..State::default() }, named: Some(named) }
}

/// The second byte from the end of the first such piece, made another.
fn flip(bytes: &mut [u8], piece: &[u8]) {
    let at = bytes.windows(piece.len()).position(|window| window == piece).expect("no such piece");
    let place = at + piece.len() - 1;
    bytes[place] = if bytes[place] == b'1' { b'2' } else { b'1' };
}

/// An honest change of two profiles with one byte of it altered; it would overwrite `/motd` and make `/new`.
fn altered(world: &World, alter: impl FnOnce(&mut Bundle)) -> Vec<Bytes> {
    let change = world.fleet.change().put(&file("web-1", "/motd", "altered0"), 3).put(&file("web-new", "/new", "altered0"), 1);
    let mut bundle = change.bundle();
    alter(&mut bundle);
    vec![Bytes::from(bundle.to_bytes().unwrap())]
}

fn signature_with(signature: &Signature, place_from_end: usize) -> Signature {
    let mut blob = signature.as_blob().to_vec();
    let place = blob.len() - place_from_end;
    blob[place] ^= 1;
    Signature::from_blob(&blob).unwrap()
}

fn altered_by_one_byte(world: &World) -> Vec<Lie> {
    vec![
        bundles(
            "an altered leaf",
            altered(world, |bundle| flip(&mut bundle.entries[0].leaf, b"\"sequence\":3")),
            "the check of its proof",
        ),
        bundles(
            "an altered salt",
            altered(world, |bundle| flip(&mut bundle.entries[0].leaf, b"\"salt\":\"0")),
            "the check of its proof",
        ),
        bundles(
            "an altered object",
            altered(world, |bundle| flip(bundle.entries[0].object.as_mut().unwrap(), b"altered0")),
            "the check of its digest",
        ),
        bundles(
            "an altered statement",
            altered(world, |bundle| flip(&mut bundle.statement, b"\"a te")),
            "the check of its signature",
        ),
        bundles(
            "an altered signature",
            altered(world, |bundle| bundle.signatures[0] = signature_with(&bundle.signatures[0], 10)),
            "the check of its signature",
        ),
        bundles("no signature", altered(world, |bundle| bundle.signatures.clear()), "the check of its signature"),
        bundles(
            "an altered receipt",
            altered(world, |bundle| flip(&mut bundle.receipt, b"\"revision\":7")),
            "the check of its receipt",
        ),
        bundles(
            "an altered receipt's signature",
            altered(world, |bundle| bundle.receipt_signature = signature_with(&bundle.receipt_signature, 10)),
            "the check of its receipt",
        ),
        bundles("an altered proof", altered(world, |bundle| bundle.entries[1].proof[0][31] ^= 1), "the check of its proof"),
        bundles("an altered place", altered(world, |bundle| bundle.entries[1].index = 0), "the check of its proof"),
        bundles("an object left out", altered(world, |bundle| bundle.entries[0].object = None), "the check of its digest"),
        bundles(
            "objects exchanged",
            altered(world, |bundle| bundle.entries[0].object = bundle.entries[1].object.clone()),
            "the check of its digest",
        ),
        bundles("an entry twice", altered(world, |bundle| bundle.entries[1] = bundle.entries[0].clone()), "twice"),
    ]
}

fn signed_by_the_wrong(world: &World, before: &Before) -> Vec<Lie> {
    let fleet = &world.fleet;
    let evil = file("web-1", "/motd", "evil");
    let change = |signers: &[&SigningKey]| fleet.change().put(&evil, 3).by(signers).bytes();
    let online = fleet.change().put(&evil, 3).with(|change| {
        change.author = Authorship::Online { signer: fleet.online.public_key().clone(), requested_by: "somebody".to_owned() };
        change.signers = vec![&fleet.online];
    });
    let named_by_owner = fleet.change().put(&evil, 3).with(|change| change.signers = vec![&fleet.stranger]);
    let other = before.other.change().put(&evil, 3).with(|change| {
        change.author = Authorship::Person { author: fleet.owner.public_key().clone() };
    });
    let pair = |by: &[&SigningKey]| fleet.change().put(&file("pair-1", "/pair", "evil"), 2).by(by).bytes();
    let gone = fleet.change().delete(&profile_key("web-1"), 3).by(&[&fleet.stranger]).bytes();
    let usurper = world.machine.object("m2", json!({"site": "linz"}));
    vec![
        bundles("a key without the role", vec![change(&[&fleet.stranger])], "the check of its role"),
        bundles("an owner of another role", vec![change(&[&fleet.second])], "the check of its role"),
        bundles("another name than who signed", vec![named_by_owner.bytes()], "the check of its role"),
        bundles("the coordinator's own word", vec![online.bytes()], "the check of its role"),
        bundles("a deletion without the role", vec![gone], "the check of its role"),
        bundles("one of two signatures", vec![pair(&[&fleet.owner])], "the check of its threshold"),
        bundles("one signature twice", vec![pair(&[&fleet.owner, &fleet.owner])], "the check of its threshold"),
        bundles("a statement of another fleet", vec![other.bytes()], "the check of its fleet"),
        bundles("another name for this machine", vec![fleet.put(&usurper, 1)], "alarm"),
    ]
}

fn out_of_time(world: &World, before: &Before) -> Vec<Lie> {
    let fleet = &world.fleet;
    let evil = file("web-1", "/motd", "evil");
    let late = fleet.change().put(&evil, 3).with(|change| change.admit_before = change.time + minutes(1));
    let late = late.with(|change| change.admitted = change.time + minutes(2));
    let early = fleet.change().put(&evil, 3).with(|change| change.admitted = change.time - minutes(30));
    let receipt = fleet.change().put(&evil, 3).with(|change| change.receipt_by = &fleet.stranger);
    vec![
        bundles("a replayed older sequence", vec![before.replaced.clone()], "the check of its sequence"),
        bundles("the held sequence, with another content", vec![fleet.put(&evil, 2)], "the check of its sequence"),
        bundles("an expired statement", vec![late.bytes()], "the check of its receipt"),
        bundles("a receipt from before it was written", vec![early.bytes()], "the check of its receipt"),
        bundles("a receipt of no coordinator", vec![receipt.bytes()], "the check of its receipt"),
        Lie {
            name: "objects left out of all there is",
            served: State {
                full: true,
                roots: vec![root_bytes(&fleet.first)],
                bundles: vec![before.own.clone()],
                ..State::default()
            },
            named: None,
        },
        Lie { name: "nothing at all", served: State { full: true, ..State::default() }, named: None },
    ]
}

fn false_roots(world: &World, before: &Before) -> Vec<Lie> {
    let fleet = &world.fleet;
    let signed = |root: &Root, by: &SigningKey| root_bytes(&SignedRoot::sign(root, &[by]).unwrap());
    let third = before.second_root.next_version(Timestamp::now()).unwrap();
    let forked = fleet.next_root("fork");
    let mut usurped = third.clone();
    usurped.owners.keys = vec![fleet.stranger.public_key().clone()];
    let skipped = third.next_version(Timestamp::now()).unwrap();
    let mut half = signed(&third, &fleet.owner).to_vec();
    half.truncate(half.len() / 2);
    vec![
        roots("a forked root", vec![signed(&forked, &fleet.owner)], "ALARM"),
        roots("a root whose owner signed alone", vec![signed(&usurped, &fleet.stranger)], "signatures"),
        roots("a root that the old owner gave away alone", vec![signed(&usurped, &fleet.owner)], "signatures"),
        roots("the chain of another fleet", vec![root_bytes(&before.other.first)], "trust root"),
        roots("a root version skipped", vec![signed(&skipped, &fleet.owner)], "does not follow"),
        roots("half a root", vec![Bytes::from(half)], "not well-formed"),
        roots("a root that is none", vec![Bytes::from_static(b"\xff\x00garbage")], "not well-formed"),
        Lie {
            name: "an old root",
            served: State { full: true, roots: vec![root_bytes(&fleet.first)], ..State::default() },
            named: None,
        },
    ]
}

fn nonsense(world: &World) -> Vec<Lie> {
    let fleet = &world.fleet;
    let honest = fleet.put(&file("web-1", "/motd", "evil"), 3);
    let signed = |name, spec, named| bundles(name, vec![fleet.put(&profile("web-1", spec), 3)], named);
    let files = |path: &str| json!({"selector": {}, "files": [{"path": path, "content": "evil"}]});
    let cycle = |name: &str, after: &str| json!({"name": name, "check": ["false"], "run": ["touch", "/evil"], "after": [after]});
    vec![
        bundles("no bytes", vec![Bytes::new()], "not well-formed"),
        bundles("garbage", vec![Bytes::from_static(&[0xff; 300])], "not well-formed"),
        bundles("half a bundle", vec![honest.slice(..honest.len() / 2)], "not well-formed"),
        bundles("a bundle and more", vec![Bytes::from([honest.as_ref(), b"x"].concat())], "not well-formed"),
        signed("an unknown field", json!({"selector": {}, "modules": []}), "modules"),
        signed("a wrong type", json!({"selector": {}, "files": 7}), "files"),
        signed("a path with ..", files("/../motd"), ".."),
        signed("a path that is relative", files("motd"), "motd"),
        signed("a path with too long a part", files(&format!("/{}", "x".repeat(300))), "255"),
        signed(
            "commands in a circle",
            json!({"selector": {}, "commands": [cycle("a", "command:b"), cycle("b", "command:a")]}),
            "after itself",
        ),
        bundles("an unknown kind", vec![fleet.put(&object("Rollout", "web-1", json!({}), json!({})), 1)], "kind"),
    ]
}

/// `/motd` says two, `/pair` is signed by both owners, and the root is at version 2.
async fn before(world: &mut World) -> Before {
    world.machine.write("/motd", "what was there", 0o644);
    let replaced = world.fleet.put(&file("web-1", "/motd", "one"), 1);
    let pair = file("pair-1", "/pair", "both");
    let pair = world.fleet.change().put(&pair, 1).by(&[&world.fleet.owner, &world.fleet.second]).bytes();
    let second_root = world.fleet.next_root("later");
    let signed = SignedRoot::sign(&second_root, &[&world.fleet.owner]).unwrap();
    world
        .centre
        .send_state(State { roots: vec![root_bytes(&signed)], bundles: vec![replaced.clone(), pair], ..State::default() })
        .await;
    world.serve(&file("web-1", "/motd", "two"), 2).await;
    world.acknowledged("Profile/web-1", 2, "Applied").await;
    world.acknowledged("Profile/pair-1", 1, "Applied").await;
    Before { replaced, own: world.first.clone(), second_root, other: Fleet::new(70) }
}

#[tokio::test]
async fn no_lie_changes_a_file_and_each_is_named() {
    let mut world = World::start().await;
    let before = before(&mut world).await;
    let (files, held) = (world.machine.files(), world.machine.holds().await);
    assert_eq!(held.0, 2, "the root version");
    let lies = [
        altered_by_one_byte(&world),
        signed_by_the_wrong(&world, &before),
        out_of_time(&world, &before),
        false_roots(&world, &before),
        nonsense(&world),
    ];
    let marker = profile_key("web-marker");
    for (number, lie) in (1..).zip(lies.into_iter().flatten()) {
        let Lie { name, mut served, named } = lie;
        world.centre.seen.events.clear();
        served.bundles.push(world.marker(number));
        world.centre.send_state(served).await;
        world.marked(number).await;
        assert_eq!(world.machine.files_but(&["/marker"]), files, "{name}");
        let mut now = world.machine.holds().await;
        assert_eq!(now.1.remove(&marker), Some(number));
        assert_eq!(now, held, "{name}");
        if let Some(words) = named {
            let refused = |seen: &crate::fleet::Seen| {
                holds(&seen.status, "Refused").is_some_and(|message| message.contains(words)) && seen.told("Refused", words)
            };
            world.centre.until(&format!("{name}: refused with {words:?}"), refused).await;
        }
        // All there is, and every bit of it true: nothing is left to complain of.
        let own = before.own.clone();
        world.centre.full(vec![root_bytes(&world.fleet.first)], vec![own]).await;
        world.centre.until(name, |seen| holds(&seen.status, "Refused").is_none()).await;
    }
    world.serve(&file("web-1", "/motd", "three"), 3).await;
    world.acknowledged("Profile/web-1", 3, "Applied").await;
    assert_eq!(world.machine.read("/motd").as_deref(), Some("three"));
    world.stop().await;
}

#[tokio::test]
async fn of_changes_out_of_order_the_newest_stays() {
    let mut world = World::start().await;
    let [one, two, three] = [1, 2, 3].map(|sequence| world.fleet.put(&file("web-1", "/motd", &sequence.to_string()), sequence));
    let marker = world.marker(1);
    world.centre.send(vec![two, one.clone(), three.clone(), one, three, marker]).await;
    world.marked(1).await;
    world.acknowledged("Profile/web-1", 3, "Applied").await;
    assert_eq!(world.machine.read("/motd").as_deref(), Some("3"));
    world.centre.until("a refusal", |seen| seen.told("Refused", "sequence 1 came, and sequence")).await;
    world.stop().await;
}

#[tokio::test]
async fn a_flood_of_made_up_names_is_bounded() {
    /// More than a machine tells apart.
    const LIES: usize = 200;
    let mut world = World::start().await;
    let lie = |number: usize| {
        let evil = file(&format!("web-{number}"), "/motd", "evil");
        world.fleet.change().put(&evil, 1).by(&[&world.fleet.stranger]).bytes()
    };
    let lies: Vec<Bytes> = (0..LIES).map(lie).chain([world.marker(1)]).collect();
    world.centre.send(lies).await;
    world.marked(1).await;
    world.centre.until("a count", |seen| seen.told("Refused", "more than 64 others")).await;
    let told = world.centre.seen.events.iter().filter(|event| event.reason == "Refused").count();
    assert_eq!(told, 65, "each of the first, and one word on the rest");
    assert_eq!(world.machine.read("/motd"), None);
    world.stop().await;
}

#[tokio::test]
async fn a_machine_does_not_join_another_fleet_or_a_chain_that_is_too_short() {
    let fleet = Fleet::new(10);
    let other = Fleet::new(70);
    let mut centre = crate::fleet::Centre::start(&fleet.online, fleet.id()).await;
    let mut machine = crate::fleet::Machine::new(41);
    let ticket = stead_wire::Ticket { root_version: 2, ..fleet.ticket(&centre) };
    machine.start(Some(ticket));
    centre.joins(1).await;
    let files = machine.files();
    let second = SignedRoot::sign(&fleet.next_root("later"), &[&fleet.owner]).unwrap();
    let own = fleet.put(&machine.object("m1", json!({})), 1);
    let change = fleet.put(&file("web-1", "/motd", "evil"), 1);
    let lies = [
        (vec![root_bytes(&other.first)], "belongs to the fleet"),
        (vec![root_bytes(&fleet.first)], "ends at version 1"),
        (vec![root_bytes(&second)], "belongs to the fleet"),
        (Vec::new(), "0 versions"),
    ];
    for (roots, words) in lies {
        centre.full(roots, vec![own.clone(), change.clone()]).await;
        let refused = |seen: &crate::fleet::Seen| holds(&seen.status, "Refused").is_some_and(|message| message.contains(words));
        centre.until(words, refused).await;
        assert_eq!(machine.files(), files, "{words}");
    }
    centre.full(vec![root_bytes(&fleet.first), root_bytes(&second)], vec![own, change]).await;
    centre.until("applied", |seen| crate::fleet::has_word(&seen.status, "Profile/web-1", 1, "Applied")).await;
    assert_eq!(machine.read("/motd").as_deref(), Some("evil"));
    assert_eq!(holds(&centre.seen.status, "Refused"), None);
    let held: Vec<ObjectKey> = machine.holds().await.1.into_keys().collect();
    assert_eq!(held.len(), 2);
    machine.stop().await.unwrap();
    centre.stop().await;
}
