//! `kelson set`: changes fields of an object by hand.

use std::str::FromStr;

use anyhow::Result;
use clap::Args;
use kelson_model::framework::Description;
use kelson_model::object::ObjectKey;
use kelson_model::request::{Request, SetField};
use kelson_model::view::{FrameworkView, KindView, List, ObjectView, SetAnswer, SetChange};
use kelson_reconciler_core::manifest::{Kinds, Unfit};
use serde_json::Value;

use super::drift::{field_path, short};
use super::target::{Target, query_of};
use crate::client::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{from_yaml, plain, print, say};

/// What may be typed behind `set`.
#[derive(Debug, Args)]
pub(crate) struct Set {
    /// The object
    #[arg(value_name = "[KIND/]NAME")]
    object: Target,
    /// What to set: spec.instances=5; `null` takes the field away
    #[arg(required = true, value_name = "PATH=VALUE")]
    changes: Vec<Change>,
}

/// One field and what it is to be.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    /// A JSON pointer, `/spec/instances`.
    pointer: String,
    /// As it was written.
    text: String,
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, value) = text
            .split_once('=')
            .ok_or_else(|| "write PATH=VALUE, such as spec.instances=5".to_owned())?;
        let pointer = pointer_of(path)?;
        if !pointer.starts_with("/spec/") {
            return Err(format!(
                "'{path}' is no field of the specification; write spec.…, such as spec.instances=5"
            ));
        }
        Ok(Self {
            pointer,
            text: value.to_owned(),
        })
    }
}

/// `spec.ports.0.port`, `spec.run.env["a.b"]` or `/spec/instances` as a JSON pointer.
fn pointer_of(path: &str) -> Result<String, String> {
    if path.starts_with('/') {
        return Ok(path.to_owned());
    }
    let mut pointer = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        let part;
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, after) = quoted
                .split_once("\"]")
                .ok_or_else(|| format!("'{path}' has a [\" without its \"]"))?;
            (part, rest) = (name, after.strip_prefix('.').unwrap_or(after));
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if name.is_empty() {
                return Err(format!("'{path}' has an empty part"));
            }
            (part, rest) = (name, after.strip_prefix('.').unwrap_or(after));
        }
        pointer.push('/');
        pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
    }
    Ok(pointer)
}

pub(crate) async fn run(arguments: &Set, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let key = arguments.object.find(&client, context).await?;
    let kinds = kinds(&client).await?;
    let mut spec = spec_of(&client, &key).await?;
    let mut told = Vec::new();
    let mut generation = None;
    // All are judged before the first is sent: either all make sense or none is carried out.
    let mut requests = Vec::new();
    let mut is_unfit_told = false;
    for change in &arguments.changes {
        let Judged { standing, outcome } = judge(&kinds, &key, &spec, change)?;
        if let Some(unfit) = standing.filter(|_| !is_unfit_told) {
            is_unfit_told = true;
            say(&plain(&no_place(&client, &key, &unfit).await?));
        }
        let (value, after) = outcome?;
        let own = change.pointer.strip_prefix("/spec").unwrap_or_default();
        let before = spec.pointer(own).cloned().unwrap_or_default();
        told.push(SetChange {
            path: change.pointer.clone(),
            before,
            after: value.clone(),
        });
        requests.push(SetField {
            object: key.clone(),
            path: change.pointer.clone(),
            value,
        });
        spec = after;
    }
    for request in requests {
        generation = client
            .submit(Request::SetField(request))
            .await?
            .or(generation);
    }
    let answer = SetAnswer {
        object: key,
        generation,
        changes: told,
    };
    print(context.format(), &answer, |_| page(&answer))?;
    if answer.changes.iter().all(is_same) {
        say("nothing was changed");
    } else {
        say("this was done by hand: it is drift until git says the same (see `kelson drift`)");
    }
    Ok(Exit::Done)
}

fn is_same(change: &SetChange) -> bool {
    change.before == change.after
}

fn page(answer: &SetAnswer) -> String {
    let mut text = String::new();
    for change in &answer.changes {
        let place = field_path(&change.path);
        if is_same(change) {
            let value = short(&change.after);
            text.push_str(&format!("{}: {place} is {value} already\n", answer.object));
            continue;
        }
        text.push_str(&format!(
            "{}: {place} {} → {}\n",
            answer.object,
            short(&change.before),
            short(&change.after)
        ));
    }
    text
}

