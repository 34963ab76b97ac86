//! What a framework author uses in Rust.
