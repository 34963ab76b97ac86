//! Compiling a component: in a child process with limits, or in this one.
//!
//! A component comes from whoever may commit, and a compiler is no sandbox: what it is given
//! decides how long it takes and how much memory. The kernel therefore compiles in a child, which
//! an operator can see and the machine can end. Tools that compile what they were built with do it
//! themselves.

use std::ffi::OsString;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use kelson_kernel_core::port::LoadFault;
use kelson_model::text;
use rustix::process::{Resource, Rlimit, Signal, setrlimit};
use wasmtime::Engine;

use crate::component;
use crate::engine;
use crate::limits;

/// Where components are compiled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Compiler {
    /// In this process, without limits.
    #[default]
    Here,
    /// In a child process.
    Child(ChildCompiler),
}

/// A program that compiles one component and ends: it is called with `--input FILE --artifact FILE
/// --memory BYTES --cpu SECONDS` behind the arguments given here, and is expected to call
/// [`compile_file`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChildCompiler {
    /// The program.
    pub program: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<OsString>,
    /// What it may use.
    pub limits: CompileLimits,
}

/// What compiling one component may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompileLimits {
    /// Bytes of address space.
    pub memory: u64,
    /// Seconds of processor time, of all its threads together.
    pub cpu_seconds: u64,
    /// How long it may take on the wall clock.
    pub wall: Duration,
}

impl Default for CompileLimits {
    fn default() -> Self {
        Self {
            memory: limits::COMPILE_MEMORY,
            cpu_seconds: limits::COMPILE_CPU_SECONDS,
            wall: limits::COMPILE_WALL,
        }
    }
}

/// Why there is no compiled form.
#[derive(Debug)]
pub(crate) enum CompileFault {
    /// The component's own fault; the same again whenever it is tried.
    Component(LoadFault),
    /// The machine's; it may be otherwise the next time.
    Machine(String),
}

impl CompileFault {
    pub(crate) fn into_load_fault(self) -> LoadFault {
        match self {
            Self::Component(fault) => fault,
            Self::Machine(reason) => LoadFault::NotCompiled(text::message(&reason)),
        }
    }
}

impl Compiler {
    /// Names what a verdict depends on beside the component and the engine.
    pub(crate) fn terms(&self) -> String {
        match self {
            Self::Here => "without limits".to_owned(),
            Self::Child(child) => format!(
                "{} bytes, {} cpu seconds",
                child.limits.memory, child.limits.cpu_seconds
            ),
        }
    }

    /// Compiles a component whose beginning was looked at; `input` and `output` are free names in a
    /// folder closed to others.
    pub(crate) fn compile(
        &self,
        engine: &Engine,
        content: &[u8],
        input: &Path,
        output: &Path,
    ) -> Result<Vec<u8>, CompileFault> {
        component::check_beginning(content).map_err(CompileFault::Component)?;
        match self {
            Self::Here => component::compile(engine, content).map_err(CompileFault::Component),
            Self::Child(child) => {
                let machine =
                    |error: io::Error| CompileFault::Machine(format!("its files: {error}"));
                let compiled = fs::write(input, content)
                    .map_err(machine)
                    .and_then(|()| child.run(input, output))
                    .and_then(|()| fs::read(output).map_err(machine));
                for file in [input, output] {
                    // It may never have been written.
                    let _removed = fs::remove_file(file);
                }
                compiled
            }
        }
    }
}

/// The exit status of a child that refuses a component; it has said why on stderr.
const REFUSED: i32 = 1;
/// Bytes of what a child says that are read.
const SAID_BYTES: u64 = 4_096;

impl ChildCompiler {
    /// This program as its own compiler, called with these first arguments.
    pub fn own(arguments: impl IntoIterator<Item = OsString>) -> Self {
        Self {
            // It stays this program even when its file was replaced meanwhile.
            program: PathBuf::from("/proc/self/exe"),
            arguments: arguments.into_iter().collect(),
            limits: CompileLimits::default(),
        }
    }

