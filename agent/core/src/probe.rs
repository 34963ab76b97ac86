//! When a check is probed, and what its answers add up to.

use kelson_model::quantity::Millis;
use kelson_model::task::CheckState;
use kelson_model::template::Check;

use crate::moment::Moment;

/// Between two probes until the first success.
const EAGER: Millis = Millis(100);
/// Never more often than this, whatever a manifest says.
const SHORTEST: Millis = Millis(10);

/// The pace of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two probes, after the first success.
    pub interval: Millis,
    /// After which a probe has failed.
    pub timeout: Millis,
    /// From the start: failures do not count until the first success or the end of it.
    pub grace: Millis,
    /// So many failures in a row make it unhealthy.
    pub failures: u32,
}

impl From<&Check> for Pace {
    fn from(check: &Check) -> Self {
        Self {
            interval: check.interval.max(SHORTEST),
            timeout: check.timeout.max(SHORTEST),
            grace: check.grace,
            failures: check.failures.max(1),
        }
    }
}

/// One check of one running task.
///
/// *Flow*: [`due`](Self::due) says that a probe must be sent now, [`answer`](Self::answer) takes what came of it.
/// *Guarantees*: one probe at a time; the interval counts from the answer, so that a slow program is not probed without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSchedule {
    pace: Pace,
    started: Moment,
    next: Option<Moment>,
    failures: u32,
    succeeded: bool,
    state: CheckState,
    since: Option<Moment>,
    last_failure: String,
}

impl ProbeSchedule {
    /// A check of a task that was started at `started`; the first probe is due at once.
    pub fn new(pace: Pace, started: Moment) -> Self {
        Self {
            pace,
            started,
            next: Some(started),
            failures: 0,
            succeeded: false,
            state: CheckState::Unknown,
            since: None,
            last_failure: String::new(),
        }
    }

    /// When the next probe is due; absent while one is under way.
    pub fn next(&self) -> Option<Moment> {
        self.next
    }

    /// Whether a probe must be sent now; the caller sends it.
    pub fn due(&mut self, now: Moment) -> bool {
        let due = self.next.is_some_and(|at| at <= now);
        if due {
            self.next = None;
        }
        due
    }

    /// Takes the answer of a probe; says whether the state has changed.
    pub fn answer(&mut self, now: Moment, result: Result<(), String>) -> bool {
        let before = self.state;
        match result {
            Ok(()) => {
                self.failures = 0;
                self.succeeded = true;
                self.last_failure.clear();
                if self.state != CheckState::Healthy {
                    self.state = CheckState::Healthy;
                    self.since = Some(now);
                }
            }
            Err(reason) => {
                self.last_failure = reason.chars().take(200).collect();
                let in_grace = !self.succeeded && now < self.started.after(self.pace.grace);
                if !in_grace {
                    self.failures = self.failures.saturating_add(1);
                    if self.failures >= self.pace.failures {
                        self.state = CheckState::Unhealthy;
                        self.since = None;
                    }
                }
            }
        }
        let pause = if self.succeeded {
            self.pace.interval
        } else {
            self.pace.interval.min(EAGER)
        };
        self.next = Some(now.after(pause));
        before != self.state
    }

    /// What the answers add up to.
    pub fn state(&self) -> CheckState {
        self.state
    }

    /// Since when it has been healthy without a break.
    pub fn healthy_since(&self) -> Option<Moment> {
        self.since
    }

    /// Why the last probe failed; empty where it did not.
    pub fn last_failure(&self) -> &str {
        &self.last_failure
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        interval: Millis(10_000),
        timeout: Millis(2000),
        grace: Millis(1000),
        failures: 3,
    };

    fn fail(schedule: &mut ProbeSchedule, at: u64) -> bool {
        schedule.answer(Moment(at), Err("refused".to_owned()))
    }

    #[test]
    fn it_is_probed_every_100_ms_until_the_first_success_and_then_at_its_interval() {
        let mut schedule = ProbeSchedule::new(PACE, Moment(0));
        assert!(schedule.due(Moment(0)));
        assert!(!schedule.due(Moment(50)), "one probe at a time");
        assert!(!fail(&mut schedule, 5));
        assert_eq!(schedule.next(), Some(Moment(105)));
        assert!(schedule.due(Moment(105)));
        assert!(schedule.answer(Moment(106), Ok(())));
        assert_eq!(schedule.state(), CheckState::Healthy);
        assert_eq!(schedule.healthy_since(), Some(Moment(106)));
        assert_eq!(schedule.next(), Some(Moment(10_106)));
    }

    #[test]
    fn failures_do_not_count_within_the_grace() {
        let mut schedule = ProbeSchedule::new(PACE, Moment(0));
        for at in 0..10 {
            assert!(!fail(&mut schedule, at * 99));
        }
        assert!(!fail(&mut schedule, 1000));
        assert!(!fail(&mut schedule, 1100));
        assert!(
            fail(&mut schedule, 1200),
            "the third failure after the grace"
        );
        assert_eq!(schedule.state(), CheckState::Unhealthy);
    }

    #[test]
    fn failures_count_after_the_first_success_even_within_the_grace() {
        let mut schedule = ProbeSchedule::new(PACE, Moment(0));
        schedule.answer(Moment(1), Ok(()));
        fail(&mut schedule, 2);
        fail(&mut schedule, 3);
        assert_eq!(
            schedule.state(),
            CheckState::Healthy,
            "two in a row are not three"
        );
        schedule.answer(Moment(4), Ok(()));
        assert_eq!(
            schedule.healthy_since(),
            Some(Moment(1)),
            "healthy without a break"
        );
        fail(&mut schedule, 5);
        fail(&mut schedule, 6);
        assert!(fail(&mut schedule, 7));
        assert_eq!(schedule.healthy_since(), None);
        assert!(schedule.answer(Moment(8), Ok(())), "it may recover");
        assert_eq!(schedule.healthy_since(), Some(Moment(8)));
    }
}
