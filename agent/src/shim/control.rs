//! The control pipe: how an agent, this one or a later one, asks a shim for something.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, mkfifoat, open};

use crate::record::CONTROL;

/// What a shim can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Command {
    /// Send a signal to the program's group.
    Signal(i32),
    /// Kill everything.
    Kill,
}

impl Command {
    fn line(self) -> String {
        match self {
            Self::Signal(number) => format!("signal {number}\n"),
            Self::Kill => "kill\n".to_owned(),
        }
    }

    /// Reads the lines that have arrived; what is not a command is skipped.
    pub(super) fn parse_lines(text: &str) -> Vec<Self> {
        text.lines()
            .filter_map(|line| match line.split_once(' ') {
                Some(("signal", number)) => number.parse().ok().map(Self::Signal),
                Some(_) => None,
                None => (line == "kill").then_some(Self::Kill),
            })
            .collect()
    }
}

/// Asks the shim of a task directory. Short lines are written in one piece, and the pipe holds many
/// of them: this never waits.
///
/// # Errors
/// Where no shim listens.
pub(crate) fn send_command(directory: &Path, command: Command) -> std::io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let pipe = open(directory.join(CONTROL), flags, Mode::empty())?;
    File::from(pipe).write_all(command.line().as_bytes())
}

/// Makes the pipe in the current directory, and opens it for both ends, so that it never ends.
pub(super) fn listen() -> std::io::Result<File> {
    let _ = std::fs::remove_file(CONTROL);
    mkfifoat(CWD, CONTROL, Mode::RUSR | Mode::WUSR)?;
    let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    Ok(File::from(open(CONTROL, flags, Mode::empty())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_as_they_are_written() {
        let text = format!(
            "{}{}nonsense\nsignal x\n",
            Command::Signal(15).line(),
            Command::Kill.line()
        );
        assert_eq!(
            Command::parse_lines(&text),
            [Command::Signal(15), Command::Kill]
        );
    }
}
