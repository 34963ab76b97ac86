//! A small HTTP server without dependencies: what the quickstart runs, and what tests break on
//! purpose.
//!
//! It listens on `$HOST:$PORT_HTTP`, serves one text, says how it feels at `/health`, and ends
//! cleanly on SIGTERM: it goes on accepting for `--drain`, answers what is in flight, and exits
//! with 0. The other options let a test make it late, sick or dead.
//!
//! Read next: `options.rs` (every option), `answer.rs` (every path).

mod answer;
mod options;
mod request;
mod serve;
mod signal;

use std::process::ExitCode;

use options::{Invocation, Options};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1), |name| std::env::var(name).ok()) {
        Ok(Invocation::Serve(options)) => options,
        Ok(Invocation::Help) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(problem) => {
            eprintln!("example-http: {problem}\n\n{}", options::HELP);
            return ExitCode::from(2);
        }
    };
    match serve::run_until_terminated(&options) {
        Ok(code) => ExitCode::from(code),
        Err(problem) => {
            eprintln!("example-http: {problem}");
            ExitCode::FAILURE
        }
    }
}
