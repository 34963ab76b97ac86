//! The registry of commands: their numbers, their versions, and since when each is known.

use kelson_model::code::Code;
use kelson_model::request::Refusal;

use super::error::FormError;
use super::reader::Reader;
use super::statement::Form;
use super::version::{Since, level_of, newest};
use super::writer::Writer;
use crate::command::Command;
use crate::reply::refusal;

/// What is known of a command's form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommandForm {
    /// Names it for ever; a number is never used again.
    pub number: u64,
    /// As people see it.
    pub name: &'static str,
    /// Since which cluster version each version of its form is known, from version 1 on.
    pub since: &'static [u32],
}

macro_rules! commands {
    ($($number:literal $name:ident $word:literal $since:expr;)*) => {
        /// All commands, in the order of their numbers.
        pub const COMMANDS: &[CommandForm] = &[$(CommandForm {
            number: $number,
            name: $word,
            since: $since,
        },)*];

        /// What is known of the form of a command.
        pub fn command_form(command: &Command) -> CommandForm {
            match command {
                $(Command::$name(_) => CommandForm {
                    number: $number,
                    name: $word,
                    since: $since,
                },)*
            }
        }

        fn put_body(command: &Command, to: &mut Writer) {
            match command {
                $(Command::$name(body) => body.put(to),)*
            }
        }

        fn take_body(number: u64, from: &mut Reader<'_>) -> Result<Command, FormError> {
            match number {
                $($number => Form::take(from).map(Command::$name),)*
                _ => Err(FormError::Unknown { what: "command", number }),
            }
        }
    };
}

const FIRST: Since = &[0];

commands! {
    1 FoundCluster "foundCluster" FIRST;
    2 RegisterAgent "registerAgent" FIRST;
    3 SetAgentState "setAgentState" FIRST;
    4 RecordStatuses "recordStatuses" FIRST;
    5 RecordAgentDrift "recordAgentDrift" FIRST;
    6 CommitTurn "commitTurn" FIRST;
    7 InstallFramework "installFramework" FIRST;
    8 FailFramework "failFramework" FIRST;
    9 Stage "stage" FIRST;
    10 Accept "accept" FIRST;
    11 ReportSource "reportSource" FIRST;
    12 RecordDrift "recordDrift" FIRST;
    13 SetField "setField" FIRST;
    14 StopTask "stopTask" FIRST;
    15 Confirm "confirm" FIRST;
    16 SetNamespace "setNamespace" FIRST;
    17 SetClusterVersion "setClusterVersion" FIRST;
    18 AdmitMember "admitMember" FIRST;
    19 RecordMember "recordMember" FIRST;
    20 DismissMember "dismissMember" FIRST;
    30 CreateToken "createToken" FIRST;
    31 UseToken "useToken" FIRST;
    32 RevokeToken "revokeToken" FIRST;
}

impl CommandForm {
    /// Refuses the command where a cluster of this version does not know a form that is known
    /// `since` another.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn allow(&self, since: u32, cluster_version: u32) -> Result<(), Refusal> {
        if since <= cluster_version {
            return Ok(());
        }
        let message = format!(
            "{} is known since cluster version {since}, and the cluster has version {cluster_version}",
            self.name
        );
        let hint = "it is taken once every member runs a program that knows it";
        Err(refusal(Code::NotKnownYet, message, hint))
    }
}

/// Refuses a command of which a cluster of this version knows no form; to be asked before it is
/// written.
///
/// # Errors
/// It knows none.
pub fn allow(command: &Command, cluster_version: u32) -> Result<(), Refusal> {
    let form = command_form(command);
    form.allow(first_since(&form), cluster_version)
}

/// Since which cluster version a command is known at all.
pub(crate) fn first_since(form: &CommandForm) -> u32 {
    form.since.first().copied().unwrap_or(u32::MAX)
}

pub(super) fn put_command(
    command: &Command,
    cluster_version: u32,
    to: &mut Writer,
) -> Result<(), FormError> {
    let form = command_form(command);
    let (version, level) = newest(form.since, form.name, cluster_version)?;
    to.number(form.number);
    to.number(version);
    to.set_level(level);
    put_body(command, to);
    Ok(())
}

pub(super) fn take_command(from: &mut Reader<'_>) -> Result<Command, FormError> {
    let number = from.number()?;
    let version = from.number()?;
    let known = COMMANDS.iter().find(|form| form.number == number);
    let form = known.ok_or(FormError::Unknown {
        what: "command",
        number,
    })?;
    from.set_level(level_of(form.since, form.name, version)?);
    take_body(number, from)
}
