//! What clients wrote and read, and whether it can have happened in one order: a check that each
//! register is linearizable.
//!
//! *Flow*: each client notes a call before it asks and what it was answered after; at the end every
//! register is judged by itself, which is as strict as judging all together and much faster.
//! *Guarantees*: a call whose outcome is not known may have happened at any time after it, or
//! never. *Caveats*: the checker is exponential at worst; a few hundred calls for each register, of
//! a handful of clients at a time, take milliseconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;

/// One thing that was asked of a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Call {
    /// To hold this number.
    Write(u64),
    /// What it holds; known once it was answered.
    Read(Option<u64>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Asked,
    Answered,
}

/// What has happened, in the order in which it was noted.
#[derive(Debug, Default)]
pub struct Registers {
    inner: Mutex<Noted>,
}

#[derive(Debug, Default)]
struct Noted {
    calls: usize,
    by_name: BTreeMap<String, Vec<(usize, Moment, Call)>>,
}

/// A call that has been asked and not answered yet. Dropped, its outcome is unknown.
#[derive(Debug)]
#[must_use]
pub struct Asked<'a> {
    registers: &'a Registers,
    name: String,
    number: usize,
    call: Call,
}

/// How much was judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// Registers.
    pub registers: usize,
    /// Calls that were answered.
    pub answered: usize,
    /// Calls whose outcome is not known.
    pub unknown: usize,
}

/// The register that cannot have behaved as it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no order of these calls explains what was read of {name}:\n{calls}")]
pub struct NotLinearizable {
    /// Its name.
    pub name: String,
    /// The shortest beginning of its history that no order explains, a line each.
    pub calls: String,
}

impl Registers {
    /// Notes that a register is asked to hold a number; to be called before it is asked. Each
    /// number is written once at most, and none is 0.
    pub fn write(&self, name: &str, number: u64) -> Asked<'_> {
        self.ask(name, Call::Write(number))
    }

    /// Notes that a register is asked what it holds; to be called before it is asked.
    pub fn read(&self, name: &str) -> Asked<'_> {
        self.ask(name, Call::Read(None))
    }

    fn ask(&self, name: &str, call: Call) -> Asked<'_> {
        let mut noted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let number = noted.calls;
        noted.calls += 1;
        let history = noted.by_name.entry(name.to_owned()).or_default();
        history.push((number, Moment::Asked, call));
        Asked {
            registers: self,
            name: name.to_owned(),
            number,
            call,
        }
    }

    /// Judges every register; a register holds 0 at first.
    ///
    /// # Errors
    /// The first register whose answers no order of its calls explains.
    pub fn judge(&self) -> Result<Judged, NotLinearizable> {
        let noted = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut judged = Judged::default();
        for (name, history) in &noted.by_name {
            let answered = history
                .iter()
                .filter(|(_, moment, _)| *moment == Moment::Answered)
                .count();
            judged.registers += 1;
            judged.answered += answered;
            judged.unknown += history.len() - 2 * answered;
            if !is_linearizable(history) {
                return Err(NotLinearizable {
                    name: name.clone(),
                    calls: shortest(history),
                });
            }
        }
        Ok(judged)
    }
}

impl Asked<'_> {
    /// Notes that a write was acknowledged.
    pub fn done(self) {
        let call = self.call;
        self.answer(call);
    }

    /// Notes what was read.
    pub fn holds(self, number: u64) {
        self.answer(Call::Read(Some(number)));
    }

    /// Notes that it was refused, and has certainly not happened.
    pub fn refused(self) {
        let mut noted = self
            .registers
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(history) = noted.by_name.get_mut(&self.name) {
            history.retain(|(number, ..)| *number != self.number);
        }
    }

    fn answer(self, call: Call) {
        let mut noted = self
            .registers
            .inner
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(history) = noted.by_name.get_mut(&self.name) {
            history.push((self.number, Moment::Answered, call));
        }
    }
}

/// A register as it should be.
struct Register;

impl Specification for Register {
    type State = u64;
    type Operation = Call;

    fn init() -> u64 {
        0
    }

    fn apply(call: &Call, held: &u64) -> (bool, u64) {
        match call {
            Call::Write(number) => (true, *number),
            Call::Read(Some(number)) => (number == held, *held),
            Call::Read(None) => (true, *held),
        }
    }
}

