//! `kelson tasks`: what runs, and what has ended.

use anyhow::Result;
use clap::Args;
use kelson_model::report::{ExitRow, TaskList, TaskRow};
use kelson_model::task::{CheckState, TaskState};

use super::target::{Target, tasks};
use super::watching::Watching;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Cell, Palette, Table, Tint, age, now, say};

/// What may be typed behind `tasks`.
#[derive(Debug, Args)]
pub(crate) struct Tasks {
    /// Only the tasks of these objects
    #[arg(value_name = "[KIND/]NAME")]
    objects: Vec<Target>,
    /// Only tasks that have not ended
    #[arg(long)]
    live: bool,
    #[command(flatten)]
    watching: Watching,
}

pub(crate) async fn run(arguments: &Tasks, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let limit = context.limit()?;
    let palette = context.palette();
    let all = tasks(&client, limit.as_ref()).await?;
    for target in &arguments.objects {
        // Of an object that is gone there may still be tasks.
        let is_its = |task: &TaskRow| target.is(&task.workload.kind, &task.workload.name);
        if !all.items.iter().any(is_its) {
            target.ensure_there(&client, limit.as_ref()).await?;
        }
    }
    let fetch = async || {
        let mut list = tasks(&client, limit.as_ref()).await?;
        list.items.retain(|task| {
            let is_named = arguments.objects.is_empty()
                || arguments
                    .objects
                    .iter()
                    .any(|target| target.is(&task.workload.kind, &task.workload.name));
            is_named && !(arguments.live && task.state.is_terminal())
        });
        Ok(list)
    };
    let list = arguments
        .watching
        .show(&client, context, fetch, |list, is_wide| {
            table(list, is_wide, palette)
        })
        .await?;
    if list.items.is_empty() {
        match &limit {
            Some(namespace) => say(&format!(
                "no tasks in namespace {namespace}; -A shows all namespaces"
            )),
            None => say("no tasks"),
        }
    }
    Ok(Exit::Done)
}

/// The list for people; what has not ended comes first.
pub(crate) fn table(list: &TaskList, is_wide: bool, palette: Palette) -> String {
    let mut heads = vec![
        "ID",
        "NAME",
        "NAMESPACE",
        "STATE",
        "HEALTH",
        "AGENT",
        "PID",
        "PORTS",
        "AGE",
    ];
    if is_wide {
        heads.extend(["GENERATION", "ADDRESS", "ISOLATION"]);
    }
    heads.push("MESSAGE");
    let mut rows: Vec<&TaskRow> = list.items.iter().collect();
    rows.sort_by_key(|task| task.state.is_terminal());
    let now = now();
    let mut table = Table::new(heads);
    for task in rows {
        let ports: Vec<String> = task
            .ports
            .iter()
            .map(|(name, port)| format!("{name}:{port}"))
            .collect();
        let has_ended = task.state.is_terminal();
        let mut row: Vec<Cell> = vec![
            task.id.as_str().into(),
            task.name.as_str().into(),
            task.workload.namespace.as_str().into(),
            Cell::new(state_word(task.state), tint_of_state(task.state)),
            if has_ended {
                Cell::plain("")
            } else {
                Cell::new(check_word(task.health), tint_of_check(task.health))
            },
            task.agent.as_str().into(),
            Cell::maybe(task.pid.map(|pid| pid.to_string())),
            ports.join(",").into(),
            Cell::maybe(task.started_at.as_deref().map(|at| age(at, now))),
        ];
        if is_wide {
            row.push(task.generation.to_string().into());
            row.push(Cell::maybe(task.address.as_deref()));
            row.push(Cell::maybe(task.isolation.as_deref()));
        }
        row.push(Cell::plain(remark(task)));
        table.push(row);
    }
    table.render(palette)
}

/// What is to be said about a task: how it ended, or what it waits for.
pub(crate) fn remark(task: &TaskRow) -> String {
    if task.state.is_terminal() {
        exit_words(&task.exit)
    } else {
        task.message.clone().unwrap_or_default()
    }
}

/// How a task ended, in words.
pub(crate) fn exit_words(exit: &ExitRow) -> String {
    let mut words = match (&exit.reason, exit.code, exit.signal) {
        (Some(reason), _, _) => reason.clone(),
        (None, Some(code), _) => format!("exited with status {code}"),
        (None, None, Some(signal)) => format!("ended by signal {signal}"),
        (None, None, None) => String::new(),
    };
    if exit.oom && !words.contains("out of memory") {
        words.push_str(" (out of memory)");
    }
    words
}

/// A task's state as scripts see it.
pub(crate) fn state_word(state: TaskState) -> &'static str {
    match state {
        TaskState::Staging => "staging",
        TaskState::Starting => "starting",
        TaskState::Running => "running",
        TaskState::Stopping => "stopping",
        TaskState::Finished => "finished",
        TaskState::Failed => "failed",
        TaskState::Killed => "killed",
        TaskState::Lost => "lost",
    }
}

/// What a state means.
pub(crate) fn tint_of_state(state: TaskState) -> Tint {
    match state {
        TaskState::Running => Tint::Good,
        TaskState::Staging | TaskState::Starting | TaskState::Stopping => Tint::Warn,
        TaskState::Failed | TaskState::Lost => Tint::Bad,
        TaskState::Finished | TaskState::Killed => Tint::Dim,
    }
}

fn check_word(check: CheckState) -> &'static str {
    match check {
        CheckState::Unknown => "unknown",
        CheckState::Healthy => "healthy",
        CheckState::Unhealthy => "unhealthy",
    }
}

fn tint_of_check(check: CheckState) -> Tint {
    match check {
        CheckState::Unknown => Tint::Dim,
        CheckState::Healthy => Tint::Good,
        CheckState::Unhealthy => Tint::Bad,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn what_runs_comes_before_what_has_ended_and_the_end_is_told() {
        let row = |id: &str, state: &str, exit: serde_json::Value| {
            json!({"id": id, "name": "web.0", "workload": {"kind": "Service", "namespace": "shop", "name": "web"}, "generation": 1,
                "agent": "agt_1", "state": state, "health": "healthy", "ready": true, "pid": 7, "address": "127.0.0.1", "ports": {"http": 20001},
                "startedAt": null, "exit": exit, "isolation": null, "message": null})
        };
        let list: TaskList = serde_json::from_value(json!({
            "apiVersion": "kelson/v1", "kind": "TaskList", "index": 1, "items": [
                row("tsk_1", "failed", json!({"code": 7, "signal": null, "oom": false, "reason": null})),
                row("tsk_2", "running", json!({"code": null, "signal": null, "oom": false, "reason": null}))
            ]
        }))
        .unwrap();
        assert_eq!(
            table(&list, false, Palette::plain()),
            "\
ID     NAME   NAMESPACE  STATE    HEALTH   AGENT  PID  PORTS       AGE  MESSAGE
tsk_2  web.0  shop       running  healthy  agt_1  7    http:20001  -    -
tsk_1  web.0  shop       failed   -        agt_1  7    http:20001  -    exited with status 7
"
        );
    }
}
