//! What is wrong with a Service beyond its schema: names that must meet, paths that must stay
//! inside, numbers that must fit together.

use std::collections::BTreeSet;

use kelson_sdk::Problem;
use kelson_sdk::quantity::duration_ms;
use kelson_sdk::serde_json::Value;

use crate::amount::Amount;
use crate::spec::Ports;

/// Everything that is wrong with a normalised specification.
pub(crate) fn problems(spec: &Value) -> Vec<Problem> {
    let mut problems = Vec::new();
    let names = check_ports(spec, &mut problems);
    for check in ["health", "readiness"] {
        check_probe(spec, check, &names, &mut problems);
    }
    check_paths(spec, &mut problems);
    check_variables(spec, &names, &mut problems);
    check_update(spec, &mut problems);
    check_times(spec, &mut problems);
    problems
}

fn list<'a>(spec: &'a Value, pointer: &str) -> impl Iterator<Item = (usize, &'a Value)> {
    spec.pointer(pointer)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

fn check_ports<'a>(spec: &'a Value, problems: &mut Vec<Problem>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    let mut numbers = BTreeSet::new();
    for (place, port) in list(spec, "/ports") {
        if let Some(name) = text(port, "/name")
            && !names.insert(name)
        {
            problems.push(Problem::new(
                format!("/ports/{place}/name"),
                format!("there are two ports named '{name}': give each a name of its own"),
            ));
        }
        if let Some(number) = port.get("port").and_then(Value::as_u64)
            && !numbers.insert(number)
        {
            problems.push(Problem::new(
                format!("/ports/{place}/port"),
                format!("port {number} is asked for twice"),
            ));
        }
    }
    names
}

fn check_probe(spec: &Value, check: &str, names: &BTreeSet<&str>, problems: &mut Vec<Problem>) {
    for kind in ["http", "tcp"] {
        let pointer = format!("/{check}/{kind}/port");
        let Some(port) = text(spec, &pointer).filter(|port| !names.contains(port)) else {
            continue;
        };
        let known = if names.is_empty() {
            format!("there are none: add `ports: [{{name: {port}}}]`")
        } else {
            let names: Vec<&str> = names.iter().copied().collect();
            format!("there are {}", names.join(", "))
        };
        problems.push(Problem::new(
            pointer,
            format!("no port is named '{port}'; {known}"),
        ));
    }
    for part in ["interval", "timeout"] {
        let pointer = format!("/{check}/{part}");
        if text(spec, &pointer).and_then(duration_ms) == Some(0) {
            problems.push(Problem::new(pointer, "must be longer than nothing: 1s"));
        }
    }
}

/// Says why a path would leave the task's directory, or name nothing in it.
fn fault_of_path(path: &str) -> Option<&'static str> {
    if path.starts_with('/') {
        return Some("must be relative to the task's directory: drop the slash in front");
    }
    if path.split('/').any(|part| part == "..") {
        return Some("must stay inside the task's directory: no '..'");
    }
    if path.contains('\0') {
        return Some("must not hold a NUL character");
    }
    None
}

fn check_paths(spec: &Value, problems: &mut Vec<Problem>) {
    if let Some(fault) = text(spec, "/run/workdir").and_then(fault_of_path) {
        problems.push(Problem::new("/run/workdir", fault));
    }
    let mut paths = BTreeSet::new();
    for (place, file) in list(spec, "/run/files") {
        let Some(path) = text(file, "/path") else {
            continue;
        };
        let parts = || {
            path.split('/')
                .filter(|part| !part.is_empty() && *part != ".")
        };
        let pointer = format!("/run/files/{place}/path");
        if let Some(fault) = fault_of_path(path) {
            problems.push(Problem::new(pointer, fault));
        } else if parts().next().is_none() || path.ends_with('/') {
            problems.push(Problem::new(pointer, "must name a file, not a directory"));
        } else if !paths.insert(parts().collect::<Vec<_>>().join("/")) {
            problems.push(Problem::new(pointer, format!("'{path}' is laid out twice")));
        }
    }
}

/// Names that the agent gives to every task, beside its ports.
const GIVEN: [&str; 6] = [
    "PATH",
    "HOME",
    "TMPDIR",
    "HOST",
    "KELSON_TASK_ID",
    "KELSON_NAMESPACE",
];

