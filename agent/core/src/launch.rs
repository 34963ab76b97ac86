//! What exactly is run: the order of the kernel, worked out for one agent.

use std::collections::BTreeMap;

use kelson_model::id::{Digest, TaskId};
use kelson_model::quantity::{Bytes, MilliCpus};
use kelson_model::template::{Check, CommandCheck, TaskTemplate};
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, InterpolateError, Surroundings, interpolate};
use crate::probe::Pace;
use crate::signal::{SignalError, parse_signal};

/// Most files of one task.
const MAX_FILES: usize = 1000;
/// Most arguments of one program.
const MAX_ARGUMENTS: usize = 10_000;

/// The kernel's order to run one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskOrder {
    /// The task.
    pub task: TaskId,
    /// The generation of the assignment.
    pub generation: u64,
    /// `web.2`, for people.
    pub name: String,
    /// Its namespace, `shop/checkout`.
    pub namespace: String,
    /// `Service`, for people.
    pub kind: String,
    /// The name of the workload, for people.
    pub workload: String,
    /// What to run.
    pub template: TaskTemplate,
    /// Port numbers by name.
    pub ports: BTreeMap<String, u16>,
    /// Whether limits that were changed by hand are put back.
    pub enforce_drift: bool,
}

/// An order cannot be carried out, whatever the agent does.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// The program's name is empty, or holds a NUL.
    #[error("run.command is not the name of a program")]
    Program,
    /// Too many arguments or files, or a NUL in one.
    #[error("{0}")]
    Arguments(String),
    /// An argument names something that is not there.
    #[error("run.{place}: {source}")]
    Interpolate {
        /// Which field, `args[2]`.
        place: String,
        /// What is wrong with it.
        #[source]
        source: InterpolateError,
    },
    /// The signal is not one.
    #[error("stop.signal: {0}")]
    Signal(#[from] SignalError),
    /// A check is not one of http, tcp and command, or names a port that is not there.
    #[error("{0}")]
    Check(String),
    /// A path leads out of the task's directory.
    #[error("'{0}' leads out of the task's directory")]
    Path(String),
}

/// A program with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchPlan {
    /// A program, found on PATH or relative to the directory.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, all of it.
    pub environment: Environment,
    /// Its directory, relative to the task's work directory, `.` or names with `/` between them.
    pub directory: String,
    /// What is laid into the work directory first.
    pub files: Vec<PlannedFile>,
    /// How it is asked to end.
    pub stop_signal: i32,
    /// A share of processor time.
    pub cpus: MilliCpus,
    /// The hard limit of its memory.
    pub memory: Bytes,
    /// Whether it works.
    pub health: Option<Probe>,
    /// Whether it may take traffic; absent: as health.
    pub readiness: Option<Probe>,
}

/// One file to lay down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedFile {
    /// Relative to the work directory, never outside it.
    pub path: String,
    /// The content, where the order holds it; else it is the blob of that digest.
    pub content: Result<String, Digest>,
    /// Whether `${NAME}` is replaced.
    pub is_template: bool,
}

/// A check, worked out for one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is done.
    pub kind: ProbeKind,
    /// How often.
    pub pace: Pace,
}

/// What a probe does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// GET; 200 to 399 is good.
    Http {
        /// On the task's address.
        port: u16,
        /// Begins with a slash.
        path: String,
    },
    /// A connection that is accepted is good.
    Tcp {
        /// On the task's address.
        port: u16,
    },
    /// Exit status 0 is good.
    Command {
        /// A program, never a shell.
        program: String,
        /// Its arguments.
        arguments: Vec<String>,
    },
}

