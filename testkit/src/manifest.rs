//! Manifests of services that run the example server, with times that suit a test.

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// A service of the example server, which answers with a text.
#[derive(Debug, Clone)]
pub struct Service {
    name: String,
    namespace: String,
    instances: u32,
    text: String,
    args: Vec<String>,
    progress_deadline: String,
    lifecycle: Option<String>,
    starts: Option<PathBuf>,
    spec: String,
}

/// Begins a service with this name in namespace `shop`: one instance, which answers `NAME 1`.
#[must_use]
pub fn service(name: &str) -> Service {
    Service {
        name: name.into(),
        namespace: "shop".into(),
        instances: 1,
        text: format!("{name} 1"),
        args: Vec::new(),
        progress_deadline: "10m".into(),
        lifecycle: None,
        starts: None,
        spec: String::new(),
    }
}

impl Service {
    /// How many tasks.
    #[must_use]
    pub fn instances(mut self, instances: u32) -> Self {
        self.instances = instances;
        self
    }

    /// In which namespace.
    #[must_use]
    pub fn namespace(mut self, namespace: &str) -> Self {
        self.namespace = namespace.into();
        self
    }

    /// What it answers.
    #[must_use]
    pub fn text(mut self, text: &str) -> Self {
        self.text = text.into();
        self
    }

    /// More arguments of the example server, such as `--unhealthy`.
    #[must_use]
    pub fn args<'a>(mut self, args: impl IntoIterator<Item = &'a str>) -> Self {
        self.args.extend(args.into_iter().map(str::to_owned));
        self
    }

    /// After which time without progress a rollout is rolled back.
    #[must_use]
    pub fn progress_deadline(mut self, deadline: &str) -> Self {
        self.progress_deadline = deadline.into();
        self
    }

    /// `metadata.lifecycle`, as the inside of a YAML flow mapping: `prune: never`.
    #[must_use]
    pub fn lifecycle(mut self, fields: &str) -> Self {
        self.lifecycle = Some(fields.into());
        self
    }

    /// Each task appends a line with its id to this file before it becomes the example server.
    #[must_use]
    pub fn noting_starts_in(mut self, file: &Path) -> Self {
        self.starts = Some(file.to_owned());
        self
    }

    /// One more line of `spec`, without its two blanks: `labels: {a: b}`.
    #[must_use]
    pub fn spec_line(mut self, line: &str) -> Self {
        self.spec.push_str("  ");
        self.spec.push_str(line);
        self.spec.push('\n');
        self
    }

    /// The manifest. `instances` stands at line 7.
    #[must_use]
    pub fn yaml(&self) -> String {
        let mut text = String::new();
        let lifecycle = self
            .lifecycle
            .as_ref()
            .map(|fields| format!(", lifecycle: {{{fields}}}"))
            .unwrap_or_default();
        let mut args = vec![
            "--text".to_owned(),
            quote(&self.text),
            "--drain".into(),
            "500ms".into(),
        ];
        args.extend(self.args.iter().map(|arg| quote(arg)));
        let mut command = "example-http";
        if let Some(starts) = &self.starts {
            let program = format!(
                "echo $$KELSON_TASK_ID >> {}; exec example-http \"$$@\"",
                starts.display()
            );
            command = "sh";
            args.splice(0..0, ["-c".to_owned(), quote(&program), "sh".to_owned()]);
        }
        // Writing to a string does not fail.
        let _always_ok = write!(
            text,
            "apiVersion: kelson/v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}{lifecycle}}}
spec:
  run:
    {{command: {command}, args: [{args}]}}
  instances: {instances}
  resources: {{cpus: 0.02, memory: 32Mi}}
  ports: [{{name: http}}]
  health: {{http: {{port: http, path: /health}}, interval: 500ms, timeout: 2s, grace: 5s, failures: 2}}
  stop: {{grace: 5s}}
  restart: {{backoff: {{initial: 200ms, max: 1s}}}}
  update: {{minHealthyTime: 100ms, progressDeadline: {deadline}}}
{spec}",
            name = self.name,
            namespace = self.namespace,
            args = args.join(", "),
            instances = self.instances,
            deadline = self.progress_deadline,
            spec = self.spec,
        );
        text
    }
}

/// A YAML scalar in double quotes.
fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_instances_stand_at_line_seven() {
        assert_eq!(
            service("web").instances(3).yaml().lines().nth(6).unwrap(),
            "  instances: 3"
        );
    }
}
