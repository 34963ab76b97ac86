//! `kind: Flock`: keeps `spec.birds` tasks running for ever, and takes whatever is offered.
//!
//! It exists to compete with `service` for too little capacity, and as the smallest whole framework
//! to read. A bird that ended is replaced after a second; a flock that shrinks loses its highest
//! slots; nothing is ever rolled.

use std::collections::BTreeMap;

use kelson_sdk::serde_json::{Value, json};
use kelson_sdk::{
    Cluster, Demand, Description, Health, KillReason, Kind, Placement, Problem, Rollout, Scheduler,
    Status, Task, Turn, Workload,
};

const PAUSE_MS: u64 = 1000;

/// The scheduler of flocks.
#[derive(Debug, Default)]
pub struct Birds {
    /// What was said of each flock last, so that it is not said twice.
    said: BTreeMap<u64, Status>,
}

/// What a flock needs now.
struct Need {
    birds: u32,
    slots: Vec<u32>,
}

impl Scheduler for Birds {
    fn describe() -> Description {
        let mut schema = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "additionalProperties": false,
            "required": ["run"],
            "properties": {
                "birds": {"type": "integer", "minimum": 0, "maximum": 10_000, "default": 1},
                "run": {
                    "type": "object",
                    "additionalProperties": false,
                    "required": ["command"],
                    "properties": {
                        "command": {"type": "string", "minLength": 1},
                        "args": {"type": "array", "items": {"type": "string"}, "default": []}
                    }
                },
                "resources": {
                    "type": "object",
                    "additionalProperties": false,
                    "default": {},
                    "properties": {
                        "cpus": {"type": ["number", "string"], "format": "cpus", "default": "0.1"},
                        "memory": {"type": "string", "format": "bytes", "default": "128Mi"},
                        "disk": {"type": "string", "format": "bytes", "default": "0"}
                    }
                }
            }
        });
        if cfg!(feature = "song")
            && let Some(fields) = schema.get_mut("properties").and_then(Value::as_object_mut)
        {
            fields.insert("song".into(), json!({"type": "string"}));
        }
        Description {
            name: "birds".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Flock".into(),
                schema,
                templates: vec![String::new()],
                count: Some("/birds".into()),
            }],
            config_schema: Some(json!({
                "type": "object",
                "additionalProperties": false,
                "properties": {"maxBirds": {"type": "integer", "minimum": 0}}
            })),
        }
    }

    fn validate(_kind: &str, spec: &Value) -> Vec<Problem> {
        match spec.pointer("/run/command").and_then(Value::as_str) {
            Some("ostrich") => vec![Problem::new("/run/command", "an ostrich cannot fly")],
            _ => Vec::new(),
        }
    }

    fn turn(&mut self, cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        let most = turn.read.config().get("maxBirds").and_then(Value::as_u64);
        let mut demand = Vec::new();
        for flock in cluster.workloads() {
            let mut need = self.tend(flock, cluster, most, turn)?;
            for offer in turn.offers().filter(|offer| offer.key == key_of(flock)) {
                for _ in 0..offer.count {
                    let Some(slot) = need.slots.pop() else { break };
                    turn.launch(flock.id, flock.generation, 0, slot, &offer);
                }
            }
            if !need.slots.is_empty() {
                demand.push(Demand {
                    key: key_of(flock),
                    workload: flock.id,
                    generation: flock.generation,
                    template: 0,
                    count: u32::try_from(need.slots.len()).unwrap_or(u32::MAX),
                    placement: Placement::Pack,
                    priority: 0,
                });
            }
            self.report(flock, cluster, need.birds, turn);
        }
        turn.set_demand(demand);
        Ok(())
    }
}

impl Birds {
    /// Ends what is too much, and says which slots wait for a bird.
    fn tend(
        &self,
        flock: &Workload,
        cluster: &Cluster,
        most: Option<u64>,
        turn: &mut Turn<'_>,
    ) -> Result<Need, String> {
        // A flock without birds may leave without a last row.
        let birds = if flock.is_gone || !turn.read.is_known(flock.id) {
            0
        } else {
            let spec = turn.read.spec(flock.id, flock.generation);
            let wished = spec.as_ref().and_then(|spec| spec.get("birds")?.as_u64());
            let wished =
                wished.ok_or_else(|| format!("flock {} has no number of birds", flock.id))?;
            u32::try_from(wished.min(most.unwrap_or(u64::MAX)))
                .map_err(|error| error.to_string())?
        };
        let mut slots = Vec::new();
        for task in cluster.tasks_of(flock.id) {
            if task.slot >= birds && task.is_live() {
                turn.kill(task.id, KillReason::ScaledDown);
            }
            if task.state.is_terminal()
                && (task.slot >= birds || newest(cluster, task).id != task.id)
            {
                turn.forget(task.id);
            }
        }
        for slot in (0..birds).rev() {
            match cluster.tasks_in(flock.id, slot).last() {
                None => slots.push(slot),
                Some(task) if !task.state.is_terminal() => {}
                Some(task) if turn.now >= task.state_since.saturating_add(PAUSE_MS) => {
                    slots.push(slot)
                }
                Some(task) => turn.wake_at(task.state_since.saturating_add(PAUSE_MS)),
            }
        }
        Ok(Need { birds, slots })
    }

    fn report(&mut self, flock: &Workload, cluster: &Cluster, birds: u32, turn: &mut Turn<'_>) {
        let flying = cluster
            .tasks_of(flock.id)
            .filter(|task| task.is_live() && task.healthy_since.is_some())
            .count();
        let is_whole = usize::try_from(birds).is_ok_and(|birds| flying >= birds);
        let (health, rollout, reason) = if is_whole {
            (Health::Healthy, Rollout::Complete, "")
        } else {
            (Health::Progressing, Rollout::Progressing, "Gathering")
        };
        let status = Status {
            generation: flock.generation,
            health,
            rollout,
            reason: reason.into(),
            message: format!("{flying} of {birds} birds fly"),
        };
        if !flock.is_gone && self.said.get(&flock.id) != Some(&status) {
            turn.set_status(flock.id, status.clone());
            self.said.insert(flock.id, status);
            if is_whole && flock.good_generation != Some(flock.generation) {
                turn.set_good_generation(flock.id, flock.generation);
            }
        }
    }
}

fn newest<'a>(cluster: &'a Cluster, task: &'a Task) -> &'a Task {
    cluster
        .tasks_in(task.workload, task.slot)
        .last()
        .unwrap_or(task)
}

/// Names a demand so that an offer for an older generation is recognised.
fn key_of(flock: &Workload) -> u64 {
    (flock.id << 10) | (flock.generation & 1023)
}

kelson_sdk::export_scheduler!(Birds);
