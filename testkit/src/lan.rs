//! Several machines on one: a network namespace for each, joined by a switch that can be cut.
//!
//! *Flow*: [`Lan::raise`] lays the cables; [`Lan::command`] starts a program on a machine; the
//! driver itself is on no cable, and goes in by a machine of its own. *Guarantees*: everything is
//! gone when it is dropped; several of them do not meet. *Assumes*: root and the tool `ip`; whoever
//! lacks one of them is told what is missing. *Caveats*: nothing here delays or loses single
//! packets, which takes modules that many systems do not have.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// A network of machines.
#[derive(Debug)]
pub struct Lan {
    prefix: String,
    names: Vec<String>,
    cuts: BTreeSet<(String, String)>,
}

impl Lan {
    /// Says why this machine cannot have one; `None` where it can.
    #[must_use]
    pub fn objection() -> Option<String> {
        if !rustix::process::geteuid().is_root() {
            return Some("network namespaces need root".to_owned());
        }
        let probe = format!("kltry{}", std::process::id());
        match ip(&["netns", "add", &probe]).and_then(|()| ip(&["netns", "del", &probe])) {
            Ok(()) => None,
            Err(error) => Some(format!("there are no network namespaces: {error:#}")),
        }
    }

    /// Lays a network of these machines. `prefix` tells it from others; 1 to 4 letters and digits,
    /// as names of interfaces are short.
    ///
    /// # Errors
    /// When a namespace or a cable cannot be made.
    pub fn raise(prefix: &str, names: &[&str]) -> Result<Lan> {
        let mut lan = Lan {
            prefix: prefix.to_owned(),
            names: Vec::new(),
            cuts: BTreeSet::new(),
        };
        let switch = lan.switch();
        ip(&["netns", "add", &switch])?;
        ip(&["-n", &switch, "link", "add", "br0", "type", "bridge"])?;
        for interface in ["br0", "lo"] {
            ip(&["-n", &switch, "link", "set", interface, "up"])?;
        }
        for name in names {
            lan.names.push((*name).to_owned());
            lan.plug(name)?;
        }
        Ok(lan)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn machine(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    fn plug(&self, name: &str) -> Result<()> {
        let (switch, machine) = (self.switch(), self.machine(name));
        let port = format!("p-{name}");
        ip(&["netns", "add", &machine])?;
        ip(&[
            "-n", &machine, "link", "add", "eth0", "type", "veth", "peer", "name", &port, "netns",
            &switch,
        ])?;
        ip(&["-n", &switch, "link", "set", &port, "master", "br0", "up"])?;
        let address = format!("{}/24", self.address(name)?);
        ip(&["-n", &machine, "addr", "add", &address, "dev", "eth0"])?;
        for interface in ["eth0", "lo"] {
            ip(&["-n", &machine, "link", "set", interface, "up"])?;
        }
        Ok(())
    }

    /// The address of a machine.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn address(&self, name: &str) -> Result<Ipv4Addr> {
        let place = self.names.iter().position(|known| known == name);
        let place = place.with_context(|| format!("there is no machine {name}"))?;
        Ok(Ipv4Addr::new(10, 77, 0, u8::try_from(place + 1)?))
    }

    /// What starts a program on a machine.
    #[must_use]
    pub fn command(&self, name: &str, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.machine(name), program]);
        command
    }

    /// Drops everything that `from` sends to `to`, until it is healed; the other way stays open.
    ///
    /// # Errors
    /// When one of them does not exist, or `ip` fails.
    pub fn cut_one_way(&mut self, from: &str, to: &str) -> Result<()> {
        let target = format!("{}/32", self.address(to)?);
        self.address(from)?;
        if self.cuts.insert((from.to_owned(), to.to_owned())) {
            let machine = self.machine(from);
            ip(&["-n", &machine, "route", "add", "blackhole", &target])?;
        }
        Ok(())
    }

    /// Cuts two machines off from each other, both ways.
    ///
    /// # Errors
    /// As [`cut_one_way`](Self::cut_one_way).
    pub fn cut(&mut self, one: &str, other: &str) -> Result<()> {
        self.cut_one_way(one, other)?;
        self.cut_one_way(other, one)
    }

    /// Heals every cut.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn heal(&mut self) -> Result<()> {
        for (from, to) in std::mem::take(&mut self.cuts) {
            let target = format!("{}/32", self.address(&to)?);
            let machine = self.machine(&from);
            ip(&["-n", &machine, "route", "del", "blackhole", &target])?;
        }
        Ok(())
    }

    /// Pulls the cable of a machine, or plugs it in again.
    ///
    /// # Errors
    /// When `ip` fails.
    pub fn set_plugged(&self, name: &str, is_plugged: bool) -> Result<()> {
        let (switch, port) = (self.switch(), format!("p-{name}"));
        let state = if is_plugged { "up" } else { "down" };
        ip(&["-n", &switch, "link", "set", &port, state])
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        let machines = self.names.iter().map(|name| self.machine(name));
        for namespace in machines.chain([self.switch()]) {
            // What could not be made need not go.
            drop(ip(&["netns", "del", &namespace]));
        }
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let told = Command::new("ip")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .context("cannot start ip")?;
    if !told.status.success() {
        let said = String::from_utf8_lossy(&told.stderr);
        bail!("ip {}: {}", arguments.join(" "), said.trim());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::io::{BufRead, BufReader, Write};
    use std::process::Child;
    use std::time::Duration;

    use super::*;
    use crate::deadline::{Look, wait_for};

    /// Prints a line for each datagram that comes.
    const LISTEN: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM);s.bind(('0.0.0.0',7000));print('ready',flush=True)
while True: print(s.recv(100).decode(),flush=True)";
    /// Sends each line to the address in front of it.
    const SEND: &str = "import socket,sys
s=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)
for l in sys.stdin:
    a,w=l.split()
    try: s.sendto(w.encode(),(a,7000))
    except OSError: pass
    print('sent',flush=True)";

    struct Machine {
        listener: Child,
        heard: BufReader<std::process::ChildStdout>,
        sender: Child,
        told: BufReader<std::process::ChildStdout>,
    }

    fn start(lan: &Lan, name: &str) -> Machine {
        let run = |script: &str| {
            let mut command = lan.command(name, "python3");
            command.args(["-c", script]).stdin(Stdio::piped());
            command.stdout(Stdio::piped()).spawn().unwrap()
        };
        let (mut listener, mut sender) = (run(LISTEN), run(SEND));
        let mut machine = Machine {
            heard: BufReader::new(listener.stdout.take().unwrap()),
            told: BufReader::new(sender.stdout.take().unwrap()),
            listener,
            sender,
        };
        assert_eq!(line(&mut machine.heard), "ready");
        machine
    }

    fn line(from: &mut impl BufRead) -> String {
        let mut line = String::new();
        from.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    impl Machine {
        fn say(&mut self, to: Ipv4Addr, word: &str) {
            writeln!(self.sender.stdin.as_mut().unwrap(), "{to} {word}").unwrap();
            assert_eq!(line(&mut self.told), "sent");
        }
    }

    impl Drop for Machine {
        fn drop(&mut self) {
            for child in [&mut self.listener, &mut self.sender] {
                drop(child.kill());
                drop(child.wait());
            }
        }
    }

    #[test]
    fn a_cut_drops_one_way_until_it_is_healed() {
        let has_python = Command::new("python3").arg("-V").output().is_ok();
        if let Some(objection) = Lan::objection().or((!has_python).then(|| "no python3".into())) {
            eprintln!("skipped: {objection}");
            return;
        }
        let mut lan = Lan::raise(&format!("t{}", std::process::id() % 1000), &["a", "b"]).unwrap();
        let (to_a, to_b) = (lan.address("a").unwrap(), lan.address("b").unwrap());
        let (mut a, mut b) = (start(&lan, "a"), start(&lan, "b"));
        // The cable needs a moment to carry.
        wait_for("the cable carries", Duration::from_secs(20), || {
            let told = lan
                .command("a", "ip")
                .args(["-br", "link", "show", "eth0"])
                .output()?;
            let said = String::from_utf8_lossy(&told.stdout).into_owned();
            Ok(if said.contains("UP") {
                Look::Found(())
            } else {
                Look::NotYet(said)
            })
        })
        .unwrap();
        a.say(to_b, "one");
        assert_eq!(line(&mut b.heard), "one");
        lan.cut_one_way("a", "b").unwrap();
        a.say(to_b, "lost");
        b.say(to_a, "two");
        assert_eq!(line(&mut a.heard), "two");
        lan.heal().unwrap();
        a.say(to_b, "three");
        assert_eq!(line(&mut b.heard), "three");
    }
}
