//! What a verb is about: `[Kind/]name`, or a task.

use std::collections::BTreeMap;
use std::str::FromStr;

use anyhow::Result;
use kelson_model::code::Code;
use kelson_model::id::TaskId;
use kelson_model::object::{Namespace, ObjectKey, is_valid_name};
use kelson_model::report::{StatusReport, TaskList, TaskRow};
use kelson_reconciler_core::manifest::nearest;

use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};

/// An object as people write it: `web`, `service/web`, `Service/web`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    /// In any case; absent: whatever has the name.
    pub(crate) kind: Option<String>,
    /// The name.
    pub(crate) name: String,
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, name) = match text.split_once('/') {
            Some((kind, name)) => (Some(kind), name),
            None => (None, text),
        };
        if !is_valid_name(name) {
            return Err(format!(
                "'{name}' is no name: a-z, 0-9 and -, 1 to 63 characters; write NAME or KIND/NAME"
            ));
        }
        if kind.is_some_and(|kind| {
            kind.is_empty() || !kind.bytes().all(|byte| byte.is_ascii_alphanumeric())
        }) {
            return Err("a kind is a word, such as Service; write NAME or KIND/NAME".to_owned());
        }
        Ok(Self {
            kind: kind.map(str::to_owned),
            name: name.to_owned(),
        })
    }
}

