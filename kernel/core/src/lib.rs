//! The kernel's pure part: commands, apply, allocator, fairness.
