//! A program as a probe.

use std::path::Path;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use crate::shim::{CheckOrder, CheckVerdict};

/// Runs a program inside the task, by a process of ours that sweeps behind it; exit status 0 is
/// good.
///
/// Where this future is dropped, as by the timeout, that process reads the end of its input, kills
/// the program and everything that came of it, and goes.
pub(super) async fn run(runner: &Path, order: &CheckOrder) -> Result<(), String> {
    let program = &order.program;
    let failed = |error: std::io::Error| format!("'{program}' could not be started: {error}");
    let mut line =
        serde_json::to_vec(order).map_err(|error| failed(std::io::Error::other(error)))?;
    line.push(b'\n');
    let mut child = tokio::process::Command::new(runner)
        .arg("check")
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(failed(std::io::Error::other("it has no pipes")));
    };
    input.write_all(&line).await.map_err(failed)?;
    let mut answer = String::new();
    let read = BufReader::new(output).read_line(&mut answer).await;
    read.map_err(failed)?;
    let _ = child.wait().await;
    drop(input);
    let verdict: CheckVerdict = serde_json::from_str(&answer)
        .map_err(|_| format!("'{program}' was killed together with what ran it"))?;
    match verdict {
        CheckVerdict { code: Some(0), .. } => Ok(()),
        CheckVerdict {
            not_started: Some(reason),
            ..
        } => Err(reason),
        CheckVerdict {
            code: Some(code), ..
        } => Err(format!("'{program}' exited with status {code}")),
        CheckVerdict { .. } => Err(format!("'{program}' was killed")),
    }
}
