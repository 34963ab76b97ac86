//! `kelson dev`: raises a kernel and an agent as processes of their own, keeps them alive, and
//! tells what happens.
//!
//! *Flow*: take the data directory, check repository and port; start the kernel, then the agent;
//! ready once the API answers, the agent is registered and the framework `service` is loaded; from
//! then on tell, and start again what dies. *Guarantees*: the ready line is the first on stdout,
//! and means that.
//! *Assumes*: the parts notice the end of their stdin, which is how they learn of `dev`'s death.

mod data;
mod narrate;
mod part;
mod port;
mod raise;
mod voice;

pub(crate) use raise::{Dev, run};
