//! The directory: who is meant by a kind, a token or a task, kept beside the records so that
//! nobody looks through all of them.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};
use kelson_model::agent::AgentState;
use kelson_model::drift::{DriftState, Plane};
use kelson_model::id::{AgentId, TaskId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::quantity::{Bytes, MilliCpus, Resources};

use super::Records;
use crate::record::{Agent, Framework};

/// A framework among those that handle a kind: those from git come before those in the box.
type Ranked = (bool, ObjectKey);

/// The frameworks that handle one kind.
#[derive(Debug, Clone, Default, PartialEq)]
struct Handlers {
    /// Those that serve all namespaces.
    everywhere: OrdSet<Ranked>,
    /// Those that serve a namespace and all below it.
    below: OrdMap<Namespace, OrdSet<Ranked>>,
}

/// What agents that are ready have together. Sums of what 64 bits hold, taken apart and put
/// together, need more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Capacity {
    cpus: u128,
    memory: u128,
    disk: u128,
}

/// Who is meant.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Directory {
    capacity: Capacity,
    tokens: OrdMap<Arc<str>, AgentId>,
    handlers: OrdMap<String, Handlers>,
    leaving: OrdSet<ObjectKey>,
    /// Tasks of which an agent sees something differ.
    drifting: OrdSet<TaskId>,
}

impl Directory {
    pub(super) fn of(records: &Records) -> Self {
        let mut directory = Self::default();
        for agent in records.agents.values() {
            directory.put_agent(None, agent);
        }
        for framework in records.frameworks.values() {
            directory.put_framework(None, Some(framework));
            directory.note_leaving(&framework.key, records.is_leaving(&framework.key));
        }
        directory.note_drift(records);
        directory
    }

    /// Takes an agent in, which was known as `before`.
    pub(super) fn put_agent(&mut self, before: Option<&Agent>, agent: &Agent) {
        if let Some(before) = before {
            self.capacity.change(before, u128::saturating_sub);
            if before.token != agent.token && self.tokens.get(&before.token) == Some(&agent.id) {
                self.tokens.remove(&before.token);
            }
        }
        self.capacity.change(agent, u128::saturating_add);
        let known = self.tokens.get(&agent.token);
        if known.is_none_or(|known| *known > agent.id) {
            self.tokens.insert(agent.token.clone(), agent.id);
        }
    }

    /// The agent with this token.
    pub(super) fn agent_of(&self, token: &str) -> Option<AgentId> {
        self.tokens.get(token).copied()
    }

    /// What all agents that are ready have, used or not.
    pub(super) fn capacity(&self) -> Resources {
        let bounded = |sum: u128| u64::try_from(sum).unwrap_or(u64::MAX);
        Resources {
            cpus: MilliCpus(bounded(self.capacity.cpus)),
            memory: Bytes(bounded(self.capacity.memory)),
            disk: Bytes(bounded(self.capacity.disk)),
        }
    }

    /// Takes a framework in, which was known as `before`, or lets it go.
    pub(super) fn put_framework(&mut self, before: Option<&Framework>, after: Option<&Framework>) {
        if let Some(before) = before {
            self.change_handlers(before, |places, ranked| {
                places.remove(&ranked);
            });
        }
        if let Some(after) = after {
            self.change_handlers(after, |places, ranked| {
                places.insert(ranked);
            });
        }
    }

    fn change_handlers(
        &mut self,
        framework: &Framework,
        change: impl Fn(&mut OrdSet<Ranked>, Ranked),
    ) {
        let ranked = (framework.is_built_in, framework.key.clone());
        let described = framework.description.as_deref();
        for kind in described.into_iter().flat_map(|described| &described.kinds) {
            let handlers = self.handlers.entry(kind.kind.clone()).or_default();
            let roots = match framework.namespaces.as_slice() {
                [] if framework.is_built_in => {
                    change(&mut handlers.everywhere, ranked.clone());
                    &[]
                }
                [] => std::slice::from_ref(&framework.key.namespace),
                roots => roots,
            };
            for root in roots {
                let below = handlers.below.entry(root.clone()).or_default();
                change(below, ranked.clone());
                if below.is_empty() {
                    handlers.below.remove(root);
                }
            }
            if handlers.below.is_empty() && handlers.everywhere.is_empty() {
                self.handlers.remove(&kind.kind);
            }
        }
    }

    /// The framework that handles a kind in a namespace.
    pub(super) fn handler(&self, kind: &str, namespace: &Namespace) -> Option<&ObjectKey> {
        let handlers = self.handlers.get(kind)?;
        let around = namespace.around();
        let below = around.filter_map(|around| handlers.below.get(around));
        below
            .chain([&handlers.everywhere])
            .filter_map(|places| places.get_min())
            .min()
            .map(|(_, key)| key)
    }

