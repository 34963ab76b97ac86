//! All tasks, by id: chunks of neighbouring ids in a persistent map.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use imbl::OrdMap;
use imbl::ordmap::DiffItem;
use kelson_model::id::{Index, TaskId, WorkloadId};
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::draft::Draft;
use super::packed::{Cold, Packed};
use super::shape::{Shape, Shapes};
use super::view::TaskRef;
use crate::record::Task;

/// Ids of one chunk: what is copied where a task changes that a clone holds as well.
const CHUNK: u64 = 16;

/// Tasks by id. A clone costs nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tasks {
    chunks: OrdMap<u64, Arc<Chunk>>,
    count: usize,
}

/// The tasks of [`CHUNK`] neighbouring ids, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Chunk {
    /// Which of the ids have a task, the first one lowest.
    present: u16,
    tasks: Vec<Packed>,
}

fn place(id: TaskId) -> (u64, u16) {
    (id.0 / CHUNK, 1 << (id.0 % CHUNK))
}

impl Chunk {
    /// Where a task lies or would lie.
    fn at(&self, bit: u16) -> (usize, bool) {
        let before = (self.present & (bit - 1)).count_ones();
        let at = usize::try_from(before).unwrap_or(usize::MAX);
        (at, self.present & bit != 0)
    }

    fn get(&self, bit: u16) -> Option<&Packed> {
        let (at, is_there) = self.at(bit);
        self.tasks.get(at).filter(|_| is_there)
    }

    fn ids(&self, chunk: u64) -> impl DoubleEndedIterator<Item = TaskId> + '_ {
        let ids = (0..CHUNK).filter(|place| self.present & (1 << place) != 0);
        ids.map(move |place| TaskId(chunk * CHUNK + place))
    }

    fn tasks(&self, chunk: u64) -> impl Iterator<Item = TaskRef<'_>> {
        let ids = self.ids(chunk);
        ids.zip(&self.tasks)
            .map(|(id, packed)| TaskRef::new(id, packed))
    }
}

impl Tasks {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// One task.
    pub fn get(&self, id: TaskId) -> Option<TaskRef<'_>> {
        let (chunk, bit) = place(id);
        let packed = self.chunks.get(&chunk)?.get(bit)?;
        Some(TaskRef::new(id, packed))
    }

    /// Whether there is a task of this id.
    pub fn contains(&self, id: TaskId) -> bool {
        let (chunk, bit) = place(id);
        let chunk = self.chunks.get(&chunk);
        chunk.is_some_and(|chunk| chunk.present & bit != 0)
    }

    /// All tasks, by id.
    pub fn iter(&self) -> impl Iterator<Item = TaskRef<'_>> {
        self.chunks
            .iter()
            .flat_map(|(chunk, tasks)| tasks.tasks(*chunk))
    }

    /// Tells the tasks in which two maps differ; chunks that both share are passed over.
    pub(crate) fn differences<'a>(
        &'a self,
        other: &'a Self,
        tell: &mut dyn FnMut(Option<TaskRef<'a>>, Option<TaskRef<'a>>),
    ) {
        for item in self.chunks.diff(&other.chunks) {
            let (number, these, those) = match item {
                DiffItem::Add(number, those) => (*number, None, Some(those)),
                DiffItem::Update { old, new } => (*old.0, Some(old.1), Some(new.1)),
                DiffItem::Remove(number, these) => (*number, Some(these), None),
            };
            for place in 0..CHUNK {
                let id = TaskId(number * CHUNK + place);
                let this = these.and_then(|chunk| chunk.get(1 << place));
                let that = those.and_then(|chunk| chunk.get(1 << place));
                if this != that {
                    let task = |packed| TaskRef::new(id, packed);
                    tell(this.map(task), that.map(task));
                }
            }
        }
    }

    /// All ids, in order.
    pub fn ids(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.chunks
            .iter()
            .flat_map(|(chunk, tasks)| tasks.ids(*chunk))
    }

    /// The tasks from this id on, by id.
    pub fn since(&self, first: TaskId) -> impl Iterator<Item = TaskRef<'_>> {
        let (chunk, _) = place(first);
        self.chunks
            .range(chunk..)
            .flat_map(|(chunk, tasks)| tasks.tasks(*chunk))
            .skip_while(move |task| task.id() < first)
    }

    /// Writes a task.
    pub(crate) fn put(&mut self, draft: Draft) {
        let (chunk, bit) = place(draft.as_ref().id());
        let packed = draft.into_packed();
        if let Some(known) = self.chunks.get_mut(&chunk) {
            let known = Arc::make_mut(known);
            let (at, is_there) = known.at(bit);
            match known.tasks.get_mut(at).filter(|_| is_there) {
                Some(task) => *task = packed,
                None => {
                    known.present |= bit;
                    known.tasks.insert(at, packed);
                    self.count += 1;
                }
            }
        } else {
            let mut tasks = Vec::with_capacity(4);
            tasks.push(packed);
            let present = bit;
            self.chunks
                .insert(chunk, Arc::new(Chunk { present, tasks }));
            self.count += 1;
        }
    }

    /// Takes a task out.
    pub(crate) fn remove(&mut self, id: TaskId) -> Option<Draft> {
        let (chunk, bit) = place(id);
        let known = self.chunks.get_mut(&chunk)?;
        if known.present & bit == 0 {
            return None;
        }
        let known = Arc::make_mut(known);
        let (at, _) = known.at(bit);
        let packed = known.tasks.remove(at);
        known.present &= !bit;
        known.tasks.shrink_to(known.tasks.len() + 1);
        self.count -= 1;
        if known.present == 0 {
            self.chunks.remove(&chunk);
        }
        Some(Draft::new(id, packed))
    }

    /// Says of every task that this entry changed it last.
    pub(crate) fn set_changed(&mut self, at: Index) {
        let numbers: Vec<u64> = self.chunks.keys().copied().collect();
        for number in numbers {
            if let Some(chunk) = self.chunks.get_mut(&number) {
                for task in &mut Arc::make_mut(chunk).tasks {
                    task.changed = at;
                }
            }
        }
    }
}

