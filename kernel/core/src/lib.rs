//! The kernel's pure part.

pub mod port;
