//! What is measured of this process, for whoever scrapes `/metrics`.
//!
//! *Guarantees:* measuring takes no lock that a loop could wait at for long, and no label takes a
//! value that a stranger chose, so that what is kept is bounded. *Caveats:* counters begin at 0
//! with each start of the process.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use kelson_model::agent::AgentState;
use kelson_model::report::LoopState;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Metric, Registry};

use crate::kernel::Kernel;
use crate::proposing::SubmitError;
use crate::raft::ProposeError;

/// The media type of what [`Metrics::scrape`] gives.
pub(crate) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A label and its value.
type Label = [(&'static str, String); 1];
type Number = Gauge<u64, AtomicU64>;

/// All that is measured; clones are the same.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("kelson");
        let measures = Measures::new(&mut registry);
        let gauges = Gauges::new(&mut registry);
        Self {
            inner: Arc::new(Inner {
                registry,
                measures,
                gauges,
            }),
        }
    }
}

struct Inner {
    registry: Registry,
    measures: Measures,
    gauges: Gauges,
}

/// What is noted when it happens.
struct Measures {
    entries: Family<Label, Counter>,
    apply: Histogram,
    log_sync: Histogram,
    proposals: Family<Label, Counter>,
    proposal: Histogram,
    rounds: Histogram,
    turns: Family<Label, Counter>,
    turn: Histogram,
    requests: Family<[(&'static str, String); 2], Counter>,
}

/// What is read when somebody scrapes.
struct Gauges {
    term: Number,
    leads: Number,
    applied: Number,
    logged: Number,
    sessions: Number,
    agents: Family<Label, Number>,
    tasks: Number,
    objects: Number,
    seats: Number,
    stopped_loops: Family<Label, Number>,
    resident: Number,
    threads: Number,
}

/// From 50 µs to about 26 s.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.000_05, 3.0, 13))
}

/// Registers a measure under a name, and gives it.
fn named<M: Metric + Clone>(registry: &mut Registry, name: &str, help: &str, measure: M) -> M {
    registry.register(name, help, measure.clone());
    measure
}

impl Measures {
    fn new(to: &mut Registry) -> Self {
        let family = Family::<Label, Counter>::default;
        Self {
            entries: named(
                to,
                "entries_applied",
                "Entries of the log that were applied, by command",
                family(),
            ),
            apply: named(
                to,
                "apply_seconds",
                "How long an entry took to be applied",
                seconds(),
            ),
            log_sync: named(
                to,
                "log_write_seconds",
                "How long a batch of records took to be written and synced",
                seconds(),
            ),
            proposals: named(
                to,
                "proposals",
                "Commands that were proposed here, by outcome",
                family(),
            ),
            proposal: named(
                to,
                "proposal_seconds",
                "From a proposal to its answer: written, agreed upon and applied",
                seconds(),
            ),
            rounds: named(
                to,
                "round_seconds",
                "How long a round took to be planned",
                seconds(),
            ),
            turns: named(to, "turns", "Turns of schedulers, by outcome", family()),
            turn: named(
                to,
                "turn_seconds",
                "How long a turn took in the sandbox",
                seconds(),
            ),
            requests: named(
                to,
                "api_requests",
                "Requests of the API, by route and status",
                Family::default(),
            ),
        }
    }
}

impl Gauges {
    fn new(to: &mut Registry) -> Self {
        let mut number = |name: &str, help: &str| named(to, name, help, Number::default());
        Self {
            term: number("raft_term", "The term of this member"),
            leads: number("raft_is_leader", "1 where this member leads"),
            applied: number(
                "raft_applied_index",
                "The index of the newest applied entry",
            ),
            logged: number(
                "log_written_bytes",
                "Bytes in the log when it was opened, and all written since",
            ),
            sessions: number("agent_sessions", "Agents that are attached to this member"),
            tasks: number("tasks", "Tasks that are kept, ended ones included"),
            objects: number("objects", "Objects"),
            seats: number("seats", "Seats of schedulers"),
            resident: number("process_resident_bytes", "Memory of this process"),
            threads: number("process_threads", "Threads of this process"),
            agents: named(to, "agents", "Agents, by state", Family::default()),
            stopped_loops: named(
                to,
                "loop_is_stopped",
                "1 where a loop of the kernel is late, blocked or has ended",
                Family::default(),
            ),
        }
    }

