//! `kelson wait`: waits for an object, or for all of them; it looks again whenever the kernel says
//! that something has changed. What it finds is judged in `wait/verdict.rs`; what it says meanwhile
//! is in `wait/waiting.rs`.

mod verdict;
mod waiting;

use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use kelson_model::id::Revision;
use kelson_model::quantity::Millis;
use kelson_model::report::{ObjectStatus, Standing, StatusReport};
use kelson_model::view::WaitAnswer;
use kelson_reconciler::source::{GitSource, Tip};
use kelson_reconciler_core::manifest::FRAMEWORK;
use tokio::time::{Instant, timeout};

use self::verdict::{Question, Verdict, Wanted, is_nothing_asked, judge};
use self::waiting::{Waiting, absence, other_branch};
use super::manifests::resolve_revision;
use super::target::{Target, status};
use crate::client::{Client, dev_here};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{Palette, fault, print, say};

/// What may be typed behind `wait`.
#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// The object; all of them where it is absent
    #[arg(value_name = "[KIND/]NAME")]
    object: Option<Target>,
    /// What to wait for
    #[arg(long = "for", value_enum, default_value = "healthy")]
    what: Wanted,
    /// Only once this revision is in: a commit, or anything that the repository here knows (HEAD)
    /// [default: the newest commit of the branch that `dev` follows here]
    #[arg(long, value_name = "REVISION")]
    revision: Option<String>,
    /// How long (100ms, 30s, 10m, 2h)
    #[arg(long, value_name = "DURATION", default_value = TIMEOUT, value_parser = parse_duration)]
    timeout: Duration,
}

/// Longer than a rollout without progress takes to fail by default, so that its failure is the
/// answer.
const TIMEOUT: &str = "15m";

fn parse_duration(text: &str) -> Result<Duration, String> {
    Millis::from_str(text)
        .map(|millis| Duration::from_millis(millis.0))
        .map_err(|error| error.to_string())
}

pub(crate) async fn run(arguments: &Wait, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let (revision, repository) = match arguments.revision.as_deref() {
        Some(text) => {
            let (revision, repository) = resolve_revision(text)?;
            (Some(revision), Some(repository))
        }
        None => newest_here(&client).unzip(),
    };
    let repository = repository.flatten();
    let is_in = |other: &str| contains(repository.as_ref(), revision.as_deref(), other);
    let question = Question {
        target: arguments.object.as_ref(),
        what: arguments.what,
        revision: revision.as_deref(),
        // All of them are really all, unless a namespace was named.
        limit: match arguments.object {
            Some(_) => context.limit()?,
            None => context.explicit_limit()?,
        },
        is_in: &is_in,
    };
    let mut waiting = Waiting::new("nothing was heard of it");
    let asking = ask(&client, &question, repository.as_ref(), &mut waiting);
    match timeout(arguments.timeout, asking).await {
        Ok(answer) => {
            let report = answer?;
            let name = arguments
                .object
                .as_ref()
                .map_or_else(|| "everything".to_owned(), ToString::to_string);
            let word = arguments.what.word();
            let line = if is_nothing_asked(&report, &question) {
                "nothing is asked for\n".to_owned()
            } else {
                format!("{name} is {word}\n")
            };
            let answer = WaitAnswer {
                wanted: word.to_owned(),
                revision: revision.clone(),
                index: report.index,
            };
            print(context.format(), &answer, |_| line)?;
            Ok(Exit::Done)
        }
        Err(_) => Err(Failure::new(
            Exit::TimedOut,
            format!(
                "not {} within {}: {}",
                arguments.what.word(),
                Millis(u64::try_from(arguments.timeout.as_millis()).unwrap_or(u64::MAX)),
                waiting.why(),
            ),
        )
        .into()),
    }
}

/// The newest commit of the branch that is followed, where the kernel follows the repository that
/// this is run in: what was just committed is meant.
fn newest_here(client: &Client) -> Option<(String, Option<GitSource>)> {
    let dev = dev_here(client.address())?;
    let repository = GitSource::open(&dev.repository, Some(&dev.branch), None).ok()?;
    match repository.tip().ok()? {
        Tip::Commit(revision) => Some((revision.to_string(), Some(repository))),
        Tip::Unborn | Tip::Missing => None,
    }
}

