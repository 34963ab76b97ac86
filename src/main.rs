//! `kelson`, the one binary: every verb of the command line, and the processes of a cluster.
//!
//! This room reads arguments, wires the parts together and prints. It decides nothing about a
//! cluster: what should be is the reconciler's business, what is the kernel's, what runs the
//! agent's.
//!
//! Read `arguments.rs` first (what can be typed), then `verbs/` (one file each) and `processes/`
//! (`dev`, `kernel`, `agent`). `exit.rs` holds all exit codes.

mod arguments;
mod client;
mod context;
mod dev_directory;
mod exit;
mod files;
mod output;
mod processes;
mod runtime;
mod verbs;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser as _;

use arguments::{Arguments, Verb};
use context::Context;
use exit::{Exit, exit_of};
use output::Palette;

fn main() -> ExitCode {
    let Arguments { common, verb } = Arguments::parse();
    let context = Context { common };
    match run(verb, &context) {
        Ok(exit) => exit,
        Err(error) => {
            let exit = exit_of(&error);
            if exit != Exit::Done {
                output::say(output::failure(&error, Palette::of_stderr()).trim_end());
            }
            exit.into()
        }
    }
}

fn run(verb: Verb, context: &Context) -> Result<ExitCode> {
    let is_validate = matches!(verb, Verb::Validate(_));
    if context.common.output.format().is_none() && !is_validate {
        let message = "only `kelson validate` prints sarif and github";
        return Err(exit::Failure::usage(message)
            .with_hint("-o table, json, yaml or wide")
            .into());
    }
    let exit = match verb {
        // Each task has these: they start fast, and have threads and signals as they came.
        Verb::Shim(shim) => return Ok(processes::shim::run_shim(&shim)),
        Verb::Gate(gate) => return Ok(processes::shim::run_gate(&gate)),
        Verb::Check(check) => return Ok(processes::shim::run_check(&check)),
        Verb::CompileComponent(compile) => return Ok(processes::compile::run(&compile)),
        Verb::Dev(dev) => runtime::of_process(processes::dev::run(dev, context)),
        Verb::Kernel(kernel) => runtime::of_process(processes::kernel::run(kernel)),
        Verb::Agent(agent) => runtime::of_process(processes::agent::run(agent)),
        Verb::Init(init) => verbs::init::run(&init, context),
        Verb::Validate(validate) => verbs::validate::run(&validate, context),
        Verb::Doctor(doctor) => verbs::doctor::run(&doctor, context),
        Verb::Schema(schema) => verbs::schema::run(&schema, context),
        Verb::Completions(completions) => verbs::completions::run(&completions),
        Verb::Version(version) => verbs::version::run(&version, context),
        Verb::Plan(plan) => runtime::of_verb(verbs::plan::run(&plan, context)),
        Verb::Status(status) => runtime::of_verb(verbs::status::run(&status, context)),
        Verb::Get(get) => runtime::of_verb(verbs::get::run(&get, context)),
        Verb::Describe(describe) => runtime::of_verb(verbs::describe::run(&describe, context)),
        Verb::Tasks(tasks) => runtime::of_verb(verbs::tasks::run(&tasks, context)),
        Verb::Agents(agents) => runtime::of_verb(verbs::agents::run(&agents, context)),
        Verb::Members(members) => runtime::of_verb(verbs::members::run(&members, context)),
        Verb::Frameworks(list) => runtime::of_verb(verbs::frameworks::run(&list, context)),
        Verb::Drift(drift) => runtime::of_verb(verbs::drift::run(&drift, context)),
        Verb::Why(why) => runtime::of_verb(verbs::why::run(&why, context)),
        Verb::Events(events) => runtime::of_verb(verbs::events::run(&events, context)),
        Verb::Logs(logs) => runtime::of_verb(verbs::logs::run(&logs, context)),
        Verb::Wait(wait) => runtime::of_verb(verbs::wait::run(&wait, context)),
        Verb::Set(set) => runtime::of_verb(verbs::set::run(&set, context)),
        Verb::Stop(stop) => runtime::of_verb(verbs::stop::run(&stop, context)),
        Verb::Token(token) => runtime::of_verb(verbs::token::run(&token, context)),
        Verb::Login(login) => runtime::of_verb(verbs::login::run(&login, context)),
        Verb::Confirm(confirm) => runtime::of_verb(verbs::confirm::run(&confirm, context)),
    };
    exit.map(Into::into)
}
