//! Hashes: what a state holds, as a number that is kept in step with it.
//!
//! Each row has a hash of its form, and a table the sum of those of its rows, so that a row which
//! changes takes its old hash out and puts its new one in. What changed is found by comparing the
//! state before an entry with the one after it: persistent maps share what is the same, so that
//! this costs what has changed, and no write can forget it. *What is in it:* all rows, and what
//! there is once, but not the index and the term, which only count entries, nor the journal.
//! *Caveats:* it finds faults and damage; it is no proof against somebody who looks for two states
//! of one hash.

use std::fmt;
use std::hash::Hasher as _;
use std::sync::Arc;

use imbl::ordmap::DiffItem;
use imbl::{OrdMap, Vector};
use kelson_model::event::Event;
use kelson_model::id::TaskId;
use kelson_model::object::ObjectKey;
use siphasher::sip128::{Hasher128 as _, SipHasher13};

use super::statement::Form;
use super::table::{TABLES, Table};
use super::writer::Writer;
use crate::object::Object;
use crate::record::Staged;
use crate::state::{Records, State};
use crate::tasks::TaskRef;

/// Names the content of a state, of a table or of a row; 32 hex digits. Equal ones have equal
/// hashes on every member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct StateHash(pub u128);

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The sums of all tables.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Hashes([u128; TABLES.len()]);

/// A row that is in one of two states and not in the other.
struct Change<'a> {
    table: Table,
    /// What people call it.
    name: &'a dyn fmt::Display,
    /// Whether it is in the later one.
    is_new: bool,
    put: &'a dyn Fn(&mut Writer),
}

impl Hashes {
    /// The hashes of records, from nothing.
    pub(crate) fn of(records: &Records) -> Self {
        let mut hashes = Self::default();
        hashes.follow(&Records::default(), records);
        hashes
    }

    /// Takes in what has changed from `before` to `after`.
    pub(crate) fn keep(&mut self, before: &Records, after: &Records) {
        if has_other_forms(before.cluster_version, after.cluster_version) {
            *self = Self::of(after);
        } else {
            self.follow(before, after);
        }
    }

    fn follow(&mut self, before: &Records, after: &Records) {
        let mut rows = Rows::new(after.cluster_version);
        changes(before, after, &mut |change| {
            let hash = rows.hash(&change);
            if let Some(sum) = self.0.get_mut(place(change.table)) {
                *sum = if change.is_new {
                    sum.wrapping_add(hash)
                } else {
                    sum.wrapping_sub(hash)
                };
            }
        });
    }

    fn table(&self, table: Table) -> u128 {
        self.0.get(place(table)).copied().unwrap_or_default()
    }
}

fn place(table: Table) -> usize {
    let before = TABLES.iter().take_while(|other| **other != table);
    before.count()
}

/// Whether rows look otherwise under another cluster version.
fn has_other_forms(before: u32, after: u32) -> bool {
    let is_between = |since: &u32| before < *since && *since <= after;
    TABLES
        .iter()
        .any(|table| table.form().since.iter().any(is_between))
}

impl State {
    /// Names the content of the state; costs nothing worth mentioning.
    pub fn hash(&self) -> StateHash {
        let tables = self.table_hashes();
        let mut hasher = SipHasher13::new();
        tables.for_each(|(_, hash)| hasher.write(&hash.0.to_le_bytes()));
        StateHash(hasher.finish128().into())
    }

    /// The hashes of its tables, so that a difference can be narrowed down.
    pub fn table_hashes(&self) -> impl Iterator<Item = (Table, StateHash)> + '_ {
        TABLES.iter().map(|table| {
            let hash = match table {
                Table::Head => self.head_hash(),
                other => self.hashes().table(*other),
            };
            (*table, StateHash(hash))
        })
    }

    /// The hashes of the rows of a table, with their names: all are made anew.
    pub fn row_hashes(&self, table: Table) -> Vec<(String, StateHash)> {
        let mut rows = Rows::new(self.cluster_version);
        let mut hashes = Vec::new();
        changes(&Records::default(), self, &mut |change| {
            if change.table == table {
                hashes.push((change.name.to_string(), StateHash(rows.hash(&change))));
            }
        });
        hashes
    }

    /// Whether the hashes that were kept in step are those of the rows: all are made anew.
    pub fn has_true_hashes(&self) -> bool {
        *self.hashes() == Hashes::of(self)
    }

    /// What there is once, without what only counts entries.
    fn head_hash(&self) -> u128 {
        let mut row = self.head_row();
        row.forget_counts();
        let put = |to: &mut Writer| row.put(to);
        Rows::new(self.cluster_version).hash(&Change {
            table: Table::Head,
            name: &"",
            is_new: true,
            put: &put,
        })
    }
}

