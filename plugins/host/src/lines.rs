//! The newest lines that schedulers wrote, kept for their authors: of turns that count and of turns
//! that were void alike.

use std::collections::{BTreeMap, VecDeque};

use kelson_kernel_core::port::{LogLine, SeatId, TurnFault, TurnRequest};
use kelson_model::framework::LogLevel;
use kelson_model::object::{Namespace, ObjectKey};

use crate::limits;

/// The lines of all seats, a few of each.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    seats: BTreeMap<SeatId, Kept>,
    bytes: usize,
    /// Grows with each turn; the seat with the smallest wrote longest ago.
    writes: u64,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<LogLine>,
    bytes: usize,
    written: u64,
}

impl Lines {
    /// Keeps what a turn wrote, and why it was void where it was.
    pub(crate) fn keep(
        &mut self,
        request: &TurnRequest,
        written: Vec<(LogLevel, String)>,
        fault: Option<&TurnFault>,
    ) {
        let fault = fault.map(|fault| (LogLevel::Error, format!("the turn is void: {fault}")));
        let lines: Vec<LogLine> = written
            .into_iter()
            .chain(fault.clone())
            .map(|(level, text)| LogLine {
                seat: request.seat.clone(),
                turn_no: request.turn_no,
                at: request.now,
                level,
                text,
                is_void: fault.is_some(),
            })
            .collect();
        if lines.is_empty() {
            return;
        }
        self.writes += 1;
        let kept = self.seats.entry(request.seat.clone()).or_default();
        kept.written = self.writes;
        for line in lines {
            kept.bytes += line.text.len();
            self.bytes += line.text.len();
            kept.lines.push_back(line);
        }
        while kept.lines.len() > limits::KEPT_LINES {
            if let Some(line) = kept.lines.pop_front() {
                kept.bytes -= line.text.len();
                self.bytes -= line.text.len();
            }
        }
        while self.bytes > limits::KEPT_LINE_BYTES && self.seats.len() > 1 {
            let oldest = self.seats.iter().min_by_key(|(_, kept)| kept.written);
            let Some(seat) = oldest.map(|(seat, _)| seat.clone()) else {
                break;
            };
            if let Some(kept) = self.seats.remove(&seat) {
                self.bytes -= kept.bytes;
            }
        }
    }

    /// The lines of a framework, in one namespace or in all, in the order of their time.
    pub(crate) fn of(&self, framework: &ObjectKey, namespace: Option<&Namespace>) -> Vec<LogLine> {
        let seats = self.seats.iter().filter(|(seat, _)| {
            seat.framework == *framework
                && namespace.is_none_or(|namespace| seat.namespace == *namespace)
        });
        let mut lines: Vec<LogLine> = seats
            .flat_map(|(_, kept)| kept.lines.iter().cloned())
            .collect();
        lines.sort_by_key(|line| line.at);
        lines
    }
}
