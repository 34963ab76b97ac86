//! The loop of rounds on paused time: a state in memory, and schedulers that are closures.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, PoisonError};

use kelson_kernel_core::command::{FoundCluster, InstallFramework};
use kelson_kernel_core::port::{ForkTurns, LoadFault, Op, Operation, Problem, SeatId, TurnRequest};
use kelson_kernel_core::round::overlooked_seats;
use kelson_kernel_core::{Entry, apply};
use kelson_model::framework::{Description, KindDescription, Limits};
use kelson_model::id::{Digest, Index, Revision};
use kelson_model::object::{
    DesiredObject, Health, Lifecycle, Namespace, ObjectKey, Origin, RolloutState,
};
use kelson_model::principal::Principal;
use kelson_model::quantity::Millis;
use kelson_model::request::{Accept, Stage};
use kelson_model::time::WallTime;
use serde_json::json;

use super::*;
use crate::heart::Hearts;

type Scheduler = dyn Fn(&TurnRequest, usize) -> Result<TurnOutcome, TurnFault> + Send + Sync;

/// Calls a closure with each request and how many turns its seat has had before.
struct Host {
    scheduler: Box<Scheduler>,
    turns: Mutex<BTreeMap<SeatId, usize>>,
}

impl SchedulerHost for Host {
    fn load(&self, _: &Digest, _: &[u8], _: &Limits) -> Result<Description, LoadFault> {
        Err(LoadFault::NotAComponent("there is none".to_owned()))
    }
    fn validate(&self, _: &Digest, _: &str, _: &str) -> Result<Vec<Problem>, TurnFault> {
        Ok(Vec::new())
    }
    fn turn(&self, request: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        let before = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            let count = turns.entry(request.seat.clone()).or_default();
            *count += 1;
            *count - 1
        };
        (self.scheduler)(request, before)
    }
    fn query(&self, _: &TurnRequest, _: &str, _: &str) -> Result<String, TurnFault> {
        Ok(String::new())
    }
    fn drop_instance(&self, _: &SeatId) {}
    fn fork(&self) -> Box<dyn ForkTurns + '_> {
        Box::new(OnFork(self))
    }
}

struct OnFork<'a>(&'a Host);

impl ForkTurns for OnFork<'_> {
    fn turn(&self, request: &TurnRequest) -> Result<TurnOutcome, TurnFault> {
        self.0.turn(request)
    }
}

#[derive(Clone)]
struct World {
    inner: Arc<Inner>,
}

struct Inner {
    view: watch::Sender<State>,
    pokes: watch::Sender<u64>,
    memory: Mutex<RoundMemory>,
    turns: Arc<Host>,
    host: Arc<dyn SchedulerHost>,
    began: Instant,
    refusals: Mutex<VecDeque<ProposeError>>,
    revisions: Mutex<u32>,
    hearts: Hearts,
    metrics: Metrics,
}

impl Ground for World {
    fn watch(&self) -> watch::Receiver<State> {
        self.inner.view.subscribe()
    }
    fn watch_pokes(&self) -> watch::Receiver<u64> {
        self.inner.pokes.subscribe()
    }
    fn now(&self) -> ClusterTime {
        let elapsed = u64::try_from(self.inner.began.elapsed().as_millis()).unwrap();
        ClusterTime(1000 + elapsed)
    }
    fn memory(&self) -> MutexGuard<'_, RoundMemory> {
        self.inner.memory.lock().unwrap()
    }
    fn host(&self) -> &Arc<dyn SchedulerHost> {
        &self.inner.host
    }
    fn metrics(&self) -> &Metrics {
        &self.inner.metrics
    }
    async fn propose(&self, command: Command) -> Result<Reply, SubmitError> {
        let refusal = self.inner.refusals.lock().unwrap().pop_front();
        match refusal {
            Some(error) => Err(SubmitError::Propose(error)),
            None => Ok(self.apply(command)),
        }
    }
}

impl World {
    /// A cluster with a framework for `Flock`, and the loop on it.
    fn begin(
        scheduler: impl Fn(&TurnRequest, usize) -> Result<TurnOutcome, TurnFault>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        let host = Arc::new(Host {
            scheduler: Box::new(scheduler),
            turns: Mutex::default(),
        });
        let inner = Inner {
            view: watch::Sender::new(State::default()),
            pokes: watch::Sender::new(0),
            memory: Mutex::default(),
            turns: host.clone(),
            host,
            began: Instant::now(),
            refusals: Mutex::default(),
            revisions: Mutex::default(),
            hearts: Hearts::default(),
            metrics: Metrics::default(),
        };
        let world = Self {
            inner: Arc::new(inner),
        };
        world.apply(Command::FoundCluster(FoundCluster {
            cluster: "test".to_owned(),
        }));
        let flock = KindDescription {
            kind: "Flock".to_owned(),
            schema: json!({}),
            templates: vec![String::new()],
            count: None,
        };
        world.apply(Command::InstallFramework(Box::new(InstallFramework {
            key: ObjectKey::new("Framework", Namespace::default_namespace(), "birds"),
            component: Digest::of(b"birds"),
            description: Description {
                name: "birds".to_owned(),
                version: "1".to_owned(),
                kinds: vec![flock],
                config_schema: None,
            },
            namespaces: Vec::new(),
            limits: Limits::default(),
            config: "null".to_owned(),
            is_built_in: true,
            ceiling: None,
            generation: None,
        })));
        let heart = world.inner.hearts.start("rounds");
        tokio::spawn(run_rounds_on(world.clone(), heart, 2));
        world
    }

