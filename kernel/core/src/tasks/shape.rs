//! Shapes: what all tasks of one template have in common, held once.

use std::sync::Arc;

use kelson_model::id::WorkloadId;
use kelson_model::object::ObjectKey;
use kelson_model::quantity::Resources;

use crate::port::SeatId;

/// What the tasks of one template of one generation have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) workload: WorkloadId,
    pub(crate) object: Arc<ObjectKey>,
    pub(crate) seat: Arc<SeatId>,
    pub(crate) generation: u64,
    pub(crate) template: u32,
    pub(crate) template_id: u64,
    pub(crate) resources: Resources,
    /// The names of the ports, in order.
    pub(crate) ports: Vec<String>,
}

/// The shapes of a workload that new tasks may share, newest last.
#[derive(Debug, Clone, Default)]
pub(crate) struct Shapes(Vec<Arc<Shape>>);

impl Shapes {
    /// How many are remembered: more than a workload has generations. A task whose shape is not
    /// among them has one of its own.
    const MOST: usize = 16;

    /// The newest shape that is as it is asked for.
    pub(crate) fn find(&self, is_meant: impl Fn(&Shape) -> bool) -> Option<&Arc<Shape>> {
        self.0.iter().rev().find(|shape| is_meant(shape))
    }

    /// The shape like this one that is known, or this one from here on.
    pub(crate) fn share(&mut self, mut shape: Shape) -> Arc<Shape> {
        if let Some(known) = self.find(|known| *known == shape) {
            return Arc::clone(known);
        }
        if let Some(known) = self.find(|known| known.object == shape.object) {
            shape.object = Arc::clone(&known.object);
        }
        if let Some(known) = self.find(|known| known.seat == shape.seat) {
            shape.seat = Arc::clone(&known.seat);
        }
        if self.0.len() >= Self::MOST {
            self.0.remove(0);
        }
        let shape = Arc::new(shape);
        self.0.push(Arc::clone(&shape));
        shape
    }
}
