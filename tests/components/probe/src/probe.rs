//! The verbs of a line.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::bindings::exports::kelson::scheduler::scheduler::{Guest, Problem};
use crate::bindings::kelson::scheduler::{log, outcome, state, tables};

pub(crate) struct Probe;

/// What the instance remembers: it is a cache of the tables, and the count of turns gives a warm
/// instance away.
static SEEN: Mutex<Seen> = Mutex::new(Seen {
    turns: 0,
    workloads: BTreeMap::new(),
});

struct Seen {
    turns: u64,
    workloads: BTreeMap<u64, u64>,
}

impl Guest for Probe {
    fn describe() -> String {
        r#"{"name":"probe","version":"1.0.0","kinds":[{"kind":"Probe","schema":{"type":"object"},"templates":[""]}]}"#.to_owned()
    }

    fn validate(kind: String, spec: String) -> Vec<Problem> {
        if spec == "\"loop\"" {
            spin();
        }
        if spec == "\"set\"" {
            state::set(0, "key", b"value");
        }
        vec![Problem {
            pointer: "/spec".to_owned(),
            message: format!(
                "{kind} {spec} {} {}",
                tables::workloads(0).id.len(),
                tables::config()
            ),
        }]
    }

    fn restore() -> Result<(), String> {
        remember();
        obey("restore", 0, 0)
    }

    fn turn(now: u64, seed: u64, _turn_no: u64) -> Result<(), String> {
        remember();
        if let Ok(mut seen) = SEEN.lock() {
            seen.turns += 1;
        }
        obey("turn", now, seed)
    }

    fn query(verb: String, arguments: String) -> Result<String, String> {
        match verb.as_str() {
            "fail" => Err("no such verb".to_owned()),
            "garbage" => Ok("{".to_owned()),
            "set" => {
                state::set(0, "key", b"value");
                Ok("null".to_owned())
            }
            _ => Ok(format!(
                r#"{{"arguments":{arguments},"workloads":{}}}"#,
                seen().workloads.len()
            )),
        }
    }
}

fn seen() -> std::sync::MutexGuard<'static, Seen> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn remember() {
    let mut seen = seen();
    for page in 0.. {
        let rows = tables::workloads(page);
        if rows.id.is_empty() {
            return;
        }
        seen.workloads
            .extend(rows.id.into_iter().zip(rows.generation));
    }
}

fn obey(call: &str, now: u64, seed: u64) -> Result<(), String> {
    for line in tables::config().lines() {
        let mut words = line.split(' ');
        if words.next() == Some(call) {
            let verb = words.next().unwrap_or_default();
            let arguments: Vec<&str> = words.collect();
            do_verb(verb, &arguments, now, seed)?;
        }
    }
    Ok(())
}

fn do_verb(verb: &str, arguments: &[&str], now: u64, seed: u64) -> Result<(), String> {
    let text = |i: usize| arguments.get(i).copied().unwrap_or_default();
    let number = |i: usize| text(i).parse::<u64>().unwrap_or_default();
    let small = |i: usize| text(i).parse::<u32>().unwrap_or_default();
    match verb {
        "loop" => spin(),
        "grow" => grow(),
        "trap" => trap(),
        "fail" => return Err(arguments.join(" ")),
        "launch" => outcome::launch(
            &[small(0)],
            &[number(1)],
            &[number(2)],
            &[small(3)],
            &[small(4)],
            &[small(5)],
        ),
        "unequal" => outcome::kill(&[0, 0], &[1], &[0]),
        "kill" => outcome::kill(&[small(0)], &[number(1)], &[small(2)]),
        "forget" => outcome::forget(&[small(0)], &[number(1)]),
        "forget-many" => {
            let count = number(0) as usize;
            outcome::forget(&vec![0; count], &vec![1; count]);
        }
        "status" => outcome::set_status(
            small(0),
            number(1),
            number(2),
            small(3),
            small(4),
            text(5),
            &text(6).replace('_', " "),
        ),
        "long-status" => outcome::set_status(0, 1, 1, 0, 1, &"é".repeat(100), &"é".repeat(2_000)),
        "good" => outcome::set_good_generation(small(0), number(1), number(2)),
        "quarantine" => outcome::quarantine(small(0), number(1), number(2), text(3)),
        "demand" => outcome::demand(
            &[number(0)],
            &[number(1)],
            &[number(2)],
            &[small(3)],
            &[small(4)],
            &[small(5)],
            &[0],
        ),
        "change-demand" => outcome::change_demand(
            &[number(0)],
            &[number(1)],
            &[1],
            &[0],
            &[small(2)],
            &[0],
            &[0],
        ),
        "room" => note(&format!(
            "{} {} {:?}",
            outcome::bytes_left(),
            outcome::operations_left(),
            outcome::prices()
        )),
        "no-demand" => outcome::demand(&[], &[], &[], &[], &[], &[], &[]),
        "wake" => outcome::wake_at(number(0)),
        "log" => (0..number(0)).for_each(|i| log::write(1, &format!("line {i}"))),
        "long-log" => log::write(2, &"x".repeat(5_000)),
        "set" => state::set(small(0), text(1), text(2).as_bytes()),
        "set-large" => state::set(0, text(0), &vec![7; number(1) as usize]),
        "delete" => state::delete(small(0), text(1)),
        "get" => note(&match state::get(text(0)) {
            Some(value) => String::from_utf8_lossy(&value).into_owned(),
            None => "none".to_owned(),
        }),
        "list" => note(&state::list(text(0), text(1)).join(",")),
        "clock" => note(&format!("{now} {seed}")),
        "turns" => note(&seen().turns.to_string()),
        "cache" => note(&format!("{:?}", seen().workloads)),
        "rows" => note(&rows()),
        "spec" => note(&tables::workload_spec(number(0), number(1)).unwrap_or_default()),
        "spec-for-ever" => loop {
            std::hint::black_box(tables::workload_spec(number(0), number(1)));
        },
        "look" => look(),
        "take-all" => take_all(),
        other => return Err(format!("no verb {other}")),
    }
    Ok(())
}

