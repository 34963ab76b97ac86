//! `kelson confirm`: releases one hold of a revision.

use std::path::Path;

use anyhow::Result;
use clap::Args;
use kelson_model::request::{Confirm as ConfirmRequest, Request};
use kelson_model::source::Held;
use kelson_model::view::ConfirmAnswer;
use kelson_reconciler::source::{GitSource, SourceError};

use super::manifests::open_repository;
use super::status::short;
use super::target::status;
use crate::client::dev_here;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::{plain, print, say};

/// What may be typed behind `confirm`.
#[derive(Debug, Args)]
pub(crate) struct Confirm {
    /// The revision: at least its first seven digits, as `kelson status` shows it, or anything that
    /// the repository here knows (HEAD)
    revision: String,
    /// Which hold, where there are several: its reason, such as PruneGuard
    #[arg(long, value_name = "REASON")]
    hold: Option<String>,
}

pub(crate) async fn run(arguments: &Confirm, context: &Context) -> Result<Exit> {
    let client = context.client().await?;
    let revision = meant(&arguments.revision, || match dev_here(client.address()) {
        Some(dev) => GitSource::open(&dev.repository, Some(&dev.branch), None),
        None => open_repository(Path::new("."), None),
    })?;
    let source = status(&client, None).await?.source;
    let holds = source
        .filter(|source| {
            let observed = source.observed.as_deref();
            observed.is_some_and(|observed| observed.starts_with(&revision))
        })
        .map(|source| source.holds)
        .unwrap_or_default();
    let hold = chosen(&holds, arguments.hold.as_deref());
    // What goes is shown before it goes, and nothing but what was shown is released.
    if let Some(held) = hold {
        say(&what_goes(held));
    }
    let digest = hold.and_then(|held| held.digest.as_ref());
    client
        .submit(Request::Confirm(ConfirmRequest {
            source: String::new(),
            revision: revision.clone(),
            hold: digest
                .map(ToString::to_string)
                .or_else(|| arguments.hold.clone())
                .unwrap_or_default(),
        }))
        .await?;
    let left: Vec<&Held> = holds.iter().filter(|held| Some(*held) != hold).collect();
    let answer = ConfirmAnswer {
        revision: revision.clone(),
        hold: hold.map(|held| held.reason.clone()),
        left: left.iter().map(|held| held.reason.clone()).collect(),
    };
    print(context.format(), &answer, |_| page(&revision, hold, &left))?;
    Ok(Exit::Done)
}

/// The digits of the revision that is meant: these, or those of what `repository` knows by this
/// name.
fn meant(
    text: &str,
    repository: impl FnOnce() -> Result<GitSource, SourceError>,
) -> Result<String, Failure> {
    let digits = text.to_ascii_lowercase();
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hex && (7..=40).contains(&digits.len()) {
        return Ok(digits);
    }
    match repository().and_then(|repository| repository.resolve(text)) {
        Ok(revision) => Ok(revision.to_string()),
        Err(error) => Err(Failure::usage(format!("'{text}' is no revision here: {error}"))
            .with_hint(
                "write at least the first seven digits of the held revision, as `kelson status` shows them, or HEAD in its repository",
            )),
    }
}

/// The hold that is meant: the one that is named, or the only one that a confirmation releases.
/// `None` where the kernel has to say what is wrong with the question.
fn chosen<'a>(holds: &'a [Held], reason: Option<&str>) -> Option<&'a Held> {
    let mut releasable = holds.iter().filter(|held| held.digest.is_some());
    match reason {
        Some(reason) => releasable.find(|held| held.reason.word().eq_ignore_ascii_case(reason)),
        None => {
            let first = releasable.next();
            first.filter(|_| releasable.next().is_none())
        }
    }
}

