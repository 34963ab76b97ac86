//! The scheduler of kind Service.
