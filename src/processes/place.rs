//! Which member of which cluster a data directory is: settled once, at its first start, and kept in
//! `place.json`.

use std::path::Path;

use anyhow::{Context as _, Result};
use kelson_kernel::raft::{Beginning, ClusterId, PlainDialer};
use kelson_kernel::{JoinError, Place, SUPPORTS, join_cluster};
use kelson_model::id::MemberId;
use kelson_model::member::MemberDescription;
use serde::{Deserialize, Serialize};

use crate::exit::{Exit, Failure};
use crate::files;

const FILE: &str = "place.json";

/// What is kept.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    /// Names the directory towards the cluster.
    token: String,
    /// The id, once it is given.
    member: Option<u64>,
    /// The cluster, as hex digits, where this directory has joined one.
    cluster: Option<String>,
    name: Option<String>,
}

/// Settles which member this data directory is: the one that it was, else a further one of the
/// cluster that is to be joined, else the first one of its own.
///
/// # Errors
/// The cluster does not admit it, or cannot be reached in time; the directory cannot be used.
pub(crate) async fn settle(
    data_dir: &Path,
    name: Option<String>,
    address: String,
    join: Option<&str>,
) -> Result<Place> {
    let path = data_dir.join(FILE);
    let mut kept: Kept = match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .with_context(|| format!("{} is damaged", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Kept {
            token: random()?,
            member: None,
            cluster: None,
            name: None,
        },
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    if name.is_some() {
        kept.name = name;
    }
    let own_name = kept.name.clone().unwrap_or_else(|| default_name(&address));
    let description = MemberDescription {
        name: own_name.clone(),
        address: address.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        supports: SUPPORTS,
    };
    if let Some(objection) = description.objection() {
        return Err(Failure::usage(objection).into());
    }
    let is_founder = kept.cluster.is_none() && data_dir.join("raft").join("identity").exists();
    if let Some(known) = join
        && kept.cluster.is_none()
    {
        if is_founder {
            return Err(Failure::usage(format!(
                "{} has founded a cluster and cannot join another",
                data_dir.display()
            ))
            .with_hint("give the member an empty data directory")
            .into());
        }
        // Kept before it is asked for, so that whoever asks again is known.
        keep(&path, &kept)?;
        let (member, cluster) = join_cluster(&PlainDialer, known, &kept.token, &description)
            .await
            .map_err(|error| failure(&error))?;
        kept.member = Some(member.0);
        kept.cluster = Some(hex(&cluster.to_bytes()));
    }
    kept.name = Some(own_name.clone());
    keep(&path, &kept)?;
    let cluster = kept.cluster.as_deref().map(from_hex).transpose()?;
    Ok(Place {
        member: MemberId(kept.member.unwrap_or(1)),
        name: own_name,
        address,
        beginning: match cluster {
            Some(_) => Beginning::Join,
            None => Beginning::Found,
        },
        cluster: cluster.map(ClusterId::from_bytes),
        ..Place::default()
    })
}

fn failure(error: &JoinError) -> Failure {
    let exit = match error {
        JoinError::Address(_) => Exit::Usage,
        JoinError::Refused(_) => Exit::Refused,
        JoinError::Silent { .. } => Exit::NothingListens,
    };
    Failure::new(exit, error.to_string())
}

fn keep(path: &Path, kept: &Kept) -> Result<()> {
    files::replace(path, &serde_json::to_vec(kept)?)?;
    Ok(())
}

/// A name made of the machine's and the port.
fn default_name(address: &str) -> String {
    let port = address.rsplit_once(':').map_or("", |(_, port)| port);
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().to_lowercase();
    let machine = machine.split('.').next().unwrap_or_default();
    let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let machine: String = machine.chars().filter(|c| good(*c)).take(56).collect();
    if machine.is_empty() {
        format!("member-{port}")
    } else {
        format!("{machine}-{port}")
    }
}

fn random() -> Result<String> {
    let mut bytes = [0_u8; 16];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())?;
    Ok(hex(&bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Result<[u8; 16]> {
    let number = u128::from_str_radix(text, 16).context("the cluster's name is none")?;
    Ok(number.to_be_bytes())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test]
    async fn a_directory_that_founds_a_cluster_stays_the_first_member_under_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let address = || "127.0.0.1:7460".to_owned();
        let named = Some("a".to_owned());
        let first = settle(folder.path(), named, address(), None).await.unwrap();
        assert_eq!(first.beginning, Beginning::Found);
        let again = settle(folder.path(), None, address(), None).await.unwrap();
        assert_eq!((again.member.0, again.name.as_str()), (1, "a"));
        std::fs::create_dir_all(folder.path().join("raft")).unwrap();
        std::fs::write(folder.path().join("raft/identity"), b"x").unwrap();
        let joining = settle(folder.path(), None, address(), Some("127.0.0.1:1")).await;
        let refused = joining.unwrap_err().to_string();
        assert!(refused.contains("cannot join another"), "{refused}");
    }

    #[test]
    fn hex_digits_are_read_back() {
        let bytes = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255];
        assert_eq!(from_hex(&hex(&bytes)).unwrap(), bytes);
    }
}
