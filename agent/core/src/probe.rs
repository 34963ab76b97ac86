//! When a check is probed, and what its answers add up to.

use kelson_model::quantity::Millis;
use kelson_model::task::CheckState;
use kelson_model::template::Check;
use serde::{Deserialize, Serialize};

use crate::moment::Moment;

/// Between two probes until the first success.
const EAGER: Millis = Millis(100);
/// Where nothing is known of an adopted task, its first probe is made within this.
const SOON: Millis = Millis(1000);
/// Failures before the first success are words for people only after this: most programs refuse at
/// first. New words come no more often than every [`NEW_WORDS`].
const FIRST_WORDS: Millis = Millis(2000);
const NEW_WORDS: Millis = Millis(5000);
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
    /// This many failures in a row make it unhealthy.
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

/// What of a check outlives the agent, so that the next one goes on where this one ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckNote {
    /// Whether a probe has ever succeeded.
    pub succeeded: bool,
    /// What the answers added up to.
    pub state: CheckState,
    /// Since when it has been healthy without a break.
    pub since: Option<Moment>,
}

/// One check of one running task.
///
/// *Flow*: [`due`](Self::due) says that a probe must be sent now, [`answer`](Self::answer) takes
/// what came of it.
/// *Guarantees*: one probe at a time; the interval counts from the answer, so that a slow program
/// is not probed without a break; checks of many tasks that began together do not stay together:
/// each pause is up to a tenth shorter than it says, by a number that follows from the task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProbeSchedule {
    pace: Pace,
    started: Moment,
    next: Option<Moment>,
    failures: u32,
    state: CheckState,
    since: Option<Moment>,
    succeeded: bool,
    /// Whether the first success is looked for often.
    is_eager: bool,
    last_failure: String,
    /// What is told of the failures, and when it was put so.
    said: Option<(Moment, String)>,
    seed: u64,
    pauses: u64,
}

impl ProbeSchedule {
    /// A check of a task that was started at `started`; the first probe is due at once. `seed`
    /// tells this check from all others.
    pub fn new(pace: Pace, started: Moment, seed: u64) -> Self {
        Self {
            pace,
            started,
            next: Some(started),
            failures: 0,
            state: CheckState::Unknown,
            since: None,
            succeeded: false,
            is_eager: true,
            last_failure: String::new(),
            said: None,
            seed,
            pauses: 0,
        }
    }

    /// A check of a task that ran under an earlier agent. It goes on from what was noted; where
    /// nothing was, an answer is wanted soon, but failures come at the usual pace: a task is not
    /// ended in a moment for the death of its agent.
    pub fn adopt(
        pace: Pace,
        started: Moment,
        seed: u64,
        note: Option<CheckNote>,
        now: Moment,
    ) -> Self {
        let mut schedule = Self::new(pace, started, seed);
        let known = note.unwrap_or_default();
        schedule.succeeded = known.succeeded;
        schedule.state = known.state;
        schedule.since = known.since;
        schedule.is_eager = now < started.after(pace.grace);
        let within = match note {
            Some(note) if note.succeeded => pace.interval,
            Some(_) | None => pace.interval.min(SOON),
        };
        schedule.next = Some(now.after(Millis(schedule.draw(within.0))));
        schedule
    }

