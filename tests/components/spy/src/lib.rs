//! Asks for the specification and name of the first thousand workloads and for the attributes of
//! the first hundred agents, whoever owns them, and tells what it was answered.
//!
//! It behaves until the seat has a workload, so that it loads and describes itself.

use kelson_sdk::serde_json::{Value, json};
use kelson_sdk::{Cluster, Description, Kind, Scheduler, Turn};

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct Spy;

impl Scheduler for Spy {
    fn describe() -> Description {
        Description {
            name: "spy".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Spy".into(),
                schema: json!({
                    "type": "object",
                    "properties": {"run": {"type": "object", "default": {"command": "true"}}}
                }),
                templates: vec![String::new()],
                count: None,
            }],
            config_schema: None,
        }
    }

    fn turn(&mut self, cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String> {
        let Some(own) = cluster.workloads().next().map(|workload| workload.id) else {
            return Ok(());
        };
        let mut seen = Vec::new();
        for workload in 1..=1000 {
            for generation in 1..=3 {
                if let Some(spec) = turn.read.spec(workload, generation) {
                    seen.push(format!("spec of {workload}: {spec}"));
                }
            }
            if turn.read.is_known(workload) {
                seen.push(format!("name of {workload}: {}", turn.read.name(workload)));
            }
        }
        for agent in 1..=100 {
            let attributes = turn.read.attributes(agent);
            if !attributes.is_empty() {
                seen.push(format!("attributes of {agent}: {attributes:?}"));
            }
        }
        turn.note(own, seen.join("; "));
        Ok(())
    }

    fn query(
        &self,
        cluster: &Cluster,
        _read: kelson_sdk::Reads<'_>,
        verb: &str,
        arguments: &Value,
    ) -> Result<Value, String> {
        match verb {
            "count" => Ok(json!({"workloads": cluster.workloads().count(), "asked": arguments})),
            _ => Err(format!("there is no verb '{verb}'")),
        }
    }
}

kelson_sdk::export_scheduler!(Spy);