fn is_linearizable(history: &[(usize, Moment, Call)]) -> bool {
    // Each call is a process of its own, so that one without an answer keeps nobody from asking.
    let mut places: BTreeMap<usize, usize> = BTreeMap::new();
    let mut open: BTreeMap<usize, Call> = BTreeMap::new();
    let mut actions = Vec::with_capacity(history.len() + 8);
    for (number, moment, call) in history {
        let next = places.len();
        let place = *places.entry(*number).or_insert(next);
        match moment {
            Moment::Asked => {
                open.insert(place, *call);
                actions.push((place, Action::Call(*call)));
            }
            Moment::Answered => {
                open.remove(&place);
                actions.push((place, Action::Response(*call)));
            }
        }
    }
    // What was never answered is as if it were answered at the end of time.
    for (place, call) in open {
        actions.push((place, Action::Response(call)));
    }
    actions.is_empty() || WGLChecker::<Register>::is_linearizable(History::from_actions(actions))
}

/// The shortest beginning that no order explains, as text.
fn shortest(history: &[(usize, Moment, Call)]) -> String {
    let ends = 1..=history.len();
    let is_wrong = |end: &usize| !is_linearizable(history.get(..*end).unwrap_or_default());
    let end = ends.into_iter().find(is_wrong).unwrap_or(history.len());
    let mut text = String::new();
    for (number, moment, call) in history.iter().take(end) {
        let said = match (moment, call) {
            (Moment::Asked, Call::Write(value)) => format!("asks to write {value}"),
            (Moment::Asked, Call::Read(_)) => "asks to read".to_owned(),
            (Moment::Answered, Call::Write(value)) => format!("has written {value}"),
            (Moment::Answered, Call::Read(value)) => {
                format!("has read {}", value.unwrap_or_default())
            }
        };
        // Writing to a text does not fail.
        let _ = writeln!(text, "  call {number:>5} {said}");
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn calls_that_overlap_may_have_happened_in_either_order() {
        let registers = Registers::default();
        let (first, second) = (registers.write("a", 1), registers.write("a", 2));
        first.done();
        second.done();
        registers.read("a").holds(1);
        registers.read("a").holds(1);
        let judged = registers.judge().unwrap();
        assert_eq!(
            (judged.registers, judged.answered, judged.unknown),
            (1, 4, 0)
        );
    }

    #[test]
    fn a_write_that_was_acknowledged_and_is_gone_is_found() {
        let registers = Registers::default();
        registers.write("a", 1).done();
        registers.write("b", 7).done();
        registers.read("b").holds(7);
        registers.read("a").holds(0);
        registers.write("a", 2).done();
        let found = registers.judge().unwrap_err();
        assert_eq!(found.name, "a");
        assert_eq!(found.calls.lines().count(), 4, "{}", found.calls);
    }

    #[test]
    fn a_read_that_goes_back_is_found() {
        let registers = Registers::default();
        let pending = registers.write("a", 1);
        registers.read("a").holds(1);
        registers.read("a").holds(0);
        pending.done();
        assert!(registers.judge().is_err());
    }

    #[test]
    fn a_write_that_was_applied_twice_is_found() {
        let registers = Registers::default();
        registers.write("a", 1).done();
        registers.write("a", 2).done();
        registers.read("a").holds(1);
        assert!(registers.judge().is_err());
    }

    #[test]
    fn what_was_never_answered_may_happen_late_or_never_and_what_was_refused_may_not() {
        let registers = Registers::default();
        drop(registers.write("a", 1));
        registers.read("a").holds(0);
        registers.read("a").holds(1);
        drop(registers.write("a", 2));
        registers.read("a").holds(1);
        assert_eq!(registers.judge().unwrap().unknown, 2);
        registers.write("a", 3).refused();
        registers.read("a").holds(3);
        assert!(registers.judge().is_err());
    }

    #[test]
    fn hundreds_of_calls_of_many_clients_are_judged_at_once() {
        let registers = Registers::default();
        let mut held = 0;
        for round in 0..200_u64 {
            let writes: Vec<_> = (1..=4)
                .map(|own| (round * 4 + own, registers.write("a", round * 4 + own)))
                .collect();
            for (number, write) in writes {
                held = number;
                write.done();
            }
            registers.read("a").holds(held);
        }
        assert_eq!(registers.judge().unwrap().answered, 1000);
    }
}
