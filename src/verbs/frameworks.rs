//! `kelson frameworks`: schedulers and their seats.

use anyhow::Result;
use clap::{Args, Subcommand};
use kelson_model::view::{
    FrameworkView, List, LogLineView, QueryReport, QueryRequest, ResetReport, ResetRequest,
    SeatState, SeatView,
};
use serde_json::Value;

use super::watching::Watching;
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Cell, Palette, Table, Tint, emit, print, say};

/// What may be typed behind `frameworks`.
#[derive(Debug, Args)]
pub(crate) struct Frameworks {
    #[command(subcommand)]
    verb: Option<FrameworkVerb>,
    #[command(flatten)]
    watching: Watching,
}

/// What to do with frameworks; otherwise they are listed.
#[derive(Debug, Subcommand)]
enum FrameworkVerb {
    /// Lists frameworks and their seats
    List {
        #[command(flatten)]
        watching: Watching,
    },
    /// Lets a framework's seat that waits after a fault try again at once
    Reset {
        /// The framework's name
        framework: String,
    },
    /// Shows what a framework's schedulers wrote, void turns included
    Logs {
        /// The framework's name
        framework: String,
        /// How many lines
        #[arg(long, default_value_t = 200, value_name = "LINES")]
        tail: usize,
    },
    /// Asks a framework's scheduler something; nothing is changed
    Query {
        /// The framework's name
        framework: String,
        /// The verb, one of the framework's own
        verb: String,
        /// Its arguments
        #[arg(default_value = "null", value_name = "JSON")]
        arguments: String,
    },
}

pub(crate) async fn run(arguments: &Frameworks, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let watching = match &arguments.verb {
        Some(FrameworkVerb::Reset { framework }) => {
            let namespace = context.namespace()?;
            let question = ResetRequest {
                framework: framework.clone(),
                namespace: Some(namespace.clone()),
            };
            let _: ResetReport = client.post_as("/v1/frameworks/reset", &question).await?;
            say(&format!(
                "framework {framework} tries again in namespace {namespace}"
            ));
            return Ok(Exit::Done);
        }
        Some(FrameworkVerb::Logs { framework, tail }) => {
            return logs(&client, context, framework, *tail).await;
        }
        Some(FrameworkVerb::Query {
            framework,
            verb,
            arguments,
        }) => return query(&client, context, framework, verb, arguments).await,
        Some(FrameworkVerb::List { watching }) => *watching,
        None => arguments.watching,
    };
    let palette = context.palette();
    let fetch = async || {
        let list: List<FrameworkView> = client.get_as("/v1/frameworks", &[]).await?;
        Ok(list)
    };
    watching
        .show(&client, context, fetch, |list, is_wide| {
            table(list, is_wide, palette)
        })
        .await?;
    Ok(Exit::Done)
}

async fn logs(client: &Client, context: &Context, framework: &str, tail: usize) -> Result<Exit> {
    let tail = tail.to_string();
    let mut asked = vec![("name", framework), ("tail", tail.as_str())];
    let namespace = context.explicit_limit()?;
    let namespace = namespace.map(|namespace| namespace.to_string());
    if let Some(namespace) = &namespace {
        asked.push(("namespace", namespace));
    }
    let answer: List<LogLineView> = client.get_as("/v1/frameworks/logs", &asked).await?;
    print(context.format(), &answer, |_| {
        answer.items.iter().map(log_line).collect()
    })?;
    if answer.items.is_empty() {
        let place = namespace.map_or_else(String::new, |it| format!(" in namespace {it}"));
        say(&format!(
            "no lines: the schedulers of {framework}{place} have written nothing since the kernel \
             started"
        ));
    }
    Ok(Exit::Done)
}

fn log_line(line: &LogLineView) -> String {
    let level = line.level.word();
    format!(
        "{} {} turn {} {level} {}\n",
        line.at, line.namespace, line.turn_no, line.text
    )
}

