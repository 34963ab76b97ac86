//! `kelson wait`: waits for an object, or for all of them; it looks again whenever the kernel says
//! that something has changed. What it finds is judged in `wait/verdict.rs`.

mod verdict;

use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Args;
use kelson_model::id::Revision;
use kelson_model::quantity::Millis;
use kelson_model::report::{ObjectStatus, Standing, StatusReport};
use kelson_model::view::WaitAnswer;
use kelson_reconciler::source::{GitSource, Tip};
use tokio::time::timeout;

use self::verdict::{Question, Verdict, Wanted, is_nothing_asked, judge};
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
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = parse_duration)]
    timeout: Duration,
}

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
    let mut last = "nothing was heard of it".to_owned();
    let asking = ask(&client, &question, &mut last);
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
                "not {} within {}: {last}",
                arguments.what.word(),
                Millis(u64::try_from(arguments.timeout.as_millis()).unwrap_or(u64::MAX)),
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
async fn ask(client: &Client, question: &Question<'_>, last: &mut String) -> Result<StatusReport> {
    const AWAY: Duration = Duration::from_secs(30);
    let mut heard: Option<Instant> = None;
    loop {
        match listen(client, question, last, &mut heard).await {
            Ok(report) => return Ok(report),
            Err(error) => {
                let is_away = crate::exit::exit_of(&error) == Exit::NothingListens;
                let is_short = heard.is_some_and(|heard| heard.elapsed() < AWAY);
                if !(is_away && is_short) {
                    return Err(error);
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

async fn listen(
    client: &Client,
    question: &Question<'_>,
    last: &mut String,
    heard: &mut Option<Instant>,
) -> Result<StatusReport> {
    let mut changes = client.watch("object,task,source", None).await?;
    let mut held_since: Option<Instant> = None;
    loop {
        // What is held is looked at again even if nothing changes.
        let next = match held_since {
            Some(since) => {
                timeout(PASSING.saturating_sub(since.elapsed()), changes.changed()).await
            }
            None => Ok(changes.changed().await),
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
                let is_ending = |it: &ObjectStatus| it.standing == Some(Standing::Removed);
                let since = held_since.get_or_insert_with(Instant::now);
                if report.objects.iter().any(is_ending) {
                    *since = Instant::now();
                } else if since.elapsed() >= PASSING {
                    return Err(Failure::new(Exit::Refused, why).with_hint(hint).into());
                }
                *last = why;
            }
            Verdict::Yes => return Ok(report),
            Verdict::NotYet(why) => *last = why,
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
