//! The sync loop: from a commit to what the kernel has accepted, for ever.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kelson_model::time::WallTime;
use tokio::time::Instant;

use crate::client::KernelPort;
use crate::config::{Config, Hooks};
use crate::notes::Notes;
use crate::observed::MIRRORED;
use crate::reconciler::Reconciler;
use crate::source::{RefWatcher, SourceError};
use crate::trouble::Trouble;

/// What the kernel has done is known so soon after it was done, or the watch is begun again.
const CATCH_UP: Duration = Duration::from_secs(5);
/// How long one pass may take before somebody should look.
const PASS: Duration = Duration::from_secs(120);

/// Keeps the kernel at what the branch says, until `shutdown`.
///
/// *Flow*: it wakes when a reference, a row of the kernel or nothing but time has moved, and then
/// looks at the whole: the tip of the branch, its manifests, what the kernel has. What differs is
/// staged and accepted; what is wrong, held or drifted is reported.
///
/// *Guarantees*: level-based, so that a lost wake-up costs time and nothing else; a pass that finds
/// nothing to do writes nothing. The newest revision wins, also while an older one is being staged.
/// Nothing is decided by rows that are older than this loop's own last write.
///
/// *Assumes*: it is the only one for its source.
///
/// *Caveats*: while the kernel is away, the loop waits for it; while the repository is away, the
/// last accepted revision is enforced.
///
/// # Errors
/// Only at the start: when the source cannot be opened, or its references cannot be watched.
pub async fn run_reconciler(
    config: Config,
    port: Arc<dyn KernelPort>,
    hooks: Hooks,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), SourceError> {
    let opening = config.clone();
    let git = match tokio::task::spawn_blocking(move || opening.open()).await {
        Ok(git) => Arc::new(git?),
        // The runtime is going down.
        Err(_) => return Ok(()),
    };
    let mut refs = RefWatcher::spawn(git.watch_paths(), config.poll)?;
    let mut reconciler = Reconciler::new(
        &config,
        Arc::clone(&git),
        Arc::clone(&port),
        Arc::clone(&hooks.validator),
        refs.subscribe(),
    );
    let mut rows = port.watch(&MIRRORED);
    let mut timer = tokio::time::interval(config.interval);
    let mut notes = Notes::default();
    let mut is_due = true;
    let mut not_before: Option<Instant> = None;
    let mut catch_up: Option<Instant> = None;
    // While references cannot be watched, the timer looks at the whole.
    let mut watch_again: Option<Instant> = None;
    tokio::pin!(shutdown);
    loop {
        (hooks.on_beat)("waits for a change", config.interval * 2);
        tokio::select! {
            () = &mut shutdown => return Ok(()),
            batch = rows.next() => match batch {
                Some(batch) => is_due |= reconciler.take_in(batch, now()),
                None => rows = port.watch(&MIRRORED),
            },
            is_alive = refs.look_again(), if watch_again.is_none() => {
                if !is_alive {
                    tracing::error!("references are not watched any more; they are watched again");
                    match RefWatcher::spawn(git.watch_paths(), config.poll) {
                        Ok(again) => refs = again,
                        Err(error) => {
                            tracing::error!(%error, "references cannot be watched; later again");
                            watch_again = Some(Instant::now() + config.interval);
                        }
                    }
                }
                notes.look(&git);
                is_due = true;
            }
            note = notes.looked() => if let Some(note) = note {
                tracing::info!(%note);
                (hooks.on_note)(note);
            },
            _ = timer.tick() => {
                reconciler.stir();
                is_due = true;
            }
            () = at(watch_again) => watch_again = None,
            () = at(not_before) => not_before = None,
            () = at(catch_up) => {
                tracing::info!("the watch is behind what was done; it is begun again");
                reconciler.forget_rows();
                rows = port.watch(&MIRRORED);
                catch_up = None;
            }
        }
        if reconciler.is_behind() {
            catch_up.get_or_insert_with(|| Instant::now() + CATCH_UP);
        } else {
            catch_up = None;
        }
        if !is_due || !reconciler.is_ready() || not_before.is_some() {
            continue;
        }
        is_due = false;
        (hooks.on_beat)("carries out a revision", PASS);
        let passed = tokio::select! {
            () = &mut shutdown => return Ok(()),
            passed = reconciler.pass(now()) => passed,
        };
        if let Err(trouble) = passed {
            is_due = true;
            reconciler.stir();
            not_before = trouble.wait().map(|wait| Instant::now() + wait);
            match trouble {
                Trouble::Preempted => tracing::debug!("a newer revision has come"),
                Trouble::Moved(refusal, times) => {
                    tracing::debug!(%refusal, times, "the kernel has moved on");
                }
                Trouble::Port(error) => tracing::warn!(%error, "the kernel is waited for"),
                Trouble::Stopped => return Ok(()),
            }
        }
        if reconciler.is_behind() {
            catch_up = Some(Instant::now() + CATCH_UP);
            is_due = true;
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The wall clock, for people.
fn now() -> WallTime {
    let since = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
