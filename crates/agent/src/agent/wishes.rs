//! From what the machine holds to what it works on, and what it would do for a plan.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use stead_model::{MachinePlan, Object, PlanRequest, PlannedUnit, Profile, ProfileSpec};
use stead_trust::{MachineMemory, Signature};
use stead_unit::{Difference, Direction, Planned, UnitId, WishSet};
use stead_wire::Transport;

use super::{Agent, AgentError};
use crate::claims;
use crate::memory::Keeper;
use crate::units::{Craft, ProfileClaims};
use crate::watched::Watched;

/// The profiles that mean this machine, with their sequences.
pub(super) fn selected(memory: &MachineMemory) -> Vec<(String, u64, ProfileSpec)> {
    let profiles = memory.entries().filter(|(key, _)| key.kind.kind() == "Profile");
    let typed = profiles.filter_map(|(key, held)| {
        let profile: Profile = held.object.as_ref()?.to_typed().ok()?;
        let means = memory.is_selected(&profile.spec.selector, held.fact_labels);
        means.then(|| (key.name.clone(), held.sequence, profile.spec))
    });
    typed.collect()
}

impl<K: Keeper, T: Transport> Agent<K, T> {
    /// Hands the converger everything that is wished for now. What is no longer wished for is withdrawn, and work on it stops at once.
    pub(super) async fn rewish(&mut self) -> Result<(), AgentError> {
        let Some(memory) = &self.memory else { return self.tell_status().await };
        if let Some(name) = memory.machine().filter(|name| self.named.as_deref() != Some(*name)) {
            self.span.record("machine", name);
            self.named = Some(name.to_owned());
        }
        if memory.own_labels().is_none() {
            // Before the machine knows what it is, it can't tell what is meant for it, and takes nothing away.
            return self.report_changed().await;
        }
        let (claims, faults) = claims_of(selected(memory));
        self.concerns.impossible = faults.into_iter().next();
        if self.concerns.impossible.is_some() {
            // A claim that is left out would count as withdrawn; so everything stays as it was last wished for.
            return self.report_changed().await;
        }
        let wished = self.craft.wishes(&claims);
        let mut list = wished.wishes;
        if !self.swept {
            let ids: BTreeSet<UnitId> = list.iter().map(|wish| wish.unit.id().clone()).collect();
            let (leftovers, faults) = match self.craft.leftovers(&ids) {
                Ok(found) => found,
                Err(error) => {
                    // Without it nobody knows what is to be put back: nothing starts before it can be read.
                    self.concerns.impossible = Some(error.to_string());
                    self.concerns.unswept = true;
                    return self.report_changed().await;
                }
            };
            for fault in faults {
                tracing::error!(%fault, "something that was saved cannot be read");
            }
            list.extend(leftovers);
        }
        for (key, held) in memory.entries() {
            self.origins.note(&key.to_string(), held.sequence, || memory.change_of(key));
        }
        for wish in &mut list {
            wish.unit = Arc::new(Watched::new(Arc::clone(&wish.unit), &wish.by, &self.origins, &self.metrics));
        }
        match WishSet::new(list) {
            Ok(set) => {
                self.wanted = claims.iter().map(wanted).collect();
                self.converger.set(set).await.map_err(|_| AgentError::Ended("the converger"))?;
                (self.swept, self.concerns.unswept) = (true, false);
            }
            Err(error) => self.concerns.impossible = Some(error.to_string()),
        }
        self.report_changed().await
    }

    /// Says what the machine would do, to a caller whom the root lets change it.
    pub(super) async fn plan(&mut self, id: u64, body: &[u8]) -> Result<(), AgentError> {
        if let Some(answer) = self.give_back(body) {
            return self.answer(id, answer).await;
        }
        if let Some(answer) = self.hear_of_owners(body).await {
            return self.answer(id, answer).await;
        }
        let plan = match self.planned(body).await {
            Ok(plan) => plan,
            Err(error) => MachinePlan { error: Some(error), units: Vec::new() },
        };
        let Ok(body) = serde_json::to_vec(&plan) else { return Ok(()) };
        self.answer(id, body).await
    }

