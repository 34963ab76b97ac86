//! Assignments as messages: cut by bytes, with the contents of files as blobs.

use std::collections::BTreeMap;

use kelson_kernel_core::State;
use kelson_kernel_core::assignment::{Assignment, Order, RunOrder, assignment};
use kelson_model::id::{AgentId, TaskId};
use kelson_model::task::StopReason;
use kelson_model::template::TaskTemplate;
use kelson_proto::{PAGE, v1};
use prost::Message as _;

use crate::blobs::Blobs;

/// Longest content of a file that stands in its assignment, in bytes.
const INLINE: usize = 4 << 10;

/// Assignments that are to be told, page by page.
///
/// *Guarantees:* a page has at most [`PAGE`] bytes, or one assignment, whose size the log bounds.
/// *Caveats:* blocks on the disk where the content of a file is stored for the first time.
pub(crate) struct Pages {
    state: State,
    agent: AgentId,
    blobs: Blobs,
    tasks: std::vec::IntoIter<TaskId>,
    held_over: Option<v1::Assignment>,
    /// Templates by content, as they are sent: many tasks run the same.
    templates: BTreeMap<u64, String>,
}

impl Pages {
    /// The assignments of these tasks; of an agent that one of them is not on, or of a task that
    /// there is not, it may go.
    pub(crate) fn new(
        state: State,
        agent: AgentId,
        tasks: impl IntoIterator<Item = TaskId>,
        blobs: Blobs,
    ) -> Self {
        let tasks: Vec<TaskId> = tasks.into_iter().collect();
        Self {
            state,
            agent,
            blobs,
            tasks: tasks.into_iter(),
            held_over: None,
            templates: BTreeMap::new(),
        }
    }

    /// Everything that an agent must run.
    pub(crate) fn all(state: State, agent: AgentId, blobs: Blobs) -> Self {
        let live = state
            .tasks_on(agent)
            .filter(|task| !task.state().is_terminal());
        let tasks: Vec<TaskId> = live.map(|task| task.id()).collect();
        Self::new(state, agent, tasks, blobs)
    }

    /// The next page; `None` at the end.
    pub(crate) fn next_page(&mut self) -> Option<v1::Assignments> {
        let mut tasks: Vec<v1::Assignment> = Vec::new();
        let mut bytes = 0;
        while let Some(next) = self.held_over.take().or_else(|| self.next_assignment()) {
            // The field's tag and length come on top.
            let size = next.encoded_len() + 8;
            if !tasks.is_empty() && bytes + size > PAGE {
                self.held_over = Some(next);
                break;
            }
            bytes += size;
            tasks.push(next);
        }
        (!tasks.is_empty()).then_some(v1::Assignments { tasks })
    }

    fn next_assignment(&mut self) -> Option<v1::Assignment> {
        let id = self.tasks.next()?;
        let task = self.state.tasks.get(id);
        Some(match task.filter(|task| task.agent() == self.agent) {
            Some(task) => {
                let template_id = task.template_id();
                let assignment = assignment(&self.state, task);
                self.wire(assignment, template_id)
            }
            None => v1::Assignment {
                task: id.0,
                generation: u64::MAX,
                order: Some(v1::assignment::Order::Forget(v1::Forget {})),
            },
        })
    }

    fn wire(&mut self, assignment: Assignment, template_id: u64) -> v1::Assignment {
        use v1::assignment::Order as Wire;
        let order = match assignment.order {
            Order::Run(run) => Wire::Run(self.spec(*run, template_id)),
            Order::Stop(reason) => Wire::Stop(v1::StopOrder {
                reason: reason_name(reason).to_owned(),
            }),
            Order::Forget => Wire::Forget(v1::Forget {}),
        };
        v1::Assignment {
            task: assignment.task.0,
            generation: assignment.generation,
            order: Some(order),
        }
    }

    fn spec(&mut self, run: RunOrder, template_id: u64) -> v1::TaskSpec {
        let blobs = &self.blobs;
        let template = self.templates.entry(template_id).or_insert_with(|| {
            let template = with_blobs(&run.template, blobs);
            serde_json::to_string(&template).unwrap_or_default()
        });
        v1::TaskSpec {
            name: run.name,
            namespace: run.object.namespace.to_string(),
            kind: run.object.kind,
            workload: run.object.name,
            slot: run.slot,
            workload_generation: run.generation,
            template_json: template.clone(),
            ports: run
                .ports
                .into_iter()
                .map(|(name, port)| (name, u32::from(port)))
                .collect(),
            enforce_drift: run.is_drift_enforced,
        }
    }
}

/// The template with the longer contents of its files stored as blobs. What cannot be stored
/// stays where it is.
fn with_blobs(template: &TaskTemplate, blobs: &Blobs) -> TaskTemplate {
    let mut template = template.clone();
    for file in &mut template.run.files {
        let Some(content) = file.content.take_if(|content| content.len() > INLINE) else {
            continue;
        };
        match blobs.put(content.as_bytes()) {
            Ok(digest) => file.digest = Some(digest),
            Err(error) => {
                tracing::warn!(%error, path = file.path, "the content of a file goes with its assignment");
                file.content = Some(content);
            }
        }
    }
    template
}

fn reason_name(reason: StopReason) -> &'static str {
    match reason {
        StopReason::Replaced => "replaced",
        StopReason::ScaledDown => "scaledDown",
        StopReason::Removed => "removed",
        StopReason::Unhealthy => "unhealthy",
        StopReason::ByHand => "byHand",
    }
}