/// Tasks that are taken in one after another from where they were stored.
#[derive(Debug, Default)]
pub(crate) struct Gathering {
    tasks: Tasks,
    /// What the tasks of a workload share.
    shared: BTreeMap<WorkloadId, (Shapes, Option<Arc<Cold>>)>,
}

impl Gathering {
    /// Takes a task in, which this entry changed last; `false`: it was there already.
    pub(crate) fn put(&mut self, task: &Task, changed: Index) -> bool {
        let (shapes, made) = self.shared.entry(task.workload).or_default();
        let shape = shapes.share(Shape {
            workload: task.workload,
            object: Arc::new(task.object.clone()),
            seat: Arc::new(task.seat.clone()),
            generation: task.generation,
            template: task.template,
            template_id: task.template_id,
            resources: task.resources,
            ports: task.ports.keys().cloned().collect(),
        });
        let mut draft = Draft::new(task.id, Packed::of(task, shape, changed));
        if let Some(cold) = draft.cold_mut() {
            match made {
                Some(known) if known == cold => *cold = Arc::clone(known),
                Some(_) | None => *made = Some(Arc::clone(cold)),
            }
        }
        let is_new = !self.tasks.contains(task.id);
        self.tasks.put(draft);
        is_new
    }

    /// The tasks.
    pub(crate) fn finish(self) -> Tasks {
        self.tasks
    }
}

impl FromIterator<(Task, Index)> for Tasks {
    /// Takes in tasks, each with the entry that changed it last.
    fn from_iter<I: IntoIterator<Item = (Task, Index)>>(tasks: I) -> Self {
        let mut all = Gathering::default();
        for (task, changed) in tasks {
            all.put(&task, changed);
        }
        all.finish()
    }
}

impl FromIterator<Task> for Tasks {
    fn from_iter<I: IntoIterator<Item = Task>>(tasks: I) -> Self {
        tasks.into_iter().map(|task| (task, Index(0))).collect()
    }
}

impl Serialize for Tasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter().map(|task| (task.id(), task.to_task())))
    }
}

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Map)
    }
}

struct Map;

