//! Components: every member has those loaded that the state names, so that whoever leads next asks
//! no scheduler that is not there.
//!
//! *Flow:* after each change of the frameworks, what is named and was not loaded yet is loaded, one
//! after the other. *Guarantees:* what cannot be loaded is told in the log and left to the faults
//! of its seats. *Caveats:* it is tried again when the state names another.

use std::collections::BTreeSet;
use std::time::Duration;

use kelson_kernel_core::State;
use kelson_kernel_core::port::COMPILATION;
use kelson_model::framework::Limits;
use kelson_model::id::Digest;
use tracing::warn;

use crate::kernel::Kernel;

/// How long the loading of one may take before somebody should look.
const LOADING: Duration =
    Duration::from_millis(COMPILATION.0).saturating_add(Duration::from_secs(60));

/// A component that the state names.
struct Named {
    framework: String,
    component: Digest,
    limits: Limits,
}

fn named(state: &State) -> Vec<Named> {
    let frameworks = state.frameworks.values();
    let named = frameworks.filter_map(|framework| {
        Some(Named {
            framework: framework.key.name.clone(),
            component: framework.component.clone()?,
            limits: framework.limits.clone(),
        })
    });
    named.collect()
}

/// Keeps what the state names loaded; returns when the log has stopped.
pub async fn run_components(kernel: Kernel) {
    let heart = kernel.hearts().start("components");
    let mut view = kernel.watch();
    let mut tried: BTreeSet<Digest> = BTreeSet::new();
    loop {
        let wanted = named(&view.borrow_and_update());
        tried.retain(|digest| wanted.iter().any(|named| named.component == *digest));
        for named in wanted {
            if tried.insert(named.component.clone()) {
                heart.works(&format!("loads {}", named.framework), LOADING);
                load(&kernel, named).await;
            }
        }
        heart.waits("for a change", None);
        if view.changed().await.is_err() {
            return;
        }
    }
}

/// Loads all that the state names now.
pub(crate) async fn load_named(kernel: &Kernel) {
    let wanted = named(&kernel.state());
    for named in wanted {
        load(kernel, named).await;
    }
}

async fn load(kernel: &Kernel, named: Named) {
    let Named {
        framework,
        component,
        limits,
    } = named;
    let own = kernel.clone();
    let loading = tokio::task::spawn_blocking(move || {
        let mut boxed = own.config().built_in.iter();
        let in_box = boxed.find(|in_box| Digest::of(&in_box.component) == component);
        let content = match in_box {
            Some(in_box) => Ok(in_box.component.clone()),
            None => own.blobs().get(&component),
        };
        match content {
            Ok(content) => {
                if let Err(fault) = own.host().load(&component, &content, &limits) {
                    warn!(%framework, %component, %fault, "the component cannot be loaded");
                }
            }
            Err(error) => {
                warn!(%framework, %component, %error, "the component cannot be read");
            }
        }
    });
    if let Err(error) = loading.await {
        warn!(%error, "the loading of a component has failed");
    }
}
