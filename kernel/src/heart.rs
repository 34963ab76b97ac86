//! Heartbeats: every loop of the kernel says now and then that it goes on, and what it waits for.
//!
//! *Guarantees:* a loop that has not been heard of for longer than it said itself is late, and one
//! that has ended says so; both are shown to whoever asks. *Caveats:* a loop that waits for
//! something without a limit of time is never late while it waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kelson_model::report::{LoopReport, LoopState};
use tokio::time::Instant;

/// Asked whenever somebody wants to know: why a loop cannot do its work, if so.
type Check = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// The loops of one process; clones are the same.
#[derive(Clone, Default)]
pub struct Hearts {
    beats: Arc<Mutex<BTreeMap<String, Beat>>>,
    checks: Arc<Mutex<BTreeMap<String, Check>>>,
}

impl std::fmt::Debug for Hearts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Hearts").field(&self.beats()).finish()
    }
}

/// What a loop said last.
#[derive(Debug, Clone)]
struct Beat {
    at: Instant,
    doing: String,
    /// When it is heard of again at the latest, counted from `at`.
    limit: Option<Duration>,
    has_ended: bool,
}

/// One loop's voice. Dropped, the loop has ended.
#[derive(Debug)]
pub struct Heart {
    hearts: Hearts,
    name: String,
}

impl Hearts {
    /// Begins to listen to a loop.
    pub fn start(&self, name: &str) -> Heart {
        let heart = Heart {
            hearts: self.clone(),
            name: name.to_owned(),
        };
        heart.waits("to begin", None);
        heart
    }

    /// Listens to a loop no more: it is not meant to go on here.
    pub fn forget(&self, name: &str) {
        self.beats().remove(name);
    }

    /// Says how to find out why a loop cannot do its work; in place of what was said before of it.
    pub fn check(&self, name: &str, why: impl Fn() -> Option<String> + Send + Sync + 'static) {
        let mut checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        checks.insert(name.to_owned(), Arc::new(why));
    }

    fn beats(&self) -> MutexGuard<'_, BTreeMap<String, Beat>> {
        self.beats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, name: &str, doing: String, limit: Option<Duration>, has_ended: bool) {
        let beat = Beat {
            at: Instant::now(),
            doing,
            limit,
            has_ended,
        };
        self.beats().insert(name.to_owned(), beat);
    }

    /// How all loops do, by name.
    pub fn report(&self) -> Vec<LoopReport> {
        let checks = self.checks.lock().unwrap_or_else(PoisonError::into_inner);
        let checks = checks.clone();
        let asked = |(name, check): (String, Check)| Some((name, check()?));
        let mut blocked: BTreeMap<String, String> = checks.into_iter().filter_map(asked).collect();
        let now = Instant::now();
        let report = |(name, beat): (&String, &Beat)| {
            let why = blocked.remove(name);
            let silent = now.saturating_duration_since(beat.at);
            let is_late = beat.limit.is_some_and(|limit| silent > limit);
            let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
            LoopReport {
                name: name.clone(),
                state: match (beat.has_ended, &why, is_late) {
                    (true, ..) => LoopState::Ended,
                    (false, Some(_), _) => LoopState::Blocked,
                    (false, None, true) => LoopState::Late,
                    (false, None, false) => LoopState::Alive,
                },
                doing: why.unwrap_or_else(|| beat.doing.clone()),
                silent_ms: millis(silent),
                limit_ms: beat.limit.map(millis),
            }
        };
        self.beats().iter().map(report).collect()
    }

    /// The loops that are late or blocked, or have ended.
    pub fn late(&self) -> Vec<LoopReport> {
        let mut all = self.report();
        all.retain(|report| report.state != LoopState::Alive);
        all
    }
}

impl Heart {
    /// Says what the loop waits for, and for how long at most where there is a limit.
    pub fn waits(&self, for_what: impl Into<String>, limit: Option<Duration>) {
        let doing = format!("waits {}", for_what.into());
        self.hearts.note(&self.name, doing, limit, false);
    }

    /// Says what the loop does, and by when it is done.
    pub fn works(&self, at_what: &str, limit: Duration) {
        self.hearts
            .note(&self.name, at_what.to_owned(), Some(limit), false);
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.hearts
            .note(&self.name, "has ended".to_owned(), None, true);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::indexing_slicing, clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_loop_is_late_when_it_is_silent_for_longer_than_it_said() {
        let hearts = Hearts::default();
        let heart = hearts.start("rounds");
        heart.waits("for a change", Some(Duration::from_secs(5)));
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(hearts.late().is_empty());
        tokio::time::advance(Duration::from_secs(1)).await;
        let late = hearts.late();
        assert_eq!((late.len(), late[0].state), (1, LoopState::Late));
        assert_eq!(late[0].doing, "waits for a change");
        assert_eq!((late[0].silent_ms, late[0].limit_ms), (6000, Some(5000)));
        heart.works("plans a round", Duration::from_secs(1));
        assert!(hearts.late().is_empty());
    }

    #[tokio::test]
    async fn a_loop_that_cannot_do_its_work_says_why_until_it_can() {
        let hearts = Hearts::default();
        let heart = hearts.start("log");
        heart.waits("for entries", None);
        let full = Arc::new(Mutex::new(Some("the disk is full".to_owned())));
        let asked = Arc::clone(&full);
        hearts.check("log", move || asked.lock().unwrap().clone());
        let late = hearts.late();
        assert_eq!((late.len(), late[0].state), (1, LoopState::Blocked));
        assert_eq!(
            late[0].to_string(),
            "the loop log is blocked: the disk is full"
        );
        *full.lock().unwrap() = None;
        assert!(hearts.late().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_without_a_limit_is_never_late_and_one_that_has_ended_says_so() {
        let hearts = Hearts::default();
        let heart = hearts.start("dispatch");
        heart.waits("for a change", None);
        tokio::time::advance(Duration::from_secs(100_000)).await;
        assert!(hearts.late().is_empty());
        drop(heart);
        assert_eq!(hearts.late()[0].state, LoopState::Ended);
    }
}
