//! Reads a clock and randomness: it must not even load, since the sandbox gives neither.
//!
//! It imports both beside the treaty, as a foreign toolchain would.

mod stolen {
    wit_bindgen::generate!({path: "wit", world: "cheat", generate_all});
}

use kelson_sdk::serde_json::json;
use kelson_sdk::{Cluster, Description, Kind, Scheduler, Turn};

use stolen::wasi::clocks::monotonic_clock;
use stolen::wasi::random::random;

/// A scheduler that misbehaves on purpose.
#[derive(Debug, Default)]
pub struct Cheat;

impl Scheduler for Cheat {
    fn describe() -> Description {
        Description {
            name: "cheat".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            kinds: vec![Kind {
                kind: "Cheat".into(),
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
        let Some(workload) = cluster.workloads().next() else {
            return Ok(());
        };
        let (now, random) = (monotonic_clock::now(), random::get_random_u64());
        turn.note(
            workload.id,
            format!("it is {now}, and the die shows {random}"),
        );
        Ok(())
    }
}

kelson_sdk::export_scheduler!(Cheat);
