//! `kelson agents`: the machines.

use anyhow::Result;
use clap::Args;
use kelson_model::agent::AgentState;
use kelson_model::view::{AgentView, List};

use super::watching::Watching;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Cell, Palette, Table, Tint, say};

/// What may be typed behind `agents`.
#[derive(Debug, Args)]
pub(crate) struct Agents {
    #[command(flatten)]
    watching: Watching,
}

pub(crate) async fn run(arguments: &Agents, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let palette = context.palette();
    let fetch = async || Ok(client.get_as("/v1/agents", &[]).await?);
    let list: List<AgentView> = arguments
        .watching
        .show(&client, context, fetch, |list, is_wide| {
            table(list, is_wide, palette)
        })
        .await?;
    if list.items.is_empty() {
        say("no agents; `kelson agent` makes this machine one");
    }
    Ok(Exit::Done)
}

fn table(list: &List<AgentView>, is_wide: bool, palette: Palette) -> String {
    let mut heads = vec!["ID", "NAME", "STATE", "TASKS", "CPUS", "MEMORY", "ADDRESS"];
    if is_wide {
        heads.extend(["PORTS", "PID", "VERSION", "ATTRIBUTES"]);
    }
    let mut table = Table::new(heads);
    for agent in &list.items {
        let (state, tint) = match agent.state {
            AgentState::Ready => ("ready", Tint::Good),
            AgentState::Unreachable => ("unreachable", Tint::Warn),
            AgentState::Gone => ("gone", Tint::Bad),
        };
        let mut row: Vec<Cell> = vec![
            agent.id.as_str().into(),
            agent.name.as_str().into(),
            Cell::new(state, tint),
            agent.tasks.to_string().into(),
            format!("{}/{}", agent.used.cpus, agent.resources.cpus).into(),
            format!(
                "{}/{}",
                agent.used.memory.for_people(),
                agent.resources.memory.for_people()
            )
            .into(),
            agent.address.as_str().into(),
        ];
        if is_wide {
            let attributes: Vec<String> = agent
                .attributes
                .iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            row.push(format!("{}-{}", agent.ports.first, agent.ports.last).into());
            row.push(agent.pid.to_string().into());
            row.push(agent.version.as_str().into());
            row.push(attributes.join(" ").into());
        }
        table.push(row);
    }
    table.render(palette)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::quantity::Bytes;
    use serde_json::json;

    #[test]
    fn an_agent_is_shown_with_what_it_has_and_what_is_taken() {
        let answer = json!({"apiVersion": "kelson/v1", "kind": "AgentList", "items": [
            {"id": "agt_1", "name": "laptop", "state": "ready", "address": "127.0.0.1", "pid": 9, "version": "0.1.0",
             "resources": {"cpus": "8", "memory": "16Gi", "disk": "0"}, "used": {"cpus": "0.5", "memory": "256Mi", "disk": "0"},
             "ports": {"first": 20000, "last": 31999}, "attributes": {"os": "linux"}, "tasks": 3, "incarnation": 1}]});
        assert_eq!(
            table(
                &serde_json::from_value(answer).unwrap(),
                true,
                Palette::plain()
            ),
            "\
ID     NAME    STATE  TASKS  CPUS   MEMORY      ADDRESS    PORTS        PID  VERSION  ATTRIBUTES
agt_1  laptop  ready  3      0.5/8  256Mi/16Gi  127.0.0.1  20000-31999  9    0.1.0    os=linux
"
        );
    }

    #[test]
    fn memory_is_shown_in_its_largest_unit() {
        for (exact, shown) in [("24684084Ki", "23.5Gi"), ("256Mi", "256Mi"), ("0", "0")] {
            assert_eq!(exact.parse::<Bytes>().unwrap().for_people(), shown);
        }
    }
}