    fn read(&self, kernel: &Kernel) {
        let (member, state) = (kernel.member(), kernel.state());
        self.term.set(member.term());
        self.leads.set(u64::from(member.is_leader()));
        self.applied.set(member.applied().index);
        self.logged.set(member.logged_bytes());
        self.sessions.set(count(kernel.sessions().all().len()));
        self.tasks.set(count(state.tasks.len()));
        self.objects.set(count(state.objects.len()));
        self.seats.set(count(state.seats.len()));
        for (known, name) in [
            (AgentState::Ready, "ready"),
            (AgentState::Unreachable, "unreachable"),
            (AgentState::Gone, "gone"),
        ] {
            let agents = state.agents.values().filter(|agent| agent.state == known);
            let label = [("state", name.to_owned())];
            self.agents.get_or_create(&label).set(count(agents.count()));
        }
        for one in kernel.hearts().report() {
            let is_stopped = u64::from(one.state != LoopState::Alive);
            let label = [("loop", one.name)];
            self.stopped_loops.get_or_create(&label).set(is_stopped);
        }
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        self.resident.set(field_of(&status, "VmRSS:") * 1024);
        self.threads.set(field_of(&status, "Threads:"));
    }
}

/// The number in a line of `/proc/self/status`; 0 where there is none.
fn field_of(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number
        .and_then(|number| number.parse().ok())
        .unwrap_or_default()
}

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

/// Begun when something begins, handed back when it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Since(Instant);

impl Since {
    /// Begins to measure.
    pub(crate) fn now() -> Self {
        Self(Instant::now())
    }

    fn seconds(self) -> f64 {
        self.0.elapsed().as_secs_f64()
    }
}

impl Metrics {
    /// An entry was applied.
    pub(crate) fn applied(&self, command: &'static str, since: Since) {
        let measures = &self.inner.measures;
        let label = [("command", command.to_owned())];
        measures.entries.get_or_create(&label).inc();
        measures.apply.observe(since.seconds());
    }

    /// A batch of records was written and synced.
    pub(crate) fn log_written(&self, took: Duration) {
        self.inner.measures.log_sync.observe(took.as_secs_f64());
    }

    /// A proposal was answered, or not.
    pub(crate) fn proposed<T>(&self, outcome: &Result<T, SubmitError>, since: Since) {
        let measures = &self.inner.measures;
        let name = match outcome {
            Ok(_) => "applied",
            Err(SubmitError::Codec(_)) => "unreadable",
            Err(SubmitError::Propose(error)) => match error {
                ProposeError::NotLeader { .. } => "notLeader",
                ProposeError::TermOver { .. } => "termOver",
                ProposeError::TooLarge { .. } => "tooLarge",
                ProposeError::DiskFull => "diskFull",
                ProposeError::NoLeaderInTime => "noLeader",
                ProposeError::Unknown { .. } => "unknown",
                ProposeError::Stopped { .. } => "stopped",
            },
        };
        let label = [("outcome", name.to_owned())];
        measures.proposals.get_or_create(&label).inc();
        measures.proposal.observe(since.seconds());
    }

    /// A round was planned.
    pub(crate) fn planned(&self, since: Since) {
        self.inner.measures.rounds.observe(since.seconds());
    }

    /// A turn left the sandbox.
    pub(crate) fn turned(&self, since: Since) {
        self.inner.measures.turn.observe(since.seconds());
    }

    /// A turn came to this: `counted`, `quiet`, `void` or `lost`.
    pub(crate) fn turn_ended(&self, outcome: &'static str) {
        let label = [("outcome", outcome.to_owned())];
        self.inner.measures.turns.get_or_create(&label).inc();
    }

    /// A request was answered; `route` is one of the router's own.
    pub(crate) fn answered(&self, route: &str, status: u16) {
        let label = [("route", route.to_owned()), ("status", status.to_string())];
        self.inner.measures.requests.get_or_create(&label).inc();
    }

    /// Everything as text, in the OpenMetrics form that Prometheus reads.
    pub(crate) fn scrape(&self, kernel: &Kernel) -> String {
        self.inner.gauges.read(kernel);
        let mut page = String::new();
        // Writing to a text does not fail.
        if let Err(error) = text::encode(&mut page, &self.inner.registry) {
            tracing::error!(%error, "what is measured cannot be written");
        }
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_the_status_of_a_process_is_read() {
        let status = "Name:\tkelson\nVmRSS:\t   12 kB\nThreads:\t7\n";
        assert_eq!(field_of(status, "VmRSS:"), 12);
        assert_eq!(field_of(status, "Threads:"), 7);
        assert_eq!(field_of(status, "VmSwap:"), 0);
    }
}
