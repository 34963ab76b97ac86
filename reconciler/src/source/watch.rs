//! When to look at a branch again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::watch;

use super::error::SourceError;
use super::repository::{Identity, identity};

/// Names the folders of a repository in which references live.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WatchPaths {
    /// Holds HEAD; that of a linked work tree is its own.
    pub git_dir: PathBuf,
    /// Holds `refs/` and `packed-refs`, shared by all work trees.
    pub common_dir: PathBuf,
}

/// Says why it is time to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BeatCause {
    /// The watcher has just started or has found the repository again.
    Start,
    /// The file system said that something changed.
    Change,
    /// The interval has passed.
    Poll,
}

/// Says how changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WatchMode {
    /// At once, and by polling for what slips through.
    Notify,
    /// By polling only: the repository is not there now, or the system gives no notifications.
    Polling,
}

/// Says that it is time to look at the branch again. Several that were not waited for count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Beat {
    /// Grows with each beat.
    pub count: u64,
    /// Why.
    pub cause: BeatCause,
    /// How the next change will be noticed.
    pub mode: WatchMode,
}

/// Tells when references of a repository may have changed.
///
/// *Flow.* A thread of its own holds the notifications and a timer, and publishes beats; a beat
/// only says "look", [`GitSource::tip`](super::GitSource::tip) says what is there.
///
/// *Guarantees.* The first beat comes when the watch is in place, so that whoever looks after each
/// beat misses nothing. A change is told within one interval even where the system notifies nobody.
/// A repository that is deleted and made again is watched again within one interval. Dropping it
/// stops the thread.
///
/// *Caveats.* Beats come without a change too, at each interval and for branches that nobody
/// follows.
#[derive(Debug)]
pub struct RefWatcher {
    beats: watch::Receiver<Beat>,
    orders: Sender<Order>,
    worker: Option<JoinHandle<()>>,
}

impl RefWatcher {
    /// The interval that `kelson dev` uses.
    pub const INTERVAL: Duration = Duration::from_secs(2);

    /// Starts to watch, looking by itself each `interval`.
    ///
    /// # Errors
    /// `Io` when no thread can be started. That notifications cannot be had is no error: polling
    /// goes on, and the log says so once.
    pub fn spawn(paths: WatchPaths, interval: Duration) -> Result<Self, SourceError> {
        Self::spawn_with(paths, interval, arm)
    }

    /// Waits for the next beat; false once the watcher has stopped. Dropping the future loses
    /// nothing.
    pub async fn look_again(&mut self) -> bool {
        self.beats.changed().await.is_ok()
    }

    /// Returns the latest beat.
    pub fn latest(&self) -> Beat {
        *self.beats.borrow()
    }

    /// Returns a receiver of its own for somebody else who waits.
    pub fn subscribe(&self) -> watch::Receiver<Beat> {
        self.beats.clone()
    }

    /// Stops the thread and waits for its end, which takes no longer than what it does just now.
    pub fn stop(self) {
        drop(self);
    }

    fn spawn_with(paths: WatchPaths, interval: Duration, arm: Arm) -> Result<Self, SourceError> {
        let (orders, inbox) = channel();
        let (sender, mut beats) = watch::channel(Beat {
            count: 0,
            cause: BeatCause::Start,
            mode: WatchMode::Polling,
        });
        beats.mark_unchanged();
        let place = paths.common_dir.clone();
        let worker = Worker {
            signal: Arc::new(Signal {
                pending: AtomicBool::new(false),
                lost: AtomicBool::new(false),
            }),
            paths,
            interval: interval.max(Duration::from_millis(1)),
            arm,
            orders: orders.clone(),
            inbox,
            beats: sender,
            armed: None,
            warned: false,
        };
        let thread = std::thread::Builder::new()
            .name("kelson-refs".to_owned())
            .spawn(move || worker.run_watch());
        let worker = Some(thread.map_err(SourceError::io(&place))?);
        Ok(Self {
            beats,
            orders,
            worker,
        })
    }
}

impl Drop for RefWatcher {
    fn drop(&mut self) {
        // A worker that is gone already has nothing left to stop.
        let _ = self.orders.send(Order::Stop);
        if let Some(worker) = self.worker.take() {
            let _ = worker.join();
        }
    }
}

enum Order {
    Look,
    Stop,
}

/// What the notification thread leaves for the worker; many notifications make one order.
struct Signal {
    pending: AtomicBool,
    /// A watched folder is gone, and its watch with it, or the system has lost count.
    lost: AtomicBool,
}

