//! How a verb ends: the exit codes of the whole program, in this one place.

use std::fmt;
use std::process::ExitCode;

use kelson_model::code::ToldCode;

/// How a verb ended, as scripts see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Yes, or done.
    Done,
    /// The answer is no: invalid, drifted or changed with `--exit-code`, a wait that failed.
    No,
    /// Wrong usage, or something local is not set up.
    Usage,
    /// Nothing is listening at the address.
    NothingListens,
    /// It took too long.
    TimedOut,
    /// The kernel refused: conflict, held, not found.
    Refused,
    /// A signal ended it.
    Interrupted,
}

impl Exit {
    /// The number that the process exits with.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::NothingListens => 3,
            Self::TimedOut => 4,
            Self::Refused => 5,
            Self::Interrupted => 130,
        }
    }

    /// How the failure of a request with this HTTP status ends the verb.
    pub(crate) fn of_status(status: u16) -> Self {
        match status {
            400 | 405 | 413 | 415 | 422 => Self::Usage,
            408 | 504 => Self::TimedOut,
            502 | 503 => Self::NothingListens,
            _ => Self::Refused,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.number())
    }
}

/// Why a verb could not do its work, in the words that are shown, with the exit code that it ends
/// with.
///
/// Any other error ends with [`Exit::Usage`]: what fails without the kernel's doing is a matter of
/// usage or of local set-up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What kind of thing is wrong, where the error has a page.
    pub(crate) code: Option<ToldCode>,
    /// What is wrong.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
}

impl Failure {
    /// Makes a failure without a code and a hint.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            code: None,
            message: message.into(),
            hint: None,
        }
    }

    /// Makes a failure of usage or of local set-up.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds the code of its page.
    pub(crate) fn with_code(mut self, code: impl Into<ToldCode>) -> Self {
        self.code = Some(code.into());
        self
    }

    /// Adds what to do about it; an empty hint is none.
    pub(crate) fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into()).filter(|hint| !hint.is_empty());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.code {
            Some(code) => write!(f, "{code}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Failure {}

/// The exit code of an error: that of the [`Failure`] in it, else [`Exit::Usage`].
pub(crate) fn exit_of(error: &anyhow::Error) -> Exit {
    if let Some(failure) = failure_of(error) {
        return failure.exit;
    }
    let is_closed_pipe = error.chain().any(|cause| {
        cause
            .downcast_ref::<std::io::Error>()
            .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
    });
    // Whoever read our output had enough of it.
    if is_closed_pipe {
        Exit::Done
    } else {
        Exit::Usage
    }
}

/// The [`Failure`] in an error, whatever was said around it.
pub(crate) fn failure_of(error: &anyhow::Error) -> Option<&Failure> {
    error.chain().find_map(|cause| cause.downcast_ref())
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    #[test]
    fn the_exit_codes_are_the_documented_ones() {
        let numbers = [
            Exit::Done,
            Exit::No,
            Exit::Usage,
            Exit::NothingListens,
            Exit::TimedOut,
            Exit::Refused,
            Exit::Interrupted,
        ]
        .map(Exit::number);
        assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 130]);
    }

    #[test]
    fn not_found_and_conflict_are_refusals_and_a_bad_request_is_usage() {
        assert_eq!(Exit::of_status(404), Exit::Refused);
        assert_eq!(Exit::of_status(409), Exit::Refused);
        assert_eq!(Exit::of_status(400), Exit::Usage);
        assert_eq!(Exit::of_status(504), Exit::TimedOut);
    }

    #[test]
    fn a_failure_keeps_its_exit_code_through_what_is_said_around_it() {
        let error = Err::<(), _>(Failure::new(Exit::TimedOut, "too late"))
            .context("while waiting")
            .err();
        assert_eq!(error.as_ref().map(exit_of), Some(Exit::TimedOut));
    }

    #[test]
    fn an_error_of_the_machine_is_a_matter_of_set_up_and_a_closed_pipe_is_none() {
        let denied =
            anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::PermissionDenied));
        assert_eq!(exit_of(&denied), Exit::Usage);
        let closed = anyhow::Error::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        assert_eq!(exit_of(&closed), Exit::Done);
    }
}
