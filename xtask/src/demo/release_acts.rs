//! Acts that begin with a commit.

use anyhow::{Context, Result, bail};
use kelson_testkit::status::{errors, object, objects, source_is};
use kelson_testkit::{Look, Visitor};
use serde_json::Value;

use super::stage::{Stage, WEB, WEB_FILE, short};

/// A commit → running, healthy, fetched over HTTP.
pub(crate) fn commit(stage: &mut Stage) -> Result<()> {
    let commit = stage.commit("three services")?;
    let status = stage.settle(&commit)?;
    stage.saw(&format!(
        "{} is applied: {} services are synced and healthy",
        short(&commit),
        objects(&status).len()
    ));
    let fetched = stage.fetch_all(WEB, "version 1")?;
    if fetched != 3 {
        bail!("web has {fetched} running tasks, not 3");
    }
    stage.saw("all three tasks of web answer over HTTP: hello, this is version 1");
    if object(&status, "Service/pages").is_some() {
        stage.fetch_all("Service/pages", "a file of the commit")?;
        stage.saw("python3 -m http.server, unmodified, serves a file of the commit");
    }
    Ok(())
}

/// A new version → rolling update without a failed request.
pub(crate) fn update(stage: &mut Stage) -> Result<()> {
    let visitor = Visitor::start(stage.dev.cli().clone(), WEB, "http", "/");
    stage.repo.edit(WEB_FILE, "version 1", "version 2")?;
    let commit = stage.commit("web: version 2")?;
    stage.settle(&commit)?;
    stage.wait_for("only version 2 runs", |cli| {
        let tasks = cli.running(WEB)?;
        let is_new = tasks.len() == 3
            && tasks.iter().all(|task| {
                task.get("generation") == tasks.first().and_then(|t| t.get("generation"))
            });
        Ok(if is_new {
            Look::Found(())
        } else {
            Look::NotYet(format!("{} tasks run", tasks.len()))
        })
    })?;
    stage.fetch_all(WEB, "version 2")?;
    let visits = visitor.finish()?;
    if let Some(failure) = visits.failures.first() {
        bail!(
            "{} of {} requests failed, the first one so: {failure}",
            visits.failures.len(),
            visits.answered()
        );
    }
    let seen: Vec<&str> = visits.answers.keys().map(String::as_str).collect();
    if seen != ["hello, this is version 1", "hello, this is version 2"] {
        bail!(
            "a client saw {:?}, and should have seen the old version and the new one",
            visits.answers
        );
    }
    stage.saw(&format!("a client asked {} times meanwhile and was answered each time, first by version 1, then by version 2", visits.answered()));
    Ok(())
}

/// A broken version → rollback.
pub(crate) fn rollback(stage: &mut Stage) -> Result<()> {
    let good = stage.repo.head()?;
    let manifest = stage.repo.read(WEB_FILE)?;
    let version = version_of(&manifest)?;
    let visitor = Visitor::start(stage.dev.cli().clone(), WEB, "http", "/");
    stage.repo.edit(
        WEB_FILE,
        &format!("\"hello, this is version {version}\""),
        "\"this is broken\", --unhealthy",
    )?;
    let bad = stage.commit("web: a version whose health check fails")?;
    stage.wait_for("web is rolled back", |cli| {
        let status = cli.status()?;
        let web = object(&status, WEB).context("no web in the status")?;
        let is_rolled_back = web
            .get("reason")
            .is_some_and(|reason| reason == "RolledBack")
            && web.get("health").is_some_and(|health| health == "Degraded")
            && web.get("sync").is_some_and(|sync| sync == "OutOfSync")
            && web
                .pointer("/tasks/healthy")
                .is_some_and(|healthy| healthy == 3);
        Ok(if is_rolled_back {
            Look::Found(())
        } else {
            Look::NotYet(web.to_string())
        })
    })?;
    stage.saw("web is Degraded: RolledBack, and OutOfSync: it runs the version before, git asks for the broken one");
    stage.wait_for("only the good version runs", |cli| {
        let tasks = cli.running(WEB)?.len();
        Ok(if tasks == 3 {
            Look::Found(())
        } else {
            Look::NotYet(format!("{tasks} tasks run"))
        })
    })?;
    stage.fetch_all(WEB, &format!("version {version}"))?;
    let waited = stage.dev.run(&[
        "wait",
        WEB,
        "-n",
        "shop",
        "--for",
        "synced",
        "--revision",
        &bad,
        "--timeout",
        "30s",
    ])?;
    if waited.code != Some(1) {
        bail!("kelson wait for the broken revision should exit with 1: {waited}");
    }
    stage.saw("kelson wait --for synced says at once that this revision was rolled back");
    let visits = visitor.finish()?;
    if let Some(failure) = visits.failures.first() {
        bail!(
            "{} of {} requests failed, the first one so: {failure}",
            visits.failures.len(),
            visits.answered()
        );
    }
    stage.saw(&format!(
        "a client asked {} times meanwhile and was answered each time by version {version}",
        visits.answered()
    ));
    stage.repo.write(WEB_FILE, manifest)?;
    let fixed = stage.commit("web: back to the version that works")?;
    stage.settle(&fixed)?;
    stage.saw(&format!(
        "git asks for what runs again ({} is like {}): synced and healthy",
        short(&fixed),
        short(&good)
    ));
    Ok(())
}