async fn kinds(client: &Client) -> Result<Kinds> {
    let list: List<KindView> = client.get_as("/v1/kinds", &[]).await?;
    let described: Vec<(String, Description)> = list
        .items
        .into_iter()
        .map(|item| {
            let description = Description {
                name: item.framework.clone(),
                version: String::new(),
                kinds: vec![item.kind],
                config_schema: None,
            };
            (item.framework, description)
        })
        .collect();
    let by_name = described
        .iter()
        .map(|(name, description)| (name.as_str(), description));
    Ok(Kinds::new(by_name).0)
}

async fn spec_of(client: &Client, key: &ObjectKey) -> Result<Value> {
    let view: ObjectView = client.get_as("/v1/object", &query_of(key)).await?;
    Ok(view.spec.value())
}

/// Says that what is in force does not fit the kind, whatever is changed.
async fn no_place(client: &Client, key: &ObjectKey, unfit: &Unfit) -> Result<String> {
    let list: List<FrameworkView> = client.get_as("/v1/frameworks", &[]).await?;
    let owner = list.items.iter().find(|it| it.kinds.contains(&key.kind));
    let place = match owner {
        Some(FrameworkView {
            name,
            version: Some(version),
            ..
        }) => format!("framework {name}'s version {version}"),
        Some(FrameworkView { name, .. }) => format!("framework {name}"),
        None => format!("kind {}", key.kind),
    };
    Ok(format!(
        "the specification in force of {key} has no place in {place}: {unfit}"
    ))
}

/// What became of a change.
#[derive(Debug)]
struct Judged {
    /// What is wrong with the specification without the change.
    standing: Option<Unfit>,
    /// The value (in its one spelling) and the specification with it, or what is wrong with them.
    outcome: Result<(Value, Value)>,
}

/// Judges a change by the kind's schema.
fn judge(kinds: &Kinds, key: &ObjectKey, spec: &Value, change: &Change) -> Result<Judged> {
    let own = change.pointer.strip_prefix("/spec").unwrap_or_default();
    let written = from_yaml(&change.text).unwrap_or_else(|| Value::String(change.text.clone()));
    // A text that looks like a number is a text where the kind wants one.
    let readings = match &written {
        Value::Null => vec![Value::Null],
        Value::String(_) => vec![written.clone()],
        _ => vec![written.clone(), Value::String(change.text.clone())],
    };
    let mut first_error = None;
    let mut standing = None;
    for reading in readings {
        let mut wished = spec.clone();
        if !put(&mut wished, own, reading.clone()) {
            return Err(Failure::usage(format!(
                "{key} has no place for {}",
                field_path(&change.pointer)
            ))
            .with_hint(format!(
                "`kelson get {} -n {} -o yaml` shows what there is",
                key.name, key.namespace
            ))
            .into());
        }
        let changed = kinds.judge_change(&key.kind, spec, &wished);
        standing = changed.standing;
        match changed.outcome {
            Ok(normal) => {
                // A field that was taken away may have a default.
                let value = normal.pointer(own).cloned().unwrap_or_default();
                return Ok(Judged {
                    standing,
                    outcome: Ok((value, normal)),
                });
            }
            Err(error) => first_error = first_error.or(Some(error)),
        }
    }
    let Unfit { message, hint } = first_error.unwrap_or_else(|| Unfit {
        message: format!("{} cannot be {}", field_path(&change.pointer), change.text),
        hint: String::new(),
    });
    let failure = Failure::usage(message);
    let failure = if hint.is_empty() {
        failure
    } else {
        failure.with_hint(hint)
    };
    Ok(Judged {
        standing,
        outcome: Err(failure.into()),
    })
}

