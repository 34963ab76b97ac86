//! What `dev` says: for people on stderr, or as JSON lines on stdout, of which the ready line is
//! the first.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use crate::dev_directory::Ready;
use crate::output::{Palette, Tint, clock, emit, json_line, now, plain, say};

/// The voice of a `dev`.
#[derive(Debug)]
pub(crate) struct Voice {
    is_json: bool,
    palette: Palette,
    /// JSON lines that wait for the ready line; `None` once it was said.
    waiting: Mutex<Option<Vec<Value>>>,
}

impl Voice {
    /// Makes a voice.
    pub(crate) fn new(is_json: bool) -> Self {
        Self {
            is_json,
            palette: Palette::of_stderr(),
            waiting: Mutex::new(Some(Vec::new())),
        }
    }

    /// The colours of what is said to people.
    pub(crate) fn palette(&self) -> Palette {
        self.palette
    }

    /// Whether scripts listen.
    pub(crate) fn is_json(&self) -> bool {
        self.is_json
    }

    /// Says something: a line for people, an object for scripts. `event` names it for ever.
    pub(crate) fn tell(&self, tint: Tint, event: &str, message: &str, more: Value) {
        let at = now().to_string();
        self.tell_at(&at, tint, event, message, more);
    }

    /// Says something that happened at a time (RFC 3339).
    pub(crate) fn tell_at(&self, at: &str, tint: Tint, event: &str, message: &str, more: Value) {
        if self.is_json {
            let mut line = json!({"event": event, "at": at, "message": message});
            if let (Some(line), Value::Object(more)) = (line.as_object_mut(), more) {
                line.extend(more);
            }
            self.queue(line);
        } else {
            let time = self.palette.paint(Tint::Dim, &clock(at));
            say(&format!(
                "{time} {}",
                self.palette.paint(tint, &plain(message))
            ));
        }
    }

    /// Adds lines for people below what was just said; scripts have had it.
    pub(crate) fn explain(&self, lines: &str) {
        if !self.is_json {
            for line in lines.lines() {
                say(&format!("         {line}"));
            }
        }
    }

    /// Prints the ready line: the first on stdout.
    ///
    /// # Errors
    /// When nobody reads it.
    pub(crate) fn ready(&self, ready: &Ready) -> anyhow::Result<()> {
        let mut text = format!("{}\n", serde_json::to_string(ready)?);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for line in waiting.take().into_iter().flatten() {
            text.push_str(&json_line(&line)?);
        }
        emit(&text)
    }

    fn queue(&self, line: Value) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        match waiting.as_mut() {
            Some(waiting) => waiting.push(line),
            // Nobody reads it: there is nobody to tell.
            None => drop(json_line(&line).and_then(|line| emit(&line))),
        }
    }
}
