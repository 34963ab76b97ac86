//! The allocator: cuts offers for demands.
//!
//! *Flow:* the seat furthest below its weighted share gets room for one more task of its first
//! demand, again and again, until nothing more fits or nobody wants more. *Guarantees:* offers of
//! one round never overlap, so turns may run in parallel and none is refused for want of room; the
//! result depends on the state alone. *Caveats:* an agent that a demand was shown and that its
//! scheduler declined is not cut again for that demand before it has new room or the demand
//! changes; the caller keeps that memory, and the one of the room that turns under way were shown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use kelson_model::agent::{AgentState, PortRange};
use kelson_model::id::AgentId;
use kelson_model::object::Namespace;
use kelson_model::quantity::{Bytes, MilliCpus, Resources};
use kelson_model::template::TaskTemplate;
use kelson_model::time::ClusterTime;

use crate::fairness::Queue;
use crate::port::{Demand, Offer, Placement, SeatId};
use crate::record::Agent;
use crate::state::State;

/// Most tasks that one seat is offered in one round.
const MAX_TASKS_PER_SEAT: u32 = 2000;

/// What an agent still has while a round is cut.
struct Room {
    free: Resources,
    range: PortRange,
    free_ports: u32,
    taken_ports: BTreeSet<u16>,
    /// Ports that something else on the machine was seen to use, and which no task holds.
    strange_ports: BTreeSet<u16>,
}

/// Room that is kept for a turn under way.
pub(crate) struct Held {
    /// The namespace of its seat.
    pub(crate) namespace: Namespace,
    /// Where.
    pub(crate) agent: AgentId,
    /// For how many tasks.
    pub(crate) count: u32,
    /// Of which shape.
    pub(crate) template: Arc<TaskTemplate>,
}

/// Offers by seat, each with the template that it is room for.
pub(crate) type Offers = BTreeMap<SeatId, Vec<(Offer, Arc<TaskTemplate>)>>;

/// A demand while a round is cut.
struct Open<'a> {
    demand: &'a Demand,
    template: Arc<TaskTemplate>,
    left: u32,
    /// Agents that may suit, best first: (rank, second rank, agent). Looked for when it is this
    /// demand's turn.
    candidates: Option<BTreeSet<(u64, u64, AgentId)>>,
    given: BTreeMap<AgentId, u32>,
}

/// Cuts offers for the demands of these seats from what is neither used nor kept for others.
/// `is_declined` says whether an agent is not to be shown to a demand again.
pub(crate) fn cut_offers(
    state: &State,
    seats: &BTreeMap<SeatId, Arc<Vec<Demand>>>,
    held: &[Held],
    is_declined: impl Fn(&SeatId, &Demand, AgentId) -> bool,
) -> Offers {
    let mut rooms = free_rooms(state, held);
    let mut open: BTreeMap<SeatId, Vec<Open<'_>>> = BTreeMap::new();
    for (seat, demands) in seats {
        let mut sorted: Vec<&Demand> = demands.iter().filter(|demand| demand.count > 0).collect();
        sorted.sort_by_key(|demand| (std::cmp::Reverse(demand.priority), demand.key));
        let mut list: Vec<Open<'_>> = Vec::new();
        for demand in sorted {
            if !may_launch(state, seat, demand) {
                continue;
            }
            let Some(template) = demanded_template(state, demand) else {
                continue;
            };
            list.push(Open {
                demand,
                template,
                left: demand.count,
                candidates: None,
                given: BTreeMap::new(),
            });
        }
        // First demand last, so that it can be popped.
        list.reverse();
        open.insert(seat.clone(), list);
    }
    let mut queue = Queue::new(state, open.keys());
    for held in held {
        queue.hold(
            &held.namespace,
            &times(&held.template.resources, held.count),
        );
    }
    let mut nowhere = Nowhere::default();
    let mut offers = Offers::new();
    let mut counts: BTreeMap<SeatId, u32> = BTreeMap::new();
    while let Some(seat) = queue.first() {
        let count = counts.entry(seat.clone()).or_default();
        let list = open
            .get_mut(&seat)
            .filter(|list| *count < MAX_TASKS_PER_SEAT && !list.is_empty());
        let Some(list) = list else {
            queue.remove(&seat);
            continue;
        };
        let placed = list.last_mut().and_then(|open| {
            if open.candidates.is_none() {
                let suits = |agent: &AgentId| !is_declined(&seat, open.demand, *agent);
                open.candidates = Some(nowhere.candidates(state, open, &rooms, suits));
            }
            place_one(open, &mut rooms)
        });
        match placed {
            Some(resources) => {
                *count += 1;
                queue.charge(&seat, &resources);
            }
            None => {
                if let Some(done) = list.pop() {
                    offers.entry(seat).or_default().extend(offers_of(&done));
                }
            }
        }
    }
    for (seat, list) in open {
        let rest: Vec<_> = list.iter().rev().flat_map(offers_of).collect();
        if !rest.is_empty() {
            offers.entry(seat).or_default().extend(rest);
        }
    }
    offers.retain(|_, offers| !offers.is_empty());
    offers
}