    /// What the next agent must know.
    pub fn note(&self) -> CheckNote {
        CheckNote {
            succeeded: self.succeeded,
            state: self.state,
            since: self.since,
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
        let is_first = result.is_ok() && !self.succeeded;
        match result {
            Ok(()) => {
                self.failures = 0;
                self.succeeded = true;
                self.last_failure.clear();
                self.said = None;
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
                self.put_in_words(now, before);
            }
        }
        let pause = if self.succeeded || !self.is_eager {
            self.pace.interval.0
        } else {
            self.pace.interval.min(EAGER).0
        };
        // The first pause of its steady life puts a check somewhere of its own in the interval.
        let width = if is_first { pause / 2 } else { pause / 10 };
        let pause = pause.saturating_sub(self.draw(width));
        self.next = Some(now.after(Millis(pause)));
        before != self.state
    }

    /// Decides whether the last failure is told in place of what was told before.
    fn put_in_words(&mut self, now: Moment, before: CheckState) {
        let is_due = match &self.said {
            _ if self.state == CheckState::Healthy => false,
            _ if self.state != before => true,
            Some((at, said)) => *said != self.last_failure && now >= at.after(NEW_WORDS),
            None => now >= self.started.after(FIRST_WORDS),
        };
        if is_due {
            self.said = Some((now, self.last_failure.clone()));
        }
    }

    /// A number from 0 to `width`, another one each time, which follows from the seed alone.
    fn draw(&mut self, width: u64) -> u64 {
        self.pauses = self.pauses.wrapping_add(1);
        let mut mixed = self
            .seed
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .wrapping_add(self.pauses.wrapping_mul(0xd1b5_4a32_d192_ed03));
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % width.saturating_add(1)
    }

    /// What the answers add up to.
    pub fn state(&self) -> CheckState {
        self.state
    }

    /// Since when it has been healthy without a break.
    pub fn healthy_since(&self) -> Option<Moment> {
        self.since
    }

    /// What people are told of its failures; changes now and then only.
    pub fn said(&self) -> Option<&str> {
        self.said.as_ref().map(|(_, said)| said.as_str())
    }

    /// Why the last probe failed; empty where it did not.
    pub fn last_failure(&self) -> &str {
        &self.last_failure
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
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

    fn next_after(schedule: &ProbeSchedule, now: u64) -> u64 {
        schedule.next().unwrap().since(Moment(now)).0
    }

    #[test]
    fn it_is_probed_every_100_ms_until_the_first_success_and_then_at_its_interval() {
        let mut schedule = ProbeSchedule::new(PACE, Moment(0), 7);
        assert!(schedule.due(Moment(0)));
        assert!(!schedule.due(Moment(50)), "one probe at a time");
        assert!(!fail(&mut schedule, 5));
        assert!((90..=100).contains(&next_after(&schedule, 5)));
        assert!(schedule.due(Moment(105)));
        assert!(schedule.answer(Moment(106), Ok(())));
        assert_eq!(schedule.state(), CheckState::Healthy);
        assert_eq!(schedule.healthy_since(), Some(Moment(106)));
        assert!((5000..=10_000).contains(&next_after(&schedule, 106)));
        assert!(!schedule.answer(Moment(10_106), Ok(())));
        assert!((9000..=10_000).contains(&next_after(&schedule, 10_106)));
    }

    #[test]
    fn checks_that_begin_together_do_not_stay_together_and_each_repeats_itself() {
        let second_probes = |seeds: std::ops::Range<u64>| {
            let probes = seeds.map(|seed| {
                let mut schedule = ProbeSchedule::new(PACE, Moment(0), seed);
                schedule.answer(Moment(0), Ok(()));
                schedule.next().unwrap().0 / 500
            });
            probes.collect::<Vec<_>>()
        };
        let all = second_probes(0..1000);
        for slot in 10..20 {
            let share = all.iter().filter(|one| **one == slot).count();
            assert!((50..=150).contains(&share), "slot {slot}: {share}");
        }
        assert_eq!(all, second_probes(0..1000));
    }

    #[test]
    fn failures_do_not_count_within_the_grace() {
        let mut schedule = ProbeSchedule::new(PACE, Moment(0), 7);
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
        let mut schedule = ProbeSchedule::new(PACE, Moment(0), 7);
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

    #[test]
    fn an_adopted_check_goes_on_from_what_was_noted() {
        let mut first = ProbeSchedule::new(PACE, Moment(0), 7);
        first.answer(Moment(40), Ok(()));
        let now = Moment(900_000);
        let mut adopted = ProbeSchedule::adopt(PACE, Moment(0), 7, Some(first.note()), now);
        assert_eq!(
            (adopted.state(), adopted.healthy_since()),
            (CheckState::Healthy, Some(Moment(40)))
        );
        assert!(next_after(&adopted, now.0) <= 10_000);
        assert!(!adopted.answer(now, Err("busy".to_owned())));
        assert_eq!(adopted.state(), CheckState::Healthy, "one is not three");
        assert!(next_after(&adopted, now.0) >= 9000);
    }

    #[test]
    fn an_adopted_check_of_which_nothing_is_known_fails_at_the_usual_pace() {
        let now = Moment(900_000);
        let mut adopted = ProbeSchedule::adopt(PACE, Moment(0), 7, None, now);
        assert!(
            next_after(&adopted, now.0) <= 1000,
            "an answer is wanted soon"
        );
        adopted.answer(now, Err("busy".to_owned()));
        assert!(next_after(&adopted, now.0) >= 9000);
        // While it is still starting, the first success is looked for as often as ever.
        let mut young = ProbeSchedule::adopt(PACE, Moment(0), 7, None, Moment(500));
        fail(&mut young, 600);
        assert!(next_after(&young, 600) <= 100);
    }
}
