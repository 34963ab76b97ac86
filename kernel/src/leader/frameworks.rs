//! Components: loads what the state asks for, and says what came of it.
//!
//! *Flow:* the frameworks in the box first; then, after every change, each Framework object whose
//! component is not the one in force. *Guarantees:* a component that cannot be used leaves the one
//! before in force, and its fault in the state. *Assumes:* the blob is stored before the object
//! names it.

use kelson_kernel_core::State;
use kelson_kernel_core::command::{Command, FailFramework, InstallFramework};
use kelson_model::framework::FrameworkSpec;
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use serde::Deserialize;
use tracing::{info, warn};

use crate::kernel::{BuiltIn, Kernel, SubmitError};

/// How long loading may take before somebody should look; a large component compiles for a minute.
const LOADING: std::time::Duration = std::time::Duration::from_secs(300);

/// Loads components for ever; returns when the log has stopped.
///
/// # Errors
/// The log does not take what came of it.
pub async fn run_frameworks(kernel: Kernel) -> Result<(), SubmitError> {
    let mut view = kernel.watch();
    let heart = kernel.hearts().start("frameworks");
    heart.works("loads the frameworks in the box", LOADING);
    for built_in in kernel.config().built_in.clone() {
        install_built_in(&kernel, built_in).await?;
    }
    let mut installed: std::collections::BTreeMap<ObjectKey, u64> =
        std::collections::BTreeMap::new();
    loop {
        let state = view.borrow_and_update().clone();
        heart.works("loads frameworks", LOADING);
        for (key, generation) in waiting(&state, &installed) {
            install_object(&kernel, &state, &key).await?;
            installed.insert(key, generation);
        }
        heart.waits("for a change", None);
        if view.changed().await.is_err() {
            return Ok(());
        }
    }
}

/// Framework objects whose newest generation was not looked at yet.
fn waiting(
    state: &State,
    installed: &std::collections::BTreeMap<ObjectKey, u64>,
) -> Vec<(ObjectKey, u64)> {
    let first = ObjectKey::new("Framework", Namespace::default_namespace(), "");
    let first = ObjectKey {
        namespace: first.namespace.clone(),
        ..first
    };
    let of_kind = state
        .objects
        .iter()
        .filter(|(key, _)| key.kind == first.kind);
    of_kind
        .filter(|(key, object)| {
            !object.is_removed && installed.get(key) != Some(&object.generation)
        })
        .map(|(key, object)| (key.clone(), object.generation))
        .collect()
}

async fn install_built_in(kernel: &Kernel, built_in: BuiltIn) -> Result<(), SubmitError> {
    let key = ObjectKey::new("Framework", Namespace::default_namespace(), &built_in.name);
    let command = load(
        kernel,
        key,
        built_in.component,
        Vec::new(),
        built_in.limits,
        "null".to_owned(),
        true,
    )
    .await;
    kernel.propose(command).await.map(drop)
}

async fn install_object(
    kernel: &Kernel,
    state: &State,
    key: &ObjectKey,
) -> Result<(), SubmitError> {
    let Some(object) = state.objects.get(key) else {
        return Ok(());
    };
    let nothing = Digest::of(b"");
    let fail = |component: Digest, reason: String| {
        Command::FailFramework(FailFramework {
            key: key.clone(),
            component,
            reason,
        })
    };
    let command = match FrameworkSpec::deserialize(&*object.spec) {
        Err(error) => fail(
            nothing,
            format!("the specification cannot be read: {error}"),
        ),
        Ok(FrameworkSpec {
            digest: None,
            component,
            ..
        }) => fail(
            nothing,
            format!("{} is not pinned by a digest", component.path),
        ),
        Ok(FrameworkSpec {
            digest: Some(digest),
            namespaces,
            limits,
            config,
            ..
        }) => {
            let blobs = kernel.blobs().clone();
            let wanted = digest.clone();
            match tokio::task::spawn_blocking(move || blobs.get(&wanted)).await {
                Ok(Ok(component)) => {
                    load(
                        kernel,
                        key.clone(),
                        component,
                        namespaces,
                        limits,
                        config.to_string(),
                        false,
                    )
                    .await
                }
                Ok(Err(error)) => fail(digest, error.to_string()),
                Err(error) => fail(digest, error.to_string()),
            }
        }
    };
    kernel.propose(command).await.map(drop)
}

/// Compiles and describes a component, in the background; what came of it as a command.
async fn load(
    kernel: &Kernel,
    key: ObjectKey,
    component: Vec<u8>,
    namespaces: Vec<Namespace>,
    limits: kelson_model::framework::Limits,
    config: String,
    is_built_in: bool,
) -> Command {
    let host = kernel.host().clone();
    let name = key.name.clone();
    let digest = Digest::of(&component);
    let wanted = (digest.clone(), limits.clone());
    let loaded =
        tokio::task::spawn_blocking(move || host.load(&wanted.0, &component, &wanted.1)).await;
    let reason = match loaded {
        Ok(Ok(description)) => {
            info!(framework = %name, component = %digest, "component loaded");
            let install = InstallFramework {
                key,
                component: digest,
                description,
                namespaces,
                limits,
                config,
                is_built_in,
            };
            return Command::InstallFramework(Box::new(install));
        }
        Ok(Err(fault)) => fault.to_string(),
        Err(error) => error.to_string(),
    };
    warn!(framework = %name, component = %digest, %reason, "component refused");
    Command::FailFramework(FailFramework {
        key,
        component: digest,
        reason,
    })
}
