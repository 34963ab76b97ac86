//! Turns: what a scheduler wants done, in columns.
//!
//! Operations stand by kind, and which kind comes when is told before them, so that their order is
//! kept. What one row takes at most is counted by `turn_size.rs`.

use std::sync::Arc;

use kelson_model::id::{AgentId, TaskId, WorkloadId};

use super::columns::{put_columns, small, take_columns};
use super::error::FormError;
use super::reader::Reader;
use super::statement::{Columns, Form, Numbered, Way};
use super::writer::Writer;
use crate::command::CommitTurn;
use crate::port::{Demand, Op, Operation, Placement, RefusalRow, StateWrite};

form!(CommitTurn {
    seat, turn_no, component, cursor, operations as Columns, writes as Columns, demand as Columns,
    demand_changes as Columns, wake_at,
});
form!(RefusalRow { group, subject, reason as Name });

numbers!(Placement, "placement" { 0 = Spread, 1 = Pack });

/// The kinds of operations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Launch,
    Kill,
    Forget,
    SetStatus,
    SetGoodGeneration,
    Quarantine,
    Note,
}

numbers!(Kind, "operation" {
    0 = Launch, 1 = Kill, 2 = Forget, 3 = SetStatus, 4 = SetGoodGeneration, 5 = Quarantine, 6 = Note,
});

impl Kind {
    const ALL: [Self; 7] = [
        Self::Launch,
        Self::Kill,
        Self::Forget,
        Self::SetStatus,
        Self::SetGoodGeneration,
        Self::Quarantine,
        Self::Note,
    ];

    /// How many numbers a row has, and how many texts.
    fn shape(self) -> (usize, usize) {
        match self {
            Self::Launch => (6, 0),
            Self::Kill => (3, 0),
            Self::Forget => (2, 0),
            Self::SetStatus => (5, 2),
            Self::SetGoodGeneration => (3, 0),
            Self::Quarantine => (3, 1),
            Self::Note => (2, 1),
        }
    }
}

/// An operation as a row: its group, then what its kind has.
struct Row<'a> {
    kind: Kind,
    numbers: [u64; 6],
    texts: [&'a str; 2],
}

impl<'a> Row<'a> {
    fn of(operation: &'a Operation) -> Self {
        let Operation { group, op } = operation;
        let group = u64::from(*group);
        let (kind, numbers, texts) = match op {
            Op::Launch {
                workload,
                generation,
                template,
                slot,
                agent,
            } => {
                let (template, slot) = (u64::from(*template), u64::from(*slot));
                let numbers = [group, workload.0, *generation, template, slot, agent.0];
                (Kind::Launch, numbers, ["", ""])
            }
            Op::Kill { task, reason } => {
                let numbers = [group, task.0, reason.number(), 0, 0, 0];
                (Kind::Kill, numbers, ["", ""])
            }
            Op::Forget { task } => (Kind::Forget, [group, task.0, 0, 0, 0, 0], ["", ""]),
            Op::SetStatus {
                workload,
                generation,
                health,
                rollout,
                reason,
                message,
            } => {
                let (health, rollout) = (health.number(), rollout.number());
                let numbers = [group, workload.0, *generation, health, rollout, 0];
                (Kind::SetStatus, numbers, [reason.as_str(), message])
            }
            Op::SetGoodGeneration {
                workload,
                generation,
            } => {
                let numbers = [group, workload.0, *generation, 0, 0, 0];
                (Kind::SetGoodGeneration, numbers, ["", ""])
            }
            Op::Quarantine {
                workload,
                generation,
                reason,
            } => {
                let numbers = [group, workload.0, *generation, 0, 0, 0];
                (Kind::Quarantine, numbers, [reason.as_str(), ""])
            }
            Op::Note { workload, text } => {
                let numbers = [group, workload.0, 0, 0, 0, 0];
                (Kind::Note, numbers, [text.as_str(), ""])
            }
        };
        Self {
            kind,
            numbers,
            texts,
        }
    }

    fn operation(self) -> Result<Operation, FormError> {
        let [group, first, second, third, fourth, fifth] = self.numbers;
        let (workload, task) = (WorkloadId(first), TaskId(first));
        let [text, more] = self.texts.map(str::to_owned);
        let op = match self.kind {
            Kind::Launch => Op::Launch {
                workload,
                generation: second,
                template: small(third)?,
                slot: small(fourth)?,
                agent: AgentId(fifth),
            },
            Kind::Kill => Op::Kill {
                task,
                reason: Numbered::numbered(second)?,
            },
            Kind::Forget => Op::Forget { task },
            Kind::SetStatus => Op::SetStatus {
                workload,
                generation: second,
                health: Numbered::numbered(third)?,
                rollout: Numbered::numbered(fourth)?,
                reason: text,
                message: more,
            },
            Kind::SetGoodGeneration => Op::SetGoodGeneration {
                workload,
                generation: second,
            },
            Kind::Quarantine => Op::Quarantine {
                workload,
                generation: second,
                reason: text,
            },
            Kind::Note => Op::Note { workload, text },
        };
        Ok(Operation {
            group: small(group)?,
            op,
        })
    }
}

