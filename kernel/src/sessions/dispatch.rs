//! What is news for whom.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use kelson_kernel_core::{RowKey, State};
use kelson_model::id::{AgentId, Index, TaskId};
use tokio::sync::watch;

use crate::heart::Heart;
use crate::sessions::registry::Sessions;

/// One look takes less than this.
const BEAT: Duration = Duration::from_secs(10);

/// Says what has changed to the sessions of the agents that it concerns, for ever; returns when
/// the log has stopped.
///
/// *Flow:* on every new state, the tasks changed since the last one are grouped by agent.
/// *Guarantees:* where the changes are not known any more, every session is told everything.
/// *Caveats:* cost follows change, not the number of agents.
pub(crate) async fn run_dispatch(
    sessions: &Sessions,
    mut view: watch::Receiver<State>,
    heart: &Heart,
) {
    let mut seen = view.borrow_and_update().index;
    loop {
        heart.waits("for a change", None);
        if view.changed().await.is_err() {
            return;
        }
        heart.works("finds out what is news for whom", BEAT);
        let state = view.borrow_and_update().clone();
        match changed_tasks(&state, seen) {
            Some(by_agent) => {
                for (agent, tasks) in by_agent {
                    if let Some(session) = sessions.find(agent) {
                        session.unsaid.add(tasks);
                    }
                }
            }
            None => {
                for session in sessions.all() {
                    session.unsaid.add_everything();
                }
            }
        }
        seen = state.index;
    }
}

/// The tasks whose assignments have changed, dropped ones included; `None` where that is not
/// known any more.
fn changed_tasks(state: &State, since: Index) -> Option<BTreeMap<AgentId, BTreeSet<TaskId>>> {
    let mut by_agent: BTreeMap<AgentId, BTreeSet<TaskId>> = BTreeMap::new();
    for key in state.changed_since(since)? {
        if let RowKey::Task(id) = key
            && let Some(task) = state.tasks.get(id)
        {
            by_agent.entry(task.agent()).or_default().insert(id);
        }
    }
    // The last tasks of a removed workload go together with it: nothing but their names is left.
    for (agent, task) in state.dropped_tasks_since(since)? {
        by_agent.entry(agent).or_default().insert(task);
    }
    Some(by_agent)
}
