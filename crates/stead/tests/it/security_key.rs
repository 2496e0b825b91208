//! An `sk-` key behind an ssh-agent: there is no authenticator here, so one made of software signs as a device does.

use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};

use rsa::signature::Signer as _;
use ssh_key::private::{Ed25519Keypair, KeypairData};
use ssh_key::public::{KeyData, SkEd25519};
use stead_model::Digest;
use stead_trust::PublicKey;

use crate::stead::Home;

const APPLICATION: &str = "ssh:";

fn put(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(u32::try_from(bytes.len()).unwrap().to_be_bytes());
    out.extend(bytes);
}

fn string<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let (length, rest) = bytes.split_at(4);
    let (taken, rest) = rest.split_at(u32::from_be_bytes(length.try_into().unwrap()) as usize);
    *bytes = rest;
    taken
}

struct Authenticator {
    pair: Ed25519Keypair,
    key: PublicKey,
    touched: bool,
}

impl Authenticator {
    fn new(touched: bool) -> Self {
        let pair = Ed25519Keypair::from_seed(&[42; 32]);
        let key = PublicKey::from_key_data(KeyData::SkEd25519(SkEd25519::new(pair.public, APPLICATION))).unwrap();
        Self { pair, key, touched }
    }

    /// PROTOCOL.u2f: the device signs SHA-256 of the application, flags, counter, SHA-256 of the message.
    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let trailer = [&[u8::from(self.touched)][..], &7_u32.to_be_bytes()].concat();
        let data = [Digest::of(APPLICATION.as_bytes()).as_bytes(), &trailer[..], Digest::of(message).as_bytes()].concat();
        let raw = KeypairData::Ed25519(self.pair.clone()).try_sign(&data).unwrap();
        let mut out = Vec::new();
        put(&mut out, b"sk-ssh-ed25519@openssh.com");
        put(&mut out, raw.as_bytes());
        out.extend(trailer);
        out
    }

    /// Answers the two messages of ssh-agent's protocol, one connection after the other.
    fn serve(self, listener: &UnixListener) {
        for stream in listener.incoming() {
            self.answer(stream.unwrap());
        }
    }

    fn answer(&self, mut stream: UnixStream) {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut request = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut request).unwrap();
        let (kind, mut rest) = request.split_first().unwrap();
        let mut answer = Vec::new();
        match kind {
            11 => {
                answer.push(12);
                answer.extend(2_u32.to_be_bytes());
                // A key that nobody here knows comes first, and must not spoil the list.
                put(&mut answer, b"\0\0\0\x0bssh-unknown\0\0\0\x01x");
                put(&mut answer, b"unknown");
                put(&mut answer, &self.key.as_ssh().to_bytes().unwrap());
                put(&mut answer, b"device");
            }
            13 => {
                assert_eq!(string(&mut rest), self.key.as_ssh().to_bytes().unwrap());
                answer.push(14);
                put(&mut answer, &self.sign(string(&mut rest)));
            }
            other => panic!("message {other}"),
        }
        let mut message = Vec::new();
        put(&mut message, &answer);
        stream.write_all(&message).unwrap();
    }
}

/// Makes a trust root with the device's key behind an agent, and gives how that ended.
fn signed(touched: bool) -> (Home, crate::stead::Ended, String) {
    let mut home = Home::new();
    home.keygen("host", "");
    let device = Authenticator::new(touched);
    let fingerprint = device.key.fingerprint();
    home.write("device.pub", device.key.as_str());
    let socket = home.arg("agent.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    // Ends with the test's process.
    std::thread::spawn(move || device.serve(&listener));
    home.set("SSH_AUTH_SOCK", &socket);
    let ended = home.stead(&["trust", "init", "--key", "device.pub", "--online", "host", "--out", "fleet"]);
    (home, ended, fingerprint)
}

#[test]
fn a_device_signs_through_the_agent() {
    let (home, ended, fingerprint) = signed(true);
    assert!(ended.stderr.contains(&format!("Touch the authenticator of {fingerprint} to sign for root@stead.dev.")), "{ended:?}");
    ended.ok();
    let shown = home.stead(&["trust", "show", "fleet/root.json"]).ok();
    assert!(shown.contains("It carries the signatures that it needs."), "{shown}");
    assert!(shown.contains("sk-ssh-ed25519@openssh.com"), "{shown}");
}

#[test]
fn a_signature_without_a_touch_does_not_count() {
    let (home, ended, _) = signed(false);
    assert!(ended.fails(4).contains("without a touch of the authenticator"));
    assert!(home.stead(&["trust", "show", "fleet/root.json"]).fails(4).contains("without a touch"));
}