type Armed = (RecommendedWatcher, Vec<Option<Identity>>);
type Arm = fn(&WatchPaths, Arc<Signal>, Sender<Order>) -> notify::Result<Armed>;

struct Worker {
    paths: WatchPaths,
    interval: Duration,
    arm: Arm,
    signal: Arc<Signal>,
    orders: Sender<Order>,
    inbox: Receiver<Order>,
    beats: watch::Sender<Beat>,
    armed: Option<Armed>,
    warned: bool,
}

impl Worker {
    fn run_watch(mut self) {
        self.ensure_armed();
        self.beat(BeatCause::Start);
        let mut next = Instant::now() + self.interval;
        loop {
            match self
                .inbox
                .recv_timeout(next.saturating_duration_since(Instant::now()))
            {
                Ok(Order::Look) => {
                    // Cleared before anybody looks, so that what changes from here on makes a new
                    // order.
                    self.signal.pending.store(false, Ordering::SeqCst);
                    if self.signal.lost.swap(false, Ordering::SeqCst) {
                        self.armed = None;
                        self.ensure_armed();
                    }
                    self.beat(BeatCause::Change);
                }
                Ok(Order::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    let cause = if self.ensure_armed() {
                        BeatCause::Start
                    } else {
                        BeatCause::Poll
                    };
                    self.beat(cause);
                    next = Instant::now() + self.interval;
                }
            }
        }
    }

    fn beat(&self, cause: BeatCause) {
        let mode = if self.armed.is_some() {
            WatchMode::Notify
        } else {
            WatchMode::Polling
        };
        self.beats.send_modify(|beat| {
            *beat = Beat {
                count: beat.count.wrapping_add(1),
                cause,
                mode,
            }
        });
    }

    /// Puts the watch in place if it is not, or if the folders are others than those watched; true
    /// if it did.
    fn ensure_armed(&mut self) -> bool {
        let now = identities(&self.paths);
        if self.armed.as_ref().is_some_and(|(_, then)| *then == now) {
            return false;
        }
        self.armed = None;
        if now.iter().any(Option::is_none) {
            return false;
        }
        match (self.arm)(&self.paths, Arc::clone(&self.signal), self.orders.clone()) {
            Ok(armed) => {
                self.armed = Some(armed);
                true
            }
            Err(cause) => {
                let there = identities(&self.paths).iter().all(Option::is_some);
                if there && !self.warned {
                    self.warned = true;
                    let interval = self.interval;
                    tracing::warn!(%cause, repository = %self.paths.common_dir.display(), ?interval,
                        "no notifications from the file system; references are polled");
                }
                false
            }
        }
    }
}

fn branches(paths: &WatchPaths) -> PathBuf {
    paths.common_dir.join("refs").join("heads")
}

/// Returns what is watched: each folder, and whether what is in its folders is watched too.
fn watched(paths: &WatchPaths) -> Vec<(PathBuf, RecursiveMode)> {
    let mut folders = vec![
        (paths.common_dir.clone(), RecursiveMode::NonRecursive),
        (paths.common_dir.join("refs"), RecursiveMode::NonRecursive),
        (branches(paths), RecursiveMode::Recursive),
    ];
    if paths.git_dir != paths.common_dir {
        folders.push((paths.git_dir.clone(), RecursiveMode::NonRecursive));
    }
    folders
}

fn identities(paths: &WatchPaths) -> Vec<Option<Identity>> {
    watched(paths)
        .iter()
        .map(|(path, _)| identity(path))
        .collect()
}

fn arm(paths: &WatchPaths, signal: Arc<Signal>, orders: Sender<Order>) -> notify::Result<Armed> {
    // Taken before the watches, so that a folder replaced meanwhile is noticed at the next
    // interval.
    let identities = identities(paths);
    let folders = watched(paths);
    let filter = Filter {
        paths: paths.clone(),
        roots: folders.iter().map(|(path, _)| path.clone()).collect(),
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let heard = match &event {
            Ok(event) => filter.heard(event),
            Err(_) => Heard {
                relevant: true,
                lost: false,
            },
        };
        if heard.lost {
            signal.lost.store(true, Ordering::SeqCst);
        }
        if heard.relevant && !signal.pending.swap(true, Ordering::SeqCst) {
            // Only a worker that has stopped does not hear.
            let _ = orders.send(Order::Look);
        }
    })?;
    for (folder, mode) in folders {
        watcher.watch(&folder, mode)?;
    }
    Ok((watcher, identities))
}

#[derive(Debug, PartialEq, Eq)]
struct Heard {
    relevant: bool,
    lost: bool,
}

