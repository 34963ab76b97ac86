//! Reading manifests on this side: from the working tree or a commit, checked as the reconciler
//! checks them, without a kernel.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Error, Result};
use clap::Args;
use kelson_kernel_core::port::SchedulerHost;
use kelson_model::framework::{Description, Limits};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::spec::Spec;
use kelson_model::view::FrameworkRow;
use kelson_plugin_host::{HostConfig, WasmHost};
use kelson_reconciler::source::{GitSource, ManifestSource, SourceError, WorkTree};
use kelson_reconciler::{Components, Foretold, Problem, check_source, of_rows};
use kelson_reconciler_core::manifest::{FRAMEWORK, Kinds};

use crate::exit::Failure;
use crate::processes::compile::compiler;

/// Which manifests.
#[derive(Debug, Clone, Args)]
pub(crate) struct Where {
    /// The repository, or a folder in it
    #[arg(value_name = "REPO", default_value = ".")]
    pub(crate) repo: PathBuf,
    /// A commit, branch or tag, instead of the working tree
    #[arg(long = "ref", value_name = "REF")]
    pub(crate) reference: Option<String>,
    /// The folder of the manifests, from the top of the repository [default: kelson/ if it is
    /// there, else the top]
    #[arg(long, value_name = "FOLDER")]
    pub(crate) path: Option<String>,
}

impl Where {
    /// Opens what is meant.
    ///
    /// # Errors
    /// When there is no such folder, repository or commit.
    pub(crate) fn open(&self) -> Result<Arc<dyn ManifestSource>> {
        let path = self.path.as_deref();
        match &self.reference {
            None => Ok(Arc::new(WorkTree::open(&self.repo, path)?)),
            Some(reference) => {
                let source = Arc::new(open_repository(&self.repo, path)?);
                let revision = source.resolve(reference)?;
                Ok(Arc::new(source.at(revision)))
            }
        }
    }
}

/// Opens a repository to read any commit of it, whatever is checked out.
///
/// # Errors
/// When there is none.
pub(crate) fn open_repository(
    repo: &std::path::Path,
    path: Option<&str>,
) -> Result<GitSource, SourceError> {
    match GitSource::open(repo, None, path) {
        // Which branch it would follow does not matter here.
        Err(SourceError::DetachedHead { .. }) => GitSource::open(repo, Some("main"), path),
        other => other,
    }
}

/// The sandbox that schedulers are asked in for what they handle.
pub(crate) struct Schedulers {
    components: Arc<dyn Components>,
    /// What came in the box.
    built_in: Vec<FrameworkRow>,
}

impl Schedulers {
    /// Makes the sandbox and loads what comes in the box. Compiled components are kept in the
    /// user's cache.
    ///
    /// # Errors
    /// When the cache cannot be used.
    pub(crate) fn open() -> Result<Self> {
        let host = WasmHost::new(HostConfig {
            compiler: compiler(),
            ..HostConfig::new(cache_dir())
        })?;
        let components = Sandbox {
            host,
            described: Mutex::default(),
        };
        let mut built_in = Vec::new();
        for bundled in kelson_plugins_bundle::ALL {
            let digest = Digest::of(bundled.component);
            let description = components
                .describe(&digest, bundled.component, &Limits::default())
                .map_err(Error::msg)
                .context("a scheduler in the box cannot be used")?;
            let namespace = Namespace::default_namespace();
            built_in.push(FrameworkRow {
                built_in: true,
                component: Some(digest),
                description: Some(description),
                ..FrameworkRow::new(&ObjectKey::new(FRAMEWORK, namespace, bundled.name))
            });
        }
        Ok(Self {
            components: Arc::new(components),
            built_in,
        })
    }

    /// The kinds that come in the box.
    pub(crate) fn kinds(&self) -> Kinds {
        of_rows(&self.built_in).0
    }

    /// Reads and checks all manifests of a source, those of frameworks that are in it among them.
    /// `there`: the frameworks of the kernel that it is for, as far as that is known.
    ///
    /// # Errors
    /// When the source as a whole cannot be read.
    pub(crate) fn check<'a>(
        &self,
        source: &dyn ManifestSource,
        there: impl IntoIterator<Item = &'a FrameworkRow>,
    ) -> Result<Foretold> {
        let there = there.into_iter().filter(|row| !row.built_in).cloned();
        let frameworks = self.built_in.iter().cloned().chain(there).collect();
        Ok(check_source(source, frameworks, &self.components)?)
    }
}

/// The host of schedulers, asked on this side.
struct Sandbox {
    host: WasmHost,
    described: Mutex<BTreeSet<Digest>>,
}

impl Components for Sandbox {
    fn describe(
        &self,
        component: &Digest,
        bytes: &[u8],
        limits: &Limits,
    ) -> Result<Description, String> {
        let description = self.host.load(component, bytes, limits);
        let description = description.map_err(|fault| fault.to_string())?;
        let described = self.described.lock();
        let mut described = described.unwrap_or_else(PoisonError::into_inner);
        described.insert(component.clone());
        Ok(description)
    }

    fn validate(&self, component: &Digest, kind: &str, spec: &Spec) -> Vec<Problem> {
        // Objects are judged side by side: nobody waits here for another's answer.
        let is_described = {
            let described = self.described.lock();
            let described = described.unwrap_or_else(PoisonError::into_inner);
            described.contains(component)
        };
        if is_described {
            ask(&self.host, component, kind, spec)
        } else {
            Vec::new()
        }
    }
}

/// Asks a component whether it takes a specification; one that cannot say so is a problem.
pub(crate) fn ask(
    host: &dyn SchedulerHost,
    component: &Digest,
    kind: &str,
    spec: &Spec,
) -> Vec<Problem> {
    match host.validate(component, kind, spec.text()) {
        Ok(problems) => problems
            .into_iter()
            .map(|problem| Problem {
                pointer: problem.pointer,
                message: problem.message,
            })
            .collect(),
        Err(fault) => vec![Problem {
            pointer: String::new(),
            message: format!("the framework cannot judge it: {fault}"),
        }],
    }
}

/// `$XDG_CACHE_HOME/kelson/components`, else `~/.cache/…`, else a folder of this user among the
/// temporary files.
fn cache_dir() -> PathBuf {
    let absolute = |name: &str| {
        std::env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME")
        .or_else(|| absolute("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(|| {
            let user = rustix::process::getuid().as_raw();
            std::env::temp_dir().join(format!("kelson-{user}"))
        })
        .join("kelson/components")
}

/// Finds the commit that is meant by 40 hex digits or by anything that the repository here knows.
///
/// # Errors
/// When it is neither.
pub(crate) fn resolve_revision(text: &str) -> Result<(String, Option<GitSource>)> {
    let here = std::path::Path::new(".");
    let repository = open_repository(here, None);
    if text.len() == 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok((text.to_ascii_lowercase(), repository.ok()));
    }
    let repository = repository.map_err(|error| {
        Failure::usage(format!("cannot look up '{text}': {error}"))
            .with_hint("run this in the repository, or write all 40 digits of the commit")
    })?;
    let revision = repository
        .resolve(text)
        .map_err(|error| Failure::usage(error.to_string()))?;
    Ok((revision.to_string(), Some(repository)))
}
