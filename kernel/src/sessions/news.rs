//! What one session has not been told: tasks by id, or simply everything.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use kelson_model::id::TaskId;
use tokio::sync::Notify;

/// With more tasks than this, everything is told.
const MOST: usize = 10_000;

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum News {
    /// The list of all assignments.
    Everything,
    /// The assignments of these tasks, as they are now.
    Tasks(BTreeSet<TaskId>),
}

impl Default for News {
    fn default() -> Self {
        Self::Tasks(BTreeSet::new())
    }
}

/// Collects news until it is told.
///
/// *Guarantees:* bounded; a task that changes often while the agent is slow is told once, as it
/// is then. What was added while news was told is told next.
#[derive(Debug, Default)]
pub(crate) struct Unsaid {
    news: Mutex<News>,
    wake: Notify,
}

impl Unsaid {
    /// Adds tasks.
    pub(crate) fn add(&self, tasks: impl IntoIterator<Item = TaskId>) {
        self.change(|news| {
            if let News::Tasks(known) = news {
                known.extend(tasks);
                if known.len() > MOST {
                    *news = News::Everything;
                }
            }
        });
    }

    /// Adds everything.
    pub(crate) fn add_everything(&self) {
        self.change(|news| *news = News::Everything);
    }

    fn change(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.wake.notify_one();
    }

    /// Waits for news and takes all of it.
    pub(crate) async fn take(&self) -> News {
        loop {
            let news =
                std::mem::take(&mut *self.news.lock().unwrap_or_else(PoisonError::into_inner));
            if news != News::default() {
                return news;
            }
            self.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn more_than_the_most_tasks_are_everything_and_then_news_begins_anew() {
        let unsaid = Unsaid::default();
        unsaid.add([TaskId(1), TaskId(1), TaskId(2)]);
        let two = [TaskId(1), TaskId(2)].into_iter().collect();
        assert_eq!(unsaid.take().await, News::Tasks(two));
        unsaid.add((0..20_000).map(TaskId));
        unsaid.add([TaskId(7)]);
        assert_eq!(unsaid.take().await, News::Everything);
        unsaid.add([TaskId(7)]);
        let one = [TaskId(7)].into_iter().collect();
        assert_eq!(unsaid.take().await, News::Tasks(one));
    }
}
