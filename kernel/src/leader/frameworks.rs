//! Components: loads what the state asks for, and says what came of it.
//!
//! *Flow:* the frameworks in the box first; then, after every change, each Framework object whose
//! newest generation was not looked at yet, and those that wait for a kind or for tasks to end.
//! *Guarantees:* a component that cannot be used leaves the one before in force, and its fault in
//! the state; no fault of a framework ends this loop. *Assumes:* the blob is stored before the
//! object names it. *Caveats:* where the log takes nothing for a while, what is to be said is said
//! again a second later.

use std::collections::BTreeMap;
use std::time::Duration;

use kelson_kernel_core::State;
use kelson_kernel_core::command::{Command, FailFramework, InstallFramework, framework_objection};
use kelson_kernel_core::port::{COMPILATION, LoadFault};
use kelson_model::framework::{FaultCause, FrameworkSpec, Limits};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use serde::Deserialize;
use tracing::{info, warn};

use crate::blobs::BlobError;
use crate::heart::Heart;
use crate::kernel::BuiltIn;
use crate::leader::Tenure;
use crate::proposing::SubmitError;
use crate::raft::ProposeError;

/// How long it waits before it tries again what the log did not take.
const RETRY: Duration = Duration::from_secs(1);

/// How long one step may take before somebody should look: reading a component, or putting one in
/// force.
const STEP: Duration = Duration::from_secs(60);
/// The same for a component that is compiled.
const COMPILING: Duration = Duration::from_millis(COMPILATION.0).saturating_add(STEP);

/// What came of looking at one framework.
enum Looked {
    /// It is said: in force, or at fault for good.
    Settled,
    /// It waits for the state to change.
    Waiting(Box<InstallFramework>),
    /// The machine did not do its part; another time it may.
    Again,
}

/// Loads components while this member leads; returns when the log has stopped.
pub async fn run_frameworks(kernel: Tenure) {
    let mut view = kernel.watch();
    let heart = kernel.hearts().start("frameworks");
    let mut built_in: Vec<(BuiltIn, Option<Box<InstallFramework>>)> = (kernel.config().built_in)
        .iter()
        .map(|boxed| (boxed.clone(), None))
        .collect();
    let mut looked: BTreeMap<ObjectKey, (u64, Looked)> = BTreeMap::new();
    loop {
        let state = view.borrow_and_update().clone();
        let mut is_late = false;
        let mut left = Vec::new();
        for (boxed, waiting) in built_in {
            heart.works(&format!("loads {}", boxed.name), STEP);
            let came = match waiting {
                Some(install) if framework_objection(&state, &install).is_some() => {
                    Ok(Looked::Waiting(install))
                }
                Some(install) => put_in_force(&kernel, *install).await,
                None => install_built_in(&kernel, &heart, boxed.clone()).await,
            };
            match came {
                Ok(Looked::Settled) => {}
                Ok(Looked::Waiting(install)) => left.push((boxed, Some(install))),
                Ok(Looked::Again) => {
                    is_late = true;
                    left.push((boxed, None));
                }
                Err(error) if error.has_stopped() => return,
                Err(error) => {
                    warn!(framework = %boxed.name, %error, "the framework in the box is tried again");
                    is_late = true;
                    left.push((boxed, None));
                }
            }
        }
        built_in = left;
        looked.retain(|key, _| state.objects.contains_key(key));
        for (key, generation) in to_look_at(&state, &looked) {
            heart.works(&format!("loads {key}"), STEP);
            let waiting = match looked.remove(&key) {
                Some((known, Looked::Waiting(install))) if known == generation => Some(install),
                Some(_) | None => None,
            };
            let came = match waiting {
                Some(install) => put_in_force(&kernel, *install).await,
                None => install_object(&kernel, &heart, &state, &key).await,
            };
            match came {
                Ok(Looked::Again) => is_late = true,
                Ok(came) => {
                    looked.insert(key, (generation, came));
                }
                Err(error) if error.has_stopped() => return,
                Err(error) => {
                    warn!(framework = %key, %error, "the framework is tried again");
                    is_late = true;
                }
            }
        }
        heart.waits("for a change", is_late.then_some(RETRY.saturating_mul(10)));
        tokio::select! {
            changed = view.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(RETRY), if is_late => {}
        }
    }
}

/// Framework objects whose newest generation was not looked at yet, or whose wait is over.
fn to_look_at(state: &State, looked: &BTreeMap<ObjectKey, (u64, Looked)>) -> Vec<(ObjectKey, u64)> {
    let of_kind = state
        .objects_of_kind("Framework")
        .filter(|(_, object)| !object.is_removed);
    of_kind
        .filter(|(key, object)| match looked.get(key) {
            Some((generation, _)) if *generation != object.generation => true,
            Some((_, Looked::Waiting(install))) => framework_objection(state, install).is_none(),
            // It may have gone and come back between two looks.
            Some((_, Looked::Settled)) => !state.frameworks.contains_key(*key),
            Some((_, Looked::Again)) | None => true,
        })
        .map(|(key, object)| (key.clone(), object.generation))
        .collect()
}