/// Hashes rows one after the other.
struct Rows {
    writer: Writer,
}

impl Rows {
    fn new(level: u32) -> Self {
        Self {
            writer: Writer::without_names(level),
        }
    }

    fn hash(&mut self, change: &Change<'_>) -> u128 {
        (change.put)(&mut self.writer);
        let mut hasher = SipHasher13::new_with_keys(change.table.form().number.into(), 0);
        hasher.write(self.writer.written());
        self.writer.clear();
        hasher.finish128().into()
    }
}

type See<'a> = dyn FnMut(Change<'_>) + 'a;

/// Tells all rows that are in one state and not in the other.
fn changes(before: &Records, after: &Records, see: &mut See<'_>) {
    let Records {
        // What there is once: `State::head_hash`.
        cluster: _,
        index: _,
        time: _,
        term: _,
        cluster_version: _,
        last_task: _,
        last_agent: _,
        last_workload: _,
        last_member: _,
        forgotten: _,
        room_version: _,
        objects,
        workloads,
        tasks,
        agents,
        frameworks,
        seats,
        sources,
        staged,
        namespaces,
        drift,
        events,
        clients,
        tokens,
        members,
    } = after;
    of_map(Table::Workloads, &before.workloads, workloads, see);
    of_map(Table::Agents, &before.agents, agents, see);
    of_map(Table::Sources, &before.sources, sources, see);
    of_map(Table::Clients, &before.clients, clients, see);
    of_map(Table::Frameworks, &before.frameworks, frameworks, see);
    of_map(Table::Namespaces, &before.namespaces, namespaces, see);
    of_map(Table::Members, &before.members, members, see);
    of_map(Table::Tokens, &before.tokens, tokens, see);
    before.tasks.differences(tasks, &mut |old, new| {
        let (old, new) = (old.map(TaskRef::to_task), new.map(TaskRef::to_task));
        let id = old
            .as_ref()
            .or(new.as_ref())
            .map_or(TaskId(0), |task| task.id);
        of_row(Table::Tasks, &id, old.as_ref(), new.as_ref(), see);
    });
    each(&before.objects, objects, &mut |key, old, new| {
        of_objects(key, old, new, see);
    });
    each(&before.seats, seats, &mut |id, old, new| {
        of_row(Table::Seats, id, old, new, see);
        let none = OrdMap::new();
        let old = old.map_or(&none, |seat| &seat.pairs);
        let new = new.map_or(&none, |seat| &seat.pairs);
        each(old, new, &mut |key, old, new| {
            let row = |value| (id.clone(), (key.clone(), Arc::clone(value)));
            let name = format!("{id} {key}");
            of_row(
                Table::Pairs,
                &name,
                old.map(row).as_ref(),
                new.map(row).as_ref(),
                see,
            );
        });
    });
    each(&before.staged, staged, &mut |source, old, new| {
        of_staged(source, old.map(AsRef::as_ref), new.map(AsRef::as_ref), see);
    });
    if !before.drift.ptr_eq(drift) {
        let is_same = |old: &Arc<_>, new: &Arc<_>| Arc::ptr_eq(old, new);
        of_list(Table::Drift, &"drift", (&before.drift, drift), is_same, see);
    }
    let at = |event: &Arc<Event>| (event.index, event.place);
    let (first, last) = (events.front().map(at), before.events.back().map(at));
    // They come at the back and go at the front.
    let gone = |event: &&Arc<Event>| first.is_none_or(|first| at(event) < first);
    let come = |event: &&Arc<Event>| last.is_none_or(|last| at(event) > last);
    let told = before.events.iter().take_while(gone).map(|it| (it, false));
    let new = events.iter().rev().take_while(come);
    for (event, is_new) in told.chain(new.map(|it| (it, true))) {
        see(Change {
            table: Table::Events,
            name: &format_args!("{}.{}", event.index, event.place),
            is_new,
            put: &|to| event.put(to),
        });
    }
}

/// Tells the entries of two maps that differ.
fn each<'a, K: Ord, V: PartialEq>(
    before: &'a OrdMap<K, V>,
    after: &'a OrdMap<K, V>,
    tell: &mut dyn FnMut(&'a K, Option<&'a V>, Option<&'a V>),
) {
    for item in before.diff(after) {
        match item {
            DiffItem::Add(key, new) => tell(key, None, Some(new)),
            DiffItem::Update { old, new } => tell(old.0, Some(old.1), Some(new.1)),
            DiffItem::Remove(key, old) => tell(key, Some(old), None),
        }
    }
}

