//! Changes that need the signatures of two people.

use serde_json::{Value, json};
use stead_model::GroupKind;
use stead_trust::{Role, Root, SignedRoot, Signer as _, SigningKey};

use super::harness::{COORDINATOR, Fleet, file};
use crate::stead::{Ended, Home};

const ALICE: &str = ".ssh/id_ed25519";
const BOB: &str = "bob";
const CAROL: &str = "carol";

fn key(home: &Home, name: &str) -> SigningKey {
    home.keygen(name, "");
    SigningKey::from_openssh(&home.read(name), None).unwrap()
}

/// A fleet in which any two of Alice, Bob and Carol sign Profiles, and Alice alone lets machines in.
fn found() -> Fleet {
    let home = Home::new();
    let [alice, bob, carol, online] = [ALICE, BOB, CAROL, "online"].map(|name| key(&home, name));
    home.keygen("mallory", "");
    let public = |key: &SigningKey| key.public_key().clone();
    let mut root = Root::default_for(vec![public(&alice)], vec![public(&online)], jiff::Timestamp::now());
    let kinds = |names: &[&str]| names.iter().map(|name| GroupKind::new("stead.dev", name)).collect::<Vec<_>>();
    let pairs = Role {
        name: "pairs".to_owned(),
        keys: vec![public(&alice), public(&bob), public(&carol)],
        threshold: 2,
        kinds: kinds(&["Profile"]),
        ..root.roles[0].clone()
    };
    root.roles[0].kinds.retain(|kind| kind.kind() != "Profile");
    root.roles.push(pairs);
    let signed = SignedRoot::sign(&root, &[&alice]).unwrap();
    home.write("trust/root.json", &serde_json::to_string(&signed).unwrap());
    Fleet::on_root(home, &[&COORDINATOR[..], &["--identity", "online"]].concat())
}

fn propose(fleet: &Fleet, name: &str, content: &str, words: &[&str]) -> String {
    let manifest = fleet.manifest(name, file(&format!("/{name}"), content));
    let said = fleet.stead(&[&["propose", "-f", &manifest, "-o", "name"], words].concat()).ok();
    said.trim().trim_start_matches("proposal.stead.dev/").to_owned()
}

fn sign(fleet: &Fleet, proposal: &str, who: &str) -> Ended {
    fleet.stead(&["sign", proposal, "--yes", "--key", who])
}

fn phase(fleet: &Fleet, proposal: &str) -> String {
    fleet.get(&format!("proposal/{proposal}"))["status"]["phase"].as_str().unwrap().to_owned()
}

#[test]
fn two_people_sign_one_change() {
    let mut fleet = found();
    fleet.join("m1");
    let alone = fleet.apply_with("web", file("/web", "one"), &[]).fails(4);
    assert!(alone.contains("1 of the 2") && alone.contains("hint: `stead propose`"), "{alone}");

    let proposal = propose(&fleet, "web", "one", &["-m", "a banner"]);
    fleet.stead(&["get", "profile/web"]).fails(3);
    let listed = fleet.stead(&["get", "proposals"]).ok();
    for part in ["PHASE", "Waiting", "pairs 1 of 2", "a banner"] {
        assert!(listed.contains(part), "{part:?}: {listed}");
    }
    for words in [&["show", &proposal[..12]][..], &["describe", "proposal", &proposal]] {
        let shown = fleet.stead(words).ok();
        for part in ["a banner", "content: one", "of the role owners, pairs", "Waiting", "stead sign"] {
            assert!(shown.contains(part), "{words:?}: {part:?}: {shown}");
        }
    }
    // Nobody is asked without a terminal, a stranger's word is nobody's, and one person is one signature.
    assert!(fleet.stead(&["sign", &proposal, "--key", BOB]).fails(2).contains("--yes"));
    sign(&fleet, &proposal, "mallory").fails(4);
    assert!(sign(&fleet, &proposal, ALICE).fails(2).contains("your signature already"));
    assert_eq!(phase(&fleet, &proposal), "Waiting");

    let signed = sign(&fleet, &proposal, BOB).ok();
    // A machine tells its steps to those who may change it; one of two alone may not.
    for part in ["content: one", "machine/m1: no answer", "admitted (pairs 2 of 2)"] {
        assert!(signed.contains(part), "{part:?}: {signed}");
    }
    fleet.wait_converged("web", 1);
    assert_eq!(fleet.file("m1", "/web").as_deref(), Some("one"), "the machine counts both signatures, too");
    let change = fleet.stead(&["show", "latest"]).ok();
    assert!(
        change.contains("of the role owners, pairs")
            && change.contains("of the role pairs")
            && change.contains("Machines: 1 applied"),
        "{change}"
    );
    assert_eq!(phase(&fleet, &proposal), "Admitted");
    sign(&fleet, &proposal, CAROL).fails(4);

    // A deletion, and nothing at all.
    assert!(fleet.stead(&["propose", "-f", "web.json"]).stderr.contains("nothing to propose"));
    let gone = fleet.stead(&["propose", "--delete", "profile/web", "-o", "name"]).ok();
    sign(&fleet, gone.trim(), CAROL).ok();
    fleet.stead(&["get", "profile/web"]).fails(3);
}

