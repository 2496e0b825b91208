//! A coordinator's metrics, and the same numbers as `stead status` shows them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use iroh_metrics::{Counter, EncodeLabelSet, Family, Gauge, MetricsGroup};
use serde_json::{Value, json};
use stead_admission::Admission;
use stead_api::{Api, CountersSnapshot};
use stead_control::Control;
use stead_control::presence::{Seen, Voice};
use stead_store::Store;
use stead_trust::MachineKey;
use stead_wire::{CoordinatorHandle, Counters, Refusal, RelayCounters};

use super::reason::{Reason, Refused, count, refusals};
use super::relay::RelayMetrics;
use super::{Metrics, ProcessMetrics, backup, set};
use crate::relay::Telling;
use crate::trace::TraceMetrics;

/// Which version, and whose coordinator.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Build {
    version: &'static str,
    fleet: String,
    coordinator: String,
}

/// The HTTP port: what it took in, and what it turned away.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "port")]
struct PortMetrics {
    /// Connections that the HTTP port took.
    connections: Counter,
    /// Pages of history that watches were told out of the database, since memory had let go of them.
    history_pages: Counter,
    /// Connections and requests that the HTTP port refused, and watches it ended, by reason.
    refused: Family<Reason, Counter>,
}

/// The machines' sessions.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "sessions")]
struct SessionMetrics {
    /// Sessions open now, those of machines that wait outside included.
    open: Gauge,
    /// Sessions of machines that are members.
    served: Gauge,
    /// Sessions whose packets go directly.
    direct: Gauge,
    /// Sessions whose packets go through a relay.
    relayed: Gauge,
    /// How often a session went over to another path.
    path_changes: Counter,
    /// Connections that became sessions.
    connections: Counter,
    /// Messages received from machines.
    messages: Counter,
    /// States handed to connections, in parts.
    state_parts: Counter,
    /// States dropped because the machine was slow or had missed one.
    states_dropped: Counter,
    /// Keys found on two machines.
    duplicate_keys: Counter,
    /// Peers turned away or cut off, by reason.
    refused: Family<Reason, Counter>,
}

/// Relays that run alone.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "relays")]
struct RelaysMetrics {
    /// 1 where the relay of this URL knows whom to admit, 0 where it could not be told.
    told: Family<RelayUrl, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct RelayUrl {
    url: String,
}

impl RelaysMetrics {
    fn read(&self, relays: &[Telling]) {
        for relay in relays {
            let told = relay.error.is_none() && relay.standing.is_some();
            set(&self.told.get_or_create(&RelayUrl { url: relay.url.clone() }), u8::from(told));
        }
    }
}

/// The record.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "record")]
struct RecordMetrics {
    /// The newest revision.
    revision: Gauge,
    /// The version of the trust root.
    root_version: Gauge,
    /// Objects, by kind.
    objects: Family<Kind, Gauge>,
}

/// Standbys of the record's PostgreSQL server.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "store_standby")]
struct StandbyMetrics {
    /// Servers that the record's URL names; 0 where the record is in a file.
    servers: Gauge,
    /// Standbys that are connected to the primary.
    connected: Gauge,
    /// Bytes of log by which the last of them is behind.
    lag_bytes: Gauge,
    /// Slots for standbys from which nobody streams.
    slots_inactive: Gauge,
    /// Bytes of log that the slots keep the primary from forgetting, at most.
    slot_held_bytes: Gauge,
    /// 1 where the role may see how standbys do (`pg_monitor`), 0 where the lag is only what slots keep.
    sees_all: Gauge,
    /// The primary's timeline, which goes up with each promotion.
    timeline: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, EncodeLabelSet)]
struct Kind {
    kind: String,
}

