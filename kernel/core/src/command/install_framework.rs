//! InstallFramework and FailFramework: a component is in force, or could not be loaded.

use std::collections::BTreeSet;
use std::sync::Arc;

use kelson_model::code::Code;
use kelson_model::framework::{
    Ceiling, Claim, Description, FaultCause, KindDescription, Limits, kind_objection,
    name_objection, serves,
};
use kelson_model::id::Digest;
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::request::Refusal;
use kelson_model::text;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::leaving::{is_leaving, objects_of};
use crate::object::Object;
use crate::record::Framework;
use crate::reply::{Reply, refusal};
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
    /// What the proposer's operator allows frameworks from git; absent: anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Ceiling>,
    /// The generation of the object that was looked at; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
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
    /// What kind of reason that is.
    #[serde(default, skip_serializing_if = "FaultCause::is_default")]
    pub cause: FaultCause,
    /// Whether it came in the box.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_built_in: bool,
    /// The generation of the object that was looked at; absent: it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
}

impl FailFramework {
    /// Says why, cut to what is kept of a reason.
    pub fn new(key: ObjectKey, component: Digest, cause: FaultCause, reason: &str) -> Self {
        Self {
            key,
            component,
            reason: text::message(reason),
            cause,
            is_built_in: false,
            generation: None,
        }
    }
}

/// Whether the framework is still wanted: one from git may have left it while its component was
/// loaded.
fn check_wanted(state: &State, key: &ObjectKey, is_built_in: bool) -> Result<(), Refusal> {
    let object = state.objects.get(key);
    if is_built_in || object.is_some_and(|object| !object.is_removed) {
        return Ok(());
    }
    Err(refusal(
        Code::NoSuchObject,
        format!("there is no {key}"),
        "see `kelson status -A`",
    ))
}

/// Why a framework cannot be put in force as things stand; `None`: it can.
///
/// A framework has a name and kinds that no other one in force has. One from git is none of the
/// box, serves the namespace of its object and those below, stays within what the operator allows,
/// and keeps the kinds that have living tasks. One that is leaving gives up a kind to whoever
/// serves all objects of it.
pub fn framework_objection(
    state: &State,
    command: &InstallFramework,
) -> Option<(FaultCause, String)> {
    let not_allowed = |reason| (FaultCause::NotAllowed, reason);
    let others = || {
        let all = state.frameworks.values();
        all.filter(|other| other.key != command.key)
    };
    if let Some(reason) = place_objection(state, &command.key).filter(|_| !command.is_built_in) {
        return Some(not_allowed(reason));
    }
    let keeps_its_name = |other: &&Arc<Framework>| {
        let mut kinds = other.description.iter().flat_map(|it| &it.kinds);
        !is_leaving(state, &other.key) || kinds.any(|kind| keeps(state, other, command, &kind.kind))
    };
    let kind_taken = |kind: &KindDescription| {
        let keeping = others().filter(|other| keeps(state, other, command, &kind.kind));
        kind_objection(std::slice::from_ref(kind), keeping.map(claim))
    };
    let named = others().filter(keeps_its_name).map(claim);
    let taken = name_objection(&command.key, named)
        .or_else(|| command.description.kinds.iter().find_map(kind_taken));
    if let Some(reason) = taken {
        return Some(not_allowed(reason));
    }
    if !command.is_built_in {
        let own = &command.key.namespace;
        let foreign = command.namespaces.iter().find(|root| !root.is_within(own));
        if let Some(foreign) = foreign {
            return Some(not_allowed(format!(
                "it asks for namespace {foreign}; a framework of namespace {own} serves that one and those below it"
            )));
        }
        let in_force = others().filter(|other| !other.is_built_in && other.component.is_some());
        let limits = in_force.map(|other| &other.limits);
        let ceiling = command.ceiling.as_ref();
        if let Some(reason) = ceiling.and_then(|most| most.objection(&command.limits, limits)) {
            return Some(not_allowed(reason));
        }
    }
    held_kind(state, command).map(|reason| (FaultCause::Held, reason))
}

/// What a framework has that no other may have.
fn claim(framework: &Arc<Framework>) -> Claim<'_> {
    Claim {
        namespace: &framework.key.namespace,
        name: &framework.key.name,
        is_in_force: framework.component.is_some(),
        description: framework.description.as_deref(),
    }
}

/// Whether another framework has a kind and does not give it up to this one.
fn keeps(state: &State, other: &Framework, command: &InstallFramework, kind: &str) -> bool {
    let mut brought = command.description.kinds.iter();
    let is_brought = brought.any(|it| it.kind == kind);
    let takes_over = |object: &Object| {
        let (key, namespaces) = (&command.key.namespace, &command.namespaces);
        is_brought && serves(key, namespaces, command.is_built_in, &object.key.namespace)
    };
    other.kind(kind).is_some()
        && (!is_leaving(state, &other.key) || !objects_of(state, &other.key, kind).all(takes_over))
}

