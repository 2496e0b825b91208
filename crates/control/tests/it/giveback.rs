//! Machines that lie about what they hold, and one whose papers are its own: over the wire, against a record that was restored.

use bytes::Bytes;
use stead_trust::{Credential, GIVE_BACK_NAMES_MAX, GiveBackAsk, MachineMemory, SigningKey, judge};
use stead_wire::AgentEvent;

use crate::world::{PATIENCE, World, answering, held_line, key, list, machine, profile, whole};

#[tokio::test]
async fn what_owners_did_not_sign_stays_out_is_counted_and_is_listed() {
    let world = World::start().await;
    let forged = world.held(&key(99), &profile("forged"), 9).to_bytes().unwrap();
    let honest = world.held(&world.owner, &profile("honest"), 4).to_bytes().unwrap();
    let rogue = answering(world.connect(&key(4), None), move |ask| match ask {
        // The list goes on for ever with the same names.
        GiveBackAsk::Held { .. } => list(vec![held_line("forged", 9), held_line("honest", 4)], true),
        GiveBackAsk::Roots { .. } => whole(&[]),
        GiveBackAsk::Bundles { keys, .. } => {
            assert!(keys.len() <= GIVE_BACK_NAMES_MAX);
            whole(&[forged.clone(), b"no bundle".to_vec(), honest.clone()][..keys.len().min(3)])
        }
    });
    let given = world.first().given_back("m1").await;
    assert_eq!(world.first().admission.store().snapshot().get(&profile("forged").key()).map(|_| ()), None);
    let reasons: Vec<_> = given.not_taken.iter().map(|one| one.reason.as_str()).collect();
    assert!(reasons.contains(&"Role") && world.first().refused("Role") > 0, "{given:#?}");
    assert!(given.not_taken.iter().any(|one| one.object == "Profile/forged"), "{given:#?}");
    rogue.close().await.unwrap();
}

#[tokio::test]
async fn an_agent_that_does_not_know_the_question_is_left_alone() {
    let world = World::start().await;
    let old = answering(world.connect(&key(4), None), |_| br#"{"error": "the request is not well-formed"}"#.to_vec());
    let counted = async {
        while world.first().control.give_back_metrics().too_old.get() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, counted).await.unwrap();
    old.close().await.unwrap();
}

#[tokio::test]
async fn a_machine_that_the_record_does_not_know_comes_in_by_its_own_papers_only() {
    let world = World::start().await;
    let papers = |by: &SigningKey, key: &SigningKey| {
        let bundle = world.held(by, &machine("late", key), 1).to_bytes().unwrap();
        Bytes::from(Credential { roots: Vec::new(), bundle }.to_bytes().unwrap())
    };
    // Signed by nobody that counts; of another machine.
    for (index, papers) in [papers(&key(99), &key(5)), papers(&world.owner, &key(6))].into_iter().enumerate() {
        let (handle, mut events) = world.connect(&key(5), Some(papers));
        let refused = async { while !matches!(events.recv().await, Some(AgentEvent::Refused { .. })) {} };
        tokio::time::timeout(PATIENCE, refused).await.unwrap();
        assert_eq!(world.first().control.give_back_metrics().strangers_refused.get(), index as u64 + 1);
        handle.close().await.unwrap();
    }
    // What an agent keeps ready itself.
    let mut memory =
        MachineMemory::join(&world.root.digest(), 1, key(5).machine_key().unwrap(), std::slice::from_ref(&world.root)).unwrap();
    let bundle = world.held(&world.owner, &machine("late", &key(5)), 3);
    let accepted = judge(&memory, &bundle).unwrap();
    memory.accept(&bundle, &accepted);
    let papers = Bytes::from(Credential::of(&memory).unwrap().to_bytes().unwrap());
    let agent = answering(world.connect(&key(5), Some(papers)), move |ask| ask.answer(&memory).to_bytes().unwrap());
    let given = world.first().given_back("late").await;
    assert_eq!((given.objects, given.not_taken.len()), (0, 0), "it gave its own object when it came in");
    assert_eq!(world.first().control.give_back_metrics().strangers_let_in.get(), 1);
    agent.close().await.unwrap();
}
