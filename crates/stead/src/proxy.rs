//! `stead proxy`: the coordinator's API on this machine, over one person's login, with their signature under what they write.
//!
//! It is no open door for whoever else is on the machine: a request must begin with a random word that stands only in the kubeconfig
//! which this command writes for its user.

mod answer;
mod can_i;
mod sign;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use stead_model::Digest;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, Semaphore};
use tokio_util::sync::CancellationToken;

use self::answer::{Answer, refusal};
use crate::Outcome;
use crate::client::Client;
use crate::commands::Context;
use crate::config::Settings;
use crate::exit_code::ExitCode;
use crate::failure::{Failure, FailureKind};
use crate::signer::{self, BoxSigner};
use crate::terminal::Terminal;
use crate::{output, private_file};

/// Connections at once: the clients of one person, each with its watches.
const CONNECTIONS_MAX: usize = 256;
/// Seconds for a request's head.
const HEADER_SECONDS_MAX: u64 = 30;
/// Bytes of the random word in the path.
const WORD_BYTES: usize = 32;

/// `stead proxy`.
#[derive(Debug, Args)]
pub(crate) struct ProxyArgs {
    /// Where to listen: an address of this machine alone
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The kubeconfig to write, for its user alone. Default: proxy.kubeconfig in the cache folder
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Show each change on this terminal, and ask before it is signed
    #[arg(long)]
    confirm: bool,
}

/// What every request needs.
struct Proxy {
    settings: Settings,
    terminal: Terminal,
    keys: Vec<BoxSigner>,
    /// Logged in; made anew when the token has run out.
    client: Mutex<Rc<Client>>,
    /// The digest of the random word: comparing digests tells nothing of the word by the time that it takes.
    word: Digest,
    /// Held while a person is asked; one question at a time.
    asking: Mutex<()>,
    confirm: bool,
}

pub(crate) async fn run(context: &Context, args: ProxyArgs) -> Outcome {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::user(format!("--listen {}: a proxy that signs listens on loopback addresses only", args.listen)));
    }
    crate::change::fleet(&context.settings)?;
    let keys = signer::load_all(&context.settings)?;
    let client = Rc::new(Client::connect(&context.settings).await?);
    let failed = |error: std::io::Error| Failure::user(format!("cannot listen on {}: {error}", args.listen));
    let listener = TcpListener::bind(args.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let stop = crate::coordinator::stop_on_signal()?;
    let word = random_word()?;
    let path = args.kubeconfig.clone().unwrap_or_else(|| context.settings.cache_dir().join("proxy.kubeconfig"));
    write_kubeconfig(&path, address, &word)?;
    let proxy = Proxy {
        settings: context.settings.clone(),
        terminal: context.terminal,
        keys,
        client: Mutex::new(client),
        word: Digest::of(word.as_bytes()),
        asking: Mutex::new(()),
        confirm: args.confirm,
    };
    context.print(&format!("ready {address}\nexport KUBECONFIG={}\n", path.display()))?;
    // The keys stay on this thread; one person's requests do not need another.
    tokio::task::LocalSet::new().run_until(serve(Rc::new(proxy), listener, stop)).await;
    // It leads nowhere any more.
    let _gone_already = std::fs::remove_file(&path);
    Ok(ExitCode::Success)
}

fn random_word() -> Result<String, Failure> {
    let mut bytes = [0; WORD_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| Failure::internal(format!("the system gives no random bytes: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The word stands in the server's path: over plain HTTP, kubectl sends no credentials.
fn write_kubeconfig(path: &Path, address: SocketAddr, word: &str) -> Result<(), Failure> {
    const NAME: &str = "stead-proxy";
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": NAME,
        "clusters": [{"name": NAME, "cluster": {"server": format!("http://{address}/{word}")}}],
        "users": [{"name": NAME, "user": {}}],
        "contexts": [{"name": NAME, "context": {"cluster": NAME, "user": NAME}}],
    });
    private_file::write(path, output::yaml(&config)?.as_bytes()).map_err(|error| Failure::of(FailureKind::User, error))
}

async fn serve(proxy: Rc<Proxy>, listener: TcpListener, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let (Ok((stream, _)), Ok(place)) = (accepted, Arc::clone(&places).try_acquire_owned()) else { continue };
        let proxy = Rc::clone(&proxy);
        tokio::task::spawn_local(async move {
            connection(proxy, stream).await;
            drop(place);
        });
    }
}

async fn connection(proxy: Rc<Proxy>, stream: TcpStream) {
    let service = service_fn(move |request: Request<Incoming>| {
        let proxy = Rc::clone(&proxy);
        async move { Ok::<_, std::convert::Infallible>(proxy.answer(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEADER_SECONDS_MAX))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended");
    }
}

impl Proxy {
    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let path = request.uri().path().trim_start_matches('/');
        let (word, rest) = path.split_once('/').unwrap_or((path, ""));
        if Digest::of(word.as_bytes()) != self.word {
            return refusal(403, "Forbidden", "this proxy serves its own user; KUBECONFIG names the file that it wrote");
        }
        let query = request.uri().query().unwrap_or_default().to_owned();
        let path = format!("/{rest}");
        let (parts, body) = request.into_parts();
        let body = match answer::whole(body).await {
            Ok(body) => body,
            Err(answer) => return answer,
        };
        let asked = answer::Asked { method: parts.method, path, query, headers: parts.headers, body };
        match self.pass_or_sign(&asked).await {
            Ok(answer) => answer,
            Err(answer) => answer,
        }
    }

    /// The client, logged in.
    async fn client(&self) -> Rc<Client> {
        Rc::clone(&*self.client.lock().await)
    }

    /// Logs in anew, because the coordinator no longer takes the token.
    async fn log_in_again(&self) -> Result<Rc<Client>, Failure> {
        let key = self.keys.first().ok_or_else(|| Failure::internal("there is no key"))?;
        let client = Rc::new(Client::connect_as(&self.settings, key.as_ref()).await?);
        *self.client.lock().await = Rc::clone(&client);
        Ok(client)
    }
}
