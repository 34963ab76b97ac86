//! `kelson kernel init`: founds a cluster of several machines, beginning with this member.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::Args;
use kelson_model::access::Role;
use kelson_model::framework::Ceiling;
use kelson_trust::{
    Address, Addresses, Authority, Credentials, Identity, MACHINE_LIFE, PERSON_LIFE, Proof,
    TrustFolder,
};
use serde::{Deserialize, Serialize};

use super::kernel::start_member;
use super::log;
use super::place;
use super::renewal::now;
use crate::exit::{Exit, Failure};
use crate::files;
use crate::output::say;

const VERSION: u32 = 1;
/// What a member was founded with.
const FILE: &str = "member.json";
/// Stands in a data directory while a cluster is founded there.
const MARK: &str = "founding";
/// The file that lets the administrator in.
const ADMIN: &str = "admin.credentials";
/// Most bytes of [`FILE`].
const MAX_FILE: u64 = 64 << 10;

/// What may be typed behind `kernel init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where the first member keeps everything; it is made if it is not there
    #[arg(
        long,
        env = "KELSON_DATA_DIR",
        hide_env_values = true,
        value_name = "FOLDER"
    )]
    data_dir: PathBuf,
    /// Where it will listen, for members, agents and clients alike
    #[arg(long, value_name = "HOST:PORT")]
    listen: String,
    /// Where others reach it [default: what --listen says]
    #[arg(long, value_name = "HOST:PORT")]
    advertise: Option<String>,
    /// The member's name, for people [default: the machine's host name]
    #[arg(long)]
    name: Option<String>,
}

/// What a member of a cluster of several machines is, as its data directory says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Founded {
    version: u32,
    /// Its name, for people.
    pub(crate) name: String,
    /// Where it listens.
    pub(crate) listen: String,
    /// Where others reach it.
    pub(crate) address: String,
}

impl Founded {
    /// Checks what was typed.
    ///
    /// # Errors
    /// When an address is none, or says nothing to others.
    pub(crate) fn new(name: Option<String>, listen: &str, advertise: Option<&str>) -> Result<Self> {
        let parse = |text: &str| {
            text.parse::<Address>()
                .map_err(|error| Failure::usage(error.to_string()).with_hint("write HOST:PORT"))
        };
        let listen = parse(listen)?;
        let address = advertise.map(parse).transpose()?;
        let address = address.unwrap_or_else(|| listen.clone());
        let is_nowhere = address
            .host()
            .parse::<std::net::IpAddr>()
            .is_ok_and(|host| host.is_unspecified());
        if is_nowhere {
            return Err(
                Failure::usage(format!("nobody can be told to come to {address}"))
                    .with_hint("say with --advertise where others reach this member")
                    .into(),
            );
        }
        Ok(Self {
            version: VERSION,
            name: name
                .unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into()),
            listen: listen.to_string(),
            address: address.to_string(),
        })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub(crate) fn load(data_dir: &Path) -> Result<Self> {
        let path = data_dir.join(FILE);
        let bytes = files::read_bounded(&path, MAX_FILE)?;
        serde_json::from_slice(&bytes).with_context(|| format!("{} cannot be read", path.display()))
    }

    /// Writes it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn save(&self, data_dir: &Path) -> Result<()> {
        files::replace(&data_dir.join(FILE), &serde_json::to_vec_pretty(self)?)
    }

    /// The hosts that its certificate names.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let addresses = [&self.address, &self.listen];
        let hosts = addresses
            .iter()
            .filter_map(|text| text.parse::<Address>().ok());
        let mut hosts: Vec<String> = hosts.map(|address| address.host().to_owned()).collect();
        hosts.dedup();
        hosts
    }
}

/// Founds a cluster: its log with one member, its CA, the member's certificate, and credentials of
/// an administrator.
///
/// *Guarantees*: what a run that was cut off has left is gone over by the next one; a data
/// directory that belongs to a cluster already is left as it is.
pub(crate) async fn init(arguments: Init) -> Result<Exit> {
    log::start()?;
    let data_dir = &arguments.data_dir;
    let name = arguments.name.clone();
    let founded = Founded::new(
        arguments.name,
        &arguments.listen,
        arguments.advertise.as_deref(),
    )?;
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("cannot make {}", data_dir.display()))?;
    let mark = data_dir.join(MARK);
    let admin = data_dir.join(ADMIN);
    let is_used = ["raft", "trust", "kernel"]
        .iter()
        .any(|name| data_dir.join(name).exists());
    if is_used && !mark.exists() {
        return Err(Failure::new(
            Exit::Refused,
            format!("{} belongs to a cluster already", data_dir.display()),
        )
        .with_hint("run it with `kelson kernel --data-dir`, or found one in an empty folder")
        .into());
    }
    files::replace(&mark, b"")?;
    let place = place::settle(data_dir, name, founded.address.clone(), None).await?;
    let member = start_member(data_dir, Ceiling::default(), None, place).await?;
    let (cluster, id) = (member.state().cluster.clone(), member.member().id());
    member.member().shutdown().await;
    let now = now();
    let folder = TrustFolder::of(data_dir);
    let authority = Authority::found(&cluster, now)?;
    let bundle = authority.bundle()?;
    folder.save_authority(&authority)?;
    let of = |role: Role, name: String| Identity {
        cluster: cluster.clone(),
        role,
        name,
    };
    let person = authority.issue(&of(Role::Admin, "admin".to_owned()), &[], now, PERSON_LIFE)?;
    let credentials = Credentials {
        addresses: Addresses::new(&[&founded.address])?,
        bundle: bundle.clone(),
        proof: Proof::Certificate(Box::new(person)),
    };
    credentials.save(&admin)?;
    founded.save(data_dir)?;
    let own = of(Role::Member, format!("mbr_{id}"));
    let own = authority.issue(&own, &founded.hosts(), now, MACHINE_LIFE)?;
    folder.save(&own, &bundle)?;
    std::fs::remove_file(&mark).with_context(|| format!("cannot remove {}", mark.display()))?;
    say(&format!("founded the cluster {cluster}"));
    say(&format!(
        "run its first member with `kelson kernel --data-dir {}`",
        data_dir.display()
    ));
    say(&format!("{} lets its administrator in", admin.display()));
    Ok(Exit::Done)
}