#[test]
fn proposals_are_withdrawn_and_expire() {
    let fleet = found();
    let withdrawn = propose(&fleet, "web", "one", &[]);
    fleet.stead(&["withdraw", &withdrawn, "--key", BOB]).ok();
    assert_eq!(phase(&fleet, &withdrawn), "Withdrawn");
    sign(&fleet, &withdrawn, BOB).fails(4);
    fleet.stead(&["withdraw", &withdrawn]).fails(4);

    let late = propose(&fleet, "web", "one", &["--expires", "1s"]);
    fleet.wait(&format!("proposal/{late}"), "status.phase=Expired");
    sign(&fleet, &late, BOB).fails(4);
    fleet.stead(&["get", "profile/web"]).fails(3);
    // What it meant can be proposed anew.
    let again = fleet.stead(&["propose", "--again", &late, "-m", "again"]).ok();
    assert!(again.contains("waits (pairs 1 of 2)"), "{again}");
    fleet.stead(&["withdraw", "no-such"]).fails(3);
}

#[test]
fn what_was_overtaken_is_proposed_anew_and_never_signed_unseen() {
    let fleet = found();
    let files =
        |motd: &str, issue: &str| json!({"files": [{"path": "/motd", "content": motd}, {"path": "/issue", "content": issue}]});
    let propose = |spec: Value| {
        let manifest = fleet.manifest("web", spec);
        fleet.stead(&["propose", "-f", &manifest, "-o", "name"]).ok().trim().to_owned()
    };
    let first = propose(files("one", "one"));
    sign(&fleet, &first, BOB).ok();
    let (slow, fast) = (propose(files("one", "slow")), propose(files("fast", "one")));
    sign(&fleet, &fast, CAROL).ok();

    let refused = sign(&fleet, &slow, BOB);
    assert_eq!(refused.code, 5, "{refused:#?}");
    for part in ["(when it was proposed)", "(as it is now)", "(as proposed)", "content: fast", "content: slow"] {
        assert!(refused.stdout.contains(part), "{part:?}: {}", refused.stdout);
    }
    fleet.wait(&slow.replace("proposal.stead.dev", "proposal"), "status.phase=NeedsSigning");
    let shown = fleet.stead(&["show", &slow]).ok();
    assert!(shown.contains("(as it is now)") && shown.contains("--again"), "{shown}");

    let again = fleet.stead(&["propose", "--again", &slow]).ok();
    let proposal = again.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    assert!(again.contains("waits (pairs 1 of 2)"), "signed anew, by everybody: {again}");
    assert_eq!(fleet.get("profile/web")["spec"]["files"], files("fast", "one")["files"]);
    sign(&fleet, &proposal, BOB).ok();
    assert_eq!(fleet.get("profile/web")["spec"]["files"], files("fast", "slow")["files"], "both wishes are met");

    // Where both changed the same, a person decides.
    let (mine, theirs) = (propose(files("mine", "slow")), propose(files("theirs", "slow")));
    sign(&fleet, &theirs, BOB).ok();
    fleet.wait(&mine.replace("proposal.stead.dev", "proposal"), "status.phase=NeedsSigning");
    let refused = fleet.stead(&["propose", "--again", &mine]);
    assert_eq!(refused.code, 5, "{refused:#?}");
    assert!(refused.stderr.contains("spec.files[path=/motd].content"), "{}", refused.stderr);
    let forced = fleet.stead(&["propose", "--again", &mine, "--force"]).ok();
    let forced = forced.lines().last().unwrap().split_whitespace().next().unwrap().to_owned();
    sign(&fleet, &forced, CAROL).ok();
    assert_eq!(fleet.get("profile/web")["spec"]["files"], files("mine", "slow")["files"]);
}

