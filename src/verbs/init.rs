//! `kelson init`: makes a repository with a first service.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use kelson_model::view::InitAnswer;
use kelson_reconciler_core::manifest::editor_schema;

use super::manifests::Schedulers;
use super::schema::pretty;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{print, say};

/// What may be typed behind `init`.
#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Where; it is made if it is not there
    #[arg(value_name = "FOLDER", default_value = ".")]
    folder: PathBuf,
}

/// The first line of a manifest that tells an editor where its schema is.
const EDITOR: &str = "# yaml-language-server: $schema=../.kelson/schema.json\n";

const WEB: &str = "\
# Commit a change to this file and watch it roll out.
apiVersion: kelson/v1
kind: Service
metadata: {name: web}
spec:
  instances: 2
  run:
    command: python3
    args: [-m, http.server, \"${PORT_HTTP}\", --bind, \"${HOST}\", --directory, site]
    files: [{path: site/index.html, source: site/index.html}]
  resources: {cpus: 0.1, memory: 64Mi}
  ports: [{name: http}]
  health: {http: {port: http, path: /}, interval: 2s}
  update: {minHealthyTime: 1s}
";

/// For machines without python3: `tail` is everywhere, and a running task is a healthy one.
const IDLE: &str = "\
# Commit a change to this file and watch it roll out. It runs a program that does nothing, for ever; put yours in its place.
apiVersion: kelson/v1
kind: Service
metadata: {name: web}
spec:
  instances: 2
  run:
    command: tail
    args: [-f, /dev/null]
    env: {VERSION: \"1\"}
  resources: {cpus: 0.1, memory: 32Mi}
  update: {minHealthyTime: 1s}
";

const PAGE: &str =
    "<!doctype html>\n<title>web</title>\n<p>Hello. This page came from a commit.</p>\n";

const README: &str = "\
# What should run

Every manifest below `kelson/` is one thing that should run. A commit on this branch makes it so.

    kelson dev             # in one terminal: raises everything on this machine and follows this repository
    kelson status          # in another one
    kelson tasks
    kelson drift           # what somebody changed without a commit
    kelson plan            # what a commit of the files as they are now would change
    kelson validate        # whether they are valid
";

pub(crate) fn run(arguments: &Init, context: &Context) -> Result<Exit> {
    let folder = &arguments.folder;
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let is_new = !git(folder, &["rev-parse", "--git-dir"])?.status.success();
    if is_new {
        succeed(folder, &["init", "-q", "-b", "main"])?;
    }
    let top = succeed(folder, &["rev-parse", "--show-toplevel"])?;
    let top = PathBuf::from(top.trim_end());
    let mut written = Vec::new();
    let mut left = Vec::new();
    for (path, content) in files()? {
        let is_written = write_new(&top, path, &content)?;
        if is_written { &mut written } else { &mut left }.push(path);
    }
    if is_new {
        commit(&top, &written)?;
    }
    let owned = |paths: &[&str]| paths.iter().map(|&path| path.to_owned()).collect();
    let answer = InitAnswer {
        repository: top,
        created: is_new,
        written: owned(&written),
        left: owned(&left),
        committed: is_new,
    };
    print(context.format(), &answer, |_| {
        let mut text = String::new();
        for path in &written {
            text.push_str(&format!("wrote {path}\n"));
        }
        for path in &left {
            text.push_str(&format!("left  {path} as it is\n"));
        }
        text
    })?;
    say(if is_new {
        "committed; `kelson dev` raises it"
    } else {
        "look at what is new, commit it, and `kelson dev` raises it"
    });
    Ok(Exit::Done)
}

fn files() -> Result<Vec<(&'static str, String)>> {
    let kinds = Schedulers::open()?.kinds();
    let schema = pretty(&editor_schema(&kinds))?;
    let has_python = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| folder.join("python3").is_file())
    });
    let web = if has_python { WEB } else { IDLE };
    let mut files = vec![
        ("kelson/web.yaml", format!("{EDITOR}{web}")),
        (".kelson/schema.json", schema),
        ("README.md", README.to_owned()),
    ];
    if has_python {
        files.push(("site/index.html", PAGE.to_owned()));
    }
    Ok(files)
}

/// Writes a file that is not there yet; says whether it did.
fn write_new(top: &Path, path: &str, content: &str) -> Result<bool> {
    let path = top.join(path);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
    }
    let file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path);
    let mut file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => return Ok(false),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write {}", path.display()));
        }
    };
    std::io::Write::write_all(&mut file, content.as_bytes())
        .with_context(|| format!("cannot write {}", path.display()))?;
    Ok(true)
}

fn commit(top: &Path, paths: &[&str]) -> Result<()> {
    let mut add = vec!["add", "--"];
    add.extend(paths);
    succeed(top, &add)?;
    let mut command = Vec::new();
    // Whoever has not told git a name yet can still make a first commit.
    let has_name = git(top, &["config", "user.email"])?.status.success();
    if !has_name {
        command.extend([
            "-c",
            "user.name=kelson init",
            "-c",
            "user.email=kelson@localhost",
        ]);
    }
    command.extend(["commit", "-q", "-m", "A first service"]);
    succeed(top, &command)?;
    Ok(())
}

fn git(folder: &Path, arguments: &[&str]) -> Result<Output> {
    Command::new("git")
        .arg("-C")
        .arg(folder)
        .args(arguments)
        .output()
        .map_err(|error| {
            Failure::usage(format!("cannot run git: {error}"))
                .with_hint("install git, or make the repository yourself")
                .into()
        })
}

fn succeed(folder: &Path, arguments: &[&str]) -> Result<String> {
    let output = git(folder, arguments)?;
    if !output.status.success() {
        bail!(
            "git {}: {}",
            arguments.join(" "),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