async fn query(
    client: &Client,
    context: &Context,
    framework: &str,
    verb: &str,
    arguments: &str,
) -> Result<Exit> {
    let arguments: Value = serde_json::from_str(arguments)
        .map_err(|error| Failure::usage(format!("the arguments are not JSON: {error}")))?;
    let namespace = context.namespace()?;
    let question = QueryRequest {
        framework: framework.to_owned(),
        namespace,
        verb: verb.to_owned(),
        arguments,
    };
    let QueryReport { answer } = client.post_as("/v1/frameworks/query", &question).await?;
    emit(&format!("{answer}\n"))?;
    Ok(Exit::Done)
}

fn table(list: &List<FrameworkView>, is_wide: bool, palette: Palette) -> String {
    let mut heads = vec!["FRAMEWORK", "FROM", "KINDS", "VERSION"];
    if is_wide {
        heads.push("COMPONENT");
    }
    heads.push("STATE");
    let mut frameworks = Table::new(heads);
    let mut seats = Table::new(["SEAT", "STATE", "TURNS", "DEMAND", "MESSAGE"]);
    for framework in &list.items {
        let mut row: Vec<Cell> = vec![
            framework.name.as_str().into(),
            if framework.built_in {
                "built in".into()
            } else {
                framework.namespace.as_str().into()
            },
            framework.kinds.join(",").into(),
            Cell::maybe(framework.version.as_deref()),
        ];
        if is_wide {
            row.push(Cell::maybe(
                framework.component.as_ref().map(ToString::to_string),
            ));
        }
        row.push(match &framework.fault {
            Some(fault) => Cell::new(fault, Tint::Bad),
            None => Cell::new("loaded", Tint::Good),
        });
        frameworks.push(row);
        for seat in &framework.seats {
            seats.push([
                format!("{}@{}", framework.name, seat.namespace).into(),
                Cell::new(seat.state.word(), tint_of_seat(seat)),
                seat.turn_no.to_string().into(),
                seat.demand.to_string().into(),
                Cell::plain(remark(seat)),
            ]);
        }
    }
    let mut text = frameworks.render(palette);
    if !seats.is_empty() {
        text.push('\n');
        text.push_str(&seats.render(palette));
    }
    text
}

fn tint_of_seat(seat: &SeatView) -> Tint {
    match seat.state {
        _ if seat.fault.is_some() => Tint::Bad,
        SeatState::Paused => Tint::Bad,
        SeatState::Waiting => Tint::Warn,
        SeatState::Idle => Tint::Plain,
    }
}

fn remark(seat: &SeatView) -> String {
    let Some(fault) = &seat.fault else {
        return String::new();
    };
    let mut text = fault.clone();
    if seat.failures > 1 {
        text.push_str(&format!(" ({} times in a row)", seat.failures));
    }
    if let Some(ms) = seat.retry_in_ms {
        text.push_str(&format!("; tries again in {} s", ms.div_ceil(1000)));
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    #[test]
    fn a_seat_with_a_fault_is_explained() {
        let none = json!({"cpus": "0", "memory": "0", "disk": "0"});
        let answer = json!({"apiVersion": "kelson/v1", "kind": "FrameworkList", "items": [
            {"name": "service", "namespace": "kelson", "component": null, "version": "0.1.0", "kinds": ["Service"], "builtIn": true,
             "namespaces": [], "fault": null, "limits": {}, "seats": [{"namespace": "shop", "turnNo": 4, "state": "idle", "demand": 0, "used": none, "refusals": [], "fault": null, "failures": 0, "retryInMs": null}]},
            {"name": "birds", "namespace": "data", "component": format!("sha256:{}", "0".repeat(64)), "version": "0.1.0", "kinds": ["Flock"], "builtIn": false,
             "namespaces": ["data"], "fault": null, "limits": {}, "seats": [{"namespace": "data", "turnNo": 2, "state": "paused", "demand": 2, "used": none, "refusals": [], "fault": "trapped: unreachable", "failures": 3, "retryInMs": 1234}]}]});
        assert_eq!(
            table(
                &serde_json::from_value(answer).unwrap(),
                false,
                Palette::plain()
            ),
            "\
FRAMEWORK  FROM      KINDS    VERSION  STATE
service    built in  Service  0.1.0    loaded
birds      data      Flock    0.1.0    loaded

SEAT          STATE   TURNS  DEMAND  MESSAGE
service@shop  idle    4      0       -
birds@data    paused  2      2       trapped: unreachable (3 times in a row); tries again in 2 s
"
        );
    }
}
