//! A leader: a world, what is remembered from round to round, and how turns end.

use kelson_kernel_core::command::{Command, CommitTurn};
use kelson_kernel_core::port::{SeatId, TurnFault, TurnOutcome};
use kelson_kernel_core::round::{PlannedTurn, Round, RoundMemory, plan_round};
use kelson_model::id::AgentId;
use kelson_model::time::ClusterTime;

use crate::world::{World, counted, demand, seat, service, service_in, spec};

/// A leader: a world and what it remembers of its rounds.
pub(crate) struct Leader {
    pub(crate) world: World,
    pub(crate) memory: RoundMemory,
}

impl Leader {
    pub(crate) fn new() -> Self {
        Self {
            world: World::new(),
            memory: RoundMemory::default(),
        }
    }

    /// One with a Service whose seat has nothing to do but asked to be woken, and when that is due.
    pub(crate) fn with_wake_up() -> (Self, ClusterTime) {
        let mut leader = Self::new();
        leader.world.serve(&service("web"), spec("a", 1));
        let due = ClusterTime(leader.world.now.0 + 5000);
        let turn = leader.one();
        leader.count(&turn, |wish| wish.wake_at = Some(due));
        (leader, due)
    }

    pub(crate) fn plan(&mut self) -> Round {
        plan_round(&self.world.state, &mut self.memory, self.world.now)
    }

    /// Plans a round that must have exactly one turn.
    pub(crate) fn one(&mut self) -> PlannedTurn {
        let mut round = self.plan();
        assert_eq!(seats(&round).len(), 1, "{:?}", seats(&round));
        round.turns.remove(0)
    }

    pub(crate) fn is_quiet(&mut self) -> bool {
        self.plan().turns.is_empty()
    }

    /// Answers a turn that says nothing new: no entry is written.
    pub(crate) fn nothing(&mut self, turn: &PlannedTurn) {
        self.memory.turn_counted(turn, &self.world.state);
    }

    /// Commits what a turn wants.
    pub(crate) fn count(&mut self, turn: &PlannedTurn, wish: impl FnOnce(&mut CommitTurn)) {
        let mut command = CommitTurn {
            cursor: turn.cursor,
            ..self.world.turn(&turn.request.seat)
        };
        assert_eq!(command.turn_no, turn.request.turn_no);
        wish(&mut command);
        counted(self.world.apply(Command::CommitTurn(command)));
        self.memory.turn_counted(turn, &self.world.state);
    }

    /// Lets every turn say nothing until nothing happens any more.
    pub(crate) fn settle(&mut self) {
        for _ in 0..10 {
            let round = self.plan();
            if round.turns.is_empty() {
                return;
            }
            for turn in &round.turns {
                self.nothing(turn);
            }
        }
        panic!("there is no end of turns");
    }

    /// One Service whose seat wants this many tasks, and has had no offer yet.
    pub(crate) fn wanting(&mut self, namespace: &str, count: u32) {
        let key = service_in(namespace, "web");
        let workload = self.world.serve(&key, spec("a", u64::from(count)));
        let turn = CommitTurn {
            demand: Some(vec![demand(1, workload, 1, count)]),
            ..self.world.turn(&seat(namespace))
        };
        counted(self.world.apply(Command::CommitTurn(turn)));
    }
}

pub(crate) fn seats(round: &Round) -> Vec<SeatId> {
    let seats = round.turns.iter().map(|turn| turn.request.seat.clone());
    seats.collect()
}

pub(crate) fn offered(turn: &PlannedTurn) -> Vec<(AgentId, u32)> {
    let offers = turn.request.offers.iter();
    offers.map(|offer| (offer.agent, offer.count)).collect()
}

/// A turn that wants nothing but to be woken.
pub(crate) fn wake_up(wake_at: Option<ClusterTime>) -> TurnOutcome {
    TurnOutcome {
        wake_at,
        ..TurnOutcome::default()
    }
}

pub(crate) fn trapped() -> TurnFault {
    TurnFault::Trapped {
        call: "turn",
        message: "unreachable".to_owned(),
    }
}