fn check_variables(spec: &Value, ports: &BTreeSet<&str>, problems: &mut Vec<Problem>) {
    let mut known: BTreeSet<String> = GIVEN.into_iter().map(str::to_owned).collect();
    if ports.len() == 1 {
        known.insert("PORT".to_owned());
    }
    for port in ports {
        known.insert(format!("PORT_{}", port.to_uppercase().replace('-', "_")));
    }
    let env = spec.pointer("/run/env").and_then(Value::as_object);
    for (name, value) in env.into_iter().flatten() {
        known.insert(name.clone());
        if value.as_str().is_some_and(|value| value.contains('\0')) {
            problems.push(Problem::new(
                format!("/run/env/{name}"),
                "must not hold a NUL character",
            ));
        }
    }
    for pointer in [
        "/run/args",
        "/health/command/args",
        "/readiness/command/args",
    ] {
        for (place, argument) in list(spec, pointer) {
            let fault = argument.as_str().and_then(|text| {
                let fault = fault_of_variables(text, &known);
                let nul = || "must not hold a NUL character".to_owned();
                fault.or_else(|| text.contains('\0').then(nul))
            });
            if let Some(fault) = fault {
                problems.push(Problem::new(format!("{pointer}/{place}"), fault));
            }
        }
    }
    for (place, file) in list(spec, "/run/files") {
        let is_template = file.get("template").and_then(Value::as_bool) == Some(true);
        let content = text(file, "/content").filter(|_| is_template);
        if let Some(fault) = content.and_then(|text| fault_of_variables(text, &known)) {
            problems.push(Problem::new(format!("/run/files/{place}/content"), fault));
        }
    }
}

/// Finds the first `${NAME}` that will not be there, or the first dollar that says nothing; `$$` is
/// a dollar. What an agent would refuse to start is refused here.
fn fault_of_variables(text: &str, known: &BTreeSet<String>) -> Option<String> {
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('$') {
        if let Some(next) = after.strip_prefix('$') {
            rest = next;
        } else if let Some(body) = after.strip_prefix('{') {
            let Some((name, next)) = body.split_once('}') else {
                return Some("has a ${ without its }; write $$ for a dollar".to_owned());
            };
            if !known.contains(name) {
                let hint = match name {
                    "PORT" => "PORT is there where a task has one port; take ${PORT_<NAME>}",
                    _ => "write $$ for a dollar",
                };
                return Some(format!(
                    "takes ${{{name}}}, which is neither in env nor given to every task; {hint}"
                ));
            }
            rest = next;
        } else {
            return Some(
                "has a single $: write $$ for a dollar, ${NAME} for a variable".to_owned(),
            );
        }
    }
    None
}

fn check_update(spec: &Value, problems: &mut Vec<Problem>) {
    let part = |name: &str| {
        spec.pointer(&format!("/update/{name}"))
            .and_then(Amount::read)
    };
    let is_none =
        |amount: Option<Amount>| matches!(amount, Some(Amount::Count(0) | Amount::Percent(0)));
    let (surge, unavailable) = (part("maxSurge"), part("maxUnavailable"));
    if !Ports::read(spec).fixed.is_empty() {
        // 1 is what the default writes; it cannot be told from a wish.
        let is_wish = surge.is_some_and(|surge| surge != Amount::Count(1)) && !is_none(surge);
        if is_wish {
            problems.push(Problem::new(
                "/update/maxSurge",
                "with a fixed port at most one task is started beside the one that it replaces, and only where their ports differ; drop maxSurge, and set maxUnavailable for the pace",
            ));
        }
    } else if is_none(surge) && is_none(unavailable) {
        problems.push(Problem::new(
            "/update",
            "maxSurge and maxUnavailable are both 0: no task could ever be replaced; set one of them to 1",
        ));
    }
}