/// What is free on the agents that can be reached.
fn free_rooms(state: &State, held: &[Held]) -> BTreeMap<AgentId, Room> {
    let ready = |agent: &&Arc<Agent>| agent.state == AgentState::Ready;
    let mut rooms: BTreeMap<AgentId, Room> = state
        .agents
        .values()
        .filter(ready)
        .map(|agent| {
            let room = Room {
                free: agent.free(),
                range: agent.description.ports,
                free_ports: agent.free_ports(),
                taken_ports: BTreeSet::new(),
                strange_ports: strange_ports(agent, state.time).collect(),
            };
            (agent.id, room)
        })
        .collect();
    for held in held {
        if let Some(room) = rooms.get_mut(&held.agent) {
            for _ in 0..held.count {
                room.take(&held.template);
            }
        }
    }
    rooms
}

/// The ports that something else on an agent's machine uses, as far as is known.
fn strange_ports(agent: &Agent, now: ClusterTime) -> impl Iterator<Item = u16> {
    let seen = agent.taken_ports.iter();
    let seen =
        seen.filter(move |(port, until)| **until > now && !agent.used_ports.contains_key(*port));
    seen.map(|(port, _)| *port)
}

impl Room {
    /// Whether a task of this shape finds its ports without one that something else was seen to
    /// use.
    fn is_clear_for(&self, template: &TaskTemplate) -> bool {
        let is_strange = |port: u16| self.strange_ports.contains(&port);
        let strange = u32::try_from(self.strange_ports.len()).unwrap_or(u32::MAX);
        let clear = self.free_ports.saturating_sub(strange);
        has_free_ports(template, self.range, clear, is_strange)
    }

    /// Takes what a task of this shape takes.
    fn take(&mut self, template: &TaskTemplate) {
        self.free = self.free.minus(&template.resources);
        for port in &template.ports {
            self.taken_ports.extend(port.port);
            if is_of_range(port.port, self.range) {
                self.free_ports = self.free_ports.saturating_sub(1);
            }
        }
    }
}

/// This many times as much.
fn times(resources: &Resources, count: u32) -> Resources {
    let count = u64::from(count);
    Resources {
        cpus: MilliCpus(resources.cpus.0.saturating_mul(count)),
        memory: Bytes(resources.memory.0.saturating_mul(count)),
        disk: Bytes(resources.disk.0.saturating_mul(count)),
    }
}

/// Shapes that fit on no agent any more: while a round is cut, room only shrinks. So a thousand
/// demands that wait for room cost no more than one.
#[derive(Default)]
struct Nowhere {
    shapes: Vec<Resources>,
}

impl Nowhere {
    /// Shapes that are remembered.
    const MOST: usize = 16;

    /// The agents that may suit a demand.
    fn candidates(
        &mut self,
        state: &State,
        open: &Open<'_>,
        rooms: &BTreeMap<AgentId, Room>,
        suits: impl Fn(&AgentId) -> bool,
    ) -> BTreeSet<(u64, u64, AgentId)> {
        let wanted = &open.template.resources;
        if self.shapes.iter().any(|shape| wanted.fits(shape)) {
            return BTreeSet::new();
        }
        if !rooms.values().any(|room| room.free.fits(wanted)) {
            if self.shapes.len() < Self::MOST {
                self.shapes.push(*wanted);
            }
            return BTreeSet::new();
        }
        candidates(state, open.demand, &open.template, rooms, suits)
    }
}

/// Whether a launch for this demand could count at all: only then is anything shown for it.
fn may_launch(state: &State, seat: &SeatId, demand: &Demand) -> bool {
    state.object_of(demand.workload).is_some_and(|object| {
        !object.is_removed
            && object.quarantined_generation() != demand.generation
            && state.is_of_seat(&object.key, seat)
    })
}

