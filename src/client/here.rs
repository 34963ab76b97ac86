//! Which kernel is meant where a verb is run.

use std::path::Path;
use std::time::{Duration, Instant};

use hyper::Method;
use kelson_model::view::MemberInfo;
use kelson_reconciler::source::GitSource;
use serde::Deserialize as _;

use super::address::{Address, DEFAULT, parse_addresses};
use super::connection;
use super::credentials::{load, load_if_there, own_file};
use crate::dev_directory::{self, Living, Ready};
use crate::exit::{Exit, Failure};
use crate::output::{plain, say};
use crate::verbs::manifests::open_repository;

/// How long a `dev` that is starting is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long a `dev` that was started in the same moment may take to leave its mark.
const UNMARKED: Duration = Duration::from_millis(500);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(100);

/// The address for the current directory: what `--addr` or KELSON_ADDR says, else what the named
/// credentials say, else that of the living `dev` named by KELSON_DATA_DIR, else that of the living
/// `dev` whose repository holds the directory, else what the user's own credentials say, else
/// [`DEFAULT`]. A `dev` that is starting is waited for.
///
/// *Guarantees*: what was not named is no cluster of another repository than the one that holds
/// the directory. With credentials, nothing is spoken in plain.
///
/// # Errors
/// When the given text is no address, the credentials cannot be used, the `dev` is not ready in
/// time, or what listens at [`DEFAULT`] follows another repository.
pub(crate) async fn address_here(
    given: Option<&str>,
    credentials: Option<&Path>,
) -> Result<Address, Failure> {
    let given = given.filter(|text| !text.is_empty());
    if let Some(file) = credentials.filter(|file| !file.as_os_str().is_empty()) {
        let others = given.map(parse_addresses).transpose()?;
        return Address::secure(&load(file)?, file, others);
    }
    if let Some(text) = given {
        let addresses = parse_addresses(text)?;
        let own = load_if_there(own_file())?;
        return match own.filter(|own| own.are_for(&addresses)) {
            Some(own) => Address::secure(&own.credentials, &own.file, Some(addresses)),
            None => text.parse(),
        };
    }
    let address: Address = DEFAULT.parse()?;
    let since = Instant::now();
    loop {
        if let Some(ready) = once_ready(living_here, PATIENCE).await? {
            return Address::of_dev(&ready);
        }
        if let Some(own) = load_if_there(own_file())? {
            return Address::secure(&own.credentials, &own.file, None);
        }
        let Ok(here) = open_repository(Path::new("."), None) else {
            return Ok(address);
        };
        match ensure_not_of_another(&address, &here).await {
            Ok(()) => return Ok(address),
            Err(failure) if since.elapsed() >= UNMARKED => return Err(failure),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// The living `dev` that listens at `address`, where its repository holds the current directory.
pub(crate) fn dev_here(address: &Address) -> Option<Ready> {
    let here = std::env::current_dir().ok()?.canonicalize().ok()?;
    let is_it = |living: Living| match living {
        Living::Ready(ready) => {
            let its = ready.address.parse::<Address>().ok()?;
            let is_it =
                here.starts_with(&ready.repository) && its.authority() == address.authority();
            is_it.then_some(ready)
        }
        Living::Starting(_) => None,
    };
    named()
        .and_then(is_it)
        .or_else(|| holding(&here).and_then(is_it))
}

fn living_here() -> Option<Living> {
    named().or_else(|| holding(&std::env::current_dir().ok()?.canonicalize().ok()?))
}

/// The `dev` that KELSON_DATA_DIR names.
fn named() -> Option<Living> {
    let folder = std::env::var_os("KELSON_DATA_DIR").filter(|folder| !folder.is_empty())?;
    dev_directory::living_in(folder.as_ref())
}

/// The `dev` whose repository holds a folder.
fn holding(folder: &Path) -> Option<Living> {
    dev_directory::living_for(&dev_directory::state_home().ok()?, folder)
}

/// Waits until the `dev` that `look` finds is ready; `None` where there is none.
async fn once_ready(
    look: impl Fn() -> Option<Living>,
    patience: Duration,
) -> Result<Option<Ready>, Failure> {
    let since = Instant::now();
    let mut is_told = false;
    loop {
        let starting = match look() {
            None => return Ok(None),
            Some(Living::Ready(ready)) => return Ok(Some(ready)),
            Some(Living::Starting(starting)) => starting,
        };
        let who = format!(
            "the `kelson dev` of this repository (process {})",
            starting.pid
        );
        if since.elapsed() >= patience {
            let logs = starting.data_dir.join("logs");
            return Err(Failure::new(
                Exit::NothingListens,
                format!("{who} is not ready after {} s", patience.as_secs()),
            )
            .with_hint(format!(
                "its terminal says what it waits for; its logs are in {}",
                logs.display()
            )));
        }
        if !is_told {
            is_told = true;
            say(&format!("{who} is starting"));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Refuses a cluster that nobody named and that follows another repository than `here`.
async fn ensure_not_of_another(address: &Address, here: &GitSource) -> Result<(), Failure> {
    let response =
        connection::send(address, Method::GET, "/v1/info", None, connection::TO_READ).await?;
    let arrived = connection::read(address, response).await?;
    // What answers otherwise answers the verb itself.
    let Some(followed) = MemberInfo::deserialize(&arrived.body)
        .ok()
        .and_then(|info| info.repository)
    else {
        return Ok(());
    };
    let is_this = open_repository(&followed, None)
        .is_ok_and(|followed| followed.common_dir() == here.common_dir());
    if is_this {
        return Ok(());
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!(
            "no `kelson dev` of this repository is running, and the cluster at {address} follows \
             another one, {}",
            plain(&followed.display().to_string())
        ),
    )
    .with_hint(format!(
        "start `kelson dev` here; where that cluster is meant, add --addr {}",
        address.authority()
    )))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::cell::Cell;
    use std::path::PathBuf;

    use super::*;
    use crate::dev_directory::Starting;
    use serde_json::json;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    fn repository(path: &Path) -> GitSource {
        let made = std::process::Command::new("git")
            .args(["init", "-q", "-b", "main"])
            .arg(path)
            .status()
            .unwrap();
        assert!(made.success());
        open_repository(path, None).unwrap()
    }

    /// What is said of a kernel at an address of nobody's choice that follows `followed`.
    async fn asked(followed: Option<&Path>, here: &GitSource) -> Result<(), Failure> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let info = json!({"cluster": "cls", "version": "0.1.0", "index": 8, "term": 1,
            "stateHash": "ab", "member": 1, "dataDir": "/data", "repository": followed})
        .to_string();
        let answer = async {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0_u8; 4096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", info.len());
            stream
                .write_all(format!("{head}{info}").as_bytes())
                .await
                .unwrap();
        };
        tokio::join!(ensure_not_of_another(&address, here), answer).0
    }

    #[tokio::test]
    async fn a_cluster_that_nobody_named_is_refused_where_it_follows_another_repository() {
        let folder = tempfile::tempdir().unwrap();
        let (a, b) = (folder.path().join("a"), folder.path().join("b"));
        let (here, _other) = (repository(&a), repository(&b));
        assert_eq!(asked(Some(&a), &here).await, Ok(()));
        assert_eq!(asked(Some(&a.join(".git")), &here).await, Ok(()));
        assert_eq!(asked(None, &here).await, Ok(()));
        let refused = asked(Some(&b), &here).await.unwrap_err();
        assert_eq!(refused.exit, Exit::NothingListens);
        assert!(
            refused.message.contains(&b.display().to_string()),
            "{refused}"
        );
        assert!(refused.hint.unwrap().contains("--addr 127.0.0.1:"));
        let gone = folder.path().join("gone");
        assert!(asked(Some(&gone), &here).await.is_err());
    }

    #[tokio::test]
    async fn a_dev_that_is_starting_is_waited_for() {
        let starting = || {
            Some(Living::Starting(Starting {
                pid: 7,
                data_dir: PathBuf::from("/data"),
                repository: PathBuf::from("/repository"),
            }))
        };
        let ready: Ready = serde_json::from_value(json!({"event": "ready", "address": "http://127.0.0.1:7460",
            "pid": 7, "dataDir": "/data", "repository": "/repository", "branch": "main", "agent": "agt_1", "version": "0.1.0"}))
        .unwrap();
        let looks = Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                starting()
            } else {
                Some(Living::Ready(ready.clone()))
            }
        };
        assert_eq!(once_ready(look, PATIENCE).await, Ok(Some(ready.clone())));
        let refused = once_ready(starting, Duration::ZERO).await.unwrap_err();
        assert_eq!(refused.exit, Exit::NothingListens);
        assert!(refused.message.contains("process 7"), "{refused}");
        assert_eq!(once_ready(|| None, PATIENCE).await, Ok(None));
    }

    #[tokio::test]
    async fn what_is_given_wins() {
        let given = address_here(Some("127.0.0.1:1"), None).await.unwrap();
        assert_eq!(given.authority(), "127.0.0.1:1");
    }
}
