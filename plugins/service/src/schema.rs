//! What the framework says about itself: the manifest of `kind: Service` as a JSON Schema.
//!
//! It is the contract with people: every field has its default and a sentence for editors, and
//! unknown fields are refused everywhere.

use kelson_sdk::serde_json::{Value, json};
use kelson_sdk::{Description, Kind};

/// The description of the `service` framework.
pub(crate) fn description() -> Description {
    Description {
        name: "service".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        kinds: vec![Kind {
            kind: "Service".to_owned(),
            schema: service(),
            templates: vec![String::new()],
            count: Some("/instances".to_owned()),
        }],
        config_schema: None,
    }
}

fn service() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Service",
        "description": "Keeps a number of tasks running, and rolls new versions out with their health in view.",
        "type": "object",
        "additionalProperties": false,
        "required": ["run"],
        "properties": {
            "instances": {
                "description": "How many tasks run.",
                "type": "integer", "minimum": 0, "maximum": 20_000, "default": 1
            },
            "run": run(),
            "resources": resources(),
            "ports": ports(),
            "health": check("Whether a task works. A task that fails it is ended and replaced. Without it, a running task is healthy."),
            "readiness": check("Whether a task may take traffic; rollouts wait for it. Without it, as health."),
            "stop": stop(),
            "restart": restart(),
            "update": update()
        }
    })
}

fn run() -> Value {
    json!({
        "description": "What a task runs.",
        "type": "object",
        "additionalProperties": false,
        "required": ["command"],
        "properties": {
            "command": {
                "description": "A program, found on PATH or relative to workdir; never a shell.",
                "type": "string", "minLength": 1, "maxLength": 4096
            },
            "args": {
                "description": "Its arguments. ${NAME} is taken from the task's environment; $$ is a dollar.",
                "type": "array", "maxItems": 1000, "default": [],
                "items": {"type": "string", "maxLength": 131_072}
            },
            "env": {
                "description": "Added to the task's environment. Values are strings: write \"8080\", not 8080.",
                "type": "object", "maxProperties": 1000, "default": {},
                "propertyNames": {"pattern": "^[A-Za-z_][A-Za-z0-9_]*$", "maxLength": 256},
                "additionalProperties": {"type": "string", "maxLength": 131_072}
            },
            "workdir": {
                "description": "Where the program starts, inside the task's directory.",
                "type": "string", "minLength": 1, "maxLength": 1024, "default": "."
            },
            "files": {
                "description": "Files that are laid into the task's directory before the program starts.",
                "type": "array", "maxItems": 1000, "default": [],
                "items": file()
            }
        }
    })
}

fn file() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["path"],
        "oneOf": [{"required": ["source"]}, {"required": ["content"]}],
        "properties": {
            "path": {
                "description": "Where it goes, relative to the task's directory and never outside it.",
                "type": "string", "minLength": 1, "maxLength": 1024
            },
            "source": {
                "description": "A file of the same commit, relative to the repository's root.",
                "type": "string", "minLength": 1, "maxLength": 1024
            },
            "content": {
                "description": "The content itself.",
                "type": "string", "maxLength": 131_072
            },
            "digest": {
                "description": "The sha256 of the source; filled in from the commit.",
                "type": "string", "format": "digest"
            },
            "template": {
                "description": "Whether ${NAME} in it is replaced from the task's environment.",
                "type": "boolean", "default": false
            }
        }
    })
}

fn resources() -> Value {
    json!({
        "description": "What one task takes from its agent.",
        "type": "object",
        "additionalProperties": false,
        "default": {},
        "properties": {
            "cpus": {
                "description": "A share of processor time, with at most 3 decimals: 0.5.",
                "type": ["number", "string"], "format": "cpus", "minimum": 0, "default": "0.1"
            },
            "memory": {
                "description": "A hard limit, with a binary unit: 256Mi.",
                "type": "string", "format": "bytes", "default": "128Mi"
            },
            "disk": {
                "description": "Space in the task's directory, with a binary unit: 1Gi.",
                "type": "string", "format": "bytes", "default": "0"
            }
        }
    })
}

fn ports() -> Value {
    json!({
        "description": "The ports that a task listens on.",
        "type": "array", "maxItems": 32, "default": [],
        "items": {
            "type": "object",
            "additionalProperties": false,
            "required": ["name"],
            "properties": {
                "name": {
                    "description": "The task finds the number in PORT_<NAME>, in upper case, with - as _.",
                    "type": "string", "format": "port-name"
                },
                "port": {
                    "description": "A number of its own; without it, one from the agent's range.",
                    "type": "integer", "minimum": 1, "maximum": 65_535
                }
            }
        }
    })
}

fn check(description: &str) -> Value {
    let port = json!({"description": "The name of one of the task's ports.", "type": "string", "format": "port-name"});
    json!({
        "description": description,
        "type": "object",
        "additionalProperties": false,
        "oneOf": [{"required": ["http"]}, {"required": ["tcp"]}, {"required": ["command"]}],
        "properties": {
            "http": {
                "description": "GET; a status of 200 to 399 is healthy.",
                "type": "object",
                "additionalProperties": false,
                "required": ["port"],
                "properties": {
                    "port": port,
                    "path": {"description": "Begins with a slash.", "type": "string", "pattern": "^/", "maxLength": 4096, "default": "/"}
                }
            },
            "tcp": {
                "description": "A connection that is accepted is healthy.",
                "type": "object",
                "additionalProperties": false,
                "required": ["port"],
                "properties": {"port": port}
            },
            "command": {
                "description": "A program in the task's directory, with its environment; exit status 0 is healthy.",
                "type": "object",
                "additionalProperties": false,
                "required": ["command"],
                "properties": {
                    "command": {"description": "A program, never a shell.", "type": "string", "minLength": 1, "maxLength": 4096},
                    "args": {"description": "As in run.args.", "type": "array", "maxItems": 1000, "default": [], "items": {"type": "string", "maxLength": 131_072}}
                }
            },
            "interval": {"description": "Between two probes; every 100ms until the first success.", "type": "string", "format": "duration", "default": "10s"},
            "timeout": {"description": "After which a probe has failed.", "type": "string", "format": "duration", "default": "2s"},
            "grace": {"description": "From the start of the task, how long failures do not count before the first success.", "type": "string", "format": "duration", "default": "30s"},
            "failures": {"description": "After this many failures in a row, the task is unhealthy.", "type": "integer", "minimum": 1, "maximum": 1000, "default": 3}
        }
    })
}

