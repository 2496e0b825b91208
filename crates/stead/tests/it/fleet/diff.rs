//! What machines say that they would do, and to whom.

use stead_model::GroupKind;
use stead_trust::{Role, Root, SignedRoot, Signer as _, SigningKey};

use super::harness::{COORDINATOR, Fleet, file};
use crate::stead::Home;

fn key(home: &Home, name: &str) -> SigningKey {
    home.keygen(name, "");
    SigningKey::from_openssh(&home.read(name), None).unwrap()
}

/// A root in which `clerk` may let machines in, and nothing else.
fn write_root(home: &Home, owner: &SigningKey, online: &SigningKey, clerk: &SigningKey) {
    let mut root = Root::default_for(vec![owner.public_key().clone()], vec![online.public_key().clone()], jiff::Timestamp::now());
    root.roles.push(Role {
        name: "clerks".to_owned(),
        keys: vec![clerk.public_key().clone()],
        threshold: 1,
        kinds: vec![GroupKind::new("stead.dev", "Enrollment")],
        namespaces: vec!["*".to_owned()],
        name_prefix: None,
        machine_selector: None,
        fact_labels: false,
    });
    let signed = SignedRoot::sign(&root, &[owner]).unwrap();
    home.write("trust/root.json", &serde_json::to_string(&signed).unwrap());
}

#[test]
fn each_machine_shows_its_steps_to_those_who_may_change_it() {
    let home = Home::new();
    let (owner, online, clerk) = (key(&home, ".ssh/id_ed25519"), key(&home, "online"), key(&home, "clerk"));
    write_root(&home, &owner, &online, &clerk);
    let mut fleet = Fleet::on_root(home, &[&COORDINATOR[..], &["--identity", "online"]].concat());
    fleet.join("m1");
    fleet.join("m2");
    fleet.apply_and_wait("web", file("/motd", "one"));

    let same = fleet.manifest("web", file("/motd", "one"));
    assert_eq!(fleet.stead(&["diff", "-f", &same]).ok(), "");
    std::fs::write(fleet.root_of("m2").join("new"), "in the way").unwrap();
    let wanted = serde_json::json!({"files": [{"path": "/motd", "content": "two"}, {"path": "/new", "content": "x"}]});
    let manifest = fleet.manifest("web", wanted);
    let shown = fleet.stead(&["diff", "-f", &manifest]);
    assert_eq!(shown.code, 7, "{shown:#?}");
    for part in ["machine/m1: 2 steps", "machine/m2: ", "file:/motd", "file:/new"] {
        assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
    }
    // Steps never hold contents of a machine's files.
    assert!(!shown.stdout.contains("in the way"), "{}", shown.stdout);
    assert_eq!(fleet.file("m1", "/motd").as_deref(), Some("one"));

    fleet.stead(&["login", "--key", "clerk", "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt"]).ok();
    let refused = fleet.stead(&["diff", "-f", &manifest, "--key", "clerk"]);
    for machine in ["m1", "m2"] {
        assert!(refused.stdout.contains(&format!("machine/{machine}: no answer")), "{refused:#?}");
    }
    assert!(!refused.stdout.contains("file:/new\n"), "{}", refused.stdout);

    fleet.agent("m2").kill();
    fleet.wait("machine/m2", "condition=Ready=Unknown");
    let shown = fleet.stead(&["diff", "-f", &manifest]);
    assert_eq!(shown.code, 7, "{shown:#?}");
    assert!(shown.stdout.contains("off line, last seen"), "{}", shown.stdout);
}