/// How many come, then kind and length of each run of one kind, then the rows of each kind.
impl Way<Vec<Operation>> for Columns {
    fn put(value: &Vec<Operation>, to: &mut Writer) {
        let rows: Vec<Row<'_>> = value.iter().map(Row::of).collect();
        to.count(rows.len());
        for run in rows.chunk_by(|one, other| one.kind == other.kind) {
            if let Some(first) = run.first() {
                first.kind.put(to);
            }
            to.count(run.len());
        }
        for kind in Kind::ALL {
            let (width, texts) = kind.shape();
            let of_kind = || rows.iter().filter(|row| row.kind == kind);
            let numbers: Vec<[u64; 6]> = of_kind().map(|row| row.numbers).collect();
            put_columns(&numbers, width, to);
            for row in of_kind() {
                row.texts.iter().take(texts).for_each(|text| to.name(text));
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Vec<Operation>, FormError> {
        let count = from.count(2)?;
        let mut runs: Vec<(Kind, usize)> = Vec::new();
        let mut told = 0_usize;
        while told < count {
            let kind = Kind::take(from)?;
            let length: usize = from.small()?;
            told = told.saturating_add(length);
            let is_new = runs.last().is_none_or(|(last, _)| *last != kind);
            if length == 0 || told > count || !is_new {
                return Err(FormError::Value("a run of operations"));
            }
            runs.push((kind, length));
        }
        let mut kinds = Vec::new();
        for kind in Kind::ALL {
            let of_kind = runs.iter().filter(|(other, _)| *other == kind);
            let rows = take_rows(kind, of_kind.map(|(_, length)| length).sum(), from)?;
            kinds.push((kind, rows.into_iter()));
        }
        let mut operations = Vec::new();
        for (kind, length) in runs {
            let rows = kinds.iter_mut().find(|(other, _)| *other == kind);
            for row in rows.into_iter().flat_map(|(_, rows)| rows).take(length) {
                operations.push(row.operation()?);
            }
        }
        Ok(operations)
    }
}

fn take_rows<'a>(
    kind: Kind,
    count: usize,
    from: &mut Reader<'a>,
) -> Result<Vec<Row<'a>>, FormError> {
    let (width, texts) = kind.shape();
    let mut rows = Vec::new();
    for numbers in take_columns(count, width, from)? {
        rows.push(Row {
            kind,
            numbers,
            texts: ["", ""],
        });
    }
    for row in &mut rows {
        for text in row.texts.iter_mut().take(texts) {
            *text = from.name()?;
        }
    }
    Ok(rows)
}

/// Groups in a column; each key and value follows, the value as its length and one more; 0: the
/// pair goes.
impl Way<Vec<StateWrite>> for Columns {
    fn put(value: &Vec<StateWrite>, to: &mut Writer) {
        to.count(value.len());
        let groups: Vec<[u64; 1]> = value.iter().map(|write| [u64::from(write.group)]).collect();
        put_columns(&groups, 1, to);
        for StateWrite {
            group: _,
            key,
            value,
        } in value
        {
            to.name(key);
            match value {
                None => to.number(0),
                Some(bytes) => {
                    to.count(bytes.len().saturating_add(1));
                    to.raw(bytes);
                }
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Vec<StateWrite>, FormError> {
        let count = from.count(3)?;
        let mut writes = Vec::new();
        for [group] in take_columns(count, 1, from)? {
            let key = from.name()?.to_owned();
            let length: usize = from.small()?;
            let value = match length.checked_sub(1) {
                None => None,
                Some(length) => Some(from.raw(length)?.to_vec()),
            };
            writes.push(StateWrite {
                group: small(group)?,
                key,
                value,
            });
        }
        Ok(writes)
    }
}

impl Way<Vec<Demand>> for Columns {
    fn put(value: &Vec<Demand>, to: &mut Writer) {
        to.count(value.len());
        let rows: Vec<[u64; 7]> = value.iter().map(demand_row).collect();
        put_columns(&rows, 7, to);
    }

    fn take(from: &mut Reader<'_>) -> Result<Vec<Demand>, FormError> {
        let count = from.count(7)?;
        let rows = take_columns(count, 7, from)?;
        rows.into_iter().map(demand_of).collect()
    }
}

impl Way<Option<Vec<Demand>>> for Columns {
    fn put(value: &Option<Vec<Demand>>, to: &mut Writer) {
        to.byte(u8::from(value.is_some()));
        if let Some(rows) = value {
            Self::put(rows, to);
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Option<Vec<Demand>>, FormError> {
        bool::take(from)?.then(|| Self::take(from)).transpose()
    }
}

impl Way<Arc<Vec<Demand>>> for Columns {
    fn put(value: &Arc<Vec<Demand>>, to: &mut Writer) {
        <Self as Way<Vec<Demand>>>::put(value, to);
    }

    fn take(from: &mut Reader<'_>) -> Result<Arc<Vec<Demand>>, FormError> {
        <Self as Way<Vec<Demand>>>::take(from).map(Arc::new)
    }
}

fn demand_row(demand: &Demand) -> [u64; 7] {
    let Demand {
        key,
        workload,
        generation,
        template,
        count,
        placement,
        priority,
    } = demand;
    [
        *key,
        workload.0,
        *generation,
        u64::from(*template),
        u64::from(*count),
        placement.number(),
        i64::from(*priority).cast_unsigned(),
    ]
}

fn demand_of(row: [u64; 7]) -> Result<Demand, FormError> {
    let [
        key,
        workload,
        generation,
        template,
        count,
        placement,
        priority,
    ] = row;
    Ok(Demand {
        key,
        workload: WorkloadId(workload),
        generation,
        template: small(template)?,
        count: small(count)?,
        placement: Numbered::numbered(placement)?,
        priority: i32::try_from(priority.cast_signed()).map_err(|_| FormError::Number)?,
    })
}