impl<'de> Visitor<'de> for Map {
    type Value = Tasks;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("tasks by id")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Tasks, A::Error> {
        let mut next = || match map.next_entry::<TaskId, Task>() {
            Ok(Some((id, task))) if id == task.id => Some(Ok(task)),
            Ok(Some((id, task))) => {
                Some(Err(A::Error::custom(format!("{} stands at {id}", task.id))))
            }
            Ok(None) => None,
            Err(error) => Some(Err(error)),
        };
        std::iter::from_fn(&mut next).collect()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use std::collections::BTreeMap;

    use kelson_model::id::AgentId;
    use kelson_model::object::{Namespace, ObjectKey};
    use kelson_model::principal::Principal;
    use kelson_model::quantity::{Bytes, MilliCpus, Resources};
    use kelson_model::task::{CheckState, Exit, StopReason, TaskState};
    use kelson_model::time::{ClusterTime, WallTime};

    use super::*;
    use crate::port::SeatId;
    use crate::record::StopOrder;

    fn task(id: u64, ports: u16) -> Task {
        let key = ObjectKey::new("Service", Namespace::default_namespace(), "web");
        Task {
            id: TaskId(id),
            workload: WorkloadId(id % 3),
            seat: SeatId {
                framework: key.clone(),
                namespace: Namespace::default_namespace(),
            },
            object: key,
            generation: 1,
            template: 0,
            template_id: 7,
            slot: 3,
            agent: AgentId(5),
            resources: Resources {
                cpus: MilliCpus(1),
                memory: Bytes(2),
                disk: Bytes(3),
            },
            ports: (0..ports).map(|port| (format!("p{port}"), port)).collect(),
            stop: None,
            assignment: 1,
            state: TaskState::Running,
            state_since: ClusterTime(u64::MAX),
            health: CheckState::Healthy,
            healthy_since: Some(ClusterTime(u64::MAX)),
            is_ready: true,
            pid: Some(u32::MAX),
            started_at: Some(WallTime(u64::MAX)),
            exit: None,
            sequence: 9,
            attempts: 2,
            refusals: 0,
            is_forgotten: false,
            isolation: String::new(),
            message: String::new(),
        }
    }

    /// One of each kind of rarity.
    fn rare() -> Vec<Task> {
        let stopped = Task {
            stop: Some(StopOrder {
                reason: StopReason::ByHand,
                by: Principal::kernel(),
            }),
            exit: Some(Exit::default()),
            refusals: 4,
            is_forgotten: true,
            healthy_since: None,
            pid: None,
            started_at: None,
            isolation: "memory: none".to_owned(),
            message: "waits".to_owned(),
            ..task(40, 1)
        };
        let wide = Task {
            sequence: u64::MAX,
            assignment: u64::MAX,
            agent: AgentId(u64::MAX),
            ..task(41, 0)
        };
        vec![
            task(1, 0),
            task(2, 2),
            task(17, 3),
            task(u64::MAX, 9),
            stopped,
            wide,
        ]
    }

    #[test]
    fn a_task_is_read_as_it_was_written_however_rare_it_is() {
        let tasks: Tasks = rare().into_iter().collect();
        for task in rare() {
            assert_eq!(tasks.get(task.id).unwrap().to_task(), task);
        }
        assert_eq!(tasks.len(), 6);
        let bytes = rmp_serde::to_vec_named(&tasks).unwrap();
        let map: BTreeMap<TaskId, Task> = rmp_serde::from_slice(&bytes).unwrap();
        assert_eq!(map.into_values().collect::<Tasks>(), tasks);
        assert_eq!(rmp_serde::from_slice::<Tasks>(&bytes).unwrap(), tasks);
    }

    #[test]
    fn a_task_that_stands_at_another_id_is_refused() {
        let wrong = BTreeMap::from([(TaskId(2), task(1, 0))]);
        let bytes = rmp_serde::to_vec_named(&wrong).unwrap();
        assert!(rmp_serde::from_slice::<Tasks>(&bytes).is_err());
    }

    #[test]
    fn tasks_come_by_id_from_any_id_on_and_go_one_by_one() {
        let ids = [1, 2, 15, 16, 17, 31, 32, 1000];
        let mut tasks: Tasks = ids.iter().map(|id| task(*id, 0)).collect();
        let all = tasks.clone();
        for (place, first) in ids.iter().enumerate() {
            let from = tasks.since(TaskId(*first)).map(|task| task.id().0);
            assert!(from.eq(ids.iter().skip(place).copied()));
        }
        assert!(tasks.since(TaskId(1001)).next().is_none());
        assert!(tasks.since(TaskId(18)).next().unwrap().id() == TaskId(31));
        for (place, id) in ids.iter().enumerate() {
            assert!(tasks.contains(TaskId(*id)));
            assert!(tasks.remove(TaskId(*id)).is_some());
            assert!(tasks.remove(TaskId(*id)).is_none() && !tasks.contains(TaskId(*id)));
            let left: Vec<TaskId> = tasks.ids().collect();
            assert_eq!(left.len(), ids.len() - place - 1);
            assert_eq!(tasks.iter().map(|task| task.id()).collect::<Vec<_>>(), left);
        }
        assert!(
            tasks.is_empty() && all.len() == ids.len(),
            "a clone keeps them"
        );
    }
}
