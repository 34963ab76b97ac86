//! Doing what the machines of tasks ask for. What takes time is done by futures that answer with a
//! message.

use std::sync::Arc;

use kelson_agent_core::{Effect, Input, Which};
use kelson_model::id::TaskId;
use tracing::Instrument;

use super::{Notice, Supervisor};
use crate::drift::{Seen, Watched, compare};
use crate::record::write_notes;
use crate::shim::{Command, send_command};

impl Supervisor {
    pub(super) fn carry_out(&mut self, task: TaskId, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Prepare => self.prepare(task),
                Effect::StartShim => {
                    let (launcher, events) = (Arc::clone(&self.launcher), self.inputs.clone());
                    self.work
                        .spawn(async move { launcher.start(task, &events).await });
                }
                Effect::Signal(number) => self.signal(task, number),
                Effect::Note(note) => {
                    let directory = self.launcher.layout.task(task);
                    if let Err(error) = write_notes(&directory, &self.boot_id, note) {
                        tracing::warn!(%task, %error, "the next agent will know less of this task");
                    }
                }
                Effect::KillAll => self.kill(task),
                Effect::Probe(which) => self.probe(task, which),
                Effect::EmitStatus(report) => {
                    let status = &report.status;
                    tracing::debug!(%task, state = ?status.state, health = ?status.health, ready = status.ready, "status");
                    if status.state.is_terminal() {
                        self.drift.forget(task);
                        self.unreported.remove(&task);
                        for which in [Which::Health, Which::Readiness] {
                            if let Some(probe) = self.probes.remove(&(task, which)) {
                                probe.abort();
                            }
                        }
                        let reason = status.exit.as_ref().map(|exit| exit.reason.as_str());
                        tracing::info!(%task, state = ?status.state, reason, "over");
                    }
                    self.queue.push(*report);
                }
                Effect::Cleanup => {
                    let (launcher, notices) = (Arc::clone(&self.launcher), self.notices.clone());
                    self.work.spawn(async move {
                        let removed =
                            tokio::task::spawn_blocking(move || launcher.remove(task)).await;
                        if removed.is_ok() {
                            let _ = notices.send(Notice::Deleted(task)).await;
                        }
                    });
                }
            }
        }
    }

    fn prepare(&mut self, task: TaskId) {
        let Some(entry) = self.tasks.get(&task) else {
            return;
        };
        let (Some(order), Some(plan)) = (entry.order.clone(), entry.plan.clone()) else {
            return;
        };
        let halt = Arc::clone(&entry.halt);
        let (launcher, inputs, notices) = (
            Arc::clone(&self.launcher),
            self.inputs.clone(),
            self.notices.clone(),
        );
        let prepare = async move {
            let fetched = tokio::select! {
                fetched = launcher.fetch(&plan) => fetched,
                () = halt.notified() => {
                    Err("it is not wanted any more".to_owned())
                }
            };
            let prepared = match fetched {
                Ok(contents) => launcher.prepare(order, plan, contents).await,
                Err(reason) => Err(reason),
            };
            match prepared {
                Ok(groups) => {
                    let _ = notices.send(Notice::Groups(task, groups)).await;
                }
                Err(reason) => {
                    let _ = inputs.send((task, Input::PrepareFailed { reason })).await;
                }
            }
        };
        self.work.spawn(prepare.instrument(span(task)));
    }

    /// Ends the tasks whose program has ended at the last look and at the one before, and whose
    /// shims have said nothing: they are stuck.
    pub(super) fn end_unreported(&mut self, seen: &[Seen]) {
        for one in seen {
            if !one.is_unreaped {
                self.unreported.remove(&one.task());
            } else if !self.unreported.insert(one.task()) {
                self.kill(one.task());
            }
        }
    }

    /// Ends all of a task; one attempt at a time, since each takes as long as its shim is patient
    /// with it.
    fn kill(&mut self, task: TaskId) {
        if self
            .kills
            .get(&task)
            .is_some_and(|kill| !kill.is_finished())
        {
            return;
        }
        let launcher = Arc::clone(&self.launcher);
        let kill = self.work.spawn_blocking(move || {
            if !launcher.carriers(task).end() {
                tracing::warn!(%task, "some of it cannot be killed yet");
            }
        });
        self.kills.insert(task, kill);
    }

    fn signal(&mut self, task: TaskId, number: i32) {
        let directory = self.launcher.layout.task(task);
        if let Err(error) = send_command(&directory, Command::Signal(number)) {
            // The shim is gone, and whoever watches it is about to say so; the kill after the grace
            // needs no shim.
            tracing::debug!(%task, %error, "the shim does not listen");
        }
    }

    fn probe(&mut self, task: TaskId, which: Which) {
        let Some(entry) = self.tasks.get(&task) else {
            return;
        };
        let (Some(plan), groups) = (entry.plan.clone(), entry.groups.clone()) else {
            return;
        };
        let (prober, inputs) = (Arc::clone(&self.prober), self.inputs.clone());
        let probe = self.work.spawn(async move {
            let check = match which {
                Which::Health => plan.health.as_ref(),
                Which::Readiness => plan.readiness.as_ref(),
            };
            let Some(check) = check else {
                return;
            };
            let result = prober.probe(task, &plan, &groups, check).await;
            let _ = inputs.send((task, Input::Probed { which, result })).await;
        });
        self.probes.insert((task, which), probe);
    }

    pub(super) fn compare_limits(&mut self) {
        if self.is_comparing {
            return;
        }
        let watched: Vec<Watched> = self
            .tasks
            .iter()
            .filter(|(_, entry)| entry.machine.pid().is_some())
            .filter(|(_, entry)| !entry.machine.state().is_terminal())
            .map(|(task, entry)| Watched {
                task: *task,
                pid: entry.machine.pid(),
                limits: entry.groups.limits.clone(),
                is_enforced: entry
                    .order
                    .as_ref()
                    .is_some_and(|order| order.enforce_drift),
            })
            .collect();
        if watched.is_empty() {
            return;
        }
        self.is_comparing = true;
        let notices = self.notices.clone();
        self.work.spawn(async move {
            let seen = tokio::task::spawn_blocking(move || compare(&watched))
                .await
                .unwrap_or_default();
            let _ = notices.send(Notice::Drift(seen)).await;
        });
    }
}

fn span(task: TaskId) -> tracing::Span {
    tracing::info_span!("task", %task)
}
