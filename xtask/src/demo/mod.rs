//! `cargo xtask demo`: a cluster on this machine that plays acts on a repository made from
//! examples/quickstart, narrated, each act checked.
//!
//! An act does to the cluster what a person would, through git, the command line and signals, and
//! fails unless it sees what should come of it. Then the cluster stays up to be played with. Read
//! next: `acts` (the table), `stage` (what an act can do).

mod acts;
mod drift_acts;
mod play;
mod release_acts;
mod stage;
mod stay;

pub(crate) use play::run;