/// What a hold keeps from going, with the number of what is not named.
fn what_goes(held: &Held) -> String {
    let mut lines = vec![format!(
        "{}: {}",
        plain(held.reason.word()),
        plain(&held.message)
    )];
    let names = held.objects.iter();
    lines.extend(names.map(|object| plain(&format!("  - {object}"))));
    if held.more > 0 {
        lines.push(format!("  and {} more", held.more));
    }
    lines.join("\n")
}

fn page(revision: &str, hold: Option<&Held>, left: &[&Held]) -> String {
    let from = hold.map_or_else(String::new, |held| {
        format!(" from {}", plain(held.reason.word()))
    });
    let mut text = format!("revision {} is released{from}\n", short(revision));
    for held in left {
        text.push_str(&format!(
            "it is still held: {}: {}\n",
            plain(held.reason.word()),
            plain(&held.message)
        ));
        if let Some(confirm) = &held.confirm {
            text.push_str(&format!("  {}\n", plain(confirm)));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;
    use kelson_model::id::Digest;
    use kelson_model::object::ObjectKey;
    use kelson_model::reason::HoldReason;
    use kelson_testkit::TestRepo;

    fn hold(reason: &str, is_releasable: bool) -> Held {
        Held {
            reason: reason.to_owned().into(),
            message: "it would go".to_owned(),
            confirm: Some(format!("kelson confirm abc --hold {reason}")),
            digest: is_releasable.then(|| Digest::of(reason.as_bytes())),
            ..Held::default()
        }
    }

    #[test]
    fn a_revision_is_named_by_its_digits_or_by_what_the_repository_knows() {
        let repo = TestRepo::init().unwrap();
        repo.write("kelson/web.yaml", "").unwrap();
        let commit = repo.commit("first").unwrap();
        let open = || GitSource::open(repo.path(), Some("main"), None);
        let of = |text: &str| meant(text, open).map_err(|error| error.to_string());
        assert_eq!(of("HEAD"), Ok(commit.clone()));
        assert_eq!(of("main"), Ok(commit.clone()));
        let digits = short(&commit);
        assert_eq!(of(&digits.to_uppercase()), Ok(digits.to_owned()));
        // Seven digits are the kernel's to find, whatever is known here.
        assert_eq!(of("1234567"), Ok("1234567".to_owned()));
        let told = of("HAED").unwrap_err();
        assert!(told.contains("'HAED' is no revision here"), "{told}");
    }

    #[test]
    fn the_only_hold_needs_no_name_and_of_several_one_has_to_be_named() {
        let one = [hold("BranchMissing", false), hold("PruneGuard", true)];
        assert_eq!(chosen(&one, None).unwrap().reason, HoldReason::PruneGuard);
        let two = [hold("ForcePush", true), hold("PruneGuard", true)];
        assert_eq!(chosen(&two, None), None);
        assert_eq!(
            chosen(&two, Some("pruneguard")).unwrap().reason,
            HoldReason::PruneGuard
        );
        assert_eq!(chosen(&two, Some("PruneConfirm")), None);
    }

    #[test]
    fn what_goes_is_told_with_the_number_of_those_that_are_not_named() {
        let guard = Held {
            objects: vec![ObjectKey::new("Service", "shop".parse().unwrap(), "a")],
            more: 1300,
            ..hold("PruneGuard", true)
        };
        let told = what_goes(&guard);
        assert!(told.starts_with("PruneGuard: it would go\n  - "), "{told}");
        assert!(told.ends_with("\n  and 1300 more"), "{told}");
        assert_eq!(
            what_goes(&hold("ForcePush", true)),
            "ForcePush: it would go"
        );
    }

    #[test]
    fn what_still_holds_is_told_with_the_command_that_releases_it() {
        let (history, guard) = (hold("ForcePush", true), hold("PruneGuard", true));
        assert_eq!(
            page("abcdef0123", Some(&history), &[&guard]),
            "\
revision abcdef0 is released from ForcePush
it is still held: PruneGuard: it would go
  kelson confirm abc --hold PruneGuard
"
        );
    }
}