#[test]
fn signatures_are_collected_in_a_file() {
    let fleet = found();
    let manifest = fleet.manifest("web", file("/web", "one"));
    fleet.stead(&["propose", "-f", &manifest, "--out", "change.json", "-m", "by hand"]).ok();
    assert!(fleet.list("proposals").is_empty());
    let few = fleet.stead(&["submit", "change.json"]).fails(4);
    assert!(few.contains("1 of the 2") && few.contains("--propose"), "{few}");

    // Bob has no connection: nobody is at that address.
    let away = ["--server", "http://127.0.0.1:1"];
    let signed = fleet
        .stead(&[&["sign", "--file", "change.json", "--yes", "--key", BOB, "--out", "signed.json"], &away[..]].concat())
        .ok();
    assert!(signed.contains("by hand") && signed.contains("content: one"), "{signed}");

    let sound = fleet.home.read("signed.json");
    for (what, with) in [
        ("content\\\":\\\"one", "content\\\":\\\"two"),
        ("by hand", "by hant"),
        ("\\\"name\\\":\\\"web\\\"", "\\\"name\\\":\\\"wob\\\""),
    ] {
        assert!(sound.contains(what), "{what}");
        fleet.home.write("altered.json", &sound.replace(what, with));
        for words in [&["sign", "--file", "altered.json", "--yes", "--key", CAROL][..], &["submit", "altered.json"]] {
            fleet.stead(words).fails(4);
        }
    }
    assert_eq!(fleet.stead(&["submit", "signed.json", "--dry-run"]).code, 7);
    fleet.stead(&["submit", "signed.json"]).ok();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "one");

    // Or the file begins as a proposal, and the rest sign there.
    let manifest = fleet.manifest("web", file("/web", "two"));
    fleet.stead(&["propose", "-f", &manifest, "--out", "change.json"]).ok();
    let waits = fleet.stead(&["submit", "change.json", "--propose", "-o", "name"]).ok();
    sign(&fleet, waits.trim(), CAROL).ok();
    assert_eq!(fleet.get("profile/web")["spec"]["files"][0]["content"], "two");
}

#[test]
fn a_proposal_that_a_coordinator_altered_is_not_signed() {
    let mut fleet = found();
    let proposal = propose(&fleet, "web", "one", &[]);
    fleet.coordinator.as_mut().unwrap().stop();
    fleet.home.run(
        "sqlite3",
        &["coordinator/record.db", "UPDATE objects SET json = replace(json, 'one', 'evil') WHERE kind = 'Proposal.stead.dev'"],
    );
    fleet.start_coordinator_with(&[&COORDINATOR[..], &["--identity", "online"]].concat());
    let refused = sign(&fleet, &proposal, BOB).fails(4);
    assert!(refused.contains("not what its author signed") || refused.contains("is Refused"), "{refused}");
    fleet.stead(&["get", "profile/web"]).fails(3);
}
