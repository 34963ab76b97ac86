//! A repository, a kernel and the loop between them.

use std::sync::Arc;
use std::time::Duration;

use kelson_model::id::Revision;
use kelson_model::object::Sync;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::kernel::Kernel;
use crate::config::{Config, Hooks};
use crate::source::SourceError;
use crate::source::tests::Repository;
use crate::sync::run_reconciler;
use crate::validator::{SchemaOnly, Validator};

/// Nothing here takes this long; it bounds what a failing test costs.
pub(super) const DEADLINE: Duration = Duration::from_secs(60);

type Running = (oneshot::Sender<()>, JoinHandle<Result<(), SourceError>>);

pub(super) struct Stand {
    pub(super) repository: Repository,
    pub(super) kernel: Kernel,
    pub(super) validator: Arc<dyn Validator>,
    running: Option<Running>,
}

/// A manifest of a Service in `shop`.
pub(super) fn service(name: &str, instances: u32) -> String {
    manifest(name, instances, "")
}

/// A manifest with more in its metadata.
pub(super) fn manifest(name: &str, instances: u32, metadata: &str) -> String {
    format!(
        "apiVersion: kelson/v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop{metadata}}}\nspec:\n  instances: {instances}\n  run: {{command: web}}\n"
    )
}

impl Stand {
    /// An empty repository, and nothing that looks at it yet.
    pub(super) fn new() -> Self {
        Self {
            repository: Repository::new(),
            kernel: Kernel::new(),
            validator: Arc::new(SchemaOnly),
            running: None,
        }
    }

    /// A repository with Services of these names, all of them applied.
    pub(super) async fn with(names: &[&str]) -> Self {
        let mut stand = Self::new();
        let files: Vec<(String, String)> = names
            .iter()
            .map(|name| (format!("{name}.yaml"), service(name, 1)))
            .collect();
        let commit = stand.commit(&files);
        stand.start();
        stand.settled(&commit).await;
        stand
    }

    pub(super) fn start(&mut self) {
        let mut config = Config::dev(self.repository.path.clone());
        config.poll = Duration::from_millis(50);
        let (stop, stopped) = oneshot::channel::<()>();
        let kernel = self.kernel.clone();
        let hooks = Hooks {
            validator: Arc::clone(&self.validator),
            on_note: Arc::new(move |note| kernel.note(note)),
            ..Hooks::default()
        };
        let port = Arc::new(self.kernel.clone());
        let running = tokio::spawn(run_reconciler(config, port, hooks, async {
            let _ = stopped.await;
        }));
        self.running = Some((stop, running));
    }

    pub(super) async fn stop(&mut self) {
        let (stop, running) = self.running.take().unwrap();
        stop.send(()).unwrap();
        running.await.unwrap().unwrap();
    }

    pub(super) fn commit<P: AsRef<str>, C: AsRef<str>>(&self, files: &[(P, C)]) -> Revision {
        let files: Vec<(&str, &str)> = files
            .iter()
            .map(|(path, content)| (path.as_ref(), content.as_ref()))
            .collect();
        self.repository.commit(&files)
    }

    /// Commits after taking files away.
    pub(super) fn remove(&self, paths: &[&str]) -> Revision {
        for path in paths {
            std::fs::remove_file(self.repository.path.join(path)).unwrap();
        }
        self.repository.commit(&[])
    }

    /// Waits until a revision is applied and everything agrees.
    pub(super) async fn settled(&self, revision: &Revision) {
        self.kernel
            .until("a revision is applied and synced", |state| {
                let source = &state.source;
                (source.applied.as_ref() == Some(revision)
                    && source.observed.as_ref() == Some(revision)
                    && source.sync == Sync::Synced)
                    .then_some(())
            })
            .await;
    }

    /// Waits until the reconciler has reported on a revision that is not simply applied.
    pub(super) async fn reported(&self, revision: &Revision) {
        self.kernel
            .until("a revision is reported", |state| {
                let source = &state.source;
                let is_told = source.held.is_some() || !source.errors.is_empty();
                (source.observed.as_ref() == Some(revision) && is_told).then_some(())
            })
            .await;
    }

    /// Waits until a hold of this reason is reported.
    pub(super) async fn held(&self, reason: &str) {
        self.kernel
            .until(&format!("a hold: {reason}"), |state| {
                (state.held() == Some(reason)).then_some(())
            })
            .await;
    }
}