    fn run(&self, input: &Path, output: &Path) -> Result<(), CompileFault> {
        let mut child = Command::new(&self.program)
            .args(&self.arguments)
            .arg("--input")
            .arg(input)
            .arg("--artifact")
            .arg(output)
            .arg("--memory")
            .arg(self.limits.memory.to_string())
            .arg("--cpu")
            .arg(self.limits.cpu_seconds.to_string())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| CompileFault::Machine(format!("the compiler: {error}")))?;
        let said = said(&mut child, self.limits.wall);
        if said.is_none() {
            // It may have ended a moment ago.
            let _killed = child.kill();
        }
        let status = child
            .wait()
            .map_err(|error| CompileFault::Machine(format!("the compiler: {error}")))?;
        match said {
            Some(said) => self.verdict(status, &said),
            None => Err(CompileFault::Machine(format!(
                "the compiler took more than {} s",
                self.limits.wall.as_secs()
            ))),
        }
    }

    fn verdict(&self, status: ExitStatus, said: &str) -> Result<(), CompileFault> {
        let costly = |what: String| CompileFault::Component(LoadFault::TooCostly(what));
        let ended_by = |signal: Signal| status.signal() == Some(signal.as_raw());
        if status.success() {
            Ok(())
        } else if status.code() == Some(REFUSED) {
            let reason = text::message(said.trim());
            Err(CompileFault::Component(LoadFault::NotAComponent(reason)))
        } else if ended_by(Signal::XCPU) {
            Err(costly(format!(
                "more than {} s of processor time",
                self.limits.cpu_seconds
            )))
        } else if ended_by(Signal::ABORT) {
            // What a Rust program does when it is given no memory.
            Err(costly(format!(
                "more than {} MiB of memory",
                self.limits.memory >> 20
            )))
        } else {
            Err(CompileFault::Machine(format!(
                "the compiler ended with {status}: {}",
                said.trim()
            )))
        }
    }
}

/// What a child says until it ends; `None`: it took longer than `patience`.
fn said(child: &mut Child, patience: Duration) -> Option<String> {
    let stderr = child.stderr.take()?;
    let (tell, told) = channel();
    std::thread::spawn(move || {
        let mut stderr = stderr;
        let mut said = Vec::new();
        // What cannot be read was not said; the rest is read so that the child never waits for its
        // reader.
        let _read = (&mut stderr).take(SAID_BYTES).read_to_end(&mut said);
        let _rest = io::copy(&mut stderr, &mut io::sink());
        let _is_awaited = tell.send(String::from_utf8_lossy(&said).into_owned());
    });
    match told.recv_timeout(patience) {
        Ok(said) => Some(said),
        Err(RecvTimeoutError::Timeout) => None,
        Err(RecvTimeoutError::Disconnected) => Some(String::new()),
    }
}

/// Why a child has compiled nothing.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The component cannot be compiled.
    #[error("{0}")]
    Refused(String),
    /// The machine does not let it.
    #[error("{0}")]
    Machine(String),
}

impl CompileError {
    /// The exit status of the child.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Refused(_) => 1,
            Self::Machine(_) => 2,
        }
    }
}

/// Compiles the component in `input` into `output` within limits that hold for this whole process:
/// what a child compiler does.
///
/// # Errors
/// The component is none, or the machine does not let it.
pub fn compile_file(
    input: &Path,
    output: &Path,
    memory: u64,
    cpu_seconds: u64,
) -> Result<(), CompileError> {
    let machine = |what: &str, error: &dyn std::fmt::Display| {
        CompileError::Machine(format!("{what}: {error}"))
    };
    bind(memory, cpu_seconds).map_err(|error| machine("the limits of the compiler", &error))?;
    let content = fs::read(input).map_err(|error| machine("the component", &error))?;
    let engine = engine::make().map_err(|error| machine("the sandbox", &error))?;
    component::check_beginning(&content)
        .and_then(|()| component::compile(&engine, &content))
        .map_err(|fault| match fault {
            LoadFault::NotAComponent(reason) => CompileError::Refused(reason),
            other => CompileError::Refused(other.to_string()),
        })
        .and_then(|code| {
            fs::write(output, code).map_err(|error| machine("the compiled component", &error))
        })
}

/// Binds this process to its limits, and to the life of its parent.
fn bind(memory: u64, cpu_seconds: u64) -> io::Result<()> {
    let limit = |most: u64, last: u64| Rlimit {
        current: Some(most),
        maximum: Some(last),
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    setrlimit(Resource::Core, limit(0, 0))?;
    setrlimit(Resource::As, limit(memory, memory))?;
    setrlimit(
        Resource::Fsize,
        limit(limits::COMPILED_BYTES, limits::COMPILED_BYTES),
    )?;
    // The first is a signal of its own, by which the parent knows; the last cannot be ignored.
    setrlimit(
        Resource::Cpu,
        limit(cpu_seconds, cpu_seconds.saturating_add(5)),
    )?;
    Ok(())
}
