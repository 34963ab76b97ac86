//! Acts that begin with something that nobody committed.

use anyhow::{Context, Result, bail};
use kelson_testkit::processes::{self, Signal};
use kelson_testkit::status::object;
use kelson_testkit::{Cli, Look};
use serde_json::Value;

use super::stage::{Stage, WEB, sorted_u64};

/// `kill -9` of a task → replaced, and in the drift report.
pub(crate) fn kill(stage: &mut Stage) -> Result<()> {
    let before = stage.dev.running(WEB)?;
    let victim = before.first().context("web has no task")?.clone();
    let (id, pid) = (text(&victim, "id").to_owned(), pid_of(&victim)?);
    println!("   $ kill -9 {pid}      # {} of web", text(&victim, "name"));
    if !processes::signal(pid, Signal::KILL) {
        bail!("there was no process {pid}");
    }
    stage.wait_for("the task is replaced", |cli| {
        let tasks = cli.running(WEB)?;
        let is_replaced = tasks.len() == before.len()
            && tasks.iter().all(|task| {
                text(task, "id") != id
                    && task.get("health").is_some_and(|health| health == "healthy")
            });
        Ok(if is_replaced {
            Look::Found(())
        } else {
            Look::NotYet(format!("{tasks:?}"))
        })
    })?;
    stage.saw("another task took its place and is healthy");
    let item = drift_item(stage, "the death is in the drift report", |item| {
        item.get("plane").is_some_and(|plane| plane == "placement")
            && item.to_string().contains(&id)
    })?;
    let actor = item
        .pointer("/changedBy/actor")
        .cloned()
        .unwrap_or_default();
    stage.saw(&format!(
        "kelson drift has it: plane placement, task {id}, by {actor}, {}",
        text(&item, "state")
    ));
    settle_here(stage)
}

/// A change by hand → healed.
pub(crate) fn change_by_hand(stage: &mut Stage) -> Result<()> {
    println!("   $ kelson set {WEB} -n shop spec.instances=5");
    stage
        .dev
        .ok(&["set", WEB, "-n", "shop", "spec.instances=5"])?;
    let item = drift_item(stage, "the change is healed", |item| {
        item.get("plane")
            .is_some_and(|plane| plane == "specification")
            && item.get("state").is_some_and(|state| state == "healed")
            && item
                .pointer("/object/name")
                .is_some_and(|name| name == "web")
            && item
                .pointer("/fields/0/path")
                .is_some_and(|path| path == "/spec/instances")
    })?;
    let field = item
        .pointer("/fields/0")
        .context("an item without fields")?;
    if (
        field.get("desired").and_then(Value::as_u64),
        field.get("live").and_then(Value::as_u64),
    ) != (Some(3), Some(5))
    {
        bail!("git asks 3 and somebody set 5, but the report says {field}");
    }
    let origin = |field: &str| {
        item.pointer(&format!("/origin/{field}"))
            .cloned()
            .unwrap_or_default()
    };
    stage.saw(&format!(
        "kelson drift has it, healed: /spec/instances, git asks 3 ({}:{}), somebody set 5",
        origin("file"),
        origin("line")
    ));
    settle_here(stage)?;
    let web = stage.dev.status()?;
    let desired = object(&web, WEB)
        .and_then(|web| web.pointer("/tasks/desired"))
        .and_then(Value::as_u64);
    if desired != Some(3) {
        bail!("web should have 3 tasks again, not {desired:?}");
    }
    stage.saw("web has three tasks again");
    Ok(())
}

/// The agent killed and back → the same process ids.
pub(crate) fn adoption(stage: &mut Stage) -> Result<()> {
    let before = pids(stage.dev.cli())?;
    let agent = stage.dev.agent().context("no agent process is found")?;
    println!("   $ kill -9 {}      # the agent", agent.pid);
    if !processes::signal(agent.pid, Signal::KILL) {
        bail!("there was no agent {}", agent.pid);
    }
    if let Some(dead) = before
        .iter()
        .find(|pid| !u32::try_from(**pid).is_ok_and(processes::is_alive))
    {
        bail!("task {dead} died with its agent");
    }
    stage.saw("the agent is dead, and every task lives");
    let back = stage.wait_for("another agent has come", |_| {
        Ok(match stage.dev.agent() {
            Some(new) if new.pid != agent.pid => Look::Found(new.pid),
            _ => Look::NotYet("there is none".into()),
        })
    })?;
    settle_here(stage)?;
    let after = pids(stage.dev.cli())?;
    if before != after {
        bail!("the tasks had the process ids {before:?} and now have {after:?}");
    }
    stage.saw(&format!(
        "another agent ({back}) came and took them over: the same process ids {after:?}"
    ));
    Ok(())
}

fn settle_here(stage: &Stage) -> Result<()> {
    let head = stage.repo.head()?;
    stage.settle(&head).map(drop)
}

fn drift_item(stage: &Stage, what: &str, is_it: impl Fn(&Value) -> bool) -> Result<Value> {
    stage.wait_for(what, |cli| {
        let items = cli.drift()?;
        Ok(match items.iter().find(|item| is_it(item)) {
            Some(item) => Look::Found(item.clone()),
            None => Look::NotYet(format!("{items:?}")),
        })
    })
}

fn pids(cli: &Cli) -> Result<Vec<u64>> {
    let tasks: Vec<Value> = cli
        .tasks()?
        .into_iter()
        .filter(|task| task.get("state").is_some_and(|s| s == "running"))
        .collect();
    Ok(sorted_u64(&tasks, "pid"))
}

fn pid_of(task: &Value) -> Result<u32> {
    let pid = task
        .get("pid")
        .and_then(Value::as_u64)
        .with_context(|| format!("no pid in {task}"))?;
    u32::try_from(pid).context("a pid that is too large")
}

fn text<'v>(value: &'v Value, field: &str) -> &'v str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}
