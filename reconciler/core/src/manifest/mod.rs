//! From the bytes of files to desired objects with their positions, and to faults.
//!
//! The way of a file: `yaml` (bytes to a spanned tree) → `envelope` (what every document has) →
//! `schema` and `normal` (the kind's schema, in our words; defaults and quantities) → [`load`] (all
//! files of a commit) → [`resolve`] (pins files of the commit by digest). [`fix`] writes what is
//! known beyond doubt.

mod advice;
mod below;
mod builder;
mod editor;
mod envelope;
mod file;
mod fix;
mod flaw;
mod foreign;
mod framework;
mod indent;
mod kinds;
mod lines;
mod load;
mod nearest;
mod normal;
mod other_words;
mod pointer;
mod program;
mod reader_words;
mod reference;
mod rejected;
mod resolve;
mod schema;
mod sentence;
mod surprise;
mod syntax;
mod tree;
mod waiting;
mod words;
mod written;
mod wrong_type;
mod yaml;

pub use advice::advice;
pub use editor::editor_schema;
pub use fix::{Fixed, fix};
pub use flaw::{MAX_FAULTS, tidy};
pub use framework::{FRAMEWORK, check_frameworks, framework_schema};
pub use kinds::{Kinds, KindsError, Standing};
pub use load::{Loaded, LoadedObject, ManifestFile, ParseCache, Unreadable, fault_at, load};
pub use nearest::{Meant, nearest};
pub(crate) use pointer::join as pointer_join;
pub use reference::reference;
pub use rejected::rejected;
pub use resolve::{BlobNeed, resolve};
pub use schema::{Changed, Unfit};
pub use tree::{Position, Spans};
pub use waiting::Waiting;
pub use yaml::{MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, read_value};