/// Whether `revision` is `other` or comes before it, as far as the repository here knows.
fn contains(repository: Option<&GitSource>, revision: Option<&str>, other: &str) -> bool {
    let Some(revision) = revision else {
        return true;
    };
    if revision == other {
        return true;
    }
    let ids = (revision.parse::<Revision>(), other.parse::<Revision>());
    match (repository, ids) {
        (Some(repository), (Ok(older), Ok(newer))) => {
            repository.is_ancestor(&older, &newer).unwrap_or(false)
        }
        _ => false,
    }
}

/// How long a framework is held after what held it has ended, at most: the kernel tries it again
/// every second.
const PASSING: Duration = Duration::from_secs(5);

/// Looks again at every change until the verdict is final. A kernel that restarts is waited for.
async fn ask(
    client: &Client,
    question: &Question<'_>,
    repository: Option<&GitSource>,
    waiting: &mut Waiting,
) -> Result<StatusReport> {
    const AWAY: Duration = Duration::from_secs(30);
    let mut heard: Option<Instant> = None;
    loop {
        match listen(client, question, repository, waiting, &mut heard).await {
            Ok(report) => return Ok(report),
            Err(error) => {
                let is_away = crate::exit::exit_of(&error) == Exit::NothingListens;
                let is_short = heard.is_some_and(|heard| heard.elapsed() < AWAY);
                if !(is_away && is_short) {
                    return Err(error);
                }
                waiting.is_for(error.to_string());
                waiting
                    .during(tokio::time::sleep(Duration::from_millis(200)))
                    .await;
            }
        }
    }
}

async fn listen(
    client: &Client,
    question: &Question<'_>,
    repository: Option<&GitSource>,
    waiting: &mut Waiting,
    heard: &mut Option<Instant>,
) -> Result<StatusReport> {
    let mut changes = client.watch("object,task,source", None).await?;
    let mut held_since: Option<Instant> = None;
    loop {
        // What is held is looked at again even if nothing changes.
        let change = waiting.during(changes.changed());
        let next = match held_since {
            Some(since) => timeout(PASSING.saturating_sub(since.elapsed()), change).await,
            None => Ok(change.await),
        };
        if !next.unwrap_or(Ok(true))? {
            break;
        }
        *heard = Some(Instant::now());
        let report = status(client, None).await?;
        let verdict = judge(&report, question)?;
        if !matches!(verdict, Verdict::FrameworkHeld(..)) {
            held_since = None;
        }
        match verdict {
            Verdict::FrameworkHeld(why, hint) => {
                let is_ending = |it: &ObjectStatus| {
                    it.standing == Some(Standing::Removed) && it.kind != FRAMEWORK
                };
                let since = held_since.get_or_insert_with(Instant::now);
                if report.objects.iter().any(is_ending) {
                    *since = Instant::now();
                } else if since.elapsed() >= PASSING {
                    return Err(Failure::new(Exit::Refused, why).with_hint(hint).into());
                }
                waiting.is_for(why);
            }
            Verdict::Yes => return Ok(report),
            Verdict::NotYet(why) => {
                let why = absence(&report, question)?.unwrap_or(why);
                let branch = other_branch(&report, question, repository);
                waiting.is_for(format!("{why}{}", branch.unwrap_or_default()));
            }
            Verdict::No(why) => {
                for error in report
                    .source
                    .iter()
                    .flat_map(|source| &source.errors)
                    .take(20)
                {
                    say(fault(error, Palette::of_stderr()).trim_end());
                }
                return Err(Failure::new(Exit::No, why).into());
            }
            Verdict::Held(why, confirm) => {
                let hint = confirm.map(|confirm| format!("`{confirm}` releases it"));
                return Err(Failure::new(Exit::Refused, why)
                    .with_hint(hint.unwrap_or_default())
                    .into());
            }
        }
    }
    Err(Failure::new(
        Exit::NothingListens,
        format!("{} has ended", client.address()),
    )
    .into())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use crate::verbs::manifests::Schedulers;

    #[test]
    fn a_rollout_that_gets_nowhere_fails_before_the_wait_is_over() {
        let kinds = Schedulers::open().unwrap().kinds();
        let schema = kinds.schema("Service").unwrap();
        let deadline = schema.pointer("/properties/update/properties/progressDeadline/default");
        let deadline = parse_duration(deadline.unwrap().as_str().unwrap()).unwrap();
        assert!(parse_duration(TIMEOUT).unwrap() > deadline);
    }
}
