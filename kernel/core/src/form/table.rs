//! Tables: the rows of a state, as a snapshot has them.
//!
//! A snapshot is a sequence of chunks, table by table in the order of their numbers. A chunk is
//! rows of one table, of [`CHUNK_BYTES`] at most unless it is a single row. Chunks are made one
//! after the other, so that no more than one is held. Rows say when they changed last, and what the
//! journal knows beside them has tables too, so that a state read back is the one that was written.

use std::sync::Arc;

use kelson_model::event::Event;
use kelson_model::source::SourceRecord;

use super::error::FormError;
use super::reader::Reader;
use super::statement::Form;
use super::version::{Since, level_of, newest};
use super::writer::Writer;
use crate::object::Object;
use crate::port::SeatId;
use crate::record::{Agent, Framework, MemberRecord, Seat, Staged, Task, TokenRecord};
use crate::state::{Farewell, HeadRow, Restoring, RowKey, State};

/// Most bytes of a chunk, unless it is a single row.
pub const CHUNK_BYTES: usize = 1 << 20;
/// Most bytes of a row.
pub const MAX_ROW_BYTES: usize = 64 << 20;

/// Rows of one table, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The table's number.
    pub table: u32,
    /// The version of its form.
    pub version: u32,
    /// How many rows there are.
    pub rows: u32,
    /// The rows.
    pub bytes: Vec<u8>,
}

/// What is known of a table's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableForm {
    /// Names it for ever.
    pub number: u32,
    /// As people see it.
    pub name: &'static str,
    /// Since which cluster version each version of its form is known, from version 1 on.
    pub since: &'static [u32],
}

