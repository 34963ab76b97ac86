//! How answers are shown: tables, JSON, YAML, colours, faults with their source line. Data goes to
//! stdout, talk to stderr.

mod annotations;
mod emit;
mod fault;
mod format;
mod moment;
mod style;
mod table;
mod text;

pub(crate) use annotations::{github, sarif};
pub(crate) use emit::{emit, say};
pub(crate) use fault::{failure, fault};
pub(crate) use format::{Format, Output, from_yaml, json_line, print, to_yaml};
pub(crate) use moment::{age, clock, now};
pub(crate) use style::{Palette, Tint};
pub(crate) use table::{Cell, Table};
pub(crate) use text::{plain, plain_lines};
