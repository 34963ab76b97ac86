//! Forms: their bytes are held still by golden files, one line for each command, reply and table.

mod golden;
mod hashes;
pub(crate) mod samples;
mod versions;
