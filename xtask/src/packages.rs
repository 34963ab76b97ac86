//! Unmodified servers of the distribution for the tests: Debian packages, fetched and unpacked
//! under `target/test-packages`, never installed.
//!
//! *Flow*: for each server, fetch its packages, unpack them, and fetch the libraries that they name
//! until the program finds all of its own. *Guarantees*: a folder has the file `unpacked` only when
//! the program starts; otherwise `NAME.reason` says why there is none. Nothing outside `target/`
//! changes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// How far libraries of libraries are followed.
const DEPTH: usize = 4;

struct Server {
    /// The folder, and the name that tests ask for.
    name: &'static str,
    packages: &'static [&'static str],
    /// Below the folder.
    program: &'static str,
    /// Prints something and exits with 0 when all libraries are there.
    check: &'static str,
}

const SERVERS: &[Server] = &[
    Server {
        name: "redis-server",
        packages: &["redis-server", "redis-tools"],
        program: "usr/bin/redis-server",
        check: "--version",
    },
    Server {
        name: "nginx",
        packages: &["nginx", "nginx-common"],
        program: "usr/sbin/nginx",
        check: "-v",
    },
];

/// Unpacks what is not there yet. What cannot be had is said; in CI it is an error.
pub(crate) fn ensure_all(root: &Path) -> Result<()> {
    let folder = root.join("target/test-packages");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make {}", folder.display()))?;
    let mut missing = Vec::new();
    for server in SERVERS {
        let reason_file = folder.join(format!("{}.reason", server.name));
        if folder.join(server.name).join("unpacked").is_file() {
            continue;
        }
        match unpack(&folder, server) {
            Ok(()) => drop(std::fs::remove_file(reason_file)),
            Err(error) => {
                let reason = format!("{error:#}");
                eprintln!(
                    "{} cannot be had, and its tests will be skipped: {reason}",
                    server.name
                );
                std::fs::write(reason_file, &reason)?;
                missing.push(server.name);
            }
        }
    }
    if !missing.is_empty() && std::env::var("CI").is_ok_and(|ci| ci == "true") {
        bail!("in CI these must be there: {}", missing.join(", "));
    }
    Ok(())
}

fn unpack(folder: &Path, server: &Server) -> Result<()> {
    for tool in ["apt-get", "apt-cache", "dpkg-deb"] {
        if !shell::has(tool) {
            bail!("{tool} is not on PATH: this is no Debian");
        }
    }
    let root = folder.join(server.name);
    if root.exists() {
        std::fs::remove_dir_all(&root)?;
    }
    let archives = folder.join("archives").join(server.name);
    std::fs::create_dir_all(&archives)?;
    std::fs::create_dir_all(&root)?;
    let apt = Apt::with_lists(folder, server)?;

    let mut fetched = BTreeSet::new();
    let mut wanted: Vec<String> = server
        .packages
        .iter()
        .map(|package| (*package).to_owned())
        .collect();
    for _ in 0..DEPTH {
        apt.fetch(&archives, &wanted)?;
        fetched.extend(wanted);
        for archive in std::fs::read_dir(&archives)? {
            let archive = archive?.path();
            shell::output(
                folder,
                Command::new("dpkg-deb")
                    .arg("--extract")
                    .arg(&archive)
                    .arg(&root),
            )?;
            std::fs::remove_file(archive)?;
        }
        let Err(problem) = starts(&root, server) else {
            return std::fs::write(root.join("unpacked"), "").context("cannot write the mark");
        };
        wanted = apt
            .libraries_of(&fetched)?
            .into_iter()
            .filter(|library| !fetched.contains(library))
            .collect();
        if wanted.is_empty() {
            return Err(problem);
        }
    }
    starts(&root, server)
}

fn starts(root: &Path, server: &Server) -> Result<()> {
    let libraries = library_folders(root)
        .into_iter()
        .map(|p| p.display().to_string())
        .collect::<Vec<_>>()
        .join(":");
    shell::output(
        root,
        Command::new(root.join(server.program))
            .arg(server.check)
            .env("LD_LIBRARY_PATH", libraries),
    )
    .map(drop)
}

/// Where the unpacked libraries are.
fn library_folders(root: &Path) -> Vec<PathBuf> {
    ["usr/lib", "lib"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().ends_with("-linux-gnu"))
        })
        .collect()
}

/// apt with the lists of the system, or with lists of its own where that has none.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn with_lists(folder: &Path, server: &Server) -> Result<Apt> {
        let system = Apt {
            options: Vec::new(),
        };
        if server.packages.iter().all(|package| {
            system
                .libraries_of(&BTreeSet::from([(*package).to_owned()]))
                .is_ok()
        }) {
            return Ok(system);
        }
        let state = folder.join("apt");
        std::fs::create_dir_all(state.join("lists/partial"))?;
        std::fs::create_dir_all(state.join("cache/archives/partial"))?;
        let own = Apt {
            options: vec![
                format!("-oDir::State::lists={}", state.join("lists").display()),
                format!("-oDir::Cache={}", state.join("cache").display()),
            ],
        };
        shell::output(
            folder,
            Command::new("apt-get")
                .args(&own.options)
                .args(["--quiet", "update"]),
        )
        .context("the lists of packages cannot be fetched")?;
        Ok(own)
    }

    fn fetch(&self, into: &Path, packages: &[String]) -> Result<()> {
        shell::output(
            into,
            Command::new("apt-get")
                .args(&self.options)
                .args(["--quiet", "download"])
                .args(packages),
        )
        .map(drop)
    }

    /// The libraries that packages name as dependencies, but for the C library, which is part of
    /// every system.
    fn libraries_of(&self, packages: &BTreeSet<String>) -> Result<BTreeSet<String>> {
        let mut command = Command::new("apt-cache");
        command.args(&self.options).args([
            "depends",
            "--no-recommends",
            "--no-suggests",
            "--no-conflicts",
            "--no-breaks",
        ]);
        let printed = shell::output(
            Path::new("/"),
            command
                .args(["--no-replaces", "--no-enhances"])
                .args(packages),
        )?;
        Ok(printed
            .lines()
            .filter_map(|line| line.trim().strip_prefix("Depends: "))
            .filter(|name| {
                name.starts_with("lib") && !matches!(*name, "libc6" | "libgcc-s1" | "libcrypt1")
            })
            .map(str::to_owned)
            .collect())
    }
}
