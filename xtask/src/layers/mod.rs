//! `cargo xtask layers`: who may import whom, and what may not stand in a core.
//!
//! Five checks. `imports` reads `cargo metadata`: which package of ours depends on which other, and
//! which rooms may use the dependencies that are kept in one place. `sources` reads the Rust files:
//! paths that only one folder may name, and words that may not stand in a core. `texts` reads files
//! as they are: how wide comments are, and codes outside their registry. `housekeeping` looks at
//! the form of files, `lock` at what came in from outside. The rules are one table, `rooms`.

mod check;
mod code;
mod housekeeping;
mod imports;
mod lock;
mod metadata;
mod rooms;
mod sources;
mod texts;
mod violation;

pub(crate) use check::run;
