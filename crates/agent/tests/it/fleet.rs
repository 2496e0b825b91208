//! A fleet to test a real agent with: its owners' keys, its papers, and changes as honest or as false as a test wants them.

mod centre;
mod machine;

use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stead_model::{Digest, GroupKind, MachineStatus, Object, ObjectKey, Revision};
use stead_trust::{
    Authorship, Bundle, Role, Root, Salt, SignedReceipt, SignedRoot, Signer, SigningKey, StatementBuilder, Submission,
};
use stead_wire::Ticket;

pub(crate) use self::centre::{Centre, Seen};
pub(crate) use self::machine::Machine;

const ID: &str = "01JABCDEFGHJKMNPQRSTVWXYZ0";

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn minutes(count: i64) -> SignedDuration {
    SignedDuration::from_mins(count)
}

/// Two owners, a key that no root names, and a coordinator. Profiles named `pair-…` need both owners; others need the first.
pub(crate) struct Fleet {
    pub(crate) owner: SigningKey,
    pub(crate) second: SigningKey,
    pub(crate) stranger: SigningKey,
    pub(crate) online: SigningKey,
    pub(crate) root: Root,
    pub(crate) first: SignedRoot,
}

impl Fleet {
    /// A fleet whose keys come from this seed and those after it.
    pub(crate) fn new(seed: u8) -> Self {
        let (owner, second, stranger, online) = (key(seed), key(seed + 1), key(seed + 2), key(seed + 3));
        let mut root = Root::default_for(
            vec![owner.public_key().clone()],
            vec![online.public_key().clone()],
            Timestamp::now() - minutes(60),
        );
        let profile = GroupKind::new("stead.dev", "Profile");
        root.roles[0].kinds.retain(|kind| *kind != profile);
        let role = |name: &str, keys: Vec<&SigningKey>, prefix: &str| Role {
            name: name.to_owned(),
            threshold: u32::try_from(keys.len()).unwrap(),
            keys: keys.iter().map(|key| key.public_key().clone()).collect(),
            kinds: vec![profile.clone()],
            name_prefix: Some(prefix.to_owned()),
            ..root.roles[0].clone()
        };
        let roles = [role("profiles", vec![&owner], "web-"), role("pair", vec![&owner, &second], "pair-")];
        root.roles.extend(roles);
        let first = SignedRoot::sign(&root, &[&owner]).unwrap();
        Self { owner, second, stranger, online, root, first }
    }

    pub(crate) fn id(&self) -> Digest {
        self.first.digest()
    }

    /// Version 2 of the root, which takes in one more role.
    pub(crate) fn next_root(&self, role: &str) -> Root {
        let mut root = self.root.next_version(Timestamp::now() - minutes(30)).unwrap();
        root.roles.push(Role { name: role.to_owned(), name_prefix: Some(format!("{role}-")), ..root.roles[1].clone() });
        root
    }

    pub(crate) fn change(&self) -> Change<'_> {
        let now = Timestamp::now();
        Change {
            of: self.id(),
            time: now,
            admit_before: now + minutes(60),
            admitted: now,
            author: Authorship::Person { author: self.owner.public_key().clone() },
            signers: vec![&self.owner],
            receipt_by: &self.online,
            entries: Vec::new(),
        }
    }

    /// An honest change of one object.
    pub(crate) fn put(&self, object: &Object, sequence: u64) -> Bytes {
        self.change().put(object, sequence).bytes()
    }

    /// An honest deletion of a profile.
    pub(crate) fn delete(&self, profile: &str, sequence: u64) -> Bytes {
        self.change().delete(&profile_key(profile), sequence).bytes()
    }

    pub(crate) fn ticket(&self, centre: &Centre) -> Ticket {
        Ticket {
            fleet: *self.id().as_bytes(),
            root_version: 1,
            coordinators: vec![centre.address()],
            pass: Bytes::from_static(b"pass"),
            delegation: None,
        }
    }
}

enum Entry {
    Put(Object),
    Delete(ObjectKey),
}

/// A change in the making: every part is honest until a test says otherwise.
pub(crate) struct Change<'a> {
    pub(crate) of: Digest,
    pub(crate) time: Timestamp,
    pub(crate) admit_before: Timestamp,
    pub(crate) admitted: Timestamp,
    pub(crate) author: Authorship,
    pub(crate) signers: Vec<&'a SigningKey>,
    pub(crate) receipt_by: &'a SigningKey,
    entries: Vec<(Entry, u64)>,
}

impl<'a> Change<'a> {
    pub(crate) fn put(mut self, object: &Object, sequence: u64) -> Self {
        self.entries.push((Entry::Put(object.clone()), sequence));
        self
    }

    pub(crate) fn delete(mut self, key: &ObjectKey, sequence: u64) -> Self {
        self.entries.push((Entry::Delete(key.clone()), sequence));
        self
    }