/// The template whose shape a demand asks for; nothing where the demand names something that is not
/// there any more.
pub(crate) fn demanded_template(state: &State, demand: &Demand) -> Option<Arc<TaskTemplate>> {
    let object = state.object_of(demand.workload)?;
    let generation = object.generation_of(demand.generation)?;
    generation
        .templates
        .get(usize::try_from(demand.template).ok()?)
        .cloned()
}

fn candidates(
    state: &State,
    demand: &Demand,
    template: &TaskTemplate,
    rooms: &BTreeMap<AgentId, Room>,
    suits: impl Fn(&AgentId) -> bool,
) -> BTreeSet<(u64, u64, AgentId)> {
    let mut of_workload: BTreeMap<AgentId, u64> = BTreeMap::new();
    for task in state.live_tasks_of(demand.workload) {
        *of_workload.entry(task.agent()).or_default() += 1;
    }
    let fits = |agent: &AgentId, room: &Room| {
        let known = state.agents.get(agent);
        room.free.fits(&template.resources)
            && known.is_some_and(|known| {
                has_ports(template, room, |port| known.used_ports.contains_key(&port))
            })
    };
    let (clear, strange): (Vec<_>, Vec<_>) = rooms
        .iter()
        .filter(|(agent, room)| fits(agent, room) && suits(agent))
        .partition(|(_, room)| room.is_clear_for(template));
    // Where no other is left, an agent whose ports somebody else had is asked again.
    let best = if clear.is_empty() { strange } else { clear };
    best.into_iter()
        .map(|(agent, room)| match demand.placement {
            Placement::Spread => (
                of_workload.get(agent).copied().unwrap_or(0),
                u64::MAX - room.free.cpus.0,
                *agent,
            ),
            Placement::Pack => (room.free.cpus.0, room.free.memory.0, *agent),
        })
        .collect()
}

/// Whether an agent has the ports that a template asks for; `is_used` says which are held already.
pub(crate) fn has_free_ports(
    template: &TaskTemplate,
    range: PortRange,
    free_ports: u32,
    is_used: impl Fn(u16) -> bool,
) -> bool {
    let of_range = template
        .ports
        .iter()
        .filter(|port| is_of_range(port.port, range))
        .count();
    let fixed_are_free = template
        .ports
        .iter()
        .filter_map(|port| port.port)
        .all(|port| !is_used(port));
    u32::try_from(of_range).is_ok_and(|of_range| of_range <= free_ports) && fixed_are_free
}

/// Whether a port that is asked for takes one of the agent's range: a number in it, or whichever is
/// free.
fn is_of_range(port: Option<u16>, range: PortRange) -> bool {
    port.is_none_or(|number| (range.first..=range.last).contains(&number))
}

fn has_ports(template: &TaskTemplate, room: &Room, is_used: impl Fn(u16) -> bool) -> bool {
    has_free_ports(template, room.range, room.free_ports, |port| {
        is_used(port) || room.taken_ports.contains(&port)
    })
}

/// Gives one task of a demand a place; returns what it takes, or nothing where no place is left or
/// no more is wanted.
fn place_one(open: &mut Open<'_>, rooms: &mut BTreeMap<AgentId, Room>) -> Option<Resources> {
    if open.left == 0 {
        return None;
    }
    let candidates = open.candidates.as_mut()?;
    while let Some((rank, second, agent)) = candidates.pop_first() {
        let Some(room) = rooms.get_mut(&agent) else {
            continue;
        };
        if !room.free.fits(&open.template.resources) || !has_ports(&open.template, room, |_| false)
        {
            continue;
        }
        room.take(&open.template);
        let again = match open.demand.placement {
            Placement::Spread => (rank + 1, u64::MAX - room.free.cpus.0, agent),
            Placement::Pack => (0, second, agent),
        };
        candidates.insert(again);
        *open.given.entry(agent).or_default() += 1;
        open.left -= 1;
        return Some(open.template.resources);
    }
    None
}

fn offers_of(open: &Open<'_>) -> Vec<(Offer, Arc<TaskTemplate>)> {
    let offer = |(agent, count): (&AgentId, &u32)| {
        let offer = Offer {
            key: open.demand.key,
            workload: open.demand.workload,
            generation: open.demand.generation,
            template: open.demand.template,
            agent: *agent,
            count: *count,
        };
        (offer, Arc::clone(&open.template))
    };
    open.given.iter().map(offer).collect()
}
