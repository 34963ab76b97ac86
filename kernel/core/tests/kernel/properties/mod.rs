//! The named properties, over random entries.

mod generator;
mod promises;
mod rounds;