macro_rules! tables {
    ($($(#[$doc:meta])* $number:literal $table:ident $name:literal $since:expr;)*) => {
        /// The tables of a state.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Table { $($(#[$doc])* $table,)* }

        /// All tables, in the order of their numbers.
        pub const TABLES: &[Table] = &[$(Table::$table,)*];

        impl Table {
            /// What is known of its form.
            pub fn form(self) -> TableForm {
                match self {
                    $(Self::$table => TableForm { number: $number, name: $name, since: $since },)*
                }
            }
        }
    };
}

const FIRST: Since = &[0];

tables! {
    /// What there is once: the cluster's name, counters, the floors of the journal.
    1 Head "the state" FIRST;
    /// Objects.
    2 Objects "objects" FIRST;
    /// The object of each workload.
    3 Workloads "workloads" FIRST;
    /// Tasks.
    4 Tasks "tasks" FIRST;
    /// Agents.
    5 Agents "agents" FIRST;
    /// Frameworks.
    6 Frameworks "frameworks" FIRST;
    /// Seats, without their pairs.
    7 Seats "seats" FIRST;
    /// Pairs of seats.
    8 Pairs "pairs of seats" FIRST;
    /// Sources.
    9 Sources "sources" FIRST;
    /// What lies beside the state, without its parts.
    10 Staged "staged revisions" FIRST;
    /// Objects that lie beside the state.
    11 StagedObjects "staged objects" FIRST;
    /// Objects that are staged to go.
    12 StagedGoing "objects staged to go" FIRST;
    /// Namespaces.
    13 Namespaces "namespaces" FIRST;
    /// The drift ledger.
    14 Drift "drift" FIRST;
    /// Events.
    15 Events "events" FIRST;
    /// Clients.
    16 Clients "clients" FIRST;
    /// Rows that are gone.
    17 Tombstones "rows that are gone" FIRST;
    /// What is gone and whose it was.
    18 Farewells "farewells" FIRST;
    /// Members of the kernel.
    19 Members "members" FIRST;
    /// Tokens.
    30 Tokens "tokens" FIRST;
}

impl Table {
    /// The table with this number.
    pub(super) fn of(number: u32) -> Result<Self, FormError> {
        let known = TABLES.iter().find(|table| table.form().number == number);
        known.copied().ok_or(FormError::Unknown {
            what: "table",
            number: u64::from(number),
        })
    }

    /// The level of a version of its form.
    pub(super) fn level(self, version: u32) -> Result<u32, FormError> {
        let form = self.form();
        level_of(form.since, form.name, u64::from(version))
    }

    /// Its rows, each of which writes itself.
    fn rows(self, state: &State) -> Rows<'_> {
        let changed = |key: RowKey| state.changed_at(&key);
        match self {
            Self::Head => each(state, [state.head_row()], |row, to| row.put(to)),
            Self::Objects => each(state, state.objects.values(), move |row, to| {
                changed(RowKey::Object(Arc::new(row.key.clone()))).put(to);
                row.put(to);
            }),
            Self::Workloads => each(state, &state.workloads, |(id, key), to| {
                id.put(to);
                key.put(to);
            }),
            Self::Tasks => each(state, state.tasks.iter(), |row, to| {
                Some(row.changed()).put(to);
                row.to_task().put(to);
            }),
            Self::Agents => each(state, state.agents.values(), move |row, to| {
                changed(RowKey::Agent(row.id)).put(to);
                row.put(to);
            }),
            Self::Frameworks => each(state, state.frameworks.values(), move |row, to| {
                changed(RowKey::Framework(Arc::new(row.key.clone()))).put(to);
                row.put(to);
            }),
            Self::Seats => each(state, state.seats.values(), |row, to| row.put(to)),
            Self::Pairs => {
                let pairs = state.seats.values().flat_map(|seat| {
                    let pairs = seat.pairs.iter();
                    pairs.map(|(key, value)| (&seat.id, key, value))
                });
                each(state, pairs, |(seat, key, value), to| {
                    seat.put(to);
                    key.put(to);
                    value.put(to);
                })
            }
            Self::Sources => each(state, state.sources.values(), move |row, to| {
                changed(RowKey::Source(Arc::new(row.name.clone()))).put(to);
                row.put(to);
            }),
            Self::Staged => each(state, &state.staged, |(source, row), to| {
                to.name(source);
                row.put(to);
            }),
            Self::StagedObjects => {
                let objects = state.staged.iter().flat_map(|(source, staged)| {
                    staged.objects.iter().map(move |object| (source, object))
                });
                each(state, objects, |(source, object), to| {
                    to.name(source);
                    object.put(to);
                })
            }
            Self::StagedGoing => {
                let going = state
                    .staged
                    .iter()
                    .flat_map(|(source, staged)| staged.prune.iter().map(move |key| (source, key)));
                each(state, going, |(source, key), to| {
                    to.name(source);
                    key.put(to);
                })
            }
            Self::Namespaces => each(state, &state.namespaces, |(namespace, row), to| {
                namespace.put(to);
                row.put(to);
            }),
            Self::Drift => each(state, &state.drift, |row, to| row.put(to)),
            Self::Events => each(state, &state.events, move |row, to| {
                changed(RowKey::Event(row.index.0, row.place)).put(to);
                row.put(to);
            }),
            Self::Clients => each(state, &state.clients, |(name, row), to| {
                name.put(to);
                row.put(to);
            }),
            Self::Members => each(state, state.members.values(), |row, to| row.put(to)),
            Self::Tokens => each(state, state.tokens.values(), |row, to| row.put(to)),
            Self::Tombstones => each(state, state.tombstones(), |(index, key), to| {
                index.put(to);
                key.put(to);
            }),
            Self::Farewells => each(state, state.farewells(), |(index, seat, farewell), to| {
                index.put(to);
                seat.put(to);
                farewell.put(to);
            }),
        }
    }

    /// Reads a row into the state that it belongs to.
    pub(super) fn take_row(
        self,
        state: &mut Restoring,
        from: &mut Reader<'_>,
    ) -> Result<(), FormError> {
        let records = &mut state.records;
        let is_new = match self {
            Self::Head => {
                let row = Form::take(from)?;
                state.put_head(row)
            }
            Self::Objects => {
                let changed = Form::take(from)?;
                let row: Object = Form::take(from)?;
                let key = row.key.clone();
                let before = records.objects.insert(key.clone(), row.into());
                state.put_changed(RowKey::Object(Arc::new(key)), changed);
                before.is_none()
            }
            Self::Workloads => {
                let id = Form::take(from)?;
                records.workloads.insert(id, Form::take(from)?).is_none()
            }
            Self::Tasks => {
                let changed = Form::take(from)?;
                let row: Task = Form::take(from)?;
                state.put_task(&row, changed)
            }
            Self::Agents => {
                let changed = Form::take(from)?;
                let row: Agent = Form::take(from)?;
                let id = row.id;
                let before = records.agents.insert(id, row.into());
                state.put_changed(RowKey::Agent(id), changed);
                before.is_none()
            }
            Self::Frameworks => {
                let changed = Form::take(from)?;
                let row: Framework = Form::take(from)?;
                let key = row.key.clone();
                let before = records.frameworks.insert(key.clone(), row.into());
                state.put_changed(RowKey::Framework(Arc::new(key)), changed);
                before.is_none()
            }
            Self::Seats => {
                let row: Seat = Form::take(from)?;
                records.seats.insert(row.id.clone(), row.into()).is_none()
            }
            Self::Pairs => {
                let seat: SeatId = Form::take(from)?;
                let key = Form::take(from)?;
                let value = Form::take(from)?;
                let seat = records.seats.get_mut(&seat);
                let seat = seat.ok_or(FormError::Value("a seat that is there"))?;
                let seat = Arc::make_mut(seat);
                seat.pairs.insert(key, value).is_none()
            }
            Self::Sources => {
                let changed = Form::take(from)?;
                let row: SourceRecord = Form::take(from)?;
                let name = row.name.clone();
                let before = records.sources.insert(name.clone(), row.into());
                state.put_changed(RowKey::Source(Arc::new(name)), changed);
                before.is_none()
            }
            Self::Staged => {
                let source = from.name()?.to_owned();
                let row: Staged = Form::take(from)?;
                records.staged.insert(source, row.into()).is_none()
            }
            Self::StagedObjects => {
                let staged = staged(state, from)?;
                staged.objects.push_back(Form::take(from)?);
                true
            }
            Self::StagedGoing => {
                let staged = staged(state, from)?;
                staged.prune.push_back(Form::take(from)?);
                true
            }
            Self::Namespaces => {
                let namespace = Form::take(from)?;
                let before = records.namespaces.insert(namespace, Form::take(from)?);
                before.is_none()
            }
            Self::Drift => {
                records.drift.push_back(Form::take(from)?);
                true
            }
            Self::Events => {
                let changed = Form::take(from)?;
                let row: Arc<Event> = Form::take(from)?;
                let place = |event: &Event| (event.index, event.place);
                let last = records.events.last().map(|last| place(last));
                let key = RowKey::Event(row.index.0, row.place);
                let is_later = last.is_none_or(|last| last < place(&row));
                records.events.push_back(row);
                state.put_changed(key, changed);
                is_later
            }
            Self::Clients => {
                let name = Form::take(from)?;
                records.clients.insert(name, Form::take(from)?).is_none()
            }
            Self::Members => {
                let row: MemberRecord = Form::take(from)?;
                records.members.insert(row.id, row.into()).is_none()
            }
            Self::Tokens => {
                let row: TokenRecord = Form::take(from)?;
                records.tokens.insert(row.id, row.into()).is_none()
            }
            Self::Tombstones => {
                let index = Form::take(from)?;
                state.put_tombstone(index, Form::take(from)?)
            }
            Self::Farewells => {
                let index = Form::take(from)?;
                let seat = Form::take(from)?;
                state.put_farewell(index, seat, Form::take(from)?)
            }
        };
        if is_new {
            Ok(())
        } else {
            Err(FormError::Order(self.form().name))
        }
    }
}

fn staged<'a>(
    state: &'a mut Restoring,
    from: &mut Reader<'_>,
) -> Result<&'a mut Staged, FormError> {
    let staged = state.records.staged.get_mut(from.name()?);
    let staged = staged.ok_or(FormError::Value("a source with a staged revision"))?;
    Ok(Arc::make_mut(staged))
}

