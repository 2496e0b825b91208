//! Networks out of namespaces, which go when the test ends.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::stead::Home;

/// Namespaces, with what is between them.
pub(crate) struct Lab {
    name: String,
    spaces: std::cell::RefCell<Vec<String>>,
}

/// One network namespace: a machine, a router, or a switch.
#[derive(Clone)]
pub(crate) struct Space {
    name: String,
}

impl Lab {
    pub(crate) fn new() -> Self {
        static LABS: AtomicU32 = AtomicU32::new(0);
        let name = format!("stead{}x{}", std::process::id(), LABS.fetch_add(1, Ordering::Relaxed));
        Self { name, spaces: std::cell::RefCell::default() }
    }

    pub(crate) fn space(&self, what: &str) -> Space {
        let name = format!("{}-{what}", self.name);
        run("ip", &["netns", "add", &name]);
        self.spaces.borrow_mut().push(name.clone());
        let space = Space { name };
        space.ip("link set lo up");
        // Addresses are there at once, not after the kernel has asked whether another has them.
        space.run("sysctl", &["-qw", "net.ipv6.conf.all.accept_dad=0", "net.ipv6.conf.default.accept_dad=0"]);
        space
    }

    /// A switch: whoever is plugged into it is in one network.
    pub(crate) fn switch(&self, what: &str) -> Space {
        let switch = self.space(what);
        switch.ip("link add bridge0 type bridge");
        switch.ip("link set bridge0 up");
        switch
    }

    /// A router between a network of its own and a switch, which gives its own address to what comes from inside, and lets nothing in
    /// that was not asked for.
    pub(crate) fn router(&self, what: &str, outside: (&Space, &str), inside: &str) -> Space {
        let router = self.space(what);
        outside.0.plug(&router, "wan", outside.1);
        router.ip("link add bridge0 type bridge");
        router.ip("link set bridge0 up");
        router.ip(&format!("addr add {inside} dev bridge0"));
        router.run("sysctl", &["-qw", "net.ipv4.ip_forward=1"]);
        router.nft(
            "table ip nat {
                chain out { type nat hook postrouting priority srcnat; oifname wan masquerade; }
            }
            table ip filter {
                chain input { type filter hook input priority filter; policy accept; iifname wan ct state { new, invalid } drop; }
                chain forward { type filter hook forward priority filter; policy accept; iifname wan ct state { new, invalid } drop; }
            }",
        );
        router
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for name in self.spaces.borrow().iter() {
            // What is gone already is gone.
            let _ = Command::new("ip").args(["netns", "del", name]).status();
        }
    }
}

impl Space {
    /// Plugs another one into this switch or router, as `port` with an address such as `192.0.2.1/24`.
    pub(crate) fn plug(&self, other: &Space, port: &str, address: &str) {
        let ours = format!("p{:08x}", getrandom::u32().unwrap());
        other.ip(&format!("link add {port} type veth peer name {ours} netns {}", self.name));
        self.ip(&format!("link set {ours} master bridge0 up"));
        other.ip(&format!("addr add {address} dev {port}"));
        other.ip(&format!("link set {port} up"));
    }

    /// Sends what is for elsewhere to a router.
    pub(crate) fn route_by(&self, router: &str) {
        self.ip(&format!("route replace default via {router}"));
    }

    /// `ip` in here, its words parted by spaces.
    pub(crate) fn ip(&self, words: &str) {
        let words: Vec<&str> = ["-n", &self.name].into_iter().chain(words.split(' ')).collect();
        run("ip", &words);
    }

    /// Adds rules of nftables.
    pub(crate) fn nft(&self, rules: &str) {
        self.run("nft", &[rules]);
    }

    /// Drops all UDP that passes here, from now on.
    pub(crate) fn drop_udp(&self) {
        self.nft(
            "table ip noudp {
                chain forward { type filter hook forward priority filter; policy accept; meta l4proto udp drop; }
                chain input { type filter hook input priority filter; policy accept; meta l4proto udp drop; }
                chain output { type filter hook output priority filter; policy accept; meta l4proto udp drop; }
            }",
        );
    }

    /// Lets UDP through again.
    pub(crate) fn pass_udp(&self) {
        self.nft("delete table ip noudp");
    }

    fn run(&self, program: &str, words: &[&str]) {
        run("ip", &[&["netns", "exec", &self.name, program], words].concat());
    }

    /// A command of somebody's home that runs in here.
    pub(crate) fn command(&self, home: &Home, program: &str) -> Command {
        let mut command = home.command("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

#[track_caller]
fn run(program: &str, words: &[&str]) {
    let output = Command::new(program).args(words).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(output.status.success(), "{program} {words:?}: {}", String::from_utf8_lossy(&output.stderr));
}
