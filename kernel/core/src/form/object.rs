//! Objects: as git asks for them, and as the kernel keeps them.

use std::sync::Arc;

use imbl::Vector;
use kelson_model::drift::{ByHand, DriftItem, DriftState, FieldDrift, HandField, Plane};
use kelson_model::event::Event;
use kelson_model::object::{
    DesiredObject, DriftPolicy, Health, Lifecycle, Origin, PrunePolicy, RolloutState, Sync,
};

use super::error::FormError;
use super::reader::Reader;
use super::statement::{Form, NewestFirst, Way};
use super::writer::Writer;
use crate::object::{Generation, Object, Quarantine, Status};

form!(Origin { file as Name, line, column });
form!(Lifecycle { prune, drift });
form!(DesiredObject { key, labels as Name, lifecycle, spec, origin, written });
form!(Quarantine {
    generation,
    spec,
    written,
    reason
});
form!(Status { generation, health, rollout, reason as Name, message as Name });
form!(HandField { path, by, at });
form!(ByHand { accepted, fields });
form!(FieldDrift { path as Name, op as Name, desired, live, changed_by });
form!(DriftItem {
    object,
    task,
    plane,
    state,
    policy,
    origin,
    fields,
    changed_by,
    first_seen,
    healed_at,
    count,
});
form!(Event { index, place, at, reason as Name, object, message as Name, by });

numbers!(PrunePolicy, "prune policy" { 0 = Auto, 1 = Confirm, 2 = Never });
numbers!(DriftPolicy, "drift policy" { 0 = Enforce, 1 = Report });
numbers!(Health, "health" {
    0 = Unknown, 1 = Healthy, 2 = Progressing, 3 = Degraded, 4 = Suspended, 5 = Missing,
});
numbers!(Sync, "sync" { 0 = Unknown, 1 = Synced, 2 = OutOfSync });
numbers!(RolloutState, "state of a rollout" {
    0 = Progressing, 1 = Complete, 2 = RolledBack, 3 = Paused,
});
numbers!(Plane, "plane" { 0 = Specification, 1 = Placement, 2 = Agent });
numbers!(DriftState, "state of drift" { 0 = Open, 1 = Healed });

form!(Object {
    key, labels as Name, lifecycle, origin, spec, desired, source as Name, revision, generation,
    generation_since, workload, history as NewestFirst, good_generation, quarantine, status,
    changed_by, changed_at, is_removed, by_hand, written,
});
form!(Generation {
    number,
    spec,
    templates,
    template_ids
});

/// The newest generation, which is mostly the specification in force, stands beside that one.
impl Way<Vector<Arc<Generation>>> for NewestFirst {
    fn put(value: &Vector<Arc<Generation>>, to: &mut Writer) {
        to.count(value.len());
        value.iter().rev().for_each(|generation| generation.put(to));
    }
    fn take(from: &mut Reader<'_>) -> Result<Vector<Arc<Generation>>, FormError> {
        let mut generations = Vector::new();
        for _ in 0..from.count(1)? {
            generations.push_front(Form::take(from)?);
        }
        Ok(generations)
    }
}
