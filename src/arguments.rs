//! The command line: what can be typed, and what it means. A flag wins over its variable, a
//! variable over the default.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::output::Output;
use crate::{processes, verbs};

/// Turns machines into one computer that is operated through git.
#[derive(Debug, Parser)]
#[command(
    name = "kelson",
    version,
    max_term_width = 110,
    disable_help_subcommand = true
)]
#[command(
    after_help = "Exit codes: 0 yes or done; 1 the answer is no; 2 usage or local set-up; 3 nothing is listening; \
4 timed out; 5 refused; 130 interrupted."
)]
pub(crate) struct Arguments {
    /// What every verb takes.
    #[command(flatten)]
    pub(crate) common: Common,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// What every verb takes.
#[derive(Debug, Clone, Args)]
pub(crate) struct Common {
    /// The kernel's address, or those of several members with commas between [default: that of the
    /// `kelson dev` of this repository, else those in the credentials, else 127.0.0.1:7460]
    #[arg(
        long,
        global = true,
        env = "KELSON_ADDR",
        hide_env_values = true,
        value_name = "HOST:PORT"
    )]
    pub(crate) addr: Option<String>,
    /// The file that lets you into a cluster of several machines [default:
    /// ~/.config/kelson/credentials, where it is there]
    #[arg(
        long,
        global = true,
        env = "KELSON_CREDENTIALS",
        hide_env_values = true,
        value_name = "FILE"
    )]
    pub(crate) credentials: Option<PathBuf>,
    /// The namespace [default: default]
    #[arg(
        short,
        long,
        global = true,
        env = "KELSON_NAMESPACE",
        hide_env_values = true,
        value_name = "NAMESPACE"
    )]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short = 'A', long, global = true)]
    pub(crate) all_namespaces: bool,
    /// How to show the answer
    #[arg(
        short,
        long,
        global = true,
        env = "KELSON_OUTPUT",
        hide_env_values = true,
        value_enum,
        default_value_t,
        value_name = "FORMAT"
    )]
    pub(crate) output: Output,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Makes a repository with a first service
    Init(verbs::init::Init),
    /// Runs everything on this machine, following a git repository
    Dev(processes::dev::Dev),
    /// Runs a member of the kernel
    Kernel(processes::kernel::Kernel),
    /// Runs an agent, which runs tasks on this machine
    Agent(processes::agent::Agent),
    /// Checks manifests, without a kernel
    Validate(verbs::validate::Validate),
    /// Shows what manifests would change, with real placements
    Plan(verbs::plan::Plan),
    /// Shows the source and all objects: sync, health, tasks
    Status(verbs::status::Status),
    /// Shows an object as the kernel has it
    Get(verbs::get::Get),
    /// Shows everything about an object, for people
    Describe(verbs::describe::Describe),
    /// Lists tasks
    Tasks(verbs::tasks::Tasks),
    /// Lists agents
    Agents(verbs::agents::Agents),
    /// Lists the members of the kernel, or changes who they are
    Members(verbs::members::Members),
    /// Lists frameworks and their seats, or takes one out of its fault
    Frameworks(verbs::frameworks::Frameworks),
    /// Shows what differs from git without a commit
    Drift(verbs::drift::Drift),
    /// Says why an object is not as it should be
    Why(verbs::why::Why),
    /// Lists what has happened
    Events(verbs::events::Events),
    /// Shows what tasks write
    Logs(verbs::logs::Logs),
    /// Waits for an object, or for all of them
    Wait(verbs::wait::Wait),
    /// Changes fields of an object by hand (git says otherwise: that is drift)
    Set(verbs::set::Set),
    /// Ends a task by hand
    Stop(verbs::stop::Stop),
    /// Releases a held revision
    Confirm(verbs::confirm::Confirm),
    /// Examines the data directory of a kernel that does not run
    Doctor(verbs::doctor::Doctor),
    /// Lets machines join a cluster of several machines, and people in
    Token(verbs::token::Token),
    /// Keeps a token, so that you are let into a cluster of several machines
    Login(verbs::login::Login),
    /// Prints the JSON Schema of manifests, for editors
    Schema(verbs::schema::Schema),
    /// Prints completions for a shell
    Completions(verbs::completions::Completions),
    /// Prints the version
    Version(verbs::version::Version),
    /// Holds one task (started by agents only)
    #[command(hide = true)]
    Shim(processes::shim::Shim),
    /// Becomes a task's program (started by shims only)
    #[command(hide = true)]
    Gate(processes::shim::Gate),
    /// Runs the program of a task's check (started by agents only)
    #[command(hide = true)]
    Check(processes::shim::Check),
    /// Compiles one component within limits (started by the sandbox only)
    #[command(hide = true)]
    CompileComponent(processes::compile::CompileComponent),
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]
    use super::*;
    use clap::CommandFactory as _;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn the_definition_holds_together() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_verb_of_the_contract_is_there() {
        let command = Arguments::command();
        let verbs: Vec<&str> = command
            .get_subcommands()
            .filter(|verb| !verb.is_hide_set())
            .map(clap::Command::get_name)
            .collect();
        assert_eq!(
            verbs,
            [
                "init",
                "dev",
                "kernel",
                "agent",
                "validate",
                "plan",
                "status",
                "get",
                "describe",
                "tasks",
                "agents",
                "members",
                "frameworks",
                "drift",
                "why",
                "events",
                "logs",
                "wait",
                "set",
                "stop",
                "confirm",
                "doctor",
                "token",
                "login",
                "schema",
                "completions",
                "version"
            ]
        );
    }

    #[test]
    fn common_flags_stand_before_and_behind_the_verb() {
        for line in [
            "kelson -n shop -o json status",
            "kelson status -n shop -o json",
        ] {
            let arguments = parse(line).unwrap();
            assert_eq!(arguments.common.namespace.as_deref(), Some("shop"));
            assert_eq!(arguments.common.output, Output::Json);
        }
    }

    #[test]
    fn dev_takes_text_and_a_port_range() {
        let arguments = parse("kelson dev repo -o text --port-range 21000-21099").unwrap();
        assert_eq!(arguments.common.output, Output::Table);
        let Verb::Dev(dev) = arguments.verb else {
            panic!("not dev")
        };
        assert_eq!((dev.port_range.first, dev.port_range.last), (21000, 21099));
        assert_eq!(dev.listen, "127.0.0.1:7460");
    }

    #[test]
    fn nonsense_is_a_matter_of_usage() {
        for line in [
            "kelson",
            "kelson frobnicate",
            "kelson dev --port-range 9-1",
            "kelson status -o xml",
            "kelson wait --for luck",
            "kelson set web",
        ] {
            assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
