//! Rows as an author sees them; `wit/tables.wit` says what each column means.

/// One object of a kind of the framework.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Workload {
    /// Names it for ever.
    pub id: u64,
    /// Grows with each change of the specification.
    pub generation: u64,
    /// The generation last declared good.
    pub good_generation: Option<u64>,
    /// The generation that must not be tried.
    pub quarantined_generation: Option<u64>,
    /// Names the content of template 0 of `generation`.
    pub template_id: u64,
    /// Names the content of template 0 of `good_generation`.
    pub good_template_id: Option<u64>,
    /// Cluster time in ms at which `generation` came to be.
    pub generation_since: u64,
    /// Place of the kind in the description's list.
    pub kind: u32,
    /// It was removed: its tasks must end. The row leaves the cluster when the last of them has.
    pub is_gone: bool,
}

/// Where a task stands; the last four are terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum TaskState {
    /// Decided, not yet taken up by the agent.
    Staging,
    /// The agent starts the program.
    Starting,
    /// The program runs.
    Running,
    /// Asked to end; still there.
    Stopping,
    /// Ended by itself with exit status 0.
    Finished,
    /// Ended by itself otherwise, or could not be started.
    Failed,
    /// Ended because the kernel asked for it.
    Killed,
    /// Nobody knows: its agent is gone.
    Lost,
}

impl TaskState {
    /// All states, by the number under which they cross the boundary.
    pub const ALL: [TaskState; 8] = [
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Stopping,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Lost,
    ];

    /// Whether the task has ended for good.
    pub fn is_terminal(self) -> bool {
        match self {
            Self::Staging | Self::Starting | Self::Running | Self::Stopping => false,
            Self::Finished | Self::Failed | Self::Killed | Self::Lost => true,
        }
    }
}

/// What a task's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Check {
    /// No probe has succeeded or failed for good yet.
    #[default]
    Unknown,
    /// It works.
    Healthy,
    /// Too many probes in a row have failed.
    Unhealthy,
}

impl Check {
    /// All answers, by the number under which they cross the boundary.
    pub const ALL: [Check; 3] = [Self::Unknown, Self::Healthy, Self::Unhealthy];
}

/// One running or ended unit of a workload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Names it for ever; a later task has a larger number.
    pub id: u64,
    /// Whose it is.
    pub workload: u64,
    /// The generation that it runs.
    pub generation: u64,
    /// Place of its template in the kind's list.
    pub template: u32,
    /// Names the content of its template.
    pub template_id: u64,
    /// Which slot of the workload it fills.
    pub slot: u32,
    /// Where it is; see [`Agent::id`].
    pub agent: u32,
    /// Where it stands.
    pub state: TaskState,
    /// What its health check says.
    pub health: Check,
    /// Whether it may take traffic.
    pub is_ready: bool,
    /// Whether it was asked to end.
    pub is_stop_asked: bool,
    /// Whether a person ended it.
    pub is_ended_by_hand: bool,
    /// Whether the memory limit killed it.
    pub is_out_of_memory: bool,
    /// Whether its agent or the machine died under it: no fault of the program, so a new try need
    /// not wait.
    pub is_agent_lost: bool,
    /// Whether it never ran because others had its ports: no fault of the program either, but a new
    /// try may find them taken again.
    pub is_port_taken: bool,
    /// Cluster time in ms since which it is in `state`.
    pub state_since: u64,
    /// Cluster time in ms since which it is healthy without a break.
    pub healthy_since: Option<u64>,
    /// Its exit status.
    pub exit_code: Option<i32>,
    /// How often its slot was tried in a row without a task that stayed healthy, this one included;
    /// begins at 1. Where its ports were taken: how often in a row they were.
    pub attempts: u32,
}

impl Task {
    /// Whether it is there and was not asked to end.
    pub fn is_live(&self) -> bool {
        !self.state.is_terminal() && self.state != TaskState::Stopping && !self.is_stop_asked
    }
}

/// Whether an agent can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum AgentState {
    /// It can.
    Ready,
    /// Not now; its tasks may still run.
    Unreachable,
    /// It will not come back.
    Gone,
}

impl AgentState {
    /// All states, by the number under which they cross the boundary.
    pub const ALL: [AgentState; 3] = [Self::Ready, Self::Unreachable, Self::Gone];
}

/// A machine that runs tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Names it.
    pub id: u32,
    /// Whether it can be reached.
    pub state: AgentState,
    /// Thousandths of a cpu that are free.
    pub free_cpus: u64,
    /// Bytes of memory that are free.
    pub free_memory: u64,
    /// Bytes of disk that are free.
    pub free_disk: u64,
}

/// Room for `count` tasks of one demand on one agent; valid for one turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// Names it within the turn.
    pub id: u32,
    /// The demand that it answers.
    pub key: u64,
    /// Where.
    pub agent: u32,
    /// For how many tasks.
    pub count: u32,
}

/// An operation of the last counted turn that was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The group that it was in.
    pub group: u32,
    /// The task, workload or key that it named.
    pub subject: u64,
    /// Why, for people.
    pub reason: String,
}