/// The fleet.
#[derive(Debug, Default, MetricsGroup)]
#[metrics(name = "fleet")]
struct FleetMetrics {
    /// Always 1: the version that runs, the fleet it serves, and this coordinator's key.
    build: Family<Build, Gauge>,
    /// Machines that the owners let in.
    machines: Gauge,
    /// Machines heard from within their limit.
    machines_ready: Gauge,
    /// Machines of these that speak later than they should.
    machines_slow: Gauge,
    /// Machines not heard from within their limit.
    machines_silent: Gauge,
    /// Machines that have not heard of their owners for longer than those said.
    machines_stale: Gauge,
    /// Machines whose events find no room to wait for the coordinator.
    machines_outbox_full: Gauge,
    /// Seconds since owners last said that they are there, by their newest statement; 0 where there is none.
    freshness_age_seconds: Gauge,
    /// Seconds after which they have to have said so again; 0 where the trust root asks for nothing of the kind.
    freshness_limit_seconds: Gauge,
    /// Machines that are as they were told.
    machines_converged: Gauge,
    /// Machines with a unit whose last try failed.
    machines_failing: Gauge,
    /// Machines with two profiles that claim one thing.
    machines_in_conflict: Gauge,
    /// Machines whose key another one presents as well.
    machines_duplicate_key: Gauge,
    /// Machines that refused something they were sent.
    machines_refusing: Gauge,
    /// Things that machines look after.
    units: Gauge,
    /// Enrollments that wait for an owner's answer.
    enrollments_pending: Gauge,
}

/// Where a coordinator's numbers come from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) admission: Admission,
    pub(crate) control: Control,
    pub(crate) wire: CoordinatorHandle,
    /// The relay's counts; none where there is no relay.
    pub(crate) relay: Option<Arc<dyn Fn() -> RelayCounters + Send + Sync>>,
    /// How relays that run alone are doing.
    pub(crate) relays: Vec<Arc<Mutex<Telling>>>,
    pub(crate) traces: Arc<TraceMetrics>,
}

/// All metrics of a coordinator.
pub(crate) fn metrics(sources: &Sources, api: &Api) -> Metrics {
    let mut metrics = Metrics::new();
    metrics.add(api.metrics(), |_| {});
    metrics.add(sources.admission.metrics(), |_| {});
    let controllers = sources.control.clone();
    metrics.add(sources.control.metrics(), move |_| {
        controllers.metrics();
    });
    metrics.add(sources.control.give_back_metrics(), |_| {});
    let counted = api.clone();
    metrics.add(Arc::<PortMetrics>::default(), move |group| port(group, &counted.counters()));
    let told = sources.clone();
    metrics.add(Arc::<RelaysMetrics>::default(), move |group| group.read(&relays(&told)));
    let wire = sources.wire.clone();
    metrics.add(Arc::<SessionMetrics>::default(), move |group| sessions(group, &wire.counters()));
    if let Some(counters) = sources.relay.clone() {
        metrics.add(Arc::<RelayMetrics>::default(), move |group| group.read(&counters()));
    }
    let admission = sources.admission.clone();
    metrics.add(Arc::<RecordMetrics>::default(), move |group| record(group, &admission));
    let record = sources.admission.store().clone();
    metrics.add(Arc::<StandbyMetrics>::default(), move |group| standbys(group, &record));
    backup::add(&mut metrics, sources.admission.store());
    let (admission, control) = (sources.admission.clone(), sources.control.clone());
    metrics.add(Arc::<FleetMetrics>::default(), move |group| fleet(group, &admission, &control));
    metrics.add(Arc::clone(&sources.traces), |_| {});
    metrics.add(Arc::<ProcessMetrics>::default(), ProcessMetrics::refresh);
    metrics
}

/// The counters of the HTTP port that count refusals.
fn port_refusals(counters: &CountersSnapshot) -> Vec<Refused> {
    let CountersSnapshot {
        connections: _,
        requests: _,
        list_parts: _,
        history_pages: _,
        connections_refused,
        handshakes_failed,
        handshakes_too_slow,
        malformed,
        too_slow,
        too_large,
        too_many,
        unauthorized,
        stalled,
        lists_too_slow,
        watches_behind,
    } = *counters;
    let reasons = [
        ("Full", "there was no room for more connections", connections_refused),
        ("Handshake", "the TLS handshake failed", handshakes_failed),
        ("HandshakeTooSlow", "the TLS handshake took too long", handshakes_too_slow),
        ("Malformed", "the bytes were no HTTP, or the head was too long", malformed),
        ("TooSlow", "a head or a body took too long", too_slow),
        ("TooLarge", "a body or a URL was over its limit", too_large),
        ("TooMany", "the client had too many requests at once", too_many),
        ("Unauthorized", "there was no good token, or the login was refused", unauthorized),
        ("Stalled", "the client took nothing of what it was sent", stalled),
        ("WatchBehind", "a watch had fallen too far behind", watches_behind),
        ("ListTooSlow", "a large list took too long", lists_too_slow),
    ];
    reasons.into_iter().map(|(label, words, number)| (label.to_owned(), words.to_owned(), number)).collect()
}

