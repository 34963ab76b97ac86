//! Reading manifests on this side: from the working tree or a commit, checked as the reconciler
//! checks them, without a kernel.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use clap::Args;
use kelson_kernel_core::port::SchedulerHost;
use kelson_model::code::Code;
use kelson_model::framework::{Description, FrameworkSpec, Limits};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::source::Fault;
use kelson_model::spec::Spec;
use kelson_plugin_host::{HostConfig, WasmHost};
use kelson_reconciler::source::{GitSource, ManifestSource, SourceError, WorkTree};
use kelson_reconciler::{Desired, Problem, Validator, load_source};
use kelson_reconciler_core::manifest::{FRAMEWORK, Kinds, KindsError, Loaded, Standing, fault_at};

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

/// A scheduler that has described itself.
#[derive(Clone)]
struct Framework {
    name: String,
    digest: Digest,
    description: Description,
    standing: Standing,
}

/// The sandbox that schedulers are asked in for what they handle.
pub(crate) struct Schedulers {
    host: Arc<WasmHost>,
    frameworks: Vec<Framework>,
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
        let mut frameworks = Vec::new();
        for bundled in kelson_plugins_bundle::ALL {
            let digest = Digest::of(bundled.component);
            let description = host
                .load(&digest, bundled.component, &Limits::default())
                .context("a scheduler in the box cannot be used")?;
            frameworks.push(Framework {
                name: bundled.name.to_owned(),
                standing: Standing {
                    component: Some(digest.clone()),
                    namespace: Namespace::default_namespace(),
                    namespaces: Vec::new(),
                    is_built_in: true,
                },
                digest,
                description,
            });
        }
        Ok(Self {
            host: Arc::new(host),
            frameworks,
        })
    }

    /// The kinds of all frameworks known so far.
    pub(crate) fn kinds(&self) -> Kinds {
        self.kinds_and_errors().0
    }

    fn kinds_and_errors(&self) -> (Kinds, Vec<KindsError>) {
        let described = self.frameworks.iter();
        let (kinds, errors) = Kinds::new(
            described.map(|framework| (framework.name.as_str(), &framework.description)),
        );
        let standings = self.frameworks.iter();
        let standings =
            standings.map(|framework| (framework.name.clone(), framework.standing.clone()));
        (kinds.standing(standings.collect()), errors)
    }

    /// Reads and checks all manifests of a source, those of frameworks that are in it among them.
    ///
    /// # Errors
    /// When the source as a whole cannot be read.
    pub(crate) fn check(&mut self, source: &dyn ManifestSource) -> Result<Desired> {
        let first = load_source(source, &self.kinds(), self.asked())?;
        let known = self.frameworks.len();
        let refused = self.load_frameworks(source, &first.loaded);
        // Only what has brought kinds of its own has to be read with them.
        let mut desired = if self.frameworks.len() == known {
            first
        } else {
            load_source(source, &self.kinds(), self.asked())?
        };
        let (_, errors) = self.kinds_and_errors();
        let unusable = errors.iter().filter_map(|error| {
            let mut objects = desired.loaded.objects.iter();
            let object = objects.find(|object| {
                let key = &object.desired.key;
                key.kind == FRAMEWORK && key.name == error.framework()
            })?;
            Some(fault_at(
                object,
                "/spec/component/path",
                Code::Rejected,
                error.to_string(),
                "a kind has one framework; the component's author gives it another name".to_owned(),
            ))
        });
        let unusable: Vec<Fault> = unusable.collect();
        desired.loaded.refuse(refused);
        desired.loaded.refuse(unusable);
        Ok(desired)
    }

    fn asked(&self) -> Arc<dyn Validator> {
        Arc::new(Asked {
            host: Arc::clone(&self.host),
            frameworks: self.frameworks.clone(),
        })
    }

    /// Loads the components of the frameworks among the objects; returns what is wrong with them.
    fn load_frameworks(&mut self, source: &dyn ManifestSource, loaded: &Loaded) -> Vec<Fault> {
        let mut faults = Vec::new();
        for object in &loaded.objects {
            let key = &object.desired.key;
            let is_known = self.frameworks.iter().any(|known| known.name == key.name);
            if key.kind != FRAMEWORK || is_known {
                continue;
            }
            let artifact = object
                .needs
                .iter()
                .flat_map(|need| &need.paths)
                .find_map(|path| source.read_at(path).ok());
            // A component that is not there is told when files are pinned.
            let Some(artifact) = artifact else { continue };
            let (limits, namespaces) =
                serde_json::from_value::<FrameworkSpec>(object.desired.spec.value()).map_or_else(
                    |_| (Limits::default(), Vec::new()),
                    |spec| (spec.limits, spec.namespaces),
                );
            let digest = Digest::of(&artifact.bytes);
            match self.host.load(&digest, &artifact.bytes, &limits) {
                Ok(description) => self.frameworks.push(Framework {
                    name: key.name.clone(),
                    standing: Standing {
                        component: Some(digest.clone()),
                        namespace: key.namespace.clone(),
                        namespaces,
                        is_built_in: false,
                    },
                    digest,
                    description,
                }),
                Err(fault) => faults.push(fault_at(
                    object,
                    "/spec/component/path",
                    Code::Rejected,
                    format!("the component cannot be used: {fault}"),
                    "build it against the treaty in wit/, as a component that imports nothing else"
                        .to_owned(),
                )),
            }
        }
        faults
    }
}

/// Asks the framework of each kind.
struct Asked {
    host: Arc<WasmHost>,
    frameworks: Vec<Framework>,
}

impl Validator for Asked {
    fn validate(&self, key: &ObjectKey, spec: &Spec) -> Vec<Problem> {
        // Whether it serves the namespace is checked with the manifests.
        let owner = self.frameworks.iter().find(|framework| {
            let mut kinds = framework.description.kinds.iter();
            kinds.any(|described| described.kind == key.kind)
        });
        owner.map_or_else(Vec::new, |framework| {
            ask(self.host.as_ref(), &framework.digest, &key.kind, spec)
        })
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
