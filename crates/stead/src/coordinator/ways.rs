//! By which ways machines reach this coordinator: its own port, a relay, and the local network.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::join_all;
use stead_admission::Admission;
use stead_control::Control;
use stead_control::presence::Presence;
use stead_wire::{
    IrohConfig, IrohTransport, LocalLookup, PeerAddress, PeerKey, Relay, RelayAccess, RelayAddress, RelayLimits, Transport as _,
    relay_token,
};
use tokio::sync::watch;

use super::CoordinatorArgs;
use crate::failure::{Failure, FailureKind};
use crate::relay::{Teller, Telling};

/// How long a start waits for relays that run alone to take the first word.
const FIRST_WORD: Duration = Duration::from_secs(3);

/// The open ways.
pub(super) struct Ways {
    pub(super) transport: Arc<IrohTransport>,
    /// The relay in this process, where there is one.
    pub(super) relay: Option<Relay>,
    /// Relays that run alone.
    elsewhere: Vec<Teller>,
}

impl Ways {
    pub(super) async fn open(
        args: &CoordinatorArgs,
        secret_key: [u8; 32],
        admission: &Admission,
        control: &Control,
        pass: &[u8],
    ) -> Result<Self, Failure> {
        let relay = start_relay(args, control).await?;
        let teller = |url: &String| Teller::new(url, admission.clone(), control.clone());
        let elsewhere: Vec<Teller> = args.relay.iter().map(teller).collect::<Result<_, _>>()?;
        // They admit nobody whom they do not know: this coordinator, too, is let in at once where they hear of it first.
        let _ = tokio::time::timeout(FIRST_WORD, join_all(elsewhere.iter().map(Teller::tell))).await;
        let token = Some(relay_token(pass));
        let mut relays: Vec<RelayAddress> =
            relay.iter().map(|relay| RelayAddress { url: own_url(relay), token: token.clone() }).collect();
        relays.extend(args.relay.iter().map(|url| RelayAddress { url: url.clone(), token: token.clone() }));
        let local = if args.no_mdns { LocalLookup::Off } else { LocalLookup::Announce };
        let config = IrohConfig { secret_key, bind: vec![args.listen_machines], relay_only: false, relays, local };
        let transport = IrohTransport::bind(config).await.map_err(|error| Failure::of(FailureKind::Config, error))?;
        Ok(Self { transport: Arc::new(transport), relay, elsewhere })
    }

    /// Where machines find this coordinator: the given names first, else what the machine knows of itself.
    pub(super) fn address(&self, args: &CoordinatorArgs) -> PeerAddress {
        use std::net::ToSocketAddrs as _;
        let known = self.transport.address();
        let bound = self.transport.bound_addresses();
        let port = bound.first().map_or(args.listen_machines.port(), SocketAddr::port);
        let named = args.name.iter().flat_map(|name| (name.as_str(), port).to_socket_addrs().into_iter().flatten());
        let mut addresses: Vec<SocketAddr> = named.collect();
        if addresses.is_empty() {
            let bound = bound.into_iter().filter(|address| !address.ip().is_unspecified());
            addresses = bound.chain(known.addresses).collect();
        }
        addresses.sort();
        addresses.dedup();
        addresses.truncate(stead_wire::TICKET_ADDRESSES_MAX);
        let relay = match &self.relay {
            Some(relay) => Some(public_url(args, relay, &addresses)),
            None => known.relay.or_else(|| args.relay.first().cloned()),
        };
        PeerAddress { key: known.key, addresses, relay }
    }

    /// Says where this coordinator is whenever that changes: another address, or another of several relays. Tells relays whom to admit.
    pub(super) async fn follow(&self, args: &CoordinatorArgs, says: &watch::Sender<Presence>) {
        let told = |_| {
            let address = self.address(args);
            says.send_if_modified(|presence| {
                let other = presence.address != address;
                if other {
                    tracing::info!(addresses = ?address.addresses, relay = address.relay, "machines find this coordinator elsewhere");
                    presence.address = address;
                }
                other
            });
        };
        let telling = join_all(self.elsewhere.iter().map(Teller::run));
        tokio::join!(self.transport.follow_address(told), telling);
        std::future::pending().await
    }

    /// The relay as the line says it that programs read.
    pub(super) fn relay_words(&self, args: &CoordinatorArgs) -> String {
        match &self.relay {
            Some(relay) => relay.url(),
            None if args.relay.is_empty() => "none".to_owned(),
            None => args.relay.join(","),
        }
    }

    /// How relays that run alone are doing.
    pub(super) fn tellings(&self) -> Vec<Arc<Mutex<Telling>>> {
        self.elsewhere.iter().map(Teller::telling).collect()
    }

    /// Closes them. Whoever has not said goodbye by then is cut off; machines notice and come back.
    pub(super) async fn close(self, goodbye: Duration) {
        let _ = tokio::time::timeout(goodbye, self.transport.close()).await;
        if let Some(relay) = self.relay {
            let _ = tokio::time::timeout(goodbye, relay.stop()).await;
        }
    }
}

async fn start_relay(args: &CoordinatorArgs, control: &Control) -> Result<Option<Relay>, Failure> {
    if args.no_relay || !args.relay.is_empty() {
        return Ok(None);
    }
    let control = control.clone();
    let access: RelayAccess = Arc::new(move |peer: &PeerKey, shown: Option<&str>| control.may_use_relay(peer, shown));
    let relay = Relay::spawn(args.listen_relay, access, RelayLimits::default())
        .await
        .map_err(|error| Failure::of(FailureKind::Config, error))?;
    Ok(Some(relay))
}

/// The relay as the coordinator itself reaches it.
fn own_url(relay: &Relay) -> String {
    let mut address = relay.address();
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{address}")
}

/// The relay as machines reach it.
fn public_url(args: &CoordinatorArgs, relay: &Relay, addresses: &[SocketAddr]) -> String {
    let port = relay.address().port();
    let host = args.name.first().cloned().unwrap_or_else(|| {
        let ip = Some(relay.address().ip()).filter(|ip| !ip.is_unspecified()).or_else(|| addresses.first().map(SocketAddr::ip));
        ip.map_or_else(|| "127.0.0.1".to_owned(), |ip| ip.to_string())
    });
    format!("http://{}:{port}", super::host(&host))
}