fn port(group: &PortMetrics, counters: &CountersSnapshot) {
    group.connections.set(counters.connections);
    group.history_pages.set(counters.history_pages);
    count(&group.refused, port_refusals(counters));
}

fn sessions(group: &SessionMetrics, counters: &Counters) {
    set(&group.open, counters.sessions);
    set(&group.served, counters.served);
    group.connections.set(counters.connections);
    set(&group.direct, counters.direct);
    set(&group.relayed, counters.relayed);
    group.path_changes.set(counters.path_changes);
    group.messages.set(counters.messages);
    group.state_parts.set(counters.state_parts);
    group.states_dropped.set(counters.states_dropped);
    group.duplicate_keys.set(counters.duplicates);
    // All of them from the start, so that the first refusal is seen as a rise.
    for refusal in Refusal::ALL {
        group.refused.get_or_create(&Reason::of(&refusal));
    }
    count(&group.refused, refusals(&counters.refused));
}

fn standbys(group: &StandbyMetrics, store: &Store) {
    let Some(seen) = store.replication() else { return };
    set(&group.servers, seen.servers);
    set(&group.connected, seen.replicas.len());
    set(&group.lag_bytes, seen.lag_bytes().unwrap_or_default());
    set(&group.slots_inactive, seen.slots.iter().filter(|slot| !slot.active).count());
    set(&group.slot_held_bytes, seen.slots.iter().filter_map(|slot| slot.held_bytes).max().unwrap_or_default());
    set(&group.sees_all, u8::from(seen.sees_all));
    set(&group.timeline, seen.timeline);
}

/// The standbys as `stead status` shows them; null where the record can have none.
fn standbys_value(store: &Store) -> Value {
    store.replication().map_or(Value::Null, |seen| {
        json!({
            "servers": seen.servers,
            "timeline": seen.timeline,
            "connected": seen.replicas.len(),
            "lagBytes": seen.lag_bytes(),
            "slotsInactive": seen.slots.iter().filter(|slot| !slot.active).count(),
        })
    })
}

fn record(group: &RecordMetrics, admission: &Admission) {
    let snapshot = admission.store().snapshot();
    set(&group.revision, snapshot.revision().0);
    set(&group.root_version, admission.root().version);
    // A kind whose last object has gone must not keep its number.
    group.objects.clear();
    for (kind, number) in snapshot.kinds() {
        set(&group.objects.get_or_create(&Kind { kind: kind.to_string() }), number);
    }
}

fn fleet(group: &FleetMetrics, admission: &Admission, control: &Control) {
    let version = env!("CARGO_PKG_VERSION");
    let build = Build { version, fleet: admission.fleet().to_string(), coordinator: admission.online_key().fingerprint() };
    set(&group.build.get_or_create(&build), 1);
    let tally = control.tally();
    for (gauge, number) in [
        (&group.machines, tally.machines),
        (&group.machines_ready, tally.ready),
        (&group.machines_slow, tally.slow),
        (&group.machines_silent, tally.silent),
        (&group.machines_stale, tally.stale),
        (&group.machines_outbox_full, tally.outbox_full),
        (&group.machines_converged, tally.converged),
        (&group.machines_failing, tally.failing),
        (&group.machines_in_conflict, tally.in_conflict),
        (&group.machines_duplicate_key, tally.duplicate_keys),
        (&group.machines_refusing, tally.refusing),
        (&group.units, tally.units),
        (&group.enrollments_pending, control.enrollments_pending()),
    ] {
        set(gauge, number);
    }
    let (said, days) = (freshness_time(admission), admission.root().expiry.freshness_days.unwrap_or_default());
    let age = said.map_or(0, |said| admission.environment().now().as_second().saturating_sub(said.as_second()).max(0));
    set(&group.freshness_age_seconds, age);
    set(&group.freshness_limit_seconds, u64::from(days).saturating_mul(DAY_SECONDS));
}

/// Seconds of a day.
const DAY_SECONDS: u64 = 86_400;

