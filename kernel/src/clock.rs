//! The clock of one member: cluster time goes on while it leads, and stands still while it does
//! not.
//!
//! *Guarantees:* it never goes back, whoever leads. *Caveats:* a new leader goes on from the newest
//! entry, so cluster time may stand still during an election.

use std::sync::{Mutex, MutexGuard, PoisonError};

use kelson_model::time::ClusterTime;
use tokio::time::Instant;

/// Cluster time as this member tells it.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    /// Since when it goes on, and from which time.
    anchor: Option<(Instant, ClusterTime)>,
    /// What it told last.
    last: ClusterTime,
}

impl Clock {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the time; `committed` is that of the newest entry.
    pub(crate) fn now(&self, committed: ClusterTime) -> ClusterTime {
        self.lock().tell(committed)
    }

    /// Goes on from here: this member leads.
    pub(crate) fn go_on(&self, committed: ClusterTime) {
        let mut inner = self.lock();
        let base = inner.tell(committed);
        inner.anchor = Some((Instant::now(), base));
    }

    /// Stands still: it leads no more.
    pub(crate) fn stand_still(&self, committed: ClusterTime) {
        let mut inner = self.lock();
        inner.tell(committed);
        inner.anchor = None;
    }
}

impl Inner {
    fn tell(&mut self, committed: ClusterTime) -> ClusterTime {
        let own = self.anchor.map_or(self.last, |(since, base)| {
            let elapsed = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
            ClusterTime(base.0.saturating_add(elapsed))
        });
        self.last = own.max(committed).max(self.last);
        self.last
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_goes_on_while_the_member_leads_stands_still_otherwise_and_never_goes_back() {
        let clock = Clock::default();
        assert_eq!(clock.now(ClusterTime(7)), ClusterTime(7));
        advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(ClusterTime(7)), ClusterTime(7));
        clock.go_on(ClusterTime(7));
        advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(ClusterTime(7)), ClusterTime(1007));
        clock.stand_still(ClusterTime(500));
        advance(Duration::from_secs(1)).await;
        assert_eq!(clock.now(ClusterTime(500)), ClusterTime(1007));
        // The next leader has written more meanwhile.
        assert_eq!(clock.now(ClusterTime(2000)), ClusterTime(2000));
        clock.go_on(ClusterTime(2000));
        advance(Duration::from_millis(5)).await;
        assert_eq!(clock.now(ClusterTime(2000)), ClusterTime(2005));
    }
}
