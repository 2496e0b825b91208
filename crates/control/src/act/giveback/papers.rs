//! The papers of a machine that the record does not know: its own Machine object, as its owners signed it.

use stead_model::{Machine, ObjectKey};
use stead_trust::{Credential, Current, Op, Recovered, SignedRoot, recover};
use stead_wire::PeerKey;

use crate::act::Shared;
use crate::delivery::machine_kind;

/// Machines whose papers are judged and taken in at once: the others of a fleet that nobody knows any more wait, each with its papers.
pub(crate) const LET_IN_AT_ONCE_MAX: usize = 16;

/// Lets a machine in that the record does not know, by its own papers: its Machine object, which its owners signed and a coordinator once
/// admitted. Everything is verified before any of it is taken in, and nothing but that object is.
pub(crate) async fn let_in(shared: &Shared, peer: PeerKey, papers: &[u8]) -> Result<(), String> {
    let counted = |result: Result<(), String>| {
        let metrics = &shared.give_back_metrics;
        if result.is_ok() {
            metrics.strangers_let_in.inc()
        } else {
            metrics.strangers_refused.inc()
        };
        result
    };
    // Never closed; and what is written at once shares a batch, and its fsync.
    let _turn = shared.letting_in.acquire().await;
    if shared.with_fleet(|fleet| fleet.name_of_key(&peer.to_string()).is_some()) {
        // It asked twice at once.
        return Ok(());
    }
    counted(believe(shared, peer, papers).await)
}

async fn believe(shared: &Shared, peer: PeerKey, papers: &[u8]) -> Result<(), String> {
    let credential = Credential::from_bytes(papers).map_err(|error| error.to_string())?;
    let bundle = credential.read_bundle().map_err(|error| error.to_string())?;
    let roots: Vec<SignedRoot> = credential.roots.iter().filter_map(|bytes| serde_json::from_slice(bytes).ok()).collect();
    let mut chain = (*shared.admission.chain()).clone();
    for root in &roots {
        chain = chain.extend(root).map_err(|error| error.to_string())?;
    }
    let recovered = recover(&chain, &bundle, &|_| Current::default()).map_err(|error| error.to_string())?;
    let machine = own_machine(&recovered, peer).ok_or("it shows no Machine object with its own key")?;
    shared.admission.recover_roots(&roots).await.map_err(|error| error.to_string())?;
    let recovery = shared.admission.recover(&bundle).await.map_err(|error| error.to_string())?;
    if recovery.taken.is_empty() && !is_on_record(shared, &machine) {
        return Err(format!("the record has something newer of the machine {}", machine.metadata.name));
    }
    shared.give_back_metrics.imported.inc_by(recovery.taken.len() as u64);
    tracing::info!(machine = machine.metadata.name, %peer, change = recovery.change, "back in the record by its own papers");
    // The record's watcher takes the machine in as well; the session must not wait for it.
    shared.change_fleet(|fleet| fleet.put_machine(&machine));
    Ok(())
}

/// Whether the record has the machine with this key: another coordinator may just have let it in.
fn is_on_record(shared: &Shared, machine: &Machine) -> bool {
    let stored = shared.admission.store().snapshot().get(&ObjectKey::new(machine_kind(), "", &machine.metadata.name));
    let present: Option<Machine> = stored.and_then(|stored| stored.to_object().ok()?.to_typed().ok());
    present.is_some_and(|present| present.spec.key == machine.spec.key)
}

fn own_machine(recovered: &Recovered, peer: PeerKey) -> Option<Machine> {
    let [entry] = recovered.entries.as_slice() else { return None };
    let object = entry.object.as_ref().filter(|_| entry.leaf.op == Op::Put && entry.key.kind == machine_kind())?;
    let machine: Machine = object.to_typed().ok()?;
    (machine.spec.key == peer.to_string()).then_some(machine)
}