async fn install_built_in(
    kernel: &Tenure,
    heart: &Heart,
    built_in: BuiltIn,
) -> Result<Looked, SubmitError> {
    let key = ObjectKey::new("Framework", Namespace::default_namespace(), &built_in.name);
    let asked = Asked {
        namespaces: Vec::new(),
        limits: built_in.limits,
        config: "null".to_owned(),
        generation: None,
        is_built_in: true,
    };
    load(kernel, heart, key, built_in.component, asked).await
}

/// What a framework asks for beside its component.
struct Asked {
    namespaces: Vec<Namespace>,
    limits: Limits,
    config: String,
    /// Of which generation of its object that is.
    generation: Option<u64>,
    is_built_in: bool,
}

async fn install_object(
    kernel: &Tenure,
    heart: &Heart,
    state: &State,
    key: &ObjectKey,
) -> Result<Looked, SubmitError> {
    let Some(object) = state.objects.get(key) else {
        return Ok(Looked::Settled);
    };
    let generation = Some(object.generation);
    let refuse = |component: Digest, reason: String| {
        let fault = FailFramework {
            generation,
            ..FailFramework::new(key.clone(), component, FaultCause::BadComponent, &reason)
        };
        say(kernel, fault)
    };
    let spec = match FrameworkSpec::deserialize(object.spec.value()) {
        Ok(spec) => spec,
        Err(error) => {
            let reason = format!("the specification cannot be read: {error}");
            return refuse(Digest::of(b""), reason).await;
        }
    };
    let Some(digest) = spec.digest else {
        let reason = format!("{} is not pinned by a digest", spec.component.path);
        return refuse(Digest::of(b""), reason).await;
    };
    let blobs = kernel.blobs().clone();
    let wanted = digest.clone();
    let read = tokio::task::spawn_blocking(move || blobs.get(&wanted)).await;
    let reason = match read {
        Ok(Ok(component)) => {
            let asked = Asked {
                namespaces: spec.namespaces,
                limits: spec.limits,
                config: spec.config.to_string(),
                generation,
                is_built_in: false,
            };
            return load(kernel, heart, key.clone(), component, asked).await;
        }
        Ok(Err(error @ BlobError::Io { .. })) => {
            warn!(framework = %key, %error, "the component cannot be read, and is tried again");
            return Ok(Looked::Again);
        }
        Ok(Err(error)) => error.to_string(),
        Err(error) => error.to_string(),
    };
    refuse(digest, reason).await
}

/// Compiles and describes a component, in the background, and puts it in force.
async fn load(
    kernel: &Tenure,
    heart: &Heart,
    key: ObjectKey,
    component: Vec<u8>,
    asked: Asked,
) -> Result<Looked, SubmitError> {
    let host = kernel.host().clone();
    let digest = Digest::of(&component);
    let wanted = (digest.clone(), asked.limits.clone());
    heart.works(&format!("compiles {key}"), COMPILING);
    let loaded =
        tokio::task::spawn_blocking(move || host.load(&wanted.0, &component, &wanted.1)).await;
    heart.works(&format!("puts {key} in force"), STEP);
    let reason = match loaded {
        Ok(Ok(description)) => {
            info!(framework = %key.name, component = %digest, "component loaded");
            let install = InstallFramework {
                key,
                component: digest,
                description,
                namespaces: asked.namespaces,
                limits: asked.limits,
                config: asked.config,
                is_built_in: asked.is_built_in,
                ceiling: Some(kernel.config().ceiling.clone()),
                generation: asked.generation,
            };
            return put_in_force(kernel, install).await;
        }
        Ok(Err(fault @ LoadFault::NotCompiled(_))) => {
            warn!(framework = %key.name, component = %digest, %fault, "the component is tried again");
            return Ok(Looked::Again);
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(error) => error.to_string(),
    };
    let fault = FailFramework {
        is_built_in: asked.is_built_in,
        generation: asked.generation,
        ..FailFramework::new(key, digest, FaultCause::BadComponent, &reason)
    };
    say(kernel, fault).await
}

/// Proposes a framework that has described itself. `apply` decides; what it objects to is tried
/// again when the objection is gone.
async fn put_in_force(kernel: &Tenure, install: InstallFramework) -> Result<Looked, SubmitError> {
    let command = Command::InstallFramework(Box::new(install.clone()));
    match kernel.propose(command).await {
        Ok(_) => {
            let is_waiting = framework_objection(&kernel.state(), &install).is_some();
            Ok(if is_waiting {
                Looked::Waiting(Box::new(install))
            } else {
                Looked::Settled
            })
        }
        Err(SubmitError::Propose(ProposeError::TooLarge { bytes })) => {
            let reason = format!(
                "its description and configuration come to {bytes} bytes together; at most {} are kept of a framework",
                crate::raft::MAX_PAYLOAD_BYTES
            );
            let fault = FailFramework {
                is_built_in: install.is_built_in,
                generation: install.generation,
                ..FailFramework::new(
                    install.key,
                    install.component,
                    FaultCause::TooLarge,
                    &reason,
                )
            };
            say(kernel, fault).await
        }
        Err(error) => Err(error),
    }
}

async fn say(kernel: &Tenure, fault: FailFramework) -> Result<Looked, SubmitError> {
    warn!(framework = %fault.key.name, component = %fault.component, reason = %fault.reason, "component refused");
    kernel.propose(Command::FailFramework(fault)).await?;
    Ok(Looked::Settled)
}