/// Tells references from the rest that happens in a git directory.
struct Filter {
    paths: WatchPaths,
    roots: Vec<PathBuf>,
}

impl Filter {
    fn heard(&self, event: &notify::Event) -> Heard {
        if event.need_rescan() {
            // The system dropped notifications, perhaps that of a new folder, which is then not
            // watched.
            return Heard {
                relevant: true,
                lost: true,
            };
        }
        // Reading is an event too, and whoever looks reads.
        let reading = matches!(event.kind, EventKind::Access(kind) if kind != AccessKind::Close(AccessMode::Write));
        if reading {
            return Heard {
                relevant: false,
                lost: false,
            };
        }
        let removed = matches!(
            event.kind,
            EventKind::Remove(_) | EventKind::Modify(notify::event::ModifyKind::Name(_))
        );
        let lost = removed && event.paths.iter().any(|path| self.roots.contains(path));
        Heard {
            relevant: lost || event.paths.iter().any(|path| self.is_reference(path)),
            lost,
        }
    }

    fn is_reference(&self, path: &Path) -> bool {
        if path
            .extension()
            .is_some_and(|extension| extension == "lock")
        {
            return false;
        }
        let is = |folder: &Path, name: &str| {
            path.strip_prefix(folder)
                .is_ok_and(|rest| rest == Path::new(name))
        };
        is(&self.paths.common_dir, "packed-refs")
            || is(&self.paths.common_dir, "HEAD")
            || is(&self.paths.git_dir, "HEAD")
            || path.starts_with(self.paths.common_dir.join("refs"))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use notify::event::{CreateKind, ModifyKind, RemoveKind, RenameMode};

    fn filter() -> Filter {
        let paths = WatchPaths {
            git_dir: PathBuf::from("/r/.git"),
            common_dir: PathBuf::from("/r/.git"),
        };
        Filter {
            roots: watched(&paths).into_iter().map(|(path, _)| path).collect(),
            paths,
        }
    }

    fn heard(kind: EventKind, path: &str) -> (bool, bool) {
        let heard = filter().heard(&notify::Event::new(kind).add_path(PathBuf::from(path)));
        (heard.relevant, heard.lost)
    }

    #[test]
    fn only_references_are_worth_a_look() {
        let renamed = EventKind::Modify(ModifyKind::Name(RenameMode::To));
        assert_eq!(heard(renamed, "/r/.git/refs/heads/main"), (true, false));
        assert_eq!(heard(renamed, "/r/.git/packed-refs"), (true, false));
        assert_eq!(heard(renamed, "/r/.git/HEAD"), (true, false));
        let created = EventKind::Create(CreateKind::File);
        for path in [
            "/r/.git/refs/heads/main.lock",
            "/r/.git/index",
            "/r/.git/COMMIT_EDITMSG",
            "/r/.git/packed-refs.lock",
        ] {
            assert_eq!(heard(created, path), (false, false), "{path}");
        }
    }

    #[test]
    fn reading_a_reference_is_no_reason_to_read_it_again() {
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert_eq!(heard(opened, "/r/.git/refs/heads/main"), (false, false));
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert_eq!(heard(written, "/r/.git/refs/heads/main"), (true, false));
    }

    #[test]
    fn a_removed_folder_takes_its_watch_with_it() {
        assert_eq!(
            heard(EventKind::Remove(RemoveKind::Folder), "/r/.git/refs/heads"),
            (true, true)
        );
        assert_eq!(
            heard(
                EventKind::Remove(RemoveKind::Folder),
                "/r/.git/refs/heads/feature"
            ),
            (true, false)
        );
    }

    #[test]
    fn notifications_that_were_dropped_are_made_up_for() {
        let dropped = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        let wanted = Heard {
            relevant: true,
            lost: true,
        };
        assert_eq!(filter().heard(&dropped), wanted);
    }

    #[tokio::test]
    async fn without_notifications_polling_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let paths = WatchPaths {
            git_dir: folder.path().into(),
            common_dir: folder.path().into(),
        };
        std::fs::create_dir_all(branches(&paths)).unwrap();
        let refuse: Arm = |_, _, _| Err(notify::Error::generic("no watches left"));
        let mut watcher = RefWatcher::spawn_with(paths, Duration::from_millis(5), refuse).unwrap();
        for _ in 0..3 {
            assert!(
                tokio::time::timeout(Duration::from_secs(20), watcher.look_again())
                    .await
                    .unwrap()
            );
        }
        assert_eq!(watcher.latest().mode, WatchMode::Polling);
        watcher.stop();
    }
}