/// Takes the kinds that a framework brings from those that are leaving.
fn take_over(state: &mut State, by: &ObjectKey, kinds: &BTreeSet<String>) {
    let has_one = |it: &&Arc<Framework>| {
        it.key != *by
            && kinds.iter().any(|kind| it.kind(kind).is_some())
            && is_leaving(state, &it.key)
    };
    let leaving: Vec<Arc<Framework>> = state.frameworks.values().filter(has_one).cloned().collect();
    for framework in leaving {
        let mut framework = Arc::unwrap_or_clone(framework);
        if let Some(description) = &mut framework.description {
            let described = Arc::make_mut(description);
            described.kinds.retain(|it| !kinds.contains(&it.kind));
        }
        state.put_framework(framework);
    }
}

/// Why a framework from git cannot have this key at all.
pub(crate) fn place_objection(state: &State, key: &ObjectKey) -> Option<String> {
    let known = state.frameworks.get(key);
    known.is_some_and(|known| known.is_built_in).then(|| {
        format!(
            "framework {}/{} came in the box, and none from git takes its place",
            key.namespace, key.name
        )
    })
}

/// A kind that has living tasks, and that the framework would handle no more.
fn held_kind(state: &State, command: &InstallFramework) -> Option<String> {
    let kept: BTreeSet<&str> = command
        .description
        .kinds
        .iter()
        .map(|kind| kind.kind.as_str())
        .collect();
    let before = kinds_of(state, &command.key);
    before
        .iter()
        .filter(|kind| !kept.contains(kind.as_str()))
        .find_map(|kind| {
            let living = living_tasks(state, kind, &command.key);
            (living > 0).then(|| {
                format!(
                    "it would handle kind {kind} no more, of which {living} tasks live; remove those objects first"
                )
            })
        })
}

/// How many tasks of a kind have not ended, where this framework is the one that handles it.
fn living_tasks(state: &State, kind: &str, framework: &ObjectKey) -> u64 {
    objects_of(state, framework, kind)
        .filter_map(|object| object.workload)
        .map(|workload| state.counts_of(workload).live)
        .sum()
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &InstallFramework,
) -> Result<Reply, Refusal> {
    check_wanted(state, &command.key, command.is_built_in)?;
    if let Some((cause, reason)) = framework_objection(state, command) {
        let (key, component) = (command.key.clone(), command.component.clone());
        let fault = FailFramework {
            is_built_in: command.is_built_in,
            generation: command.generation,
            ..FailFramework::new(key, component, cause, &reason)
        };
        return apply_fault(state, context, &fault);
    }
    let framework = Framework {
        key: command.key.clone(),
        component: Some(command.component.clone()),
        description: Some(Arc::new(command.description.clone())),
        namespaces: command.namespaces.clone(),
        limits: command.limits.clone(),
        config: command.config.as_str().into(),
        is_built_in: command.is_built_in,
        fault: None,
        cause: FaultCause::default(),
        fault_generation: None,
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
    let brought = kinds_of(state, &command.key);
    take_over(state, &command.key, &brought);
    kinds.extend(brought);
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
pub(crate) fn drop_framework(state: &mut State, framework: &ObjectKey) {
    let kinds = kinds_of(state, framework);
    state.drop_framework(framework);
    bind_objects(state, &kinds);
}

/// Gives the objects of these kinds their workload, seat and templates, where they came before
/// their framework or it is another one now; tasks go with their workload.
fn bind_objects(state: &mut State, kinds: &BTreeSet<String>) {
    let of_kinds = kinds.iter().flat_map(|kind| state.objects_of_kind(kind));
    let keys: Vec<ObjectKey> = of_kinds.map(|(key, _)| key.clone()).collect();
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
    check_wanted(state, &command.key, command.is_built_in)?;
    if !command.is_built_in && place_objection(state, &command.key).is_some() {
        // The record is that of the one in the box, which has no fault.
        let message = format!(
            "framework {} from git cannot be put in force: {}",
            command.key.name, command.reason
        );
        state.push_event(context.event("FrameworkFailed", Some(&command.key), message));
        return Ok(context.done(None));
    }
    let mut framework = match state.frameworks.get(&command.key) {
        Some(framework) => Framework::clone(framework),
        None => Framework {
            key: command.key.clone(),
            component: None,
            description: None,
            namespaces: Vec::new(),
            limits: Limits::default(),
            config: "null".into(),
            is_built_in: command.is_built_in,
            fault: None,
            cause: FaultCause::default(),
            fault_generation: None,
        },
    };
    let reason = text::message(&command.reason);
    let fault = Some((command.component.clone(), reason.clone()));
    let is_known = framework.fault == fault && framework.cause == command.cause;
    if is_known && framework.fault_generation == command.generation {
        return Ok(context.done(None));
    }
    framework.fault_generation = command.generation;
    if is_known {
        // Of another generation of its object, and no news for people.
        state.put_framework(framework);
        return Ok(context.done(None));
    }
    framework.fault = fault;
    framework.cause = command.cause;
    let message = match command.cause {
        FaultCause::BadComponent => format!(
            "the component of framework {} cannot be used: {reason}",
            command.key.name
        ),
        FaultCause::TooLarge | FaultCause::NotAllowed => format!(
            "framework {} cannot be put in force: {reason}",
            command.key.name
        ),
        FaultCause::Held => format!("framework {} waits: {reason}", command.key.name),
    };
    state.push_event(context.event("FrameworkFailed", Some(&command.key), message));
    state.put_framework(framework);
    Ok(context.done(None))
}
