//! Previews: what a change would lead to, as the real schedulers decide it on a fork of the state.

use serde::{Deserialize, Serialize};

use crate::object::{DesiredObject, Health, ObjectKey, RolloutState};
use crate::task::StopReason;

/// What a preview is asked for, POST /v1/plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PlanRequest {
    /// The source's name.
    pub source: String,
    /// The objects that would be new or changed.
    pub objects: Vec<DesiredObject>,
    /// The objects that would go.
    #[serde(default)]
    pub prune: Vec<ObjectKey>,
}

/// What would happen that would not happen anyway: the moves of this change alone.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The state that this was forked from.
    pub index: u64,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// What waits at the end, and why.
    pub waiting: Vec<Waiting>,
    /// Whether there would be more steps than are shown.
    pub truncated: bool,
    /// The hash of the member's state, which the preview has not changed.
    pub state_hash: String,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Begins at 1.
    pub step: usize,
    /// What is taken for granted; nothing in the first step.
    pub assumes: Option<String>,
    /// Tasks that start.
    pub launches: Vec<Launch>,
    /// Tasks that are asked to end.
    pub stops: Vec<StopOf>,
    /// What schedulers say.
    #[serde(default)]
    pub statuses: Vec<StatusOf>,
}

/// A task that starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Launch {
    /// Whose.
    pub workload: ObjectKey,
    /// `web.2`.
    pub task: String,
    /// `agt_1`: where.
    pub agent: String,
    /// Of which generation.
    pub generation: u64,
}

/// A task that is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopOf {
    /// Whose.
    pub workload: ObjectKey,
    /// `web.2`.
    pub task: String,
    /// `tsk_3`; tasks that start in the preview itself have none yet.
    pub id: Option<String>,
    /// Why.
    pub reason: StopReason,
}

/// What a scheduler says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusOf {
    /// About which workload.
    pub workload: ObjectKey,
    /// How well it does.
    pub health: Health,
    /// Where its rollout stands.
    pub rollout: RolloutState,
    /// A sentence.
    pub message: String,
}

/// What waits at the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Whose.
    pub workload: ObjectKey,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub message: String,
}

impl Preview {
    /// Takes away what happens and waits without the change as well; where a task starts makes no
    /// difference.
    pub fn subtract(&mut self, without: &Preview) {
        let mut launches: Vec<(&ObjectKey, &str, u64)> = Vec::new();
        let mut stops: Vec<&StopOf> = Vec::new();
        for step in &without.steps {
            launches.extend(step.launches.iter().map(Launch::name));
            stops.extend(&step.stops);
        }
        launches.sort_unstable();
        stops.sort_unstable();
        let mut statuses: Vec<&StatusOf> = without
            .steps
            .iter()
            .flat_map(|step| &step.statuses)
            .collect();
        statuses.sort_unstable();
        for step in &mut self.steps {
            step.launches
                .retain(|launch| launches.binary_search(&launch.name()).is_err());
            step.stops
                .retain(|stop| stops.binary_search(&stop).is_err());
            step.statuses
                .retain(|status| statuses.binary_search(&status).is_err());
        }
        self.steps.retain(|step| {
            !(step.launches.is_empty() && step.stops.is_empty() && step.statuses.is_empty())
        });
        let mut waiting: Vec<&Waiting> = without.waiting.iter().collect();
        waiting.sort_unstable();
        self.waiting
            .retain(|waits| waiting.binary_search(&waits).is_err());
    }
}

impl Launch {
    /// Which task of which version it is, wherever it starts.
    fn name(&self) -> (&ObjectKey, &str, u64) {
        (&self.workload, &self.task, self.generation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::Namespace;

    fn launch(name: &str, agent: &str) -> Launch {
        Launch {
            workload: ObjectKey::new("Service", Namespace::default_namespace(), name),
            task: format!("{name}.0"),
            agent: agent.to_owned(),
            generation: 1,
        }
    }

    fn preview(launches: Vec<Launch>) -> Preview {
        Preview {
            steps: vec![Step {
                step: 1,
                launches,
                ..Step::default()
            }],
            ..Preview::default()
        }
    }

    #[test]
    fn what_happens_anyway_is_no_part_of_a_change() {
        let mut with = preview(vec![launch("web", "agt_1"), launch("old", "agt_2")]);
        with.subtract(&preview(vec![launch("old", "agt_1")]));
        assert_eq!(with, preview(vec![launch("web", "agt_1")]));
        let mut nothing = preview(vec![launch("old", "agt_1")]);
        nothing.subtract(&preview(vec![launch("old", "agt_1")]));
        assert!(nothing.steps.is_empty());
    }
}