fn check_times(spec: &Value, problems: &mut Vec<Problem>) {
    let time = |pointer: &str| text(spec, pointer).and_then(duration_ms);
    if let (Some(healthy), Some(deadline)) = (
        time("/update/minHealthyTime"),
        time("/update/progressDeadline"),
    ) && deadline <= healthy
    {
        problems.push(Problem::new(
            "/update/progressDeadline",
            "must be longer than minHealthyTime, or every version would be given up",
        ));
    }
    if let (Some(initial), Some(max)) = (
        time("/restart/backoff/initial"),
        time("/restart/backoff/max"),
    ) && max < initial
    {
        problems.push(Problem::new(
            "/restart/backoff/max",
            "must not be shorter than initial",
        ));
    }
    if time("/stop/grace").is_some_and(|grace| grace > 3_600_000) {
        problems.push(Problem::new(
            "/stop/grace",
            "must be 1h at the most: an agent that is drained waits for it",
        ));
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_sdk::serde_json::json;

    /// The pointers that are complained about, with the first message.
    fn of(spec: Value) -> Vec<(String, String)> {
        let found = problems(&spec).into_iter();
        found
            .map(|problem| (problem.pointer, problem.message))
            .collect()
    }

    fn only(spec: Value, pointer: &str, word: &str) {
        let found = of(spec);
        let (at, message) = found.first().unwrap();
        assert_eq!((found.len(), at.as_str()), (1, pointer), "{message}");
        assert!(message.contains(word), "{message}");
    }

    #[test]
    fn a_check_must_name_a_port_that_is_there() {
        only(
            json!({"health": {"http": {"port": "http"}}}),
            "/health/http/port",
            "ports: [{name: http}]",
        );
        only(
            json!({"ports": [{"name": "web"}], "readiness": {"tcp": {"port": "http"}}}),
            "/readiness/tcp/port",
            "there are web",
        );
    }

    #[test]
    fn ports_have_names_and_numbers_of_their_own() {
        only(
            json!({"ports": [{"name": "a"}, {"name": "a"}]}),
            "/ports/1/name",
            "two ports",
        );
        only(
            json!({"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 80}]}),
            "/ports/1/port",
            "twice",
        );
    }

    #[test]
    fn files_stay_inside_the_directory() {
        for (path, word) in [
            ("/etc/passwd", "relative"),
            ("a/../../b", ".."),
            ("a/", "directory"),
            (".", "directory"),
        ] {
            only(
                json!({"run": {"files": [{"path": path, "content": ""}]}}),
                "/run/files/0/path",
                word,
            );
        }
        only(
            json!({"run": {"files": [{"path": "a/b"}, {"path": "a//b"}]}}),
            "/run/files/1/path",
            "twice",
        );
        only(json!({"run": {"workdir": "../x"}}), "/run/workdir", "..");
    }

    #[test]
    fn arguments_take_only_what_will_be_there() {
        let args = |text: &str| json!({"ports": [{"name": "my-http"}], "run": {"env": {"A": "1"}, "args": [text]}});
        for fine in [
            "${PORT_MY_HTTP}",
            "${PORT}",
            "${A}$${B}",
            "${HOME}",
            "5$$",
            "${HOST}:1",
        ] {
            assert_eq!(of(args(fine)), [], "{fine}");
        }
        only(args("${PORT_HTTP}"), "/run/args/0", "PORT_HTTP");
        only(args("${A"), "/run/args/0", "$$");
        only(args("$HOME"), "/run/args/0", "$$");
    }

    /// The agent's rule is tested with the same table.
    #[test]
    fn a_dollar_is_refused_where_an_agent_would_not_start_the_task() {
        for line in include_str!("../../../model/tests/dollars.txt").lines() {
            let (text, said) = line.split_once(" => ").unwrap();
            let word = match said {
                "alone" => "single $",
                "unclosed" => "without its }",
                "unknown" => "takes ${",
                _ => "",
            };
            for (spec, pointer) in [
                (json!({"run": {"args": [text]}}), "/run/args/0"),
                (
                    json!({"health": {"command": {"args": [text]}}}),
                    "/health/command/args/0",
                ),
                (
                    json!({"run": {"files": [{"path": "a", "content": text, "template": true}]}}),
                    "/run/files/0/content",
                ),
            ] {
                let mut spec = spec;
                spec.as_object_mut()
                    .unwrap()
                    .entry("run")
                    .or_insert_with(|| json!({}))["env"] = json!({"A": "1"});
                if said.starts_with("is ") {
                    assert_eq!(of(spec), [], "{line}");
                } else {
                    only(spec, pointer, word);
                }
            }
        }
        let plain = json!({"run": {"files": [{"path": "a", "content": "$A"}]}});
        assert_eq!(of(plain), []);
    }

    #[test]
    fn port_is_there_where_there_is_one() {
        let ports = |ports: Value| json!({"ports": ports, "run": {"args": ["${PORT}"]}});
        assert_eq!(of(ports(json!([{"name": "a"}]))), []);
        let two = ports(json!([{"name": "a"}, {"name": "b"}]));
        only(two, "/run/args/0", "${PORT_<NAME>}");
        only(ports(json!([])), "/run/args/0", "one port");
    }

    #[test]
    fn an_update_must_be_possible() {
        only(
            json!({"update": {"maxSurge": 0, "maxUnavailable": 0}}),
            "/update",
            "both 0",
        );
        only(
            json!({"update": {"maxSurge": "0%", "maxUnavailable": 0}}),
            "/update",
            "both 0",
        );
        let fixed = |surge: Value| json!({"ports": [{"name": "a", "port": 80}], "update": {"maxSurge": surge, "maxUnavailable": 0}});
        only(fixed(json!(2)), "/update/maxSurge", "fixed port");
        assert_eq!(of(fixed(json!(1))), []);
        assert_eq!(of(fixed(json!(0))), []);
    }

    #[test]
    fn times_must_fit_together() {
        only(
            json!({"update": {"minHealthyTime": "10m", "progressDeadline": "10m"}}),
            "/update/progressDeadline",
            "longer",
        );
        only(
            json!({"restart": {"backoff": {"initial": "10s", "max": "5s"}}}),
            "/restart/backoff/max",
            "initial",
        );
        only(json!({"stop": {"grace": "2h"}}), "/stop/grace", "1h");
        only(
            json!({"health": {"interval": "0s"}}),
            "/health/interval",
            "longer",
        );
    }
}
