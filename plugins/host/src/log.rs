//! The import `log`: lines for the author of a framework.

use kelson_model::framework::LogLevel;

use crate::bindings;
use crate::limits;
use crate::sandbox::Sandbox;
use crate::text;

/// The lines of one turn, as many as are kept.
#[derive(Debug, Default)]
pub(crate) struct Log {
    lines: Vec<(LogLevel, String)>,
    dropped: u64,
}

impl Log {
    fn write(&mut self, level: LogLevel, line: &str) {
        if self.lines.len() < limits::LOG_LINES {
            self.lines
                .push((level, text::message(line, limits::MESSAGE_BYTES)));
        } else {
            self.dropped += 1;
        }
    }

    /// The last line, if it tells of an error: what a scheduler says before it gives up.
    pub(crate) fn last_words(&self) -> Option<&str> {
        match self.lines.last() {
            Some((LogLevel::Error, line)) => Some(line),
            _ => None,
        }
    }

    /// Takes the lines, with one more where some were dropped.
    pub(crate) fn take(&mut self) -> Vec<(LogLevel, String)> {
        let Self { mut lines, dropped } = std::mem::take(self);
        if dropped > 0 {
            lines.push((LogLevel::Warn, format!("{dropped} more lines were dropped")));
        }
        lines
    }
}

impl bindings::log::Host for Sandbox {
    fn write(&mut self, level: u32, line: String) -> wasmtime::Result<()> {
        self.meter.charge(line.len())?;
        self.log.write(LogLevel::of(level), &line);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_error_is_taken_for_last_words() {
        let mut log = Log::default();
        assert_eq!(log.last_words(), None);
        log.write(LogLevel::of(9), "out of birds");
        assert_eq!(log.last_words(), Some("out of birds"));
        log.write(LogLevel::Warn, "nothing more to say");
        assert_eq!(log.last_words(), None);
    }
}
