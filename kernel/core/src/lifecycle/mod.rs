//! What becomes of a task: the transitions that commands share, one file each.

#[cfg(test)]
mod cost_tests;
mod end;
mod launch;
mod stop;

pub(crate) use end::{end_task, forget};
pub(crate) use launch::{Launch, launch};
pub(crate) use stop::order_stop;
