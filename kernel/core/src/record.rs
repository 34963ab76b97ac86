//! The kernel's records of tasks, agents, seats, frameworks, sources and clients.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};
use kelson_model::access::Role;
use kelson_model::agent::{AgentDescription, AgentState};
use kelson_model::framework::{Description, FaultCause, Limits, serves};
use kelson_model::id::{AgentId, Digest, Index, MemberId, Revision, TaskId, TokenId, WorkloadId};
use kelson_model::member::MemberDescription;
use kelson_model::object::{DesiredObject, Namespace, ObjectKey};
use kelson_model::principal::Principal;
use kelson_model::quantity::{Millis, Resources};
use kelson_model::task::{CheckState, Exit, StopReason, TaskState};
use kelson_model::time::{ClusterTime, WallTime};
use serde::{Deserialize, Serialize};

use crate::port::{Demand, RefusalRow, SeatId};
use crate::reply::Reply;

/// A slot whose task stayed healthy for at least this long begins again with its first attempt.
pub const STEADY: Millis = Millis(60_000);
/// How many ended tasks of a slot are kept, at most: the youngest, whether their scheduler has done
/// with them or not.
pub const KEPT_ENDED_OF_SLOT: usize = 4;
/// How many tasks of a slot that never ran for want of their ports are kept beside them: the
/// youngest, which says how often that happened in a row.
pub const KEPT_TRIES_OF_SLOT: usize = 1;
/// How many of the ended tasks that the scheduler of a workload has done with are kept for people,
/// at most.
pub const KEPT_FORGOTTEN: usize = 10;

/// How many tokens may hold at a time, at most.
pub const MOST_TOKENS: usize = 1000;

/// One task, whole, as it is stored and handed on; in a state it is a
/// [`TaskRef`](crate::TaskRef).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// Names it for ever.
    pub id: TaskId,
    /// Whose it is.
    pub workload: WorkloadId,
    /// The object of that workload.
    pub object: ObjectKey,
    /// The seat that launched it.
    pub seat: SeatId,
    /// What it runs.
    pub generation: u64,
    /// Which template of the generation.
    pub template: u32,
    /// Content id of that template.
    pub template_id: u64,
    /// Which slot of the workload.
    pub slot: u32,
    /// Where.
    pub agent: AgentId,
    /// What it takes from its agent until it has ended.
    pub resources: Resources,
    /// The ports it was given, by name.
    pub ports: BTreeMap<String, u16>,
    /// Whether, why and by whom it is asked to end.
    pub stop: Option<StopOrder>,
    /// Grows with each change of its assignment; begins at 1.
    pub assignment: u64,
    /// Where it stands.
    pub state: TaskState,
    /// Since when.
    pub state_since: ClusterTime,
    /// What its health check says.
    pub health: CheckState,
    /// Since when it is healthy without a break.
    pub healthy_since: Option<ClusterTime>,
    /// Whether it is ready for traffic.
    pub is_ready: bool,
    /// The process id of its program.
    pub pid: Option<u32>,
    /// When its program started, for people.
    pub started_at: Option<WallTime>,
    /// How it ended.
    pub exit: Option<Exit>,
    /// The sequence of the last status update that was applied.
    pub sequence: u64,
    /// How often its slot was tried in a row, this task included.
    pub attempts: u32,
    /// How often in a row its slot was refused its ports before it; such a try is no attempt.
    #[serde(default, skip_serializing_if = "is_none_refused")]
    pub refusals: u32,
    /// Its scheduler has done with it; it is kept for people only.
    pub is_forgotten: bool,
    /// What is not enforced for it.
    pub isolation: String,
    /// What its agent says it does or waits for.
    pub message: String,
}

fn is_none_refused(refusals: &u32) -> bool {
    *refusals == 0
}

/// Why and by whom a task is asked to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopOrder {
    /// Why.
    pub reason: StopReason,
    /// Who asked.
    pub by: Principal,
}

/// One agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Agent {
    /// Names it for ever.
    pub id: AgentId,
    /// Binds the id to the agent's data directory.
    pub token: Arc<str>,
    /// Grows with each start of the agent.
    pub incarnation: u64,
    /// The entry that began its newest session.
    #[serde(default)]
    pub session: Index,
    /// What it says about itself.
    pub description: Arc<AgentDescription>,
    /// Its attributes as schedulers see them.
    pub attributes: Arc<Vec<(String, String)>>,
    /// Whether it can be reached.
    pub state: AgentState,
    /// Since when.
    pub state_since: ClusterTime,
    /// What its tasks take.
    pub used: Resources,
    /// The ports that its tasks hold.
    pub used_ports: OrdMap<u16, TaskId>,
    /// How many of them stand in its own range.
    pub used_in_range: u32,
    /// The port of its range that was given last, so that a port is not used again at once.
    pub last_port: u16,
    /// Ports that its machine uses for something else, and until when that is believed.
    #[serde(default, skip_serializing_if = "OrdMap::is_empty")]
    pub taken_ports: OrdMap<u16, ClusterTime>,
    /// How often room was made on it or its description changed: a declined offer is shown again
    /// after that.
    pub room_version: u64,
}

impl Agent {
    /// What is free on it; nothing while it is not ready.
    pub fn free(&self) -> Resources {
        match self.state {
            AgentState::Ready => self.description.resources.minus(&self.used),
            AgentState::Unreachable | AgentState::Gone => Resources::default(),
        }
    }

    /// How many ports of its range are free.
    pub fn free_ports(&self) -> u32 {
        self.description
            .ports
            .count()
            .saturating_sub(self.used_in_range)
    }
}

