//! A seat to play with: the probe's component, rows, and a host of its own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use imbl::OrdMap;
use kelson_kernel_core::port::{
    Demand, LoadFault, Offer, Op, SchedulerHost, SeatId, SeatRows, SeatView, TurnOutcome,
    TurnRequest, WorkloadRow,
};
use kelson_model::framework::{Description, Limits};
use kelson_model::id::{AgentId, Digest, TaskId, WorkloadId};
use kelson_model::object::{Namespace, ObjectKey};
use kelson_model::time::ClusterTime;
use kelson_plugin_host::{HostConfig, WasmHost};

/// Builds a scheduler of the workspace.
pub(crate) fn component(package: &str) -> Vec<u8> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .unwrap();
    let guests = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| workspace.join("target"), PathBuf::from)
        .join("guests");
    let built = kelson_plugins_builder::build_component(workspace, &guests, package);
    std::fs::read(built.unwrap()).unwrap()
}

/// The component that does what its configuration says.
pub(crate) fn probe() -> &'static (Digest, Vec<u8>) {
    static PROBE: OnceLock<(Digest, Vec<u8>)> = OnceLock::new();
    PROBE.get_or_init(|| {
        let content = component("kelson-component-probe");
        (Digest::of(&content), content)
    })
}

/// A host with the probe loaded.
pub(crate) struct Bench {
    pub(crate) host: WasmHost,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut HostConfig)) -> Self {
        // All tests share one cache: what is compiled once is compiled for the next run too.
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("compiled");
        let mut config = HostConfig::new(folder);
        // Fuel decides; the machine may be as busy as it likes.
        config.turn_guard = Duration::from_secs(600);
        config.restore_guard = Duration::from_secs(600);
        change(&mut config);
        let host = WasmHost::new(config).unwrap();
        let (digest, content) = probe();
        host.load(digest, content, &Limits::default()).unwrap();
        Self { host }
    }

    /// Builds and loads another scheduler of the workspace.
    pub(crate) fn load(&self, package: &str) -> Result<(Digest, Description), LoadFault> {
        let content = component(package);
        let digest = Digest::of(&content);
        let description = self.host.load(&digest, &content, &Limits::default())?;
        Ok((digest, description))
    }

    /// The notes of a turn with this configuration on the seat `default`.
    pub(crate) fn notes(&self, script: &str) -> Vec<String> {
        notes(&self.host.turn(&request(script)).unwrap())
    }
}

/// The texts of all notes, in order.
pub(crate) fn notes(outcome: &TurnOutcome) -> Vec<String> {
    let note = |op: &Op| match op {
        Op::Note { text, .. } => Some(text.clone()),
        _ => None,
    };
    outcome
        .operations
        .iter()
        .filter_map(|operation| note(&operation.op))
        .collect()
}

#[derive(Default)]
pub(crate) struct View {
    pub(crate) rows: SeatRows,
    pub(crate) specs: BTreeMap<(u64, u64), String>,
}

impl SeatView for View {
    fn all_rows(&self) -> SeatRows {
        self.rows.clone()
    }

    fn spec(&self, workload: WorkloadId, generation: u64) -> Option<String> {
        self.specs.get(&(workload.0, generation)).cloned()
    }

    fn name(&self, workload: WorkloadId) -> Option<String> {
        Some(format!("web-{}", workload.0))
    }

    fn attributes(&self, agent: AgentId) -> Option<Arc<Vec<(String, String)>>> {
        (agent.0 == 7).then(|| Arc::new(vec![("zone".to_owned(), "a".to_owned())]))
    }

    fn end(&self, task: TaskId) -> Option<String> {
        (task.0 == 7).then(|| "exited with status 7".to_owned())
    }

    fn is_said(&self, status: &Op) -> bool {
        matches!(status, Op::SetStatus { message, .. } if message == "as-before")
    }

    fn demand(&self) -> Arc<Vec<Demand>> {
        Arc::default()
    }
}

pub(crate) fn seat(namespace: &str) -> SeatId {
    let namespace: Namespace = namespace.to_owned().try_into().unwrap();
    SeatId {
        framework: ObjectKey::new("Framework", Namespace::default_namespace(), "probe"),
        namespace,
    }
}

/// The first turn of the seat `default`, without rows.
pub(crate) fn request(script: &str) -> TurnRequest {
    TurnRequest {
        seat: seat("default"),
        component: probe().0.clone(),
        limits: Limits::default(),
        config: script.into(),
        turn_no: 1,
        now: ClusterTime(1_000),
        seed: 42,
        changed: SeatRows::default(),
        offers: Vec::new(),
        refusals: Vec::new(),
        pairs: OrdMap::new(),
        view: Arc::new(View::default()),
        is_throw_away: false,
    }
}

pub(crate) fn workload(id: u64, generation: u64) -> WorkloadRow {
    WorkloadRow {
        id: WorkloadId(id),
        generation,
        good_generation: 0,
        quarantined_generation: 0,
        template_id: 1,
        good_template_id: 0,
        generation_since: ClusterTime(0),
        kind: 0,
        is_gone: false,
    }
}

pub(crate) fn offer(key: u64, workload: u64, agent: u64, count: u32) -> Offer {
    Offer {
        key,
        workload: WorkloadId(workload),
        generation: 1,
        template: 0,
        agent: AgentId(agent),
        count,
    }
}