impl Target {
    /// Whether an object is meant, whatever its namespace.
    pub(crate) fn is(&self, kind: &str, name: &str) -> bool {
        self.name == name
            && self
                .kind
                .as_deref()
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(kind))
    }

    /// Which one of these objects is meant; `None` where none is.
    ///
    /// # Errors
    /// When it may be several.
    pub(crate) fn among(
        &self,
        keys: impl IntoIterator<Item = ObjectKey>,
    ) -> Result<Option<ObjectKey>> {
        let mut found: Vec<ObjectKey> = keys
            .into_iter()
            .filter(|key| self.is(&key.kind, &key.name))
            .collect();
        let first = found.pop();
        if found.is_empty() {
            return Ok(first);
        }
        let all: Vec<String> = first
            .iter()
            .chain(&found)
            .map(ToString::to_string)
            .collect();
        Err(
            Failure::usage(format!("'{self}' may be {}", all.join(" or ")))
                .with_hint("write KIND/NAME, and the namespace with -n")
                .into(),
        )
    }

    /// The object that is meant, as the kernel has it.
    ///
    /// # Errors
    /// When there is none, or there are several.
    pub(crate) async fn find(&self, client: &Client, context: &Context) -> Result<ObjectKey> {
        let limit = context.limit()?;
        let report = status(client, limit.as_ref()).await?;
        let keys = keys(&report)?;
        match self.among(keys.iter().cloned())? {
            Some(key) => Ok(key),
            None => Err(self.missing(limit.as_ref(), &keys).into()),
        }
    }

    /// Makes sure that there is such an object in the namespaces that a list is limited to.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) async fn ensure_there(
        &self,
        client: &Client,
        limit: Option<&Namespace>,
    ) -> Result<()> {
        let keys = keys(&status(client, limit).await?)?;
        if keys.iter().any(|key| self.is(&key.kind, &key.name)) {
            return Ok(());
        }
        Err(self.missing(limit, &keys).into())
    }

    /// Says that there is no such object, and which of these was perhaps meant.
    pub(crate) fn missing(&self, limit: Option<&Namespace>, keys: &[ObjectKey]) -> Failure {
        let message = match limit {
            Some(namespace) => format!("there is no {self} in namespace {namespace}"),
            None => format!("there is no {self} in any namespace"),
        };
        let all = "`kelson status -A` lists what there is; -n NAMESPACE names another namespace";
        let near = self.near(keys);
        Failure::new(Exit::Refused, message)
            .with_code(Code::NoSuchObject)
            .with_hint(if near.is_empty() {
                all.to_owned()
            } else {
                format!("did you mean {}? {all}", near.join(" or "))
            })
    }

    /// The objects whose names were perhaps meant: those with the nearest name, or of another kind.
    fn near(&self, keys: &[ObjectKey]) -> Vec<String> {
        const MOST: usize = 3;
        let names = || keys.iter().map(|key| key.name.as_str());
        let Some(meant) = nearest(&self.name, names()) else {
            return Vec::new();
        };
        keys.iter()
            .filter(|key| key.name == meant.word)
            .take(MOST)
            .map(ToString::to_string)
            .collect()
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.kind {
            Some(kind) => write!(f, "{kind}/{}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// The status report, of one namespace or of all.
///
/// # Errors
/// When nothing listens, or the kernel refuses.
pub(crate) async fn status(
    client: &Client,
    limit: Option<&Namespace>,
) -> Result<StatusReport, Failure> {
    client.get_as("/v1/status", &scope(limit)).await
}

/// The task list, ended tasks among them, of one namespace or of all.
///
/// # Errors
/// When nothing listens, or the kernel refuses.
pub(crate) async fn tasks(client: &Client, limit: Option<&Namespace>) -> Result<TaskList, Failure> {
    let mut query = scope(limit);
    query.push(("all", "true"));
    client.get_as("/v1/tasks", &query).await
}

/// The query that limits an answer to a namespace.
pub(crate) fn scope(limit: Option<&Namespace>) -> Vec<(&'static str, &str)> {
    limit
        .map(|namespace| ("namespace", namespace.as_str()))
        .into_iter()
        .collect()
}

/// The query that names an object.
pub(crate) fn query_of(key: &ObjectKey) -> [(&'static str, &str); 3] {
    [
        ("kind", &key.kind),
        ("namespace", key.namespace.as_str()),
        ("name", &key.name),
    ]
}

/// The objects of a report.
///
/// # Errors
/// When one is in a namespace that is no name.
pub(crate) fn keys(report: &StatusReport) -> Result<Vec<ObjectKey>> {
    report
        .objects
        .iter()
        .map(|object| {
            Ok(ObjectKey::new(
                &object.kind,
                object.namespace.parse()?,
                &object.name,
            ))
        })
        .collect()
}

/// Finds a task by its id (`tsk_1`, in any namespace) or by its name (`web.2`; the one that has not
/// ended, else the newest).
///
/// # Errors
/// When there is none, or there are several.
pub(crate) async fn task(client: &Client, context: &Context, text: &str) -> Result<TaskRow> {
    let limit = if text.starts_with("tsk_") {
        None
    } else {
        context.limit()?
    };
    let list = tasks(client, limit.as_ref()).await?;
    among_tasks(list.items, text)
}

fn among_tasks(rows: Vec<TaskRow>, text: &str) -> Result<TaskRow> {
    let is_meant = |row: &TaskRow| row.id == text || row.name == text;
    let (ended, mut found): (Vec<TaskRow>, Vec<TaskRow>) = rows
        .into_iter()
        .filter(is_meant)
        .partition(|row| row.state.is_terminal());
    if found.is_empty() {
        // Of those that have ended, the newest of each object.
        let newest: BTreeMap<String, TaskRow> = in_order(ended)
            .into_iter()
            .map(|row| (row.workload.to_string(), row))
            .collect();
        found.extend(newest.into_values());
    }
    match (found.pop(), found.as_slice()) {
        (Some(task), []) => Ok(task),
        (Some(task), others) => {
            let mut ids: Vec<&str> = others.iter().map(|other| other.id.as_str()).collect();
            ids.push(&task.id);
            Err(Failure::usage(format!("'{text}' may be {}", ids.join(" or "))).into())
        }
        (None, _) => Err(Failure::new(Exit::Refused, format!("there is no task {text}"))
            .with_code(Code::NoSuchTask)
            .with_hint("`kelson tasks -A` lists all tasks; a name such as web.0 is looked up in the namespace of -n")
            .into()),
    }
}

/// Tasks in the order in which they were launched.
pub(crate) fn in_order(mut rows: Vec<TaskRow>) -> Vec<TaskRow> {
    rows.sort_by_key(|row| row.id.parse::<TaskId>().ok());
    rows
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use serde_json::json;

    fn key(kind: &str, namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(kind, namespace.parse().unwrap(), name)
    }

    #[test]
    fn an_object_is_a_name_or_a_kind_in_any_case_and_a_name() {
        let target: Target = "sErvice/web".parse().unwrap();
        assert!(target.is("Service", "web"));
        assert!(!target.is("Framework", "web"));
        assert!("web".parse::<Target>().unwrap().is("Framework", "web"));
    }

    #[test]
    fn a_slot_without_a_living_task_means_the_newest_that_has_ended() {
        let row = |id: &str, namespace: &str, state: &str| -> TaskRow {
            let workload = json!({"kind": "Service", "namespace": namespace, "name": "loop"});
            let row = json!({"id": id, "name": "loop.0", "workload": workload, "state": state});
            serde_json::from_value(row).unwrap()
        };
        let mut rows = vec![
            row("tsk_10", "shop", "failed"),
            row("tsk_9", "shop", "failed"),
        ];
        let id = |rows: &[TaskRow]| among_tasks(rows.to_vec(), "loop.0").unwrap().id;
        assert_eq!(id(&rows), "tsk_10");
        rows.push(row("tsk_8", "shop", "running"));
        assert_eq!(id(&rows), "tsk_8");
        rows.push(row("tsk_7", "lab", "running"));
        let error = among_tasks(rows.clone(), "loop.0").unwrap_err();
        assert_eq!(crate::exit::exit_of(&error), Exit::Usage);
        let error = among_tasks(rows, "loop.1").unwrap_err();
        assert_eq!(crate::exit::exit_of(&error), Exit::Refused);
    }

    #[test]
    fn what_is_no_object_says_how_to_write_one() {
        for text in ["", "/web", "a b/web", "Service/", "Service/WEB", "a/b/c"] {
            assert!(
                text.parse::<Target>().unwrap_err().contains("KIND/NAME"),
                "{text}"
            );
        }
    }

    #[test]
    fn an_ambiguous_name_is_a_matter_of_usage_and_names_all_that_it_may_be() {
        let target: Target = "web".parse().unwrap();
        let keys = [key("Service", "shop", "web"), key("Service", "lab", "web")];
        let error = target.among(keys.clone()).unwrap_err();
        assert_eq!(crate::exit::exit_of(&error), Exit::Usage);
        assert!(error.to_string().contains("Service shop/web"), "{error}");
        assert_eq!(
            target.among(keys.into_iter().take(1)).unwrap(),
            Some(key("Service", "shop", "web"))
        );
        assert_eq!(target.among([]).unwrap(), None);
    }

    #[test]
    fn a_name_that_is_not_there_says_which_was_perhaps_meant() {
        let keys = [key("Service", "shop", "web"), key("Service", "shop", "api")];
        let hint = |text: &str| {
            let target: Target = text.parse().unwrap();
            let failure = target.missing(None, &keys);
            assert_eq!(failure.exit, Exit::Refused);
            failure.hint.unwrap()
        };
        assert!(hint("wbe").starts_with("did you mean Service shop/web? "));
        assert!(hint("framework/api").starts_with("did you mean Service shop/api? "));
        assert!(hint("payments").starts_with("`kelson status -A`"));
    }
}