fn stop() -> Value {
    json!({
        "description": "How a task is asked to end.",
        "type": "object",
        "additionalProperties": false,
        "default": {},
        "properties": {
            "signal": {
                "description": "The signal that asks.",
                "type": "string",
                "enum": ["SIGTERM", "SIGINT", "SIGQUIT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGKILL"],
                "default": "SIGTERM"
            },
            "grace": {
                "description": "After which everything in the task is killed.",
                "type": "string", "format": "duration", "default": "10s"
            }
        }
    })
}

fn restart() -> Value {
    json!({
        "description": "How a task that ended is replaced.",
        "type": "object",
        "additionalProperties": false,
        "default": {},
        "properties": {
            "backoff": {
                "description": "The pauses before a slot is tried again after failures in a row.",
                "type": "object",
                "additionalProperties": false,
                "default": {},
                "properties": {
                    "initial": {"description": "The first pause.", "type": "string", "format": "duration", "default": "1s"},
                    "factor": {"description": "By what each further pause is longer.", "type": "number", "minimum": 1, "maximum": 100, "default": 1.15},
                    "max": {"description": "The longest pause.", "type": "string", "format": "duration", "default": "300s"}
                }
            }
        }
    })
}

fn update() -> Value {
    json!({
        "description": "How a new version is rolled out.",
        "type": "object",
        "additionalProperties": false,
        "default": {},
        "properties": {
            "maxUnavailable": {
                "description": "How many tasks may be away meanwhile: a number, or a percentage such as \"25%\". 1 where the old version may hold a port that the new one asks for by its number.",
                "type": ["integer", "string"], "minimum": 0, "maximum": 100_000,
                "pattern": "^(100|[1-9]?[0-9])%$", "default": 0
            },
            "maxSurge": {
                "description": "How many tasks there may be beyond instances meanwhile: a number, or a percentage such as \"25%\".",
                "type": ["integer", "string"], "minimum": 0, "maximum": 100_000,
                "pattern": "^(100|[1-9]?[0-9])%$", "default": 1
            },
            "minHealthyTime": {
                "description": "How long a new task must be healthy to count.",
                "type": "string", "format": "duration", "default": "5s"
            },
            "progressDeadline": {
                "description": "How long the rollout may go on without a task that becomes healthy.",
                "type": "string", "format": "duration", "default": "10m"
            },
            "onFailure": {
                "description": "What happens then: back to the version before, or stop and wait for a person.",
                "type": "string", "enum": ["rollback", "pause"], "default": "rollback"
            }
        }
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::spec::Spec;

    /// Fills defaults in as the reconciler does.
    pub(crate) fn fill(schema: &Value, value: &mut Value) {
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else {
            return;
        };
        for (name, part) in properties {
            let Some(object) = value.as_object_mut() else {
                return;
            };
            if let Some(default) = part.get("default") {
                object
                    .entry(name.clone())
                    .or_insert_with(|| default.clone());
            }
            if let Some(inner) = object.get_mut(name) {
                fill(part, inner);
            }
        }
    }

    #[test]
    fn the_description_is_the_golden_one() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/description.json");
        let text = format!(
            "{}\n",
            kelson_sdk::serde_json::to_string_pretty(&description()).unwrap()
        );
        if std::env::var_os("KELSON_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap();
        assert!(
            text == golden,
            "the manifest of Service has changed; if that is meant, run this test with KELSON_BLESS=1"
        );
    }

    fn walk(schema: &Value, path: &str, visit: &mut impl FnMut(&str, &Value)) {
        visit(path, schema);
        let parts = schema.get("properties").and_then(Value::as_object);
        for (name, part) in parts.into_iter().flatten() {
            walk(part, &format!("{path}/{name}"), visit);
        }
        if let Some(items) = schema.get("items") {
            walk(items, &format!("{path}/*"), visit);
        }
    }

    #[test]
    fn unknown_fields_are_refused_at_every_level() {
        walk(&service(), "", &mut |path, part| {
            if part.get("properties").is_some() {
                assert_eq!(
                    part.get("additionalProperties"),
                    Some(&json!(false)),
                    "{path}"
                );
            }
        });
    }

    #[test]
    fn every_field_has_a_sentence_for_editors() {
        walk(&service(), "", &mut |path, part| {
            let is_item = path.ends_with('*');
            let sentence = part.get("description").and_then(Value::as_str);
            assert!(
                is_item || sentence.is_some_and(|text| text.ends_with('.')),
                "{path}"
            );
        });
    }

    #[test]
    fn the_defaults_make_a_specification_that_the_scheduler_reads() {
        let mut spec = json!({"run": {"command": "true"}});
        fill(&service(), &mut spec);
        let read = Spec::read(&spec).unwrap();
        assert_eq!(read.instances, 1);
        assert_eq!((read.update.max_surge, read.update.max_unavailable), (1, 0));
        assert_eq!(spec.pointer("/stop/signal"), Some(&json!("SIGTERM")));
        assert_eq!(crate::validate::problems(&spec), []);
    }
}
