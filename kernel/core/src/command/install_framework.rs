//! InstallFramework and FailFramework: a component is in force, or could not be loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelson_model::framework::{Description, Limits};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::request::Refusal;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::object::Object;
use crate::record::Framework;
use crate::reply::Reply;
use crate::state::State;

/// Puts a component in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallFramework {
    /// The framework's object.
    pub key: ObjectKey,
    /// The component; its blob is stored.
    pub component: Digest,
    /// What it says about itself.
    pub description: Description,
    /// The namespaces it serves.
    pub namespaces: Vec<Namespace>,
    /// What it may use.
    pub limits: Limits,
    /// JSON text.
    pub config: String,
    /// Whether it came in the box.
    pub is_built_in: bool,
}

/// Says that a component could not be loaded; the one before stays in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FailFramework {
    /// The framework's object.
    pub key: ObjectKey,
    /// The component.
    pub component: Digest,
    /// Why.
    pub reason: String,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &InstallFramework,
) -> Result<Reply, Refusal> {
    let framework = Framework {
        key: command.key.clone(),
        component: Some(command.component.clone()),
        description: Some(Arc::new(command.description.clone())),
        namespaces: command.namespaces.clone(),
        limits: command.limits.clone(),
        config: command.config.as_str().into(),
        is_built_in: command.is_built_in,
        fault: None,
    };
    if state
        .frameworks
        .get(&command.key)
        .is_some_and(|known| **known == framework)
    {
        return Ok(context.done(None));
    }
    let message = format!(
        "framework {} runs {} {}",
        command.key.name, command.description.name, command.description.version
    );
    state.push_event(context.event("FrameworkInstalled", Some(&command.key), message));
    // Kinds that it handled until now may fall to another framework.
    let mut kinds = kinds_of(state, &command.key);
    state.put_framework(framework);
    kinds.append(&mut kinds_of(state, &command.key));
    bind_objects(state, &kinds);
    Ok(context.done(None))
}

/// The kinds that a framework handles.
fn kinds_of(state: &State, framework: &ObjectKey) -> BTreeSet<String> {
    let description = state
        .frameworks
        .get(framework)
        .and_then(|framework| framework.description.as_ref());
    description
        .into_iter()
        .flat_map(|description| &description.kinds)
        .map(|kind| kind.kind.clone())
        .collect()
}

/// Takes a framework out of force; its kinds fall to another one where there is one.
pub(super) fn drop_framework(state: &mut State, framework: &ObjectKey) {
    let kinds = kinds_of(state, framework);
    state.drop_framework(framework);
    bind_objects(state, &kinds);
}

/// Gives the objects of these kinds their workload, seat and templates, where they came before
/// their framework or it is another one now; tasks go with their workload.
fn bind_objects(state: &mut State, kinds: &BTreeSet<String>) {
    let keys: Vec<ObjectKey> = state
        .objects
        .keys()
        .filter(|key| kinds.contains(&key.kind))
        .cloned()
        .collect();
    for key in keys {
        let (Some(seat), Some(object)) = (state.seat_of(&key), state.objects.get(&key)) else {
            continue;
        };
        let mut object = Object::clone(object);
        state.ensure_seat(&seat);
        if object.workload.is_none() {
            object.workload = Some(state.next_workload());
        }
        object.bind_templates(&state.template_pointers(&key));
        if let Some(workload) = object.workload {
            state.hand_over(workload, &seat);
        }
        state.put_object(object);
    }
}

pub(super) fn apply_fault(
    state: &mut State,
    context: &Context,
    command: &FailFramework,
) -> Result<Reply, Refusal> {
    let mut framework = match state.frameworks.get(&command.key) {
        Some(framework) => Framework::clone(framework),
        None => Framework {
            key: command.key.clone(),
            component: None,
            description: None,
            namespaces: Vec::new(),
            limits: Limits::default(),
            config: "null".into(),
            is_built_in: false,
            fault: None,
        },
    };
    framework.fault = Some((command.component.clone(), command.reason.clone()));
    let message = format!(
        "the component of framework {} cannot be used: {}",
        command.key.name, command.reason
    );
    state.push_event(context.event("FrameworkFailed", Some(&command.key), message));
    state.put_framework(framework);
    Ok(context.done(None))
}
