//! What `kelson validate --fix` writes where people slip, once or several times in one file.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

mod support;

use kelson_model::source::Fault;
use kelson_reconciler_core::manifest::fix;
use proptest::prelude::*;
use support::{kinds, load_commit};

const GOOD: &str = "\
apiVersion: kelson/v1
kind: Service
metadata:
  name: web
  namespace: shop
  labels:
    team: shop
    tier: front
spec:
  instances: 2
  run:
    command: python3
    args:
      - -m
      - http.server
    env:
      LOG_LEVEL: info
      TIER: front
    workdir: .
  resources:
    cpus: 0.5
    memory: 256Mi
  ports:
    - name: http
  health:
    http:
      port: http
      path: /
    interval: 10s
    timeout: 2s
    grace: 30s
  restart:
    backoff:
      initial: 1s
      max: 300s
  update:
    maxUnavailable: 0
    maxSurge: 1
    onFailure: rollback
";

/// One slip of the hand.
#[derive(Debug, Clone, Copy)]
enum Slip {
    /// No space behind the colon of a line.
    Glued(usize),
    /// A field and all below it, two columns further left.
    Dedented(usize),
    /// What is below a field, two columns further left.
    Emptied(usize),
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The lines below a line.
fn below(lines: &[String], at: usize) -> std::ops::Range<usize> {
    let level = indent(&lines[at]);
    let end = (at + 1..lines.len()).find(|it| indent(&lines[*it]) <= level);
    at + 1..end.unwrap_or(lines.len())
}

fn left(line: &str) -> String {
    line.strip_prefix("  ").unwrap_or(line).to_owned()
}

/// The good file with slips, each at a line of the file without any; of two moves of one block the
/// first.
fn slipped(good: &str, slips: &[Slip]) -> String {
    let good: Vec<String> = good.lines().map(str::to_owned).collect();
    let mut lines = good.clone();
    let mut moved = Vec::new();
    for slip in slips {
        if let Slip::Dedented(at) | Slip::Emptied(at) = *slip {
            let block = at..below(&good, at).end;
            let overlaps =
                |other: &std::ops::Range<usize>| other.start < block.end && block.start < other.end;
            if moved.iter().any(overlaps) {
                continue;
            }
            moved.push(block);
        }
        match *slip {
            Slip::Glued(at) => lines[at] = lines[at].replacen(": ", ":", 1),
            Slip::Dedented(at) => {
                lines[at] = left(&lines[at]);
                below(&good, at).for_each(|it| lines[it] = left(&lines[it]));
            }
            Slip::Emptied(at) => below(&good, at).for_each(|it| lines[it] = left(&lines[it])),
        }
    }
    lines.join("\n") + "\n"
}

fn at(start: &str) -> usize {
    GOOD.lines().position(|line| line == start).unwrap()
}

fn faults(text: &str) -> Vec<Fault> {
    load_commit(&[("web.yaml", text.as_bytes())]).faults
}

fn fixed(text: &str) -> String {
    let fixed = fix("web.yaml", text.as_bytes(), &kinds());
    fixed.map_or_else(
        || text.to_owned(),
        |fixed| String::from_utf8(fixed.bytes).unwrap(),
    )
}

fn promises(text: &str) -> Vec<Fault> {
    let is_promise = |fault: &Fault| fault.replacement.as_ref().is_some_and(|it| it.certain);
    faults(text).into_iter().filter(is_promise).collect()
}

/// The lines of fields with a value, but for those of the document itself.
fn glueable() -> Vec<usize> {
    let lines = GOOD.lines().enumerate().skip(2);
    lines
        .filter(|(_, line)| line.contains(": ") && !line.contains("- "))
        .map(|(at, _)| at)
        .collect()
}

const BLOCKS: [&str; 8] = [
    "  instances: 2",
    "  run:",
    "  resources:",
    "  ports:",
    "  health:",
    "  restart:",
    "  update:",
    "    env:",
];

const HOLDERS: [&str; 6] = [
    "  run:",
    "  resources:",
    "  labels:",
    "    env:",
    "  update:",
    "  restart:",
];

#[test]
fn the_file_has_no_fault() {
    assert_eq!(faults(GOOD), []);
}

#[test]
fn two_fields_without_a_space_are_both_mended() {
    let lines = glueable();
    let mut wrong = Vec::new();
    for (index, first) in lines.iter().enumerate() {
        for second in &lines[index..] {
            let text = slipped(GOOD, &[Slip::Glued(*first), Slip::Glued(*second)]);
            if fixed(&text) != GOOD {
                wrong.push((first + 1, second + 1, faults(&fixed(&text))));
            }
        }
    }
    assert!(wrong.is_empty(), "{}: {wrong:#?}", wrong.len());
}

#[test]
fn a_dedented_block_goes_back_without_those_behind_it() {
    let mut wrong = String::new();
    let whole: Vec<String> = GOOD.lines().map(str::to_owned).collect();
    let block = |name: &str| {
        let start = at(name);
        whole[start..below(&whole, start).end].join("\n") + "\n"
    };
    let head = GOOD.split_once("spec:\n").unwrap().0;
    let names = &BLOCKS[..7];
    for moved in names {
        let others: Vec<&&str> = names.iter().filter(|name| *name != moved).collect();
        for place in [0, 3, others.len()] {
            let mut order: Vec<&str> = others.iter().map(|name| **name).collect();
            order.insert(place, moved);
            let body: String = order.iter().map(|name| block(name)).collect();
            let good = format!("{head}spec:\n{body}");
            let line = good.lines().position(|line| line == *moved).unwrap();
            let text = slipped(&good, &[Slip::Dedented(line)]);
            let found = fixed(&text);
            if found != good {
                let faults = faults(&text);
                wrong.push_str(&format!("{moved} at {place}: {faults:#?}\n{found}\n"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn what_stands_beside_the_empty_field_that_takes_it_goes_below_it() {
    for holder in [
        "  run:",
        "  resources:",
        "  labels:",
        "    env:",
        "  update:",
    ] {
        let text = slipped(GOOD, &[Slip::Emptied(at(holder))]);
        assert_eq!(fixed(&text), GOOD, "{holder}: {:#?}", faults(&text));
    }
}

#[test]
fn the_first_field_further_left_than_the_others_is_where_the_fault_is() {
    for less in [1, 2] {
        let text = GOOD.replacen(
            "  instances",
            &format!("{}instances", " ".repeat(2 - less)),
            1,
        );
        let found = faults(&text);
        let line = u32::try_from(at("  instances: 2") + 1).unwrap();
        assert_eq!(found.first().unwrap().line, line, "{text}{found:#?}");
    }
}

fn slip() -> impl Strategy<Value = Slip> {
    let of = |names: &'static [&'static str]| {
        prop::sample::select(names.iter().map(|name| at(name)).collect::<Vec<_>>())
    };
    prop_oneof![
        4 => prop::sample::select(glueable()).prop_map(Slip::Glued),
        2 => of(&BLOCKS).prop_map(Slip::Dedented),
        1 => of(&HOLDERS).prop_map(Slip::Emptied),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 256,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Of any few slips: the good file comes back, or nothing is promised that is not kept; and
    /// what is written never has more faults than before where one slip is all there is.
    #[test]
    fn what_is_promised_of_several_slips_is_kept(slips in prop::collection::vec(slip(), 1..4)) {
        let text = slipped(GOOD, &slips);
        let found = fixed(&text);
        if found != GOOD {
            prop_assert!(promises(&found).is_empty(), "{text}\n{found}\n{:#?}", promises(&found));
        }
        if slips.len() == 1 {
            prop_assert!(found == GOOD || faults(&found).len() <= faults(&text).len(), "{found}");
        }
    }
}