fn note(text: &str) {
    outcome::note(0, text);
}

fn spin() {
    let mut x = 0_u64;
    loop {
        x = std::hint::black_box(x.wrapping_add(1));
    }
}

fn grow() {
    let mut all: Vec<Vec<u8>> = Vec::new();
    loop {
        all.push(std::hint::black_box(vec![1; 1 << 20]));
    }
}

#[expect(clippy::panic, reason = "that is the point")]
fn trap() {
    log::write(3, "out of birds");
    panic!("as the configuration says");
}

/// Reads every offer and wants none.
fn look() {
    for page in 0.. {
        if std::hint::black_box(tables::offers(page)).offer.is_empty() {
            return;
        }
    }
}

/// Answers every offer in full, as a scheduler does that has more wishes than room.
fn take_all() {
    let mut launches = (
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
        Vec::new(),
    );
    let workload = seen()
        .workloads
        .iter()
        .next()
        .map(|(id, generation)| (*id, *generation));
    let Some((workload, generation)) = workload else {
        return;
    };
    for page in 0.. {
        let offers = tables::offers(page);
        if offers.offer.is_empty() {
            break;
        }
        for (offer, count) in offers.offer.iter().zip(&offers.count) {
            for _ in 0..*count {
                let slot = launches.0.len() as u32;
                launches.0.push(0);
                launches.1.push(workload);
                launches.2.push(generation);
                launches.3.push(0);
                launches.4.push(slot);
                launches.5.push(*offer);
            }
        }
    }
    outcome::launch(
        &launches.0,
        &launches.1,
        &launches.2,
        &launches.3,
        &launches.4,
        &launches.5,
    );
}

/// Everything that the tables show, in one line.
fn rows() -> String {
    let w = tables::workloads(0);
    let t = tables::tasks(0);
    let a = tables::agents(0);
    let o = tables::offers(0);
    let r = tables::refusals(0);
    let names: Vec<String> =
        w.id.iter()
            .map(|id| tables::workload_name(*id).unwrap_or_default())
            .collect();
    let attributes: Vec<String> = a
        .agent
        .iter()
        .map(|id| format!("{:?}", tables::agent_attributes(*id)))
        .collect();
    format!(
        "workloads {:?} {:?} {:?} {names:?}; tasks {:?} {:?} {:?} {:?} {:?} {:?}; agents {:?} {:?} {:?} {attributes:?}; \
         offers {:?} {:?} {:?} {:?}; refusals {:?} {:?}; pages {}",
        w.id,
        w.generation,
        w.workload_flags,
        t.id,
        t.task_state,
        t.task_flags,
        t.health,
        t.exit_code,
        t.healthy_since,
        a.agent,
        a.agent_state,
        a.free_cpus,
        o.offer,
        o.key,
        o.agent,
        o.count,
        r.subject,
        r.reason,
        (0..)
            .take_while(|page| !tables::tasks(*page).id.is_empty())
            .count()
    )
}
