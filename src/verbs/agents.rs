//! `kelson agents`: the machines.

use std::collections::BTreeMap;

use anyhow::Result;
use clap::Args;
use kelson_model::quantity::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;

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

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    items: Vec<Agent>,
}

/// The fields of an agent that the table shows; `-o json` shows all that the kernel says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Agent {
    id: String,
    name: String,
    state: String,
    #[serde(default)]
    address: String,
    #[serde(default)]
    pid: Option<u32>,
    #[serde(default)]
    version: String,
    #[serde(default)]
    resources: Amounts,
    #[serde(default)]
    used: Amounts,
    #[serde(default)]
    ports: Option<Ports>,
    #[serde(default)]
    attributes: BTreeMap<String, String>,
    #[serde(default)]
    tasks: u64,
}

#[derive(Debug, Default, Deserialize)]
struct Amounts {
    #[serde(default)]
    cpus: Value,
    #[serde(default)]
    memory: Value,
}

#[derive(Debug, Deserialize, Serialize)]
struct Ports {
    first: u16,
    last: u16,
}

pub(crate) async fn run(arguments: &Agents, context: &Context) -> Result<Exit> {
    let client = context.client()?;
    let palette = context.palette();
    let fetch = async || Ok(client.get("/v1/agents", &[]).await?);
    let answer = arguments
        .watching
        .show(&client, context, fetch, |answer, is_wide| {
            table(answer, is_wide, palette)
        })
        .await?;
    let is_empty = answer
        .get("items")
        .and_then(Value::as_array)
        .is_some_and(Vec::is_empty);
    if is_empty {
        say("no agents; `kelson agent` makes this machine one");
    }
    Ok(Exit::Done)
}

fn table(answer: &Value, is_wide: bool, palette: Palette) -> String {
    let list: List = match serde_json::from_value(answer.clone()) {
        Ok(list) => list,
        Err(error) => return format!("this version cannot show these agents: {error}\n"),
    };
    let mut heads = vec!["ID", "NAME", "STATE", "TASKS", "CPUS", "MEMORY", "ADDRESS"];
    if is_wide {
        heads.extend(["PORTS", "PID", "VERSION", "ATTRIBUTES"]);
    }
    let mut table = Table::new(heads);
    for agent in &list.items {
        let tint = match agent.state.as_str() {
            "ready" => Tint::Good,
            "unreachable" => Tint::Warn,
            _ => Tint::Bad,
        };
        let of = |used: &Value, all: &Value| format!("{}/{}", amount(used), amount(all));
        let mut row: Vec<Cell> = vec![
            agent.id.as_str().into(),
            agent.name.as_str().into(),
            Cell::new(&agent.state, tint),
            agent.tasks.to_string().into(),
            of(&agent.used.cpus, &agent.resources.cpus).into(),
            format!(
                "{}/{}",
                memory(&agent.used.memory),
                memory(&agent.resources.memory)
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
            row.push(Cell::maybe(
                agent
                    .ports
                    .as_ref()
                    .map(|ports| format!("{}-{}", ports.first, ports.last)),
            ));
            row.push(Cell::maybe(agent.pid.map(|pid| pid.to_string())));
            row.push(agent.version.as_str().into());
            row.push(attributes.join(" ").into());
        }
        table.push(row);
    }
    table.render(palette)
}

fn amount(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "0".to_owned(),
        other => other.to_string(),
    }
}

/// An amount of memory, to one decimal of the largest unit that fits.
fn memory(value: &Value) -> String {
    let text = amount(value);
    let Ok(Bytes(bytes)) = text.parse::<Bytes>() else {
        return text;
    };
    for (unit, shift) in [("Ti", 40), ("Gi", 30), ("Mi", 20), ("Ki", 10)] {
        let tenths = u128::from(bytes) * 10 / (1_u128 << shift);
        if tenths >= 10 {
            let rest = match tenths % 10 {
                0 => String::new(),
                tenth => format!(".{tenth}"),
            };
            return format!("{}{rest}{unit}", tenths / 10);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_agent_is_shown_with_what_it_has_and_what_is_taken() {
        let answer = json!({"apiVersion": "kelson/v1", "kind": "AgentList", "items": [
            {"id": "agt_1", "name": "laptop", "state": "ready", "address": "127.0.0.1", "pid": 9, "version": "0.1.0",
             "resources": {"cpus": "8", "memory": "16Gi", "disk": "0"}, "used": {"cpus": "0.5", "memory": "256Mi", "disk": "0"},
             "ports": {"first": 20000, "last": 31999}, "attributes": {"os": "linux"}, "tasks": 3, "incarnation": 1}]});
        assert_eq!(
            table(&answer, true, Palette::plain()),
            "\
ID     NAME    STATE  TASKS  CPUS   MEMORY      ADDRESS    PORTS        PID  VERSION  ATTRIBUTES
agt_1  laptop  ready  3      0.5/8  256Mi/16Gi  127.0.0.1  20000-31999  9    0.1.0    os=linux
"
        );
    }

    #[test]
    fn memory_is_shown_in_its_largest_unit() {
        for (exact, shown) in [("24684084Ki", "23.5Gi"), ("256Mi", "256Mi"), ("0", "0")] {
            assert_eq!(memory(&json!(exact)), shown);
        }
    }
}
