//! `kelson compile-component`: the sandbox's mode of this executable that compiles one component
//! within limits.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use kelson_plugin_host::{ChildCompiler, Compiler, compile_file};

use crate::output::say;

/// The verb, as the sandbox calls it.
const VERB: &str = "compile-component";

/// What may be typed behind `compile-component`.
#[derive(Debug, Args)]
pub(crate) struct CompileComponent {
    /// The component
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    /// Where its compiled form goes
    #[arg(long, value_name = "FILE")]
    artifact: PathBuf,
    /// Bytes of address space
    #[arg(long, value_name = "BYTES")]
    memory: u64,
    /// Seconds of processor time
    #[arg(long, value_name = "SECONDS")]
    cpu: u64,
}

/// Has components compiled by a child, which is this program.
pub(crate) fn compiler() -> Compiler {
    Compiler::Child(ChildCompiler::own([VERB.into()]))
}

pub(crate) fn run(arguments: &CompileComponent) -> ExitCode {
    let CompileComponent {
        input,
        artifact,
        memory,
        cpu,
    } = arguments;
    match compile_file(input, artifact, *memory, *cpu) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say(&error.to_string());
            ExitCode::from(error.exit_code())
        }
    }
}