/// Puts a value into a specification, null takes it away; `false` where there is no place for it.
fn put(spec: &mut Value, pointer: &str, value: Value) -> bool {
    let Some((parent, field)) = pointer.rsplit_once('/') else {
        return false;
    };
    let field = field.replace("~1", "/").replace("~0", "~");
    match spec.pointer_mut(parent) {
        Some(Value::Object(map)) => {
            if value.is_null() {
                map.remove(&field);
            } else {
                map.insert(field, value);
            }
            true
        }
        Some(Value::Array(items)) => match field.parse::<usize>() {
            Ok(at) if value.is_null() && at < items.len() => {
                items.remove(at);
                true
            }
            Ok(at) => items.get_mut(at).map(|slot| *slot = value).is_some(),
            Err(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::framework::KindDescription;
    use serde_json::json;

    fn kinds() -> Kinds {
        let description = Description {
            name: "test".into(),
            version: "1".into(),
            kinds: vec![KindDescription {
                kind: "Thing".into(),
                schema: json!({"type": "object", "additionalProperties": false, "properties": {
                    "instances": {"type": "integer", "minimum": 0, "default": 1},
                    "memory": {"type": "string", "format": "bytes", "default": "128Mi"},
                    "env": {"type": "object", "additionalProperties": {"type": "string"}, "default": {}}
                }}),
                templates: Vec::new(),
                count: None,
            }],
            config_schema: None,
        };
        let (kinds, errors) = Kinds::new([("test", &description)]);
        assert!(errors.is_empty(), "{errors:?}");
        kinds
    }

    fn judged(change: &str) -> Result<Value> {
        let key = ObjectKey::new("Thing", "shop".parse().unwrap(), "x");
        let spec = json!({"instances": 2, "memory": "128Mi", "env": {}});
        let judged = judge(&kinds(), &key, &spec, &change.parse().unwrap())?;
        assert_eq!(judged.standing, None);
        judged.outcome.map(|(value, _)| value)
    }

    #[test]
    fn only_the_change_is_judged_where_the_rest_has_no_place_any_more() {
        let key = ObjectKey::new("Thing", "shop".parse().unwrap(), "x");
        let spec = json!({"instances": 2, "newer": true});
        let of = |change: &str| judge(&kinds(), &key, &spec, &change.parse().unwrap()).unwrap();
        let fine = of("spec.instances=5");
        assert_eq!(fine.standing.unwrap().message, "spec has no field `newer`");
        assert_eq!(fine.outcome.unwrap().0, json!(5));
        let wrong = of("spec.instances=-1");
        assert!(wrong.standing.is_some());
        let wrong = wrong.outcome.unwrap_err().to_string();
        assert!(wrong.starts_with("spec.instances is"), "{wrong}");
    }

    #[test]
    fn a_path_is_written_with_dots_brackets_or_as_a_pointer() {
        for (path, pointer) in [
            ("spec.instances", "/spec/instances"),
            ("/spec/instances", "/spec/instances"),
            ("spec.ports.0.port", "/spec/ports/0/port"),
            ("spec.run.env[\"a.b/c\"].d", "/spec/run/env/a.b~1c/d"),
        ] {
            assert_eq!(pointer_of(path).unwrap(), pointer);
        }
        for bad in [
            "spec..x=1",
            "spec.instances",
            "metadata.name=x",
            "spec.env[\"x=1",
        ] {
            assert!(bad.parse::<Change>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_value_is_what_its_kind_wants() {
        assert_eq!(judged("spec.instances=5").unwrap(), json!(5));
        assert_eq!(judged("spec.instances=2.0").unwrap(), json!(2));
        assert_eq!(judged("spec.env.PORT=8080").unwrap(), json!("8080"));
        assert_eq!(judged("spec.memory=1024Mi").unwrap(), json!("1Gi"));
        assert_eq!(judged("spec.instances=null").unwrap(), json!(1));
    }

    #[test]
    fn a_value_that_its_kind_refuses_is_a_matter_of_usage() {
        for change in [
            "spec.instances=many",
            "spec.nonsense=1",
            "spec.instances.deep=1",
        ] {
            let error = judged(change).unwrap_err();
            assert_eq!(crate::exit::exit_of(&error), Exit::Usage, "{change}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_the_words_of_manifests() {
        for (change, message, hint) in [
            (
                "spec.instances=many",
                "spec.instances is the text \"many\", and must be a whole number",
                "write a whole number of at least 0",
            ),
            (
                "spec.nonsense=1",
                "spec has no field `nonsense`",
                "known here: env, instances, memory",
            ),
            (
                "spec.memory=1GB",
                "spec.memory is the text \"1GB\", and must be an amount of bytes with its unit",
                "write 1Gi (1GiB is the same)",
            ),
        ] {
            let error = judged(change).unwrap_err();
            let failure = crate::exit::failure_of(&error).unwrap();
            assert_eq!(failure.to_string(), message);
            assert_eq!(failure.hint.as_deref(), Some(hint));
        }
    }
}
