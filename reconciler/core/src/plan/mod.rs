//! Plan: the ordered steps that close the difference between a revision and what is, and a report
//! of everything that waits and why.
//!
//! *Guarantees*: pure; the same input gives the same plan; a plan made after its own steps were
//! carried out is empty. Nothing is taken away while any file is bad, nothing at all happens while
//! the prune guard holds or history was rewritten, what is held is in the plan and says so, and
//! every object that is left as it is although it differs has a line in the report.

mod holds;
mod make;
mod prune;
mod shape;

pub use make::plan;
pub use shape::{Context, FieldChange, Plan, ReportLine, Step, StepKind, Why, is_ours};