impl TaskOrder {
    /// Works the order out: the environment, every `${NAME}`, the checks, the signal.
    ///
    /// # Errors
    /// Names the field that cannot be carried out; such a task has failed before it began.
    pub fn plan_launch(
        &self,
        host: &str,
        home: &str,
        path: &str,
    ) -> Result<LaunchPlan, LaunchError> {
        let run = &self.template.run;
        if run.command.is_empty() || run.command.contains('\0') {
            return Err(LaunchError::Program);
        }
        if run.args.len() > MAX_ARGUMENTS || run.files.len() > MAX_FILES {
            return Err(LaunchError::Arguments(format!(
                "run has {} arguments and {} files; at most {MAX_ARGUMENTS} and {MAX_FILES} are taken",
                run.args.len(),
                run.files.len()
            )));
        }
        let surroundings = Surroundings {
            task: self.task,
            namespace: &self.namespace,
            host,
            home,
            path,
            ports: &self.ports,
        };
        let environment = surroundings.environment(&run.env);
        if environment.iter().any(|(name, value)| {
            name.is_empty() || name.contains(['=', '\0']) || value.contains('\0')
        }) {
            return Err(LaunchError::Arguments(
                "run.env has a name that is empty or holds '=', or a NUL".to_owned(),
            ));
        }
        Ok(LaunchPlan {
            program: run.command.clone(),
            arguments: arguments("args", &run.args, &environment)?,
            directory: inside(&run.workdir)?,
            files: self.plan_files()?,
            stop_signal: parse_signal(&self.template.stop.signal)?,
            cpus: self.template.resources.cpus,
            memory: self.template.resources.memory,
            health: self.probe("health", self.template.health.as_ref(), &environment)?,
            readiness: self.probe("readiness", self.template.readiness.as_ref(), &environment)?,
            environment,
        })
    }

    fn plan_files(&self) -> Result<Vec<PlannedFile>, LaunchError> {
        let mut out = Vec::new();
        for file in &self.template.run.files {
            let content = match (&file.content, &file.digest) {
                (Some(content), _) => Ok(content.clone()),
                (None, Some(digest)) => Err(digest.clone()),
                (None, None) => {
                    return Err(LaunchError::Arguments(format!(
                        "the file '{}' has neither content nor a digest",
                        file.path
                    )));
                }
            };
            let path = inside(&file.path)?;
            if path == "." {
                return Err(LaunchError::Path(file.path.clone()));
            }
            out.push(PlannedFile {
                path,
                content,
                is_template: file.template,
            });
        }
        Ok(out)
    }

    fn probe(
        &self,
        field: &str,
        check: Option<&Check>,
        environment: &Environment,
    ) -> Result<Option<Probe>, LaunchError> {
        let Some(check) = check else {
            return Ok(None);
        };
        let port = |name: &str| {
            self.ports.get(name).copied().ok_or_else(|| {
                LaunchError::Check(format!("{field}: the task has no port '{name}'"))
            })
        };
        let kind = match (&check.http, &check.tcp, &check.command) {
            (Some(http), None, None) => {
                if !http.path.starts_with('/')
                    || http.path.contains(|c: char| c.is_control() || c == ' ')
                {
                    return Err(LaunchError::Check(format!(
                        "{field}: the path must begin with '/' and hold no spaces"
                    )));
                }
                ProbeKind::Http {
                    port: port(&http.port)?,
                    path: http.path.clone(),
                }
            }
            (None, Some(tcp), None) => ProbeKind::Tcp {
                port: port(&tcp.port)?,
            },
            (None, None, Some(CommandCheck { command, args })) => ProbeKind::Command {
                program: command.clone(),
                arguments: arguments(&format!("{field}.command.args"), args, environment)?,
            },
            _ => {
                return Err(LaunchError::Check(format!(
                    "{field} must be exactly one of http, tcp and command"
                )));
            }
        };
        Ok(Some(Probe {
            kind,
            pace: Pace::from(check),
        }))
    }
}

fn arguments(
    place: &str,
    texts: &[String],
    environment: &Environment,
) -> Result<Vec<String>, LaunchError> {
    let mut out = Vec::with_capacity(texts.len());
    for (position, text) in texts.iter().enumerate() {
        let done = interpolate(text, environment).map_err(|source| LaunchError::Interpolate {
            place: format!("{place}[{position}]"),
            source,
        })?;
        if done.contains('\0') {
            return Err(LaunchError::Arguments(format!(
                "{place}[{position}] holds a NUL"
            )));
        }
        out.push(done);
    }
    Ok(out)
}

