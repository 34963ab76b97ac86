//! Builders, fixtures, and a harness for real processes.