/// One seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seat {
    /// What names it.
    pub id: SeatId,
    /// The number of the last turn that counted.
    pub turn_no: u64,
    /// The index up to which that turn had seen changes.
    pub cursor: Index,
    /// What it wants offers for.
    pub demand: Arc<Vec<Demand>>,
    /// Grows with each change of the demand.
    pub demand_version: u64,
    /// When it wants a turn at the latest.
    pub wake_at: Option<ClusterTime>,
    /// Its own key-value pairs.
    pub pairs: OrdMap<String, Arc<[u8]>>,
    /// Bytes of keys and values.
    pub pairs_size: u64,
    /// The entry of that turn.
    #[serde(default)]
    pub said_at: Index,
    /// What was refused of the last turn.
    pub refusals: Arc<Vec<RefusalRow>>,
    /// What its tasks hold.
    pub used: Resources,
}

/// One framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Framework {
    /// Its object; a built-in one has a key and no object.
    pub key: ObjectKey,
    /// The component that is in force; absent while it could not be loaded.
    pub component: Option<Digest>,
    /// What the component says about itself.
    pub description: Option<Arc<Description>>,
    /// The namespaces it serves; empty: all.
    pub namespaces: Vec<Namespace>,
    /// What it may use.
    pub limits: Limits,
    /// Handed to the component, JSON text.
    pub config: Arc<str>,
    /// Whether it came in the box.
    pub is_built_in: bool,
    /// Why the newest component could not be loaded, and which one that was.
    pub fault: Option<(Digest, String)>,
    /// What kind of fault that is.
    #[serde(default, skip_serializing_if = "FaultCause::is_default")]
    pub cause: FaultCause,
    /// The generation of its object that has the fault, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault_generation: Option<u64>,
}

impl Framework {
    /// The place of a kind in its description, with the JSON pointers of its templates.
    pub fn kind(&self, kind: &str) -> Option<(u32, &kelson_model::framework::KindDescription)> {
        let kinds = &self.description.as_ref()?.kinds;
        let place = kinds.iter().position(|described| described.kind == kind)?;
        Some((u32::try_from(place).ok()?, kinds.get(place)?))
    }

    /// Whether it serves a namespace.
    pub fn serves(&self, namespace: &Namespace) -> bool {
        serves(
            &self.key.namespace,
            &self.namespaces,
            self.is_built_in,
            namespace,
        )
    }
}

/// Objects of a revision that lie beside the state until they are accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Staged {
    /// The revision.
    pub revision: Revision,
    /// How many parts have come.
    pub parts: u32,
    /// What has come.
    pub objects: Vector<Arc<DesiredObject>>,
    /// What is to go.
    #[serde(default, skip_serializing_if = "Vector::is_empty")]
    pub prune: Vector<ObjectKey>,
}

/// What the kernel remembers of a client, so that a repeated request is carried out once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// The highest sequence of its requests.
    pub sequence: u64,
    /// What that one was answered.
    pub reply: Reply,
    /// When it last asked; the longest silent ones are dropped first.
    pub at: ClusterTime,
    /// What those before it were answered, as far as they are kept.
    #[serde(skip)]
    pub earlier: OrdMap<u64, Reply>,
    /// Sequences below the highest that have not come, and that may still come.
    #[serde(skip)]
    pub gaps: OrdSet<u64>,
}

/// One member of the kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    /// Names it for ever.
    pub id: MemberId,
    /// Binds the id to a data directory; empty: that of whoever comes first from its address, or
    /// of the founder.
    pub token: String,
    /// What it says about itself.
    pub description: MemberDescription,
    /// Since when it is no member any more, where it is none.
    pub dismissed: Option<ClusterTime>,
}

impl MemberRecord {
    /// Whether it is no member any more.
    pub fn is_dismissed(&self) -> bool {
        self.dismissed.is_some()
    }
}

/// What the kernel keeps of one namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamespaceRecord {
    /// Its weight in fair share.
    pub weight: u32,
    /// What its tasks hold.
    pub used: Resources,
}

impl Default for NamespaceRecord {
    fn default() -> Self {
        Self {
            weight: 1,
            used: Resources::default(),
        }
    }
}

/// One token, by which machines join or a person is let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenRecord {
    /// Names it for ever: the index of the entry that made it.
    pub id: TokenId,
    /// What whoever shows it becomes.
    pub role: Role,
    /// Where the role of a person holds: there and below; absent: everywhere.
    pub namespace: Option<Namespace>,
    /// Whom it is for.
    pub name: String,
    /// The hash of its secret, which is kept nowhere.
    pub hash: Digest,
    /// Who made it.
    pub by: Principal,
    /// When.
    pub made: ClusterTime,
    /// The same, for people.
    pub made_wall: WallTime,
    /// How long it holds.
    pub ttl: Millis,
    /// How many machines may join by it; of a person's 0.
    pub uses: u32,
    /// Who has joined by it.
    pub joined: Vec<Joined>,
}

impl TokenRecord {
    /// Whether its time is over: by either clock, so that neither one that stood still nor one that
    /// was turned back lets it hold for longer.
    pub fn has_expired(&self, now: ClusterTime, wall: WallTime) -> bool {
        now.since(self.made) >= self.ttl || wall.0 >= self.made_wall.0.saturating_add(self.ttl.0)
    }
}

/// A machine that has joined by a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The digest of its public key.
    pub key: Digest,
    /// The number of its id.
    pub id: u64,
}
