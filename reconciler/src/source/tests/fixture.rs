//! A repository in a temporary folder, worked on as a person would.
