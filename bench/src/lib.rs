//! What the benches share: samples and their summary, facts about the machine, the results file,
//! and plots.
//!
//! Each workload is a program under `src/bin`, and `cargo xtask bench NAME [--quick]` runs it in a
//! release build. This room decides how figures are written down. It never says whether a figure is
//! good enough for a change to pass: a bench is no test, and nothing of it runs inside `cargo
//! test`.
//!
//! Read next: `README.md` (what each workload measures, its goals, and how far it is), [`Report`]
//! (the results file).

mod clock;
mod crowd;
mod machine;
mod measure;
mod options;
mod plot;
mod report;
mod series;
mod watch;

pub use clock::{cpu_time, memory, peak_memory, timed};
pub use crowd::Crowd;
pub use machine::Machine;
pub use measure::{Goal, Measure, Ratio};
pub use options::Options;
pub use plot::{Bar, Histogram, Plot};
pub use report::Report;
pub use series::Series;
pub use watch::{Batch, Watch};
