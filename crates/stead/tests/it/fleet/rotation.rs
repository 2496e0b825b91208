//! Owners who come and go: machines follow the trust root, old and new ones.

use std::sync::Arc;

use super::harness::{Fleet, file};

#[test]
fn machines_follow_a_rotation_and_obey_the_keys_that_are_in_force() {
    let mut fleet = Fleet::with_machines(&["m1"]);
    let (first, second) = (".ssh/id_ed25519", "second");
    fleet.home.keygen(second, "");
    fleet.apply_and_wait("kept", file("/kept", "from the first owner"));
    let early = fleet.apply_with("web", file("/web", "too early"), &["--key", second]).fails(4);
    assert!(early.contains("names no owner"), "{early}");

    fleet.stead(&["trust", "rotate", "--add-key", "second.pub"]).ok();
    fleet.stead(&["login", "--key", second, "--server", &fleet.server(), "--ca-file", "coordinator/tls/authority.crt"]).ok();
    let both = fleet.apply_with("web", file("/web", "from the second"), &["--key", second, "-o", "json"]).ok();
    assert!(both.contains("\"sequence\": 1"), "{both}");
    fleet.wait_converged("web", 1);
    assert_eq!(fleet.file("m1", "/web").as_deref(), Some("from the second"));

    // The machine is away while the first owner leaves.
    fleet.agent("m1").stop();
    let said = fleet.stead(&["trust", "rotate", "--remove-key", &format!("{first}.pub"), "--key", first, "--key", second]).ok();
    assert!(said.contains("signed again"), "{said}");
    for words in [&["get", "machines", "--key", first][..], &["apply", "-f", "web.json", "--key", first]] {
        fleet.stead(words).fails(4);
    }
    let old = fleet.apply_with("kept", file("/kept", "from a key that left"), &["--key", first]);
    assert_eq!(old.code, 4, "{old:?}");

    Arc::get_mut(&mut fleet.home).unwrap().set("STEAD_KEY", second);
    fleet.forget_ticket();
    fleet.start_agent("m1");
    let sequence = fleet.apply("web", file("/web", "after the rotation"));
    fleet.wait_converged("web", sequence);
    fleet.join("m2");
    fleet.wait_converged("web", sequence);
    fleet.wait_converged("kept", 2);
    for machine in ["m1", "m2"] {
        assert_eq!(fleet.file(machine, "/web").as_deref(), Some("after the rotation"), "{machine}");
        assert_eq!(fleet.file(machine, "/kept").as_deref(), Some("from the first owner"), "{machine}");
        let status = &fleet.get(&format!("machine/{machine}"))["status"];
        let refused = status["conditions"].as_array().unwrap().iter().find(|condition| condition["type"] == "Refused").unwrap();
        assert_eq!(refused["status"], "False", "{machine}: {status:#}");
    }
    let roots = fleet.list("trustroots");
    assert_eq!(roots.len(), 3, "{roots:#?}");
}
