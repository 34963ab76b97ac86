//! What keeps tasks apart: cgroups where they can be used, and an honest word where they cannot.
//!
//! *Flow*: [`Isolation::find_out`] at the agent's start finds out what can be enforced, by doing
//! it; [`Isolation::create`] makes the groups of one task; the start gate [enters](Groups::enter)
//! them before it opens; whoever must end a task [kills](Groups::kill) the groups. Everything here
//! works without cgroups too, and says so.

mod budget;
mod capability;
mod group;
mod hierarchy;
mod known;
mod limits;

pub(crate) use budget::memory_limits;
pub(crate) use capability::Isolation;
pub(crate) use group::Groups;
#[cfg(test)]
pub(crate) use group::{Group, Version};
pub(crate) use limits::{Difference, Limit};
