//! Real repositories, made by the git program and by git2.

mod fixture;