/// A bad commit → refused with its position.
pub(crate) fn refusal(stage: &mut Stage) -> Result<()> {
    let before = stage.dev.running(WEB)?;
    let manifest = stage.repo.read(WEB_FILE)?;
    stage
        .repo
        .edit(WEB_FILE, "  instances: 3", "  instnaces: 5")?;
    let line = 1 + manifest
        .lines()
        .position(|line| line == "  instances: 3")
        .context("no instances in web.yaml")?;
    let bad = stage.commit("web: a slip of the pen")?;
    let error = stage.wait_for("the commit is refused", |cli| {
        let status = cli.status()?;
        let is_of_web = |error: &&Value| {
            error
                .get("file")
                .and_then(Value::as_str)
                .is_some_and(|file| file.ends_with("web.yaml"))
        };
        Ok(match errors(&status).iter().find(is_of_web) {
            Some(error) if source_is(&status, "observed", &bad) => Look::Found(error.clone()),
            _ => Look::NotYet(
                status
                    .get("source")
                    .cloned()
                    .unwrap_or_default()
                    .to_string(),
            ),
        })
    })?;
    if error.get("line").and_then(Value::as_u64) != Some(line as u64) {
        bail!("the error is at line {line}, not where the status says: {error}");
    }
    let word = |field: &str| {
        error
            .get(field)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    stage.saw(&format!(
        "refused: {}:{line}: {} {}",
        word("file"),
        word("code"),
        word("message")
    ));
    let validation = stage.dev.run(&["validate", "-o", "json"])?;
    if validation.code != Some(1) {
        bail!("kelson validate should say no: {validation}");
    }
    stage.saw("kelson validate says the same, before anybody commits");
    if pids(&stage.dev.running(WEB)?) != pids(&before) {
        bail!("a bad commit changed what runs");
    }
    stage.saw("what was running still runs");
    stage.repo.write(WEB_FILE, manifest)?;
    let fixed = stage.commit("web: mend the slip")?;
    stage.settle(&fixed).map(drop)
}

/// A deletion → pruned.
pub(crate) fn prune(stage: &mut Stage) -> Result<()> {
    stage.repo.remove("kelson/visitor-book.yaml")?;
    let commit = stage.commit("the visitor book is closed")?;
    stage.wait_for("visitor-book is gone", |cli| {
        let status = cli.status()?;
        let tasks = cli.running("Service/visitor-book")?;
        let is_gone = object(&status, "Service/visitor-book").is_none() && tasks.is_empty();
        Ok(if is_gone {
            Look::Found(())
        } else {
            Look::NotYet(format!("{} tasks; {status}", tasks.len()))
        })
    })?;
    stage.settle(&commit)?;
    stage.saw("visitor-book has no task any more and is gone from the status; web is as it was");
    Ok(())
}

fn version_of(manifest: &str) -> Result<&str> {
    let (_, rest) = manifest
        .split_once("this is version ")
        .context("no version in web.yaml")?;
    rest.split('"').next().context("no version in web.yaml")
}

fn pids(tasks: &[Value]) -> Vec<u64> {
    super::stage::sorted_u64(tasks, "pid")
}
