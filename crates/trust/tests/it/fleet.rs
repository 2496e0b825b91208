//! A small fleet to test with: two owners, a coordinator, a machine, and their papers.

use jiff::Timestamp;
use serde_json::{Value, json};
use stead_model::{Digest, GroupKind, Object, ObjectKey, Revision};
use stead_trust::{
    Authorship, Bundle, Current, MachineKey, MachineMemory, Role, Root, RootChain, Salt, SignedReceipt, SignedRoot, Signer,
    SigningKey, StatementBuilder, Submission, judge,
};

pub(crate) const ID: &str = "01JABCDEFGHJKMNPQRSTVWXYZ0";

pub(crate) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(crate) fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

pub(crate) fn noon() -> Timestamp {
    at("2026-11-20T12:00:00Z")
}

pub(crate) fn minutes(count: i64) -> jiff::SignedDuration {
    jiff::SignedDuration::from_mins(count)
}

/// Owners 1 and 2, a coordinator 3, a machine 4. Profiles named `pair-…` need both owners; those named `grazer-…` reach machines in Graz.
pub(crate) struct Fleet {
    pub(crate) owner: SigningKey,
    pub(crate) second: SigningKey,
    pub(crate) online: SigningKey,
    pub(crate) machine: SigningKey,
    pub(crate) grazer: SigningKey,
    pub(crate) roots: RootChain,
}

pub(crate) fn root_of(owner: &SigningKey, second: &SigningKey, online: &SigningKey, grazer: &SigningKey) -> Root {
    let mut root = Root::default_for(vec![owner.public_key().clone()], vec![online.public_key().clone()], noon());
    let both = vec![owner.public_key().clone(), second.public_key().clone()];
    let first = root.roles[0].clone();
    let profiles = vec![GroupKind::new("stead.dev", "Profile")];
    root.roles[0].kinds.retain(|kind| kind.kind() != "Profile");
    let named = |name: &str, prefix: &str| Role {
        name: name.to_owned(),
        kinds: profiles.clone(),
        namespaces: vec![String::new()],
        name_prefix: Some(prefix.to_owned()),
        ..first.clone()
    };
    root.roles.push(named("profiles", "web-"));
    root.roles.push(Role { keys: both, threshold: 2, ..named("pair", "pair-") });
    let in_graz = serde_json::from_value(json!({"matchLabels": {"site": "graz"}})).unwrap();
    root.roles.push(Role {
        keys: vec![grazer.public_key().clone()],
        machine_selector: Some(in_graz),
        kinds: vec![GroupKind::new("stead.dev", "Profile"), GroupKind::new("stead.dev", "Machine")],
        ..named("grazer", "grazer-")
    });
    root
}

impl Fleet {
    pub(crate) fn new() -> Self {
        let (owner, second, online, machine, grazer) = (key(1), key(2), key(3), key(4), key(5));
        let root = root_of(&owner, &second, &online, &grazer);
        let signed = SignedRoot::sign(&root, &[&owner]).unwrap();
        let roots = RootChain::verify(&signed.digest(), &[signed]).unwrap();
        Self { owner, second, online, machine, grazer, roots }
    }

    pub(crate) fn id(&self) -> Digest {
        *self.roots.fleet()
    }

    pub(crate) fn machine_key(&self) -> MachineKey {
        self.machine.machine_key().unwrap()
    }

    /// The machine, with its own object held if it has a site.
    pub(crate) fn memory(&self, site: Option<&str>) -> MachineMemory {
        let mut memory = MachineMemory::join(&self.id(), 1, self.machine_key(), self.roots.signed()).unwrap();
        if let Some(site) = site {
            let machine = self.machine_object("m1", json!({"site": site}));
            let bundle = self.bundle(&[(&machine, 1)], &[&self.owner]);
            let accepted = judge(&memory, &bundle).unwrap();
            memory.accept(&bundle, &accepted);
        }
        memory
    }

    pub(crate) fn machine_object(&self, name: &str, labels: Value) -> Object {
        object("Machine", name, labels, json!({"key": self.machine_key().to_string()}))
    }

    pub(crate) fn builder(&self) -> StatementBuilder {
        let author = Authorship::Person { author: self.owner.public_key().clone() };
        StatementBuilder::new(self.id(), ID, noon(), noon() + minutes(60), "a test", author)
    }

    pub(crate) fn online_builder(&self) -> StatementBuilder {
        let by = Authorship::Online { signer: self.online.public_key().clone(), requested_by: "someone".to_owned() };
        StatementBuilder::new(self.id(), ID, noon(), noon() + minutes(60), "a test", by)
    }

    pub(crate) fn submission(&self, objects: &[(&Object, u64)], signers: &[&dyn Signer]) -> Submission {
        let author = Authorship::Person { author: signers[0].public_key().clone() };
        let mut builder = StatementBuilder::new(self.id(), ID, noon(), noon() + minutes(60), "a test", author);
        for (object, sequence) in objects {
            builder.put(object, *sequence, Salt::from_bytes([9; 32])).unwrap();
        }
        builder.build().unwrap().sign(signers).unwrap()
    }

    pub(crate) fn bundle(&self, objects: &[(&Object, u64)], signers: &[&dyn Signer]) -> Bundle {
        self.bundle_of(&self.submission(objects, signers))
    }

    pub(crate) fn bundle_of(&self, submission: &Submission) -> Bundle {
        self.bundle_received(submission, noon() + minutes(1), &self.online)
    }

    pub(crate) fn bundle_received(&self, submission: &Submission, time: Timestamp, online: &SigningKey) -> Bundle {
        let digest = submission.statement.digest();
        let receipt = SignedReceipt::sign(self.id(), digest, Revision(7), time, online).unwrap();
        let indices: Vec<u64> = (0..submission.entries.len() as u64).collect();
        Bundle::assemble(submission, &submission.tree(), &indices, &receipt).unwrap()
    }
}

pub(crate) fn object(kind: &str, name: &str, labels: Value, spec: Value) -> Object {
    let metadata = json!({"name": name, "labels": labels});
    serde_json::from_value(json!({"apiVersion": "stead.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})).unwrap()
}

pub(crate) fn profile(name: &str) -> Object {
    object("Profile", name, json!({}), json!({"selector": {}, "files": [{"path": "/etc/motd", "content": "hello"}]}))
}

pub(crate) fn profile_key(name: &str) -> ObjectKey {
    ObjectKey::new(GroupKind::new("stead.dev", "Profile"), "", name)
}

pub(crate) fn nothing(_: &ObjectKey) -> Current {
    Current::default()
}
