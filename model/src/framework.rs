//! Frameworks: what a scheduler component says about itself and what it may use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::Digest;
use crate::object::{Namespace, ObjectKey};
use crate::quantity::Bytes;

/// What `describe` of a scheduler component returns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Description {
    /// The framework's name, `service`.
    pub name: String,
    /// The component's version, for people.
    pub version: String,
    /// The manifest kinds that it handles.
    #[serde(default)]
    pub kinds: Vec<KindDescription>,
    /// A JSON Schema for `spec.config`; absent: no configuration is taken.
    #[serde(default)]
    pub config_schema: Option<Value>,
}

/// How grave a line is that a scheduler wrote for its author.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum LogLevel {
    /// For its author while he looks for something.
    Debug,
    /// What it did.
    Info,
    /// What is odd.
    Warn,
    /// Why it gives up.
    Error,
}

impl LogLevel {
    /// The level of the treaty's number: 0 debug, 1 info, 2 warn, all above error.
    pub fn of(number: u32) -> Self {
        match number {
            0 => Self::Debug,
            1 => Self::Info,
            2 => Self::Warn,
            _ => Self::Error,
        }
    }

    /// As it is shown.
    pub fn word(self) -> &'static str {
        match self {
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// One kind of a framework.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KindDescription {
    /// Upper camel case, `Service`.
    pub kind: String,
    /// A JSON Schema (draft 2020-12) of `spec`, with `default`s, and the formats `cpus`, `bytes`,
    /// `duration`, `port-name`.
    pub schema: Value,
    /// JSON pointers into the specification where task templates stand; a launch names one by its
    /// place in this list.
    pub templates: Vec<String>,
    /// A JSON pointer to the wished number of tasks, for `status`; absent: unknown.
    #[serde(default)]
    pub count: Option<String>,
}

/// What a component may use; each a limit per turn or per seat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Limits {
    /// Linear memory of one instance.
    #[serde(default = "memory")]
    pub memory: Bytes,
    /// Operations of one turn.
    #[serde(default = "operations")]
    pub operations: u32,
    /// Bytes of state written in one turn.
    #[serde(default = "state_writes")]
    pub state_writes: Bytes,
    /// Bytes of state of one seat.
    #[serde(default = "state")]
    pub state: Bytes,
}

fn memory() -> Bytes {
    Bytes(64 << 20)
}
fn operations() -> u32 {
    10_000
}
fn state_writes() -> Bytes {
    Bytes(1 << 20)
}
fn state() -> Bytes {
    Bytes(64 << 20)
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: memory(),
            operations: operations(),
            state_writes: state_writes(),
            state: state(),
        }
    }
}

/// What the operator allows frameworks from git: each at most, and all of them together. A
/// framework in the box is not counted.
///
/// Written as `memory=256Mi,operations=100000`; what is not named keeps its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ceiling {
    /// The highest limits that one framework may ask for.
    pub each: Limits,
    /// The memory limits of all frameworks together.
    pub total_memory: Bytes,
    /// The limits of state of all frameworks together.
    pub total_state: Bytes,
}

impl Default for Ceiling {
    fn default() -> Self {
        Self {
            each: Limits {
                memory: Bytes(512 << 20),
                operations: 100_000,
                state_writes: Bytes(16 << 20),
                state: Bytes(512 << 20),
            },
            total_memory: Bytes(4 << 30),
            total_state: Bytes(4 << 30),
        }
    }
}

impl Ceiling {
    /// Says what in `asked` is above the ceiling, where `others` are the limits of the other
    /// frameworks from git.
    pub fn objection<'a>(
        &self,
        asked: &Limits,
        others: impl IntoIterator<Item = &'a Limits>,
    ) -> Option<String> {
        let most = &self.each;
        let (mut memory, mut state) = (asked.memory.0, asked.state.0);
        for other in others {
            memory = memory.saturating_add(other.memory.0);
            state = state.saturating_add(other.state.0);
        }
        let bytes = |name: &str, asked: Bytes, most: Bytes| {
            (asked > most).then(|| format!("limits.{name} is {asked}; the operator allows {most}"))
        };
        let operations = (asked.operations > most.operations).then(|| {
            format!(
                "limits.operations is {}; the operator allows {}",
                asked.operations, most.operations
            )
        });
        let total = |name: &str, sum: u64, most: Bytes| {
            (sum > most.0).then(|| {
                format!(
                    "limits.{name} of all frameworks would be {}; the operator allows {most}",
                    Bytes(sum)
                )
            })
        };
        bytes("memory", asked.memory, most.memory)
            .or(operations)
            .or_else(|| bytes("stateWrites", asked.state_writes, most.state_writes))
            .or_else(|| bytes("state", asked.state, most.state))
            .or_else(|| total("memory", memory, self.total_memory))
            .or_else(|| total("state", state, self.total_state))
    }
}

impl fmt::Display for Ceiling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limits {
            memory,
            operations,
            state_writes,
            state,
        } = &self.each;
        write!(
            f,
            "memory={memory},operations={operations},stateWrites={state_writes},state={state},totalMemory={},totalState={}",
            self.total_memory, self.total_state
        )
    }
}

/// A ceiling that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseCeilingError(String);

impl FromStr for Ceiling {
    type Err = ParseCeilingError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut ceiling = Self::default();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').ok_or_else(|| {
                ParseCeilingError(format!(
                    "'{pair}' is not a name and a value, such as memory=256Mi"
                ))
            })?;
            let bytes = || {
                let bytes: Result<Bytes, _> = value.parse();
                bytes.map_err(|error| ParseCeilingError(format!("{name}: {error}")))
            };
            match name {
                "memory" => ceiling.each.memory = bytes()?,
                "state" => ceiling.each.state = bytes()?,
                "stateWrites" => ceiling.each.state_writes = bytes()?,
                "operations" => {
                    ceiling.each.operations = value.parse().map_err(|_| {
                        ParseCeilingError(format!("operations: '{value}' is not a number"))
                    })?;
                }
                "totalMemory" => ceiling.total_memory = bytes()?,
                "totalState" => ceiling.total_state = bytes()?,
                _ => {
                    return Err(ParseCeilingError(format!(
                        "there is no '{name}'; there are memory, operations, stateWrites, state, totalMemory and totalState"
                    )));
                }
            }
        }
        Ok(ceiling)
    }
}