    /// Notes whether a framework is only there until the last of its objects has gone.
    pub(super) fn note_leaving(&mut self, framework: &ObjectKey, is_leaving: bool) {
        if is_leaving {
            self.leaving.insert(framework.clone());
        } else {
            self.leaving.remove(framework);
        }
    }

    /// The frameworks that are leaving.
    pub(super) fn leaving(&self) -> &OrdSet<ObjectKey> {
        &self.leaving
    }

    /// Notes what stands open in the drift ledger.
    pub(super) fn note_drift(&mut self, records: &Records) {
        let of_agents = records
            .drift
            .iter()
            .filter(|item| item.plane == Plane::Agent && item.state == DriftState::Open);
        self.drifting = of_agents.filter_map(|item| item.task).collect();
    }

    /// Whether an agent sees something differ of a task.
    pub(super) fn is_drifting(&self, task: TaskId) -> bool {
        self.drifting.contains(&task)
    }
}

impl Capacity {
    fn change(&mut self, agent: &Agent, change: impl Fn(u128, u128) -> u128) {
        if agent.state == AgentState::Ready {
            let has = &agent.description.resources;
            self.cpus = change(self.cpus, has.cpus.0.into());
            self.memory = change(self.memory, has.memory.0.into());
            self.disk = change(self.disk, has.disk.0.into());
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::sync::Arc;

    use kelson_model::framework::{Description, KindDescription, Limits};
    use serde_json::json;

    use super::*;
    use crate::state::State;

    fn namespace(path: &str) -> Namespace {
        path.parse().unwrap()
    }

    fn framework(own: &str, name: &str, roots: &[&str], kinds: &[&str]) -> Framework {
        let kind = |kind: &&str| KindDescription {
            kind: (*kind).to_owned(),
            schema: json!({}),
            templates: Vec::new(),
            count: None,
        };
        Framework {
            key: ObjectKey::new("Framework", namespace(own), name),
            component: None,
            description: Some(Arc::new(Description {
                name: name.to_owned(),
                version: "1".to_owned(),
                kinds: kinds.iter().map(kind).collect(),
                config_schema: None,
            })),
            namespaces: roots.iter().map(|root| namespace(root)).collect(),
            limits: Limits::default(),
            config: "null".into(),
            is_built_in: name.starts_with("box"),
            fault: None,
            cause: Default::default(),
            fault_generation: None,
        }
    }

    /// Who handles a kind in a namespace, found by looking through all.
    fn sought<'a>(state: &'a State, kind: &str, namespace: &Namespace) -> Option<&'a ObjectKey> {
        let all = state.frameworks.values();
        let handles = all.filter(|it| it.kind(kind).is_some() && it.serves(namespace));
        handles
            .min_by_key(|it| (it.is_built_in, it.key.clone()))
            .map(|it| &it.key)
    }

    #[test]
    fn who_handles_a_kind_is_whom_a_look_through_all_frameworks_finds() {
        let mut state = State::default();
        let all = [
            framework("a", "one", &[], &["Bird", "Fish"]),
            framework("a/b", "two", &[], &["Bird"]),
            framework("a", "three", &["a/b", "a/c"], &["Fish"]),
            framework("a-b", "four", &[], &["Bird"]),
            framework("default", "box", &[], &["Bird", "Tree"]),
            framework("default", "box2", &["a/c"], &["Tree"]),
        ];
        let spaces = ["a", "a/b", "a/b/c", "a/c", "a-b", "b", "default", "a/bc"];
        let check = |state: &State| {
            for kind in ["Bird", "Fish", "Tree", "None"] {
                for space in spaces.map(namespace) {
                    let found = state.framework_for(kind, &space).map(|it| &it.key);
                    assert_eq!(found, sought(state, kind, &space), "{kind} in {space}");
                }
            }
            assert_eq!(state.broken_indexes(), Vec::<String>::new());
        };
        for framework in &all {
            state.put_framework(framework.clone());
            check(&state);
        }
        // One gives a kind up, and serves elsewhere.
        state.put_framework(framework("a", "one", &["a/c"], &["Fish"]));
        check(&state);
        for framework in &all {
            state.drop_framework(&framework.key);
            check(&state);
        }
        assert!(state.directory.handlers.is_empty());
    }

    #[test]
    fn the_kinds_of_objects_are_told_once_each_and_none_is_left_out() {
        let mut objects = Records::default();
        let record = crate::object::tests::object(json!({}).into());
        for kind in ["A", "AB", "B", "Ba"] {
            for name in ["x", "y"] {
                let key = ObjectKey::new(kind, namespace("n"), name);
                let object = crate::object::Object {
                    key: key.clone(),
                    ..record.clone()
                };
                objects.objects.insert(key, Arc::new(object));
            }
        }
        assert_eq!(objects.kinds().collect::<Vec<_>>(), ["A", "AB", "B", "Ba"]);
        assert_eq!(objects.objects_of_kind("A").count(), 2);
        assert_eq!(Records::default().kinds().count(), 0);
    }
}