form!(HeadRow {
    cluster,
    index,
    time,
    term,
    cluster_version,
    last_task,
    last_agent,
    last_workload,
    last_member,
    forgotten,
    room_version,
    drift_changed,
    floor,
    farewell_floor,
    event_floor,
    events_of_entry,
});

impl Form for RowKey {
    fn put(&self, to: &mut Writer) {
        match self {
            Self::Object(key) => {
                to.number(0);
                key.put(to);
            }
            Self::Task(id) => {
                to.number(1);
                id.put(to);
            }
            Self::Agent(id) => {
                to.number(2);
                id.put(to);
            }
            Self::Framework(key) => {
                to.number(3);
                key.put(to);
            }
            Self::Source(name) => {
                to.number(4);
                to.name(name);
            }
            Self::Drift => to.number(5),
            Self::Event(index, place) => {
                to.number(6);
                to.number(*index);
                place.put(to);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Ok(match from.number()? {
            0 => Self::Object(Form::take(from)?),
            1 => Self::Task(Form::take(from)?),
            2 => Self::Agent(Form::take(from)?),
            3 => Self::Framework(Form::take(from)?),
            4 => Self::Source(Arc::new(from.name()?.to_owned())),
            5 => Self::Drift,
            6 => Self::Event(from.number()?, Form::take(from)?),
            number => {
                return Err(FormError::Unknown {
                    what: "kind of row",
                    number,
                });
            }
        })
    }
}

impl Form for Farewell {
    fn put(&self, to: &mut Writer) {
        match self {
            Self::Workload(id) => {
                to.number(0);
                id.put(to);
            }
            Self::Task(id, agent) => {
                to.number(1);
                id.put(to);
                agent.put(to);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Ok(match from.number()? {
            0 => Self::Workload(Form::take(from)?),
            1 => Self::Task(Form::take(from)?, Form::take(from)?),
            number => {
                return Err(FormError::Unknown {
                    what: "farewell",
                    number,
                });
            }
        })
    }
}

/// A row that writes itself.
type Row<'a> = Box<dyn Fn(&mut Writer) + 'a>;
type Rows<'a> = Box<dyn Iterator<Item = Row<'a>> + 'a>;

fn each<'a, R: 'a>(
    _state: &'a State,
    rows: impl IntoIterator<Item = R, IntoIter: 'a>,
    put: impl Fn(&R, &mut Writer) + Copy + 'a,
) -> Rows<'a> {
    let write = move |row: R| Box::new(move |to: &mut Writer| put(&row, to)) as Row<'a>;
    Box::new(rows.into_iter().map(write))
}

/// The chunks of a state, made as they are asked for, in the forms that its cluster knows.
pub fn chunks(state: &State) -> impl Iterator<Item = Result<Chunk, FormError>> + '_ {
    let of_table = |table: &Table| Filling {
        table: *table,
        cluster_version: state.cluster_version,
        rows: table.rows(state),
        next: None,
    };
    TABLES.iter().flat_map(of_table)
}

/// Fills chunks with the rows of one table.
struct Filling<'a> {
    table: Table,
    cluster_version: u32,
    rows: Rows<'a>,
    /// The row that did not fit the chunk before.
    next: Option<Row<'a>>,
}

impl Iterator for Filling<'_> {
    type Item = Result<Chunk, FormError>;

    fn next(&mut self) -> Option<Self::Item> {
        let first = self.next.take().or_else(|| self.rows.next())?;
        Some(self.fill(first))
    }
}

impl<'a> Filling<'a> {
    fn fill(&mut self, first: Row<'a>) -> Result<Chunk, FormError> {
        let form = self.table.form();
        let (version, level) = newest(form.since, form.name, self.cluster_version)?;
        let mut to = Writer::new(level);
        first(&mut to);
        if to.len() > MAX_ROW_BYTES {
            return Err(FormError::TooLarge {
                what: form.name,
                bytes: to.len(),
            });
        }
        let mut rows = 1;
        while to.len() < CHUNK_BYTES
            && let Some(row) = self.rows.next()
        {
            let mark = to.mark();
            row(&mut to);
            if to.len() > CHUNK_BYTES {
                to.go_back(mark);
                self.next = Some(row);
                break;
            }
            rows += 1;
        }
        Ok(Chunk {
            table: form.number,
            version: u32::try_from(version).map_err(|_| FormError::Number)?,
            rows,
            bytes: to.finish()?,
        })
    }
}
