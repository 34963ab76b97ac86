//! The ledger: what tasks take from agents, namespaces and seats until they have ended.

use std::sync::Arc;

use kelson_model::id::{AgentId, WorkloadId};
use kelson_model::quantity::Resources;
use kelson_model::time::ClusterTime;

use super::{Farewell, State};
use crate::port::SeatId;
use crate::ports::note_taken;
use crate::record::{Agent, NamespaceRecord};
use crate::tasks::{Draft, Shape, TaskRef};

impl State {
    /// Takes what a new task needs, ports included, from its agent, namespace and seat.
    pub(crate) fn take(&mut self, task: TaskRef<'_>, last_port: u16) {
        self.account(task, |used| used.plus(task.resources()));
        if let Some(agent) = self.records.agents.get_mut(&task.agent()) {
            let agent = Arc::make_mut(agent);
            agent.last_port = last_port;
            for port in task.port_numbers() {
                agent.used_ports.insert(*port, task.id());
                agent.used_in_range += in_range(agent, *port);
            }
        }
    }

    /// Gives back what an ended task has held: room is made on its agent.
    pub(crate) fn give_back(&mut self, task: TaskRef<'_>) {
        self.account(task, |used| used.minus(task.resources()));
        let room_version = self.next_room_version();
        if let Some(agent) = self.records.agents.get_mut(&task.agent()) {
            let agent = Arc::make_mut(agent);
            agent.room_version = room_version;
            for port in task.port_numbers() {
                if agent.used_ports.get(port) == Some(&task.id()) {
                    agent.used_ports.remove(port);
                    let freed = in_range(agent, *port);
                    agent.used_in_range = agent.used_in_range.saturating_sub(freed);
                }
            }
        }
    }

    /// Remembers ports that an agent could not use, so that the next task gets others.
    pub(crate) fn note_taken_ports(&mut self, agent: AgentId, ports: &[u16], now: ClusterTime) {
        if let Some(agent) = self.records.agents.get_mut(&agent) {
            note_taken(Arc::make_mut(agent), ports, now);
        }
    }

    fn account(&mut self, task: TaskRef<'_>, change: impl Fn(&Resources) -> Resources) {
        let namespaces = &mut self.records.namespaces;
        let namespace = &task.object().namespace;
        if let Some(record) = namespaces.get_mut(namespace) {
            record.used = change(&record.used);
        } else {
            let record = NamespaceRecord {
                used: change(&Resources::default()),
                ..NamespaceRecord::default()
            };
            namespaces.insert(namespace.clone(), record);
        }
        self.charge(task.seat(), &change);
        if let Some(agent) = self.records.agents.get_mut(&task.agent()) {
            let agent = Arc::make_mut(agent);
            agent.used = change(&agent.used);
        }
    }

    fn charge(&mut self, seat: &SeatId, change: impl Fn(&Resources) -> Resources) {
        if let Some(seat) = self.records.seats.get_mut(seat) {
            let seat = Arc::make_mut(seat);
            seat.used = change(&seat.used);
        }
    }

    /// Gives the tasks of a workload to another seat, with what they hold.
    pub(crate) fn hand_over(&mut self, workload: WorkloadId, to: &SeatId) {
        let others = self.tasks_of(workload).filter(|task| task.seat() != to);
        let drafts: Vec<Draft> = others.map(TaskRef::draft).collect();
        for mut draft in drafts {
            let task = draft.as_ref();
            let (shape, resources) = (Arc::clone(task.shape()), *task.resources());
            let gone = Farewell::Task(task.id(), task.agent());
            if !task.state().is_terminal() {
                self.charge(&shape.seat, |used| used.minus(&resources));
                self.charge(to, |used| used.plus(&resources));
            }
            self.bid_farewell(Arc::clone(&shape.seat), Farewell::Workload(workload));
            self.bid_farewell(Arc::clone(&shape.seat), gone);
            draft.set_shape(self.share_shape(Shape {
                seat: Arc::new(to.clone()),
                ..Shape::clone(&shape)
            }));
            self.put_task(draft);
        }
    }

    /// The next version of the room on agents, for one that has new room or a new description.
    pub(crate) fn next_room_version(&mut self) -> u64 {
        self.records.room_version += 1;
        self.records.room_version
    }
}

fn in_range(agent: &Agent, port: u16) -> u32 {
    let range = agent.description.ports;
    u32::from((range.first..=range.last).contains(&port))
}