/// Whether a framework of namespace `own` serves `namespace`. It serves those that it names, each
/// with those below; one that names none serves its own, and one in the box all.
pub fn serves(
    own: &Namespace,
    named: &[Namespace],
    is_built_in: bool,
    namespace: &Namespace,
) -> bool {
    match named {
        [] => is_built_in || namespace.is_within(own),
        roots => roots.iter().any(|root| namespace.is_within(root)),
    }
}

/// What a framework has that no other may have.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// The namespace of its object.
    pub namespace: &'a Namespace,
    /// The name of its object.
    pub name: &'a str,
    /// Whether a component of it is in force.
    pub is_in_force: bool,
    /// What that component says about itself.
    pub description: Option<&'a Description>,
}

/// Says which of the other frameworks in force has the name of this one already.
pub fn name_objection<'a>(
    key: &ObjectKey,
    others: impl IntoIterator<Item = Claim<'a>>,
) -> Option<String> {
    let mut others = others.into_iter();
    let other = others.find(|other| other.is_in_force && other.name == key.name)?;
    Some(format!(
        "its name is that of framework {}/{}; a framework's name is one in the cluster",
        other.namespace, other.name
    ))
}

/// Says which of the other frameworks has one of these kinds already.
pub fn kind_objection<'a>(
    kinds: &[KindDescription],
    others: impl IntoIterator<Item = Claim<'a>>,
) -> Option<String> {
    let others: Vec<Claim<'_>> = others.into_iter().collect();
    kinds.iter().find_map(|kind| {
        let owner = others.iter().find(|other| {
            let has = other.description.map(|it| it.kinds.as_slice());
            has.unwrap_or_default()
                .iter()
                .any(|it| it.kind == kind.kind)
        })?;
        Some(format!(
            "it brings kind {}, which framework {}/{} has",
            kind.kind, owner.namespace, owner.name
        ))
    })
}

/// What kind of thing keeps a framework's newest specification from being in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FaultCause {
    /// The component is none, breaks the treaty, or does not describe itself.
    #[default]
    BadComponent,
    /// Its description and configuration are larger than what is kept of a framework.
    TooLarge,
    /// It asks for a kind, a namespace or limits that it cannot have.
    NotAllowed,
    /// It waits until what it would take away is not in use any more.
    Held,
}

impl FaultCause {
    /// One word, as `status` and `why` print it.
    pub fn reason(self) -> &'static str {
        match self {
            Self::BadComponent => "BadComponent",
            Self::TooLarge => "TooLarge",
            Self::NotAllowed => "NotAllowed",
            Self::Held => "Held",
        }
    }

    /// Whether it goes by without anybody doing something about the framework.
    pub fn goes_by(self) -> bool {
        match self {
            Self::BadComponent | Self::TooLarge | Self::NotAllowed => false,
            Self::Held => true,
        }
    }

    /// Whether it is [`FaultCause::BadComponent`], which is not written down.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The specification of `kind: Framework`, normalised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct FrameworkSpec {
    /// The component's file in the same commit.
    pub component: ComponentRef,
    /// The sha256 of the component; filled in by the reconciler.
    #[serde(default)]
    pub digest: Option<Digest>,
    /// The namespaces that it serves, and those below them; empty: its own.
    #[serde(default)]
    pub namespaces: Vec<Namespace>,
    /// What it may use.
    #[serde(default)]
    pub limits: Limits,
    /// Handed to the component as JSON.
    #[serde(default)]
    pub config: Value,
}

/// Where a component comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ComponentRef {
    /// A file of the same commit, relative to the repository's root.
    pub path: String,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_ceiling_is_read_from_pairs_and_says_what_is_wrong() {
        let ceiling: Ceiling = "memory=32Mi,operations=7,totalState=1Gi".parse().unwrap();
        assert_eq!(ceiling.each.memory, Bytes(32 << 20));
        assert_eq!(ceiling.each.operations, 7);
        assert_eq!(ceiling.total_state, Bytes(1 << 30));
        assert_eq!(ceiling.total_memory, Ceiling::default().total_memory);
        assert_eq!("".parse::<Ceiling>().unwrap(), Ceiling::default());
        assert_eq!(ceiling.to_string().parse::<Ceiling>().unwrap(), ceiling);
        for (text, word) in [
            ("memory", "name and a value"),
            ("memory=1G", "1Gi"),
            ("operations=many", "not a number"),
            ("birds=1", "there is no 'birds'"),
        ] {
            let error = text.parse::<Ceiling>().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_ceiling_holds_for_each_and_for_all_together() {
        let ceiling = Ceiling::default();
        let asked = Limits::default();
        assert_eq!(ceiling.objection(&asked, []), None);
        let large = Limits {
            memory: Bytes(1 << 30),
            ..Limits::default()
        };
        let objection = ceiling.objection(&large, []).unwrap();
        assert_eq!(objection, "limits.memory is 1Gi; the operator allows 512Mi");
        let others = vec![Limits::default(); 64];
        let objection = ceiling.objection(&asked, &others).unwrap();
        assert!(objection.contains("of all frameworks"), "{objection}");
        assert_eq!(ceiling.objection(&asked, others.iter().take(63)), None);
    }
}