    /// Written and signed by these, the first of whom is the author.
    pub(crate) fn by(mut self, signers: &[&'a SigningKey]) -> Self {
        self.author = Authorship::Person { author: signers[0].public_key().clone() };
        self.signers = signers.to_vec();
        self
    }

    pub(crate) fn with(mut self, alter: impl FnOnce(&mut Self)) -> Self {
        alter(&mut self);
        self
    }

    fn submission(&self) -> Submission {
        let mut builder = StatementBuilder::new(self.of, ID, self.time, self.admit_before, "a test", self.author.clone());
        for (entry, sequence) in &self.entries {
            let salt = Salt::from_bytes([9; 32]);
            match entry {
                Entry::Put(object) => builder.put(object, *sequence, salt).unwrap(),
                Entry::Delete(key) => builder.delete("stead.dev/v1", key, *sequence, salt).unwrap(),
            };
        }
        let signers: Vec<&dyn Signer> = self.signers.iter().map(|signer| *signer as &dyn Signer).collect();
        builder.build().unwrap().sign(&signers).unwrap()
    }

    pub(crate) fn bundle(&self) -> Bundle {
        let submission = self.submission();
        let digest = submission.statement.digest();
        let receipt = SignedReceipt::sign(self.of, digest, Revision(7), self.admitted, self.receipt_by).unwrap();
        let indices: Vec<u64> = (0..submission.entries.len() as u64).collect();
        Bundle::assemble(&submission, &submission.tree(), &indices, &receipt).unwrap()
    }

    pub(crate) fn bytes(&self) -> Bytes {
        Bytes::from(self.bundle().to_bytes().unwrap())
    }
}

pub(crate) fn root_bytes(root: &SignedRoot) -> Bytes {
    Bytes::from(serde_json::to_vec(root).unwrap())
}

pub(crate) fn object(kind: &str, name: &str, labels: Value, spec: Value) -> Object {
    let metadata = json!({"name": name, "labels": labels});
    serde_json::from_value(json!({"apiVersion": "stead.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})).unwrap()
}

pub(crate) fn profile(name: &str, spec: Value) -> Object {
    object("Profile", name, json!({}), spec)
}

/// A profile for every machine, with one file of the process's own user.
pub(crate) fn file(name: &str, path: &str, content: &str) -> Object {
    profile(name, json!({"selector": {}, "files": [{"path": path, "content": content}]}))
}

pub(crate) fn profile_key(name: &str) -> ObjectKey {
    ObjectKey::new(GroupKind::new("stead.dev", "Profile"), "", name)
}

/// A fleet, its lying coordinator, and one machine that has joined and holds its own object with the label `site: graz`.
pub(crate) struct World {
    pub(crate) fleet: Fleet,
    pub(crate) centre: Centre,
    pub(crate) machine: Machine,
    /// The change that made the machine a member.
    pub(crate) first: Bytes,
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(Machine::new(40)).await
    }

    pub(crate) async fn start_with(machine: Machine) -> Self {
        let fleet = Fleet::new(10);
        let centre = Centre::start(&fleet.online, fleet.id()).await;
        Self::join(fleet, centre, machine).await
    }

    pub(crate) async fn join(fleet: Fleet, mut centre: Centre, mut machine: Machine) -> Self {
        machine.start(Some(fleet.ticket(&centre)));
        let joined = centre.joins(1).await;
        assert_eq!((joined.root_version, joined.revision, joined.held.len()), (0, 0, 0));
        let first = fleet.put(&machine.object("m1", json!({"site": "graz"})), 1);
        let mut world = Self { fleet, centre, machine, first: first.clone() };
        world.centre.full(vec![root_bytes(&world.fleet.first)], vec![first]).await;
        world.acknowledged("Machine/m1", 1, "Applied").await;
        world
    }

    /// The machine's own object, as bytes of an honest change.
    pub(crate) fn own(&self, site: &str, sequence: u64) -> Bytes {
        self.fleet.put(&self.machine.object("m1", json!({"site": site})), sequence)
    }

    /// Serves one honest change of a profile.
    pub(crate) async fn serve(&mut self, object: &Object, sequence: u64) {
        let bundle = self.fleet.put(object, sequence);
        self.centre.send(vec![bundle]).await;
    }

    pub(crate) async fn acknowledged(&mut self, object: &str, sequence: u64, outcome: &str) {
        let what = format!("{object} {sequence} {outcome}");
        self.centre.until(&what, |seen| has_word(&seen.status, object, sequence, outcome)).await;
    }

    /// An honest change by which one sees that the machine has looked at everything before it, and still obeys its owners.
    pub(crate) fn marker(&self, number: u64) -> Bytes {
        self.fleet.put(&file("web-marker", "/marker", &number.to_string()), number)
    }

    pub(crate) async fn marked(&mut self, number: u64) {
        self.acknowledged("Profile/web-marker", number, "Applied").await;
        assert_eq!(self.machine.read("/marker").as_deref(), Some(number.to_string().as_str()));
    }

    pub(crate) async fn stop(mut self) {
        self.machine.stop().await.unwrap();
        self.centre.stop().await;
    }
}

pub(crate) fn has_word(status: &MachineStatus, object: &str, sequence: u64, outcome: &str) -> bool {
    status.acknowledgements.iter().any(|word| word.object == object && word.sequence == sequence && word.outcome == outcome)
}

/// The message of a condition that holds.
pub(crate) fn holds<'a>(status: &'a MachineStatus, kind: &str) -> Option<&'a str> {
    let found = status.conditions.iter().find(|condition| condition.kind == kind)?;
    (found.status == stead_model::ConditionStatus::True).then_some(found.message.as_str())
}
