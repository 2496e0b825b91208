//! What the API asks of the running coordinator: tickets, the plans of machines, and how it is doing.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::future::{BoxFuture, join_all};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use stead_admission::Admission;
use stead_api::{Api, Fleet};
use stead_control::Control;
use stead_control::pulse::Binary;
use stead_model::{MachinePlan, Object, ObjectKey, PlanRequest, Profile, Selector};
use stead_wire::{CoordinatorHandle, PeerAddress, Ticket};

use crate::metrics::coordinator::{self, Sources};
use crate::metrics::machines::MachinesMetrics;
use crate::metrics::{Metrics, MetricsPort};

/// Machines that are asked for a plan at once: a person reads the answer.
const PLAN_MACHINES_MAX: usize = 200;

/// Answers for the running coordinator.
pub(crate) struct Desk {
    admission: Admission,
    control: Control,
    wire: CoordinatorHandle,
    address: PeerAddress,
    pass: Vec<u8>,
    started: Instant,
    /// What this program is, which machines are meant to run as well; looked at when somebody first asks.
    binary: OnceLock<Binary>,
    machines: MachinesMetrics,
    /// There once the API is, which stands on this desk.
    gauges: OnceLock<Gauges>,
}

/// What tells how the coordinator is doing.
struct Gauges {
    sources: Sources,
    api: Api,
    metrics: Metrics,
}

/// What one machine answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PlanAnswer {
    machine: String,
    /// Whether it answered itself.
    online: bool,
    /// When the machine was last heard, where it did not.
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Value>,
    /// Where it may be asked instead: at the APIs of the coordinator that it is connected to.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    elsewhere: Vec<String>,
    #[serde(flatten)]
    plan: MachinePlan,
}

impl Desk {
    pub(crate) fn new(
        admission: Admission,
        control: Control,
        wire: CoordinatorHandle,
        address: PeerAddress,
        pass: Vec<u8>,
    ) -> Self {
        let (started, binary, gauges) = (Instant::now(), OnceLock::new(), OnceLock::new());
        Self { admission, control, wire, address, pass, started, binary, machines: MachinesMetrics::new(), gauges }
    }

    /// Lets it tell how the coordinator is doing, now that there is an API.
    pub(crate) fn attach(&self, sources: Sources, api: &Api) {
        let metrics = coordinator::metrics(&sources, api);
        // There is one API, and this is called once.
        let _ = self.gauges.set(Gauges { sources, api: api.clone(), metrics });
    }

    /// What is counted of the port for metrics.
    pub(crate) fn metrics_port(&self) -> Arc<MetricsPort> {
        self.gauges.get().map_or_else(Arc::default, |gauges| gauges.metrics.port())
    }

    /// What the port for metrics serves at a path.
    pub(crate) fn metrics_at(&self, path: &str) -> Option<String> {
        match path {
            "/metrics" => Some(self.metrics()),
            "/metrics/machines" => Some(self.machine_metrics()),
            _ => None,
        }
    }

    fn binary(&self) -> &Binary {
        self.binary.get_or_init(|| Binary {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            architecture: std::env::consts::ARCH.to_owned(),
            digest: stead_agent::own_digest(),
        })
    }

    fn ticket_text(&self) -> String {
        let ticket = Ticket {
            fleet: *self.admission.fleet().as_bytes(),
            root_version: self.admission.root().version,
            coordinators: self.control.addresses(&self.address),
            pass: self.pass.clone().into(),
            delegation: None,
        };
        ticket.to_string()
    }

    async fn plans(&self, request: Value) -> Result<Value, String> {
        let request: PlanRequest =
            serde_json::from_value(request).map_err(|error| format!("the request for plans is not well-formed: {error}"))?;
        let profile = |object: &Object| {
            let profile: Profile = object.to_typed().map_err(|error| error.to_string())?;
            Ok((profile.metadata.name, profile.spec.selector))
        };
        let put: Vec<_> = request.put.iter().map(profile).collect::<Result<_, String>>()?;
        let machines = self.control.machines_concerned(&put, &request.delete);
        if machines.len() > PLAN_MACHINES_MAX {
            return Err(format!(
                "{} machines are concerned, and at most {PLAN_MACHINES_MAX} are asked at once; narrow the selector to look first",
                machines.len()
            ));
        }
        let body = serde_json::to_vec(&request).map_err(|error| error.to_string())?;
        let answers = join_all(machines.into_iter().map(|machine| self.ask(machine, body.clone()))).await;
        serde_json::to_value(answers).map_err(|error| error.to_string())
    }

    async fn ask(&self, machine: String, body: Vec<u8>) -> PlanAnswer {
        match self.control.plan(&self.wire, &machine, body).await {
            Some(plan) => PlanAnswer { machine, online: true, as_of: None, elsewhere: Vec::new(), plan },
            None => {
                let error = Some("the machine is not connected; it plans when it comes".to_owned());
                let as_of = self.last_seen(&machine);
                let elsewhere = self.control.elsewhere(&machine);
                PlanAnswer { machine, online: false, as_of, elsewhere, plan: MachinePlan { error, units: Vec::new() } }
            }
        }
    }

    fn last_seen(&self, machine: &str) -> Option<Value> {
        let key = ObjectKey::new(stead_control::delivery::machine_kind(), "", machine);
        let object = self.admission.store().snapshot().get(&key)?.to_object().ok()?;
        object.status().get("lastSeen").cloned()
    }
}

impl Fleet for Desk {
    fn ticket(&self, _request: Value) -> BoxFuture<'_, Result<Value, String>> {
        let answer = serde_json::json!({"ticket": self.ticket_text()});
        Box::pin(async move { Ok(answer) })
    }

    fn plan(&self, request: Value) -> BoxFuture<'_, Result<Value, String>> {
        Box::pin(self.plans(request))
    }

    fn status(&self) -> Value {
        let told = |gauges: &Gauges| coordinator::status(&gauges.sources, &gauges.api, self.started.elapsed().as_secs());
        self.gauges.get().map_or(Value::Null, told)
    }

    fn pulse(&self, selector: &Selector) -> Value {
        let machines = self.control.pulse(selector, self.binary());
        serde_json::json!({"coordinator": self.admission.online_key().fingerprint(), "version": self.binary().version, "machines": machines})
    }

    fn warning(&self, names: &[ObjectKey]) -> Option<String> {
        self.control.warning(names)
    }

    fn metrics(&self) -> String {
        self.gauges.get().map_or_else(String::new, |gauges| gauges.metrics.text())
    }

    fn machine_metrics(&self) -> String {
        self.machines.text(&self.control.pulse(&Selector::default(), self.binary()))
    }
}
