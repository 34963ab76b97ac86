//! `kelson stop`: ends a task by hand.

use anyhow::Result;
use clap::Args;
use kelson_model::id::TaskId;
use kelson_model::request::{Request, StopTask};
use kelson_model::view::StopAnswer;

use super::target::task;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::print;

/// What may be typed behind `stop`.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// The task: its id (tsk_7) or its name (web.0)
    task: String,
}

pub(crate) async fn run(arguments: &Stop, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    // An id needs no look-up: the kernel says what it is.
    let (id, name): (TaskId, String) = match arguments.task.parse() {
        Ok(id) => (id, arguments.task.clone()),
        Err(_) => {
            let row = task(&client, context, &arguments.task).await?;
            (row.id.parse()?, format!("{} ({})", row.name, row.id))
        }
    };
    client
        .submit(Request::StopTask(StopTask { task: id }))
        .await?;
    let answer = StopAnswer {
        task: id.to_string(),
    };
    print(context.format(), &answer, |_| {
        format!("{name} is asked to end; its scheduler replaces it, and it is in `kelson drift`\n")
    })?;
    Ok(Exit::Done)
}