    fn apply(&self, command: Command) -> Reply {
        let mut reply = None;
        let now = self.now();
        self.inner.view.send_modify(|state| {
            let entry = Entry {
                principal: Principal::kernel(),
                at: now,
                wall: WallTime(now.0),
                term: 1,
                client: None,
                since: None,
                command,
            };
            reply = Some(apply(state, Index(state.index.0 + 1), &entry));
        });
        reply.unwrap()
    }

    /// Accepts a flock of a namespace, as a new specification.
    fn serve(&self, namespace: &str) {
        let number = {
            let mut revisions = self.inner.revisions.lock().unwrap();
            *revisions += 1;
            *revisions
        };
        let revision: Revision = format!("{number:040x}").parse().unwrap();
        let state = self.state();
        let previous = state
            .sources
            .get("dev")
            .and_then(|known| known.applied.clone());
        let object = DesiredObject {
            key: ObjectKey::new("Flock", namespace.parse().unwrap(), "flock"),
            labels: BTreeMap::new(),
            lifecycle: Lifecycle::default(),
            spec: json!({"birds": number, "run": {"command": "bird"},
                "resources": {"cpus": "1", "memory": "64Mi", "disk": "0"}, "ports": []})
            .into(),
            origin: Origin {
                file: "flock.yaml".to_owned(),
                line: 1,
                column: None,
            },
            written: None,
        };
        self.apply(Command::Stage(Stage {
            source: "dev".to_owned(),
            revision: revision.clone(),
            part: 0,
            objects: vec![object],
            prune: Vec::new(),
        }));
        let accepted = self.apply(Command::Accept(Accept {
            source: "dev".to_owned(),
            revision,
            previous,
            parts: 1,
            prune: Vec::new(),
            objects: 1,
            released: Vec::new(),
            hands: None,
            going: 0,
        }));
        assert!(matches!(accepted, Reply::Done { .. }), "{accepted:?}");
    }

    fn state(&self) -> State {
        self.inner.view.borrow().clone()
    }

    /// How many turns the seat of a namespace has had.
    fn turns(&self, namespace: &str) -> usize {
        let turns = self.inner.turns.turns.lock().unwrap();
        turns.get(&seat(namespace)).copied().unwrap_or(0)
    }

    /// Waits until this holds.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let reached = async {
            while !holds(self) {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = tokio::time::timeout(Duration::from_secs(600), reached).await;
        assert!(in_time.is_ok(), "never: {what}");
    }

    /// Waits until no turn is under way and none is due for a while, and checks that nobody was
    /// overlooked.
    async fn rest(&self) {
        sleep(Duration::from_secs(2)).await;
        self.until("a rest", |world| {
            world.memory().under_way().next().is_none()
        })
        .await;
        let mut memory = self.memory();
        let (state, now) = (self.state(), self.now());
        let round = plan_round(&state, &mut memory, now);
        assert!(round.turns.is_empty(), "the loop has left turns undone");
        let overlooked = overlooked_seats(&state, &memory, &round, now);
        assert_eq!(overlooked, [] as [String; 0]);
    }
}

fn seat(namespace: &str) -> SeatId {
    SeatId {
        framework: ObjectKey::new("Framework", Namespace::default_namespace(), "birds"),
        namespace: namespace.parse().unwrap(),
    }
}

fn wake(at: ClusterTime) -> TurnOutcome {
    TurnOutcome {
        wake_at: Some(at),
        ..TurnOutcome::default()
    }
}

/// A status with something new in it in every turn.
fn chatter(request: &TurnRequest, number: usize) -> TurnOutcome {
    let rows = request.view.all_rows().workloads;
    let says = rows.iter().map(|row| Operation {
        group: 0,
        op: Op::SetStatus {
            workload: row.id,
            generation: row.generation,
            health: Health::Progressing,
            rollout: RolloutState::Progressing,
            reason: String::new(),
            message: format!("turn {number}"),
        },
    });
    TurnOutcome {
        operations: says.collect(),
        ..TurnOutcome::default()
    }
}

