//! etcd, which a Kubernetes API otherwise stands on: a server of its own, and as much of its gRPC as the measurements ask for.
//!
//! Calls are HTTP/2 without TLS, kept alive; messages are Protocol Buffers of etcd's `rpc.proto` and `kv.proto`, of which a few fields
//! are written and read here by their numbers.

use crate::failure::BenchError;
use crate::{child, process};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::net::TcpStream;

/// Its name and version, as Debian has it.
pub(crate) const NAME: &str = "etcd 3.4";
/// How long it may take to answer for the first time.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// Where it may grow to: the 100,000 objects with their history, many times over.
const QUOTA_BYTES: u64 = 8 << 30;
/// The window of a connection and of a stream: a list of everything is one message of 150 MiB.
const WINDOW_BYTES: u32 = 8 << 20;

/// A running server, on a disk. It is killed when this is dropped.
pub(crate) struct Etcd {
    server: Child,
    address: SocketAddr,
    _folder: TempDir,
}

/// A connection with it. Cheap to clone; clones share the connection.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

/// What an open watch gives.
pub(crate) struct Events {
    body: Incoming,
    buffered: BytesMut,
}

impl Etcd {
    /// Starts it, and waits until it answers.
    pub(crate) async fn start() -> Result<Self, BenchError> {
        let folder = process::folder_on_disk()?;
        let (address, peers) = (free_address()?, free_address()?);
        let (client, peer) = (format!("http://{address}"), format!("http://{peers}"));
        let mut command = Command::new("etcd");
        command.arg("--data-dir").arg(folder.path().join("data")).args(["--name", "bench"]);
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client, "--listen-peer-urls", &peer]);
        command.args(["--initial-advertise-peer-urls", &peer, "--initial-cluster", &format!("bench={peer}")]);
        command.args(["--quota-backend-bytes", &QUOTA_BYTES.to_string()]);
        let log = folder.path().join("etcd.log");
        let file = std::fs::File::create(&log).map_err(|source| BenchError::File { path: log.clone(), source })?;
        let spawned = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(file).spawn();
        let server = spawned.map_err(|source| BenchError::Program { program: "etcd".to_owned(), source })?;
        let etcd = Self { server, address, _folder: folder };
        let start = Instant::now();
        loop {
            let answered = match etcd.connect().await {
                Ok(connection) => connection.put("ready", b"").await,
                Err(error) => Err(error),
            };
            match answered {
                Ok(()) => return Ok(etcd),
                Err(error) if start.elapsed() > READY_LIMIT => {
                    let said = std::fs::read_to_string(&log).unwrap_or_default();
                    return Err(BenchError::Step { doing: "starting etcd", reason: format!("{error}; it said: {said}") });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// A connection of its own.
    pub(crate) async fn connect(&self) -> Result<Connection, BenchError> {
        let step = BenchError::step("connecting to etcd");
        let stream = TcpStream::connect(self.address).await.map_err(|error| step(error.to_string()))?;
        stream.set_nodelay(true).map_err(|error| step(error.to_string()))?;
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(WINDOW_BYTES).initial_connection_window_size(WINDOW_BYTES);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(|error| step(error.to_string()))?;
        // Its end is seen by whoever asks next.
        tokio::spawn(connection);
        Ok(Connection { sender })
    }

    /// Resident memory, in MiB.
    pub(crate) fn resident_mib(&self) -> Result<f64, BenchError> {
        Ok(child::resident_kib(Path::new(&format!("/proc/{}/status", self.server.id())))? / 1024.0)
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        // One that has ended by itself is as good.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl Connection {
    /// Writes a value; when this returns, it is on etcd's disk.
    pub(crate) async fn put(&self, key: &str, value: &[u8]) -> Result<(), BenchError> {
        let mut request = BytesMut::new();
        field(&mut request, 1, key.as_bytes());
        field(&mut request, 2, value);
        self.call("/etcdserverpb.KV/Put", request.freeze()).await.map(drop)
    }

    /// Reads everything below a prefix with one request, as an API server does that fills its cache: how many values, and their bytes.
    pub(crate) async fn list(&self, prefix: &str) -> Result<(usize, usize), BenchError> {
        let mut request = BytesMut::new();
        field(&mut request, 1, prefix.as_bytes());
        field(&mut request, 2, &end_of(prefix));
        let mut answer = self.call("/etcdserverpb.KV/Range", request.freeze()).await?;
        let (mut values, mut bytes) = (0, 0);
        while let Some((number, mut pair)) = next_field(&mut answer)? {
            // `kvs` of the answer, and `value` of each.
            if number == 2 {
                while let Some((number, value)) = next_field(&mut pair)? {
                    if number == 5 {
                        values += 1;
                        bytes += value.len();
                    }
                }
            }
        }
        Ok((values, bytes))
    }

    /// Watches everything below a prefix from now on; when this returns, etcd has said that it does.
    pub(crate) async fn watch(&self, prefix: &str) -> Result<Events, BenchError> {
        let mut create = BytesMut::new();
        field(&mut create, 1, prefix.as_bytes());
        field(&mut create, 2, &end_of(prefix));
        let mut request = BytesMut::new();
        field(&mut request, 1, &create);
        let body = self.send("/etcdserverpb.Watch/Watch", request.freeze()).await?;
        let mut events = Events { body, buffered: BytesMut::new() };
        events.next_message().await?;
        Ok(events)
    }

    async fn call(&self, path: &str, message: Bytes) -> Result<Bytes, BenchError> {
        let body = self.send(path, message).await?;
        let collected = body.collect().await.map_err(BenchError::step("reading etcd's answer"))?;
        let status = collected.trailers().and_then(|trailers| trailers.get("grpc-status")).cloned();
        let mut buffered = BytesMut::from(collected.to_bytes().as_ref());
        match take_message(&mut buffered) {
            Some(message) if status.as_ref().is_some_and(|status| status == "0") => Ok(message),
            _ => Err(BenchError::Answer { program: "etcd".to_owned(), answer: format!("{path}: status {status:?}") }),
        }
    }

    async fn send(&self, path: &str, message: Bytes) -> Result<Incoming, BenchError> {
        let mut framed = BytesMut::with_capacity(message.len() + HEAD_BYTES);
        framed.put_u8(0);
        framed.put_u32(u32::try_from(message.len()).map_err(BenchError::step("asking etcd"))?);
        framed.extend_from_slice(&message);
        let request = hyper::Request::post(format!("http://etcd{path}")).header("content-type", "application/grpc");
        let request =
            request.header("te", "trailers").body(Full::new(framed.freeze())).map_err(BenchError::step("asking etcd"))?;
        let response = self.sender.clone().send_request(request).await.map_err(BenchError::step("asking etcd"))?;
        if let Some(status) = response.headers().get("grpc-status").filter(|status| *status != "0") {
            let answer = format!("{path}: status {status:?} {:?}", response.headers().get("grpc-message"));
            return Err(BenchError::Answer { program: "etcd".to_owned(), answer });
        }
        Ok(response.into_body())
    }
}

impl Events {
    /// Waits until something has happened.
    pub(crate) async fn next(&mut self) -> Result<(), BenchError> {
        loop {
            let mut message = self.next_message().await?;
            while let Some((number, _)) = next_field(&mut message)? {
                // `events`
                if number == 11 {
                    return Ok(());
                }
            }
        }
    }

    async fn next_message(&mut self) -> Result<Bytes, BenchError> {
        loop {
            if let Some(message) = take_message(&mut self.buffered) {
                return Ok(message);
            }
            let frame = self.body.frame().await.ok_or_else(|| BenchError::step("watching etcd")("it ended the watch"))?;
            if let Some(data) = frame.map_err(BenchError::step("watching etcd"))?.data_ref() {
                self.buffered.extend_from_slice(data);
            }
        }
    }
}

/// What stands before a message of gRPC: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The first message, if it is here whole.
fn take_message(buffered: &mut BytesMut) -> Option<Bytes> {
    let length = buffered.get(1..HEAD_BYTES).map(|mut length| length.get_u32())?;
    let end = HEAD_BYTES.checked_add(usize::try_from(length).ok()?)?;
    if buffered.len() < end {
        return None;
    }
    let mut message = buffered.split_to(end);
    message.advance(HEAD_BYTES);
    Some(message.freeze())
}

/// A field of bytes.
fn field(message: &mut BytesMut, number: u8, bytes: &[u8]) {
    const BYTES: u8 = 2;
    message.put_u8(number << 3 | BYTES);
    let mut rest = bytes.len();
    while rest >= 0x80 {
        message.put_u8((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    message.put_u8(rest as u8);
    message.extend_from_slice(bytes);
}

/// The next field; one that is a number has no bytes.
fn next_field(message: &mut Bytes) -> Result<Option<(u64, Bytes)>, BenchError> {
    if message.is_empty() {
        return Ok(None);
    }
    let broken = || BenchError::step("reading etcd's answer")("it is cut off");
    let tag = varint(message).ok_or_else(broken)?;
    let bytes = match tag & 7 {
        0 => {
            varint(message).ok_or_else(broken)?;
            Bytes::new()
        }
        2 => {
            let length = varint(message).and_then(|length| usize::try_from(length).ok()).ok_or_else(broken)?;
            if message.len() < length {
                return Err(broken());
            }
            message.split_to(length)
        }
        _ => return Err(broken()),
    };
    Ok(Some((tag >> 3, bytes)))
}

fn varint(message: &mut Bytes) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = message.try_get_u8().ok()?;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// The first key after all that start so.
fn end_of(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last = last.saturating_add(1);
    }
    end
}

/// An address that is free now. etcd is told its port; nothing else here takes one in between.
fn free_address() -> Result<SocketAddr, BenchError> {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).map_err(BenchError::step("finding a free port"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_are_written() {
        let mut message = BytesMut::new();
        field(&mut message, 1, b"key");
        message.extend_from_slice(&[3 << 3, 0x96, 0x01]);
        field(&mut message, 2, &[7; 300]);
        let mut message = message.freeze();
        let mut next = || next_field(&mut message).unwrap();
        assert_eq!(next(), Some((1, Bytes::from_static(b"key"))));
        assert_eq!(next(), Some((3, Bytes::new())));
        assert_eq!(next().map(|(number, bytes)| (number, bytes.len())), Some((2, 300)));
        assert_eq!(next(), None);
        assert!(next_field(&mut Bytes::from_static(&[1 << 3 | 2, 9, 0])).is_err());
        assert_eq!(end_of("/a/"), b"/a0");
    }
}
