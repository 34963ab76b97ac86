//! The agent's modes in an executable of their own, for the tests of this room; the product's are
//! `kelson shim` and `kelson gate`.

use std::path::PathBuf;
use std::process::ExitCode;

use kelson_agent::{AgentConfig, ShutdownMode, run_agent, run_check, run_gate, run_shim};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["shim", directory] => run_shim(&PathBuf::from(directory)),
        ["gate"] => run_gate(),
        ["check"] => run_check(),
        ["agent", directory, kernel] => agent(directory, kernel),
        _ => {
            eprintln!("usage: shim DIRECTORY | gate | check | agent DIRECTORY KERNEL");
            ExitCode::from(2)
        }
    }
}

/// Runs an agent until it is killed.
fn agent(directory: &str, kernel: &str) -> ExitCode {
    let Ok(runtime) = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
    else {
        return ExitCode::FAILURE;
    };
    let Ok(addresses) = kernel.parse() else {
        return ExitCode::FAILURE;
    };
    let dialer = kelson_trust::Dialer::plain(addresses);
    let config = AgentConfig::new(PathBuf::from(directory), dialer);
    let for_ever = std::future::pending::<ShutdownMode>();
    match runtime.block_on(run_agent(config, for_ever)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