#[tokio::test(start_paused = true)]
async fn a_pass_that_asks_to_be_woken_at_once_is_carried_through() {
    // Each turn asks for the next one at the very time at which it begins.
    let world = World::begin(|request, before| match before {
        0..50 => Ok(wake(request.now)),
        _ => Ok(TurnOutcome::default()),
    });
    world.serve("default");
    world
        .until("51 turns", |world| world.turns("default") == 51)
        .await;
    world.rest().await;
    assert_eq!(world.turns("default"), 51);
    world.serve("default");
    world
        .until("a turn for the change", |world| {
            world.turns("default") == 52
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_wake_up_comes_at_its_time() {
    let world = World::begin(|request, before| match before {
        0 => Ok(wake(request.now.after(Millis(50_000)))),
        1 => Ok(wake(request.now.after(Millis(1)))),
        _ => Ok(TurnOutcome::default()),
    });
    world.serve("default");
    world
        .until("the first turn", |world| world.turns("default") == 1)
        .await;
    sleep(Duration::from_secs(49)).await;
    assert_eq!(world.turns("default"), 1);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.turns("default"), 3);
    world.rest().await;
}

/// Holds the turns of one seat until it is told to let go.
fn held(namespace: &str) -> (Sender<()>, impl Fn(&TurnRequest) + Send + Sync + use<>) {
    let (let_go, held): (Sender<()>, Receiver<()>) = channel();
    let (held, slow) = (Mutex::new(held), seat(namespace));
    let hold = move |request: &TurnRequest| {
        if request.seat == slow {
            held.lock().unwrap().recv().unwrap();
        }
    };
    (let_go, hold)
}

#[tokio::test(start_paused = true)]
async fn a_long_turn_of_one_seat_keeps_no_other_from_its_turns() {
    let (let_go, hold) = held("slow");
    let world = World::begin(move |request, _| {
        hold(request);
        Ok(TurnOutcome::default())
    });
    world.serve("slow");
    while world.turns("slow") < 1 {
        tokio::task::yield_now().await;
    }
    for number in 1..=20 {
        world.serve("quick");
        // Time stands still while the slow turn is under way.
        while world.turns("quick") < number {
            tokio::task::yield_now().await;
        }
    }
    world.serve("slow");
    assert_eq!(world.turns("slow"), 1, "it has one turn at a time");
    let_go.send(()).unwrap();
    let_go.send(()).unwrap();
    world
        .until("its next turn", |world| world.turns("slow") == 2)
        .await;
    world.rest().await;
}

#[tokio::test(start_paused = true)]
async fn no_error_but_the_end_of_the_log_ends_the_rounds() {
    let world = World::begin(|request, before| Ok(chatter(request, before)));
    let errors = [
        ProposeError::DiskFull,
        ProposeError::NoLeaderInTime,
        ProposeError::Unknown {
            reason: "no answer".to_owned(),
        },
        ProposeError::TermOver { expected: 1 },
        ProposeError::NotLeader {
            leader: None,
            address: None,
        },
        ProposeError::TooLarge { bytes: 1 },
    ];
    let count = errors.len();
    world.inner.refusals.lock().unwrap().extend(errors);
    world.serve("default");
    let counted = |world: &World| world.state().seats.values().any(|seat| seat.turn_no == 1);
    world.until("a turn that counts", counted).await;
    assert_eq!(world.turns("default"), count + 1, "each was tried again");
    world.rest().await;
    assert!(world.inner.hearts.late().is_empty());
    let stopped = ProposeError::Stopped {
        reason: "the disk is gone".to_owned(),
    };
    world.inner.refusals.lock().unwrap().push_back(stopped);
    world.serve("default");
    let has_ended = |world: &World| !world.inner.hearts.late().is_empty();
    world
        .until("the end of the loop, told by its heart", has_ended)
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_sandbox_that_fails_itself_pauses_the_seat_and_nobody_else() {
    let world = World::begin(|request, before| {
        assert!(
            request.seat != seat("bad") || before > 2,
            "the sandbox breaks"
        );
        Ok(TurnOutcome::default())
    });
    world.serve("bad");
    world.serve("good");
    world
        .until("a good turn", |world| world.turns("good") == 1)
        .await;
    world
        .until("a pause", |world| {
            world.memory().pauses().contains_key(&seat("bad"))
        })
        .await;
    world
        .until("its recovery", |world| world.turns("bad") == 4)
        .await;
    world.rest().await;
    assert!(world.memory().pauses().is_empty());
}

#[tokio::test(start_paused = true)]
async fn its_own_status_is_no_news_to_a_seat() {
    let world = World::begin(|request, before| Ok(chatter(request, before)));
    world.serve("default");
    world
        .until("a turn", |world| world.turns("default") == 1)
        .await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(world.turns("default"), 1);
    world.rest().await;
}

#[tokio::test(start_paused = true)]
async fn a_seat_that_chatters_is_paced() {
    let world = World::begin(|request, before| {
        let wake_at = Some(request.now);
        Ok(TurnOutcome {
            wake_at,
            ..chatter(request, before)
        })
    });
    world.serve("default");
    sleep(Duration::from_secs(100)).await;
    let turns = world.turns("default");
    assert!((1000..=2300).contains(&turns), "{turns} turns in 100 s");
    let entries = world.state().index.0;
    assert!(entries < 2400, "{entries} entries");
    // It is paced, and is told at once what comes from elsewhere.
    let before = world.turns("default");
    world.serve("default");
    while world.turns("default") == before {
        tokio::task::yield_now().await;
    }
}
