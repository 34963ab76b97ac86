//! The part of a Service's normalised specification that its scheduler acts on.

use std::collections::BTreeSet;

use kelson_sdk::quantity::duration_ms;
use kelson_sdk::serde_json::Value;

use crate::amount::Amount;
use crate::backoff::Backoff;

/// What the scheduler reads of a Service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// How many tasks are wanted.
    pub instances: u32,
    /// The pace of restarts.
    pub backoff: Backoff,
    /// How a new version is rolled out.
    pub update: Update,
    /// The ports that it asks for.
    pub ports: Ports,
    /// What one task takes, for messages: `0.5 cpus and 256Mi`.
    pub shape: String,
}

/// The ports that tasks of a version ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// Those that are asked for by their numbers.
    pub fixed: BTreeSet<u64>,
    /// Whether one is picked for each task.
    pub is_any_picked: bool,
}

/// How a new version is rolled out, with the roundings worked in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// How many slots may be without a working task; with `max_surge` 0 it is at least 1.
    pub max_unavailable: u32,
    /// How many tasks there may be beyond `instances`.
    pub max_surge: u32,
    /// How long a task must be healthy to count, in ms.
    pub min_healthy: u64,
    /// How long a rollout may go on without a task that becomes healthy, in ms.
    pub deadline: u64,
    /// What happens then.
    pub on_failure: OnFailure,
}

/// What happens when a rollout has not come on within its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The generation is quarantined and the good one runs again.
    Rollback,
    /// Nothing more is rolled until git changes.
    Pause,
}

fn duration(spec: &Value, pointer: &str) -> Result<u64, String> {
    spec.pointer(pointer)
        .and_then(Value::as_str)
        .and_then(duration_ms)
        .ok_or_else(|| format!("{pointer} is no duration"))
}

fn amount(spec: &Value, pointer: &str) -> Result<Amount, String> {
    spec.pointer(pointer)
        .and_then(Amount::read)
        .ok_or_else(|| format!("{pointer} is neither a number nor a percentage"))
}

/// A number such as 1.15 as thousandths.
fn thousandths(value: &Value) -> Option<u64> {
    let number = value
        .as_f64()
        .filter(|number| (0.0..=1000.0).contains(number))?;
    // In range by the filter above.
    format!("{:.0}", number * 1000.0).parse().ok()
}

impl Ports {
    /// Reads them off a specification.
    pub(crate) fn read(spec: &Value) -> Self {
        let mut ports = Self::default();
        for port in spec
            .get("ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            match port.get("port").and_then(Value::as_u64) {
                Some(number) => drop(ports.fixed.insert(number)),
                None => ports.is_any_picked = true,
            }
        }
        ports
    }

    /// Whether a task may hold a port that a task with `others` asks for by its number: two that
    /// ask for the same cannot be on one agent at a time. What is picked may be any number.
    pub(crate) fn may_hold_one_of(&self, others: &Self) -> bool {
        let is_picked = self.is_any_picked && !others.fixed.is_empty();
        is_picked || !self.fixed.is_disjoint(&others.fixed)
    }
}

impl Update {
    /// The same where nothing can be started beside what it replaces.
    pub(crate) fn without_surge(self) -> Self {
        Self {
            max_surge: 0,
            max_unavailable: self.max_unavailable.max(1),
            ..self
        }
    }

    fn read(spec: &Value, instances: u32) -> Result<Self, String> {
        let mut max_unavailable = amount(spec, "/update/maxUnavailable")?.floor_of(instances);
        let max_surge = amount(spec, "/update/maxSurge")?.ceil_of(instances);
        if max_surge == 0 && max_unavailable == 0 {
            max_unavailable = 1;
        }
        let on_failure = spec.pointer("/update/onFailure").and_then(Value::as_str);
        Ok(Self {
            max_unavailable,
            max_surge,
            min_healthy: duration(spec, "/update/minHealthyTime")?,
            deadline: duration(spec, "/update/progressDeadline")?,
            on_failure: match on_failure {
                Some("rollback") => OnFailure::Rollback,
                Some("pause") => OnFailure::Pause,
                _ => return Err("/update/onFailure is neither rollback nor pause".into()),
            },
        })
    }
}

impl Spec {
    /// Reads a normalised specification.
    ///
    /// # Errors
    /// Says which field is not what the schema promises.
    pub fn read(spec: &Value) -> Result<Self, String> {
        let instances = spec
            .get("instances")
            .and_then(Value::as_u64)
            .and_then(|count| u32::try_from(count).ok())
            .ok_or("/instances is no number of tasks")?;
        let factor = spec
            .pointer("/restart/backoff/factor")
            .and_then(thousandths)
            .ok_or("/restart/backoff/factor is no number")?;
        let part = |pointer: &str| match spec.pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => "?".to_owned(),
        };
        let asked = Ports::read(spec);
        let numbers: Vec<String> = asked.fixed.iter().map(u64::to_string).collect();
        let ports = match numbers.as_slice() {
            [] => String::new(),
            [one] => format!(" with port {one}"),
            _ => format!(" with ports {}", numbers.join(", ")),
        };
        Ok(Self {
            instances,
            backoff: Backoff {
                initial: duration(spec, "/restart/backoff/initial")?,
                factor,
                max: duration(spec, "/restart/backoff/max")?,
            },
            update: Update::read(spec, instances)?,
            ports: asked,
            shape: format!(
                "{} cpus and {}{ports}",
                part("/resources/cpus"),
                part("/resources/memory")
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]
    use super::*;
    use kelson_sdk::serde_json::json;

    fn whole() -> Value {
        json!({
            "instances": 3,
            "resources": {"cpus": "0.5", "memory": "256Mi", "disk": "0"},
            "ports": [{"name": "http"}],
            "restart": {"backoff": {"initial": "1s", "factor": 1.15, "max": "300s"}},
            "update": {"maxUnavailable": 0, "maxSurge": 1, "minHealthyTime": "5s", "progressDeadline": "10m", "onFailure": "rollback"}
        })
    }

    #[test]
    fn a_whole_specification_is_read() {
        let spec = Spec::read(&whole()).unwrap();
        assert_eq!(spec.backoff.factor, 1150);
        assert_eq!((spec.update.max_surge, spec.update.max_unavailable), (1, 0));
        assert_eq!(spec.shape, "0.5 cpus and 256Mi");
    }

    #[test]
    fn without_a_surge_one_may_be_away() {
        let mut spec = whole();
        spec["ports"] = json!([{"name": "http", "port": 8080}]);
        let spec = Spec::read(&spec).unwrap();
        let update = spec.update;
        assert_eq!((update.max_surge, update.max_unavailable), (1, 0));
        let update = update.without_surge();
        assert_eq!((update.max_surge, update.max_unavailable), (0, 1));
        assert_eq!(spec.ports.fixed, BTreeSet::from([8080]));
        assert_eq!(spec.shape, "0.5 cpus and 256Mi with port 8080");
    }

    #[test]
    fn percentages_that_round_to_nothing_still_let_one_go() {
        let mut spec = whole();
        spec["update"]["maxUnavailable"] = json!("25%");
        spec["update"]["maxSurge"] = json!("0%");
        let update = Spec::read(&spec).unwrap().update;
        assert_eq!((update.max_surge, update.max_unavailable), (0, 1));
    }

    #[test]
    fn a_missing_default_is_an_error_that_names_its_field() {
        let mut spec = whole();
        spec["update"] = json!({});
        assert!(Spec::read(&spec).unwrap_err().contains("maxUnavailable"));
    }
}
