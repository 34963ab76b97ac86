//! Tasks in memory: a compact record of each, in chunks that clones share.
//!
//! A kernel may hold a million tasks, so each is 80 bytes (`packed.rs`): what all tasks of one
//! template have in common is held once (`shape.rs`), and what few tasks have lies apart. They lie
//! by value in chunks of neighbouring ids (`map.rs`). Everything that reads a task reads a
//! [`TaskRef`] (`view.rs`); what changes one takes a draft of it (`draft.rs`) and has the state
//! write that. The whole [`Task`](crate::record::Task) is the form in which tasks are stored and
//! handed on.

mod draft;
mod map;
mod packed;
mod shape;
mod view;

pub(crate) use draft::Draft;
pub(crate) use map::Gathering;
pub use map::Tasks;
pub(crate) use packed::Cold;
pub(crate) use shape::{Shape, Shapes};
pub use view::TaskRef;