/// When owners last said that they are there: by their newest statement, or by the newest version of the trust root. None where the
/// trust root asks for nothing of the kind and nobody ever said so.
fn freshness_time(admission: &Admission) -> Option<jiff::Timestamp> {
    let (root, said) = (admission.root(), admission.freshness().map(|(_, fresh)| fresh.time));
    match root.expiry.freshness_days {
        Some(_) => said.max(Some(root.time)),
        None => said,
    }
}

/// Relays that run alone, as this coordinator finds them.
fn relays(sources: &Sources) -> Vec<Telling> {
    sources.relays.iter().map(|telling| telling.lock().unwrap_or_else(PoisonError::into_inner).clone()).collect()
}

/// Every coordinator of the fleet, as it last said.
fn coordinators(sources: &Sources) -> Vec<Value> {
    let told = |(Seen { presence, renewed }, voice): (Seen, Voice)| {
        let key = MachineKey::from_bytes(*presence.address.key.as_bytes()).to_public_key();
        json!({
            "key": key, "api": presence.api, "relay": presence.address.relay, "authority": presence.authority,
            "there": voice != Voice::Silent, "voice": voice.word(), "renewed": renewed,
        })
    };
    sources.control.voices().into_iter().map(told).collect()
}

/// How the record came to begin anew, where it did, and how many machines have not yet given back what they hold.
fn restored(sources: &Sources) -> Option<Value> {
    let store = sources.admission.store();
    let restored = store.snapshot().restored()?;
    Some(json!({
        "at": restored.at,
        "revision": restored.revision,
        "record": &*store.incarnation(),
        "machinesNotYet": sources.control.machines_not_yet(),
    }))
}

/// The same numbers for `stead status`: refusals only where there were any.
pub(crate) fn status(sources: &Sources, api: &Api, uptime_seconds: u64) -> Value {
    let (tally, wire, port) = (sources.control.tally(), sources.wire.counters(), api.counters());
    let relay = sources.relay.as_ref().map(|counters| counters());
    let in_words = |refused: Vec<Refused>| {
        let some = refused.into_iter().filter(|(_, _, number)| *number > 0);
        some.map(|(_, words, number)| (words, number)).collect::<BTreeMap<_, _>>()
    };
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "fleet": sources.admission.fleet(),
        "coordinator": sources.admission.online_key().fingerprint(),
        "uptimeSeconds": uptime_seconds,
        "revision": sources.admission.store().revision(),
        "rootVersion": sources.admission.root().version,
        "freshness": {"last": freshness_time(&sources.admission), "days": sources.admission.root().expiry.freshness_days},
        "restored": restored(sources),
        "leads": sources.control.leads().is_some(),
        "coordinators": coordinators(sources),
        "standbys": standbys_value(sources.admission.store()),
        "archive": backup::archive_value(sources.admission.store()),
        "backups": backup::backups_value(sources.admission.store()),
        "relays": relays(sources),
        "machines": {
            "total": tally.machines,
            "ready": tally.ready,
            "slow": tally.slow,
            "silent": tally.silent,
            "stale": tally.stale,
            "outboxFull": tally.outbox_full,
            "converged": tally.converged,
            "failing": tally.failing,
            "inConflict": tally.in_conflict,
            "duplicateKey": tally.duplicate_keys,
            "refusing": tally.refusing,
            "enrollmentsPending": sources.control.enrollments_pending(),
        },
        "ports": {
            "api": {"connections": port.connections, "requests": port.requests, "refused": in_words(port_refusals(&port))},
            "machines": {
                "connections": wire.connections,
                "open": wire.sessions,
                "served": wire.served,
                "direct": wire.direct,
                "relayed": wire.relayed,
                "refused": in_words(refusals(&wire.refused)),
            },
            "relay": relay.map(|relay| json!({
                "connections": relay.connections,
                "open": relay.open,
                "served": relay.established,
                "refused": in_words(refusals(&relay.refused)),
            })),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_port_counts_is_in_its_metrics() {
        let group = PortMetrics::default();
        let counters = CountersSnapshot { connections: 2, history_pages: 3, too_many: 4, ..CountersSnapshot::default() };
        port(&group, &counters);
        assert_eq!((group.connections.get(), group.history_pages.get()), (2, 3));
        assert_eq!(group.refused.get(&Reason { reason: "TooMany".to_owned() }).map(|number| number.get()), Some(4));
    }
}
