//! Whether an address is free, and who has it when it is not.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::exit::Failure;
use crate::processes::loopback::ensure_loopback;

/// How long a process of an earlier `dev` on the same data may take to end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holder {
    pid: u32,
    command: String,
}

/// Checks that `listen` can be listened at. The kernel of an earlier `dev` on the same `data_dir`
/// that is about to end is waited for.
///
/// # Errors
/// When it is no address, or somebody else listens there.
pub(crate) fn ensure_free(listen: &str, data_dir: &Path) -> Result<()> {
    let address = ensure_loopback(listen)?;
    let started = Instant::now();
    loop {
        let error = match TcpListener::bind(address) {
            Ok(_) => return Ok(()),
            Err(error) => error,
        };
        if error.kind() != ErrorKind::AddrInUse {
            return Err(Failure::usage(format!("cannot listen at {listen}: {error}")).into());
        }
        let holder = holder(address);
        let is_ours = holder
            .as_ref()
            .is_some_and(|holder| holder.command.contains(&*data_dir.to_string_lossy()));
        if !is_ours || started.elapsed() > PATIENCE {
            let who = holder.map_or_else(
                || "another process".to_owned(),
                |holder| format!("process {} ({})", holder.pid, holder.command),
            );
            return Err(
                Failure::usage(format!("{listen} is taken: {who} listens there"))
                    .with_hint("end it, or choose another port with --listen; port 0 picks one")
                    .into(),
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// The process that listens at an address, where this user may know it.
pub(crate) fn holder(address: SocketAddr) -> Option<Holder> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, address.port()))
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = std::fs::read_dir("/proc").ok()?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| holds_one(*pid, &inodes))
        .map(|pid| Holder {
            pid,
            command: command_of(pid),
        })
        .next()
}

/// The inodes of the sockets of a table of /proc/net that listen at a port.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let local = fields.get(1)?.rsplit_once(':')?.1;
            let is_meant = u16::from_str_radix(local, 16).ok()? == port
                && fields.get(3).is_some_and(|state| *state == LISTEN);
            is_meant.then(|| fields.get(9).map(ToString::to_string))?
        })
        .collect()
}

fn holds_one(pid: u32, sockets: &[String]) -> bool {
    let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else {
        return false;
    };
    descriptors
        .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok())
        .any(|target| {
            sockets
                .iter()
                .any(|socket| target.as_os_str() == socket.as_str())
        })
}

/// The command line of a process, cut at 200 characters; `unknown` where it is not told.
pub(crate) fn command_of(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let words: Vec<String> = bytes
        .split(|byte| *byte == 0)
        .filter(|word| !word.is_empty())
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    if words.is_empty() {
        "unknown".to_owned()
    } else {
        words.join(" ").chars().take(200).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_taken_port_names_the_process_that_has_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let own = std::process::id();
        assert_eq!(holder(address).unwrap().pid, own);
        let error = ensure_free(&address.to_string(), Path::new("/nowhere")).unwrap_err();
        assert!(
            error.to_string().contains(&format!("process {own} ")),
            "{error}"
        );
        drop(listener);
        ensure_free(&address.to_string(), Path::new("/nowhere")).unwrap();
    }

    #[test]
    fn what_is_no_address_is_a_matter_of_usage() {
        let error = ensure_free("nonsense", Path::new("/nowhere")).unwrap_err();
        assert_eq!(crate::exit::exit_of(&error), crate::exit::Exit::Usage);
    }
}
