//! The placement plane: tasks that somebody ended.
//!
//! A task that a person stopped through the kernel names its author; one that died of a signal
//! which its agent did not send names nobody. A task's own exit, a crash, running out of memory and
//! whatever its scheduler or agent did is no drift.

use std::collections::{BTreeMap, BTreeSet};

use kelson_model::drift::{DriftItem, DriftState, FieldDrift, Plane};
use kelson_model::id::TaskId;
use kelson_model::object::ObjectKey;
use kelson_model::principal::Principal;
use kelson_model::task::{StopReason, TaskState, is_ended_by_hand};
use kelson_model::time::WallTime;
use serde_json::json;

use super::finding::{Finding, finding, unknown};
use super::sight::Sight;
use crate::observed::ObservedTask;

pub(super) fn find(sight: Sight<'_>) -> Vec<Finding> {
    let newest = newest_running(sight.tasks);
    let kept_since = kept_since(sight.ledger);
    let told = |state| -> BTreeSet<TaskId> {
        let items = sight.ledger.iter();
        items
            .filter(|item| item.plane == Plane::Placement && item.state == state)
            .filter_map(|item| item.task)
            .collect()
    };
    let (open, healed) = (told(DriftState::Open), told(DriftState::Healed));
    sight
        .tasks
        .iter()
        .filter_map(|task| {
            let (live, who) = ended_by_hand(task)?;
            let is_open = open.contains(&task.id);
            let ended_at = task.ended_at.unwrap_or_default();
            let is_forgotten = kept_since.is_some_and(|since| ended_at <= since);
            // A task ends once: what has healed stays so, whatever becomes of its replacement.
            if !is_open && (healed.contains(&task.id) || is_forgotten) {
                return None;
            }
            let slot = (&task.workload, task.slot);
            let is_replaced = newest.get(&slot).is_some_and(|id| *id > task.id.0);
            let field = FieldDrift {
                path: format!("/tasks/{}.{}", task.workload.name, task.slot),
                op: "killed".to_owned(),
                desired: json!("running"),
                live: json!(live),
                changed_by: None,
            };
            let object = sight.observed.get(&task.workload);
            let mut item = finding(
                &task.workload,
                Plane::Placement,
                object,
                vec![field],
                who,
                task.ended_at.unwrap_or(sight.now),
            );
            item.task = Some(task.id);
            Some(Finding {
                item,
                is_over: is_replaced || object.is_none(),
            })
        })
        .collect()
}

/// The newest running task of each place of each workload.
fn newest_running(tasks: &[ObservedTask]) -> BTreeMap<(&ObjectKey, u32), u64> {
    let mut newest = BTreeMap::new();
    for task in tasks.iter().filter(|task| task.state == TaskState::Running) {
        let id = newest
            .entry((&task.workload, task.slot))
            .or_insert(task.id.0);
        *id = task.id.0.max(*id);
    }
    newest
}

/// Since when the ledger is complete: a full one has dropped older healed items, and a task that is
/// not in it may have been one of those.
fn kept_since(ledger: &[DriftItem]) -> Option<WallTime> {
    let healed = || {
        ledger
            .iter()
            .filter(|item| item.state == DriftState::Healed)
    };
    if healed().count() < DriftItem::KEPT_HEALED {
        return None;
    }
    healed().filter_map(|item| item.healed_at).min()
}

/// What became of a task that somebody ended, and who it was.
fn ended_by_hand(task: &ObservedTask) -> Option<(String, Principal)> {
    let is_by_hand = is_ended_by_hand(task.stop_reason, task.exit.as_ref());
    if !task.state.is_terminal() || !is_by_hand {
        return None;
    }
    if task.stop_reason == Some(StopReason::ByHand) {
        let who = task.stopped_by.clone().unwrap_or_else(|| unknown("api"));
        return Some(("stopped by hand".to_owned(), who));
    }
    let signal = task.exit.as_ref()?.signal?;
    let what = format!("killed by {}", signal_name(signal));
    Some((what, unknown("signal")))
}

fn signal_name(signal: i32) -> String {
    match signal {
        1 => "SIGHUP".to_owned(),
        2 => "SIGINT".to_owned(),
        3 => "SIGQUIT".to_owned(),
        9 => "SIGKILL".to_owned(),
        10 => "SIGUSR1".to_owned(),
        12 => "SIGUSR2".to_owned(),
        15 => "SIGTERM".to_owned(),
        other => format!("signal {other}"),
    }
}
