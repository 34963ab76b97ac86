//! A scheduler that does what its configuration says, one line after the other.
//!
//! The tests of `plugins/host` drive it. It stands on the bare treaty, not on the SDK, because it
//! must be able to break the treaty: columns of unequal length, calls at the wrong time. A line is
//! `CALL VERB ARGUMENTS`: `turn launch 0 1 1 0 3 0`, `restore trap`. What it sees it tells in
//! notes.

mod bindings;
mod probe;