/// Gives a relative path that cannot lead out: no `..`, no absolute path, no NUL; `.` for the
/// directory itself.
fn inside(path: &str) -> Result<String, LaunchError> {
    let wrong = || LaunchError::Path(path.chars().take(200).collect());
    if path.is_empty() || path.starts_with('/') || path.contains('\0') || path.len() > 1024 {
        return Err(wrong());
    }
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => return Err(wrong()),
            name if name.len() > 255 => return Err(wrong()),
            name => parts.push(name),
        }
    }
    if parts.is_empty() {
        return Ok(".".to_owned());
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn order(template: serde_json::Value) -> TaskOrder {
        TaskOrder {
            task: TaskId(1),
            generation: 1,
            name: "web.0".to_owned(),
            namespace: "default".to_owned(),
            kind: "Service".to_owned(),
            workload: "web".to_owned(),
            template: TaskTemplate::from_spec(&template, "").unwrap(),
            ports: [("http".to_owned(), 20_000)].into_iter().collect(),
            enforce_drift: true,
        }
    }

    fn plan(template: serde_json::Value) -> Result<LaunchPlan, LaunchError> {
        order(template).plan_launch("127.0.0.1", "/d", "/bin")
    }

    #[test]
    fn arguments_and_checks_are_worked_out() {
        let plan = plan(serde_json::json!({
            "run": {"command": "server", "args": ["--port", "${PORT_HTTP}", "$$x"], "workdir": "./a//b",
                    "files": [{"path": "a/b/c", "content": "x"}]},
            "health": {"http": {"port": "http", "path": "/up"}},
            "readiness": {"command": {"command": "test", "args": ["${PORT}"]}},
            "stop": {"signal": "SIGINT"},
        }))
        .unwrap();
        assert_eq!(plan.arguments, ["--port", "20000", "$x"]);
        assert_eq!(plan.directory, "a/b");
        assert_eq!(plan.stop_signal, 2);
        assert_eq!(
            plan.health.unwrap().kind,
            ProbeKind::Http {
                port: 20_000,
                path: "/up".to_owned()
            }
        );
        assert_eq!(
            plan.readiness.unwrap().kind,
            ProbeKind::Command {
                program: "test".to_owned(),
                arguments: vec!["20000".to_owned()]
            }
        );
    }

    #[test]
    fn paths_that_lead_out_are_refused() {
        for path in ["/etc/passwd", "../x", "a/../../x", "a/..", ""] {
            let template = serde_json::json!({"run": {"command": "x", "files": [{"path": path, "content": ""}]}});
            assert!(
                matches!(plan(template), Err(LaunchError::Path(_))),
                "{path}"
            );
            let template = serde_json::json!({"run": {"command": "x", "workdir": path}});
            assert!(
                matches!(plan(template), Err(LaunchError::Path(_))),
                "{path}"
            );
        }
    }

    #[test]
    fn what_cannot_work_says_which_field() {
        let say = |template| plan(template).unwrap_err().to_string();
        assert!(say(serde_json::json!({"run": {"command": ""}})).contains("run.command"));
        assert!(
            say(serde_json::json!({"run": {"command": "x", "args": ["a", "${NO}"]}}))
                .contains("args[1]")
        );
        assert!(
            say(serde_json::json!({"run": {"command": "x"}, "health": {"tcp": {"port": "no"}}}))
                .contains("'no'")
        );
        assert!(
            say(serde_json::json!({"run": {"command": "x"}, "health": {}})).contains("exactly one")
        );
        assert!(
            say(serde_json::json!({"run": {"command": "x"}, "stop": {"signal": "SIGX"}}))
                .contains("stop.signal")
        );
    }
}