fn of_map<K: Ord + Form + fmt::Display, V: PartialEq + Form>(
    table: Table,
    before: &OrdMap<K, V>,
    after: &OrdMap<K, V>,
    see: &mut See<'_>,
) {
    each(before, after, &mut |key, old, new| {
        for (value, is_new) in [(old, false), (new, true)] {
            let Some(value) = value else { continue };
            see(Change {
                table,
                name: key,
                is_new,
                put: &|to| {
                    key.put(to);
                    value.put(to);
                },
            });
        }
    });
}

fn of_row<V: Form>(
    table: Table,
    name: &dyn fmt::Display,
    old: Option<&V>,
    new: Option<&V>,
    see: &mut See<'_>,
) {
    for (value, is_new) in [(old, false), (new, true)] {
        let Some(value) = value else { continue };
        see(Change {
            table,
            name,
            is_new,
            put: &|to| value.put(to),
        });
    }
}

/// An object, and each of its generations, which hardly ever change, as a row beside it.
fn of_objects(
    key: &ObjectKey,
    old: Option<&Arc<Object>>,
    new: Option<&Arc<Object>>,
    see: &mut See<'_>,
) {
    let bare = |object: &Arc<Object>| Object {
        history: Vector::new(),
        ..Object::clone(object)
    };
    of_row(
        Table::Objects,
        key,
        old.map(bare).as_ref(),
        new.map(bare).as_ref(),
        see,
    );
    let none = Vector::new();
    let old = old.map_or(&none, |object| &object.history);
    let new = new.map_or(&none, |object| &object.history);
    for (these, others, is_new) in [(old, new, false), (new, old, true)] {
        let is_shared = |one: &Arc<_>| others.iter().any(|other| Arc::ptr_eq(one, other));
        for generation in these.iter().filter(|one| !is_shared(one)) {
            see(Change {
                table: Table::Objects,
                name: &format_args!("{key} generation {}", generation.number),
                is_new,
                put: &|to| {
                    key.put(to);
                    generation.put(to);
                },
            });
        }
    }
}

/// What is staged, with its objects and keys by their places.
fn of_staged(source: &String, old: Option<&Staged>, new: Option<&Staged>, see: &mut See<'_>) {
    let row = |staged: &Staged| (source.clone(), staged.clone());
    of_row(
        Table::Staged,
        source,
        old.map(row).as_ref(),
        new.map(row).as_ref(),
        see,
    );
    // A further part stands behind those before; anything else is told as a whole.
    let kept = match (old, new) {
        (Some(old), Some(new)) if old.revision == new.revision && old.parts < new.parts => {
            (old.objects.len(), old.prune.len())
        }
        _ => (0, 0),
    };
    for (staged, is_new) in [(old, false), (new, true)] {
        let Some(staged) = staged else { continue };
        for (place, object) in (0_u64..).zip(&staged.objects).skip(kept.0) {
            see(Change {
                table: Table::StagedObjects,
                name: &format_args!("{source} {}", object.key),
                is_new,
                put: &|to| {
                    source.put(to);
                    place.put(to);
                    object.put(to);
                },
            });
        }
        for (place, key) in (0_u64..).zip(&staged.prune).skip(kept.1) {
            see(Change {
                table: Table::StagedGoing,
                name: &format_args!("{source} {key}"),
                is_new,
                put: &|to| {
                    source.put(to);
                    place.put(to);
                    key.put(to);
                },
            });
        }
    }
}

/// The rows of two lists that differ, each with its place.
fn of_list<T: Form + Clone>(
    table: Table,
    name: &dyn fmt::Display,
    (old, new): (&Vector<T>, &Vector<T>),
    is_same: impl Fn(&T, &T) -> bool,
    see: &mut See<'_>,
) {
    for place in 0..old.len().max(new.len()) {
        let (one, other) = (old.get(place), new.get(place));
        if one
            .zip(other)
            .is_some_and(|(one, other)| is_same(one, other))
        {
            continue;
        }
        for (row, is_new) in [(one, false), (other, true)] {
            let Some(row) = row else { continue };
            see(Change {
                table,
                name: &format_args!("{name} {place}"),
                is_new,
                put: &|to| {
                    to.count(place);
                    row.put(to);
                },
            });
        }
    }
}