    async fn answer(&self, id: u64, body: Vec<u8>) -> Result<(), AgentError> {
        match self.connection.answer_plan(id, Bytes::from(body)).await {
            Ok(()) | Err(stead_wire::PushError::Oversized { .. }) => Ok(()),
            Err(_) => Err(AgentError::Ended("the connection")),
        }
    }

    async fn planned(&self, body: &[u8]) -> Result<MachinePlan, String> {
        let request: PlanRequest =
            serde_json::from_slice(body).map_err(|error| format!("the request is not well-formed: {error}"))?;
        let memory = self.memory.as_ref().ok_or("this machine has not joined yet")?;
        let PlanRequest { put, delete, document, signatures } = &request;
        let signatures = signatures.iter().map(|armor| Signature::from_armor(armor)).collect::<Result<Vec<_>, _>>();
        let signatures = signatures.map_err(|error| format!("the request for a plan: {error}"))?;
        stead_trust::may_plan(memory, document.as_bytes(), &signatures, put, delete, self.world.now())
            .map_err(|error| error.to_string())?;
        let mut profiles: BTreeMap<String, (u64, ProfileSpec)> =
            selected(memory).into_iter().map(|(name, sequence, spec)| (name, (sequence, spec))).collect();
        for name in &request.delete {
            profiles.remove(name);
        }
        for object in &request.put {
            let profile: Profile = object.to_typed().map_err(|error| error.to_string())?;
            let name = profile.metadata.name;
            profiles.remove(&name);
            if memory.is_selected(&profile.spec.selector, false) {
                profiles.insert(name, (0, profile.spec));
            }
        }
        let (claims, faults) = claims_of(profiles.into_iter().map(|(name, (sequence, spec))| (name, sequence, spec)).collect());
        if let Some(fault) = faults.into_iter().next() {
            return Err(fault);
        }
        let set = WishSet::new(self.craft.wishes(&claims).wishes).map_err(|error| error.to_string())?;
        let differences = self.converger.difference(set).await.map_err(|error| error.to_string())?;
        Ok(MachinePlan { error: None, units: differences.iter().filter_map(planned_unit).collect() })
    }
}

/// Why a profile can be carried out on no machine.
pub(super) fn impossible(craft: &dyn Craft, name: &str, object: &Object) -> Option<String> {
    let profile: Profile = match object.to_typed() {
        Ok(profile) => profile,
        Err(error) => return Some(error.to_string()),
    };
    match claims::claims(name, 0, &profile.spec) {
        Ok(claims) => WishSet::new(craft.wishes(&[claims]).wishes).err().map(|error| error.to_string()),
        Err(error) => Some(error.to_string()),
    }
}

fn claims_of(profiles: Vec<(String, u64, ProfileSpec)>) -> (Vec<ProfileClaims>, Vec<String>) {
    let (mut claims, mut faults) = (Vec::new(), Vec::new());
    for (name, sequence, spec) in profiles {
        match claims::claims(&name, sequence, &spec) {
            Ok(one) => claims.push(one),
            Err(error) => faults.push(format!("Profile/{name}: {error}")),
        }
    }
    (claims, faults)
}

fn wanted(claims: &ProfileClaims) -> (String, (u64, BTreeSet<UnitId>)) {
    let sequence = claims::parse_by(&claims.by).map_or(0, |(_, sequence)| sequence);
    (claims.profile.clone(), (sequence, claims.claims.iter().map(|claimed| claimed.claim.id()).collect()))
}

fn planned_unit(difference: &Difference) -> Option<PlannedUnit> {
    let (steps, message) = match &difference.planned {
        Planned::Steps(steps) if steps.is_empty() => return None,
        Planned::Steps(steps) => (steps.iter().map(ToString::to_string).collect(), String::new()),
        Planned::Kept { reason } | Planned::Failed { reason } => (Vec::new(), reason.clone()),
    };
    Some(PlannedUnit { unit: difference.id.to_string(), removal: difference.direction == Direction::Remove, steps, message })
}
