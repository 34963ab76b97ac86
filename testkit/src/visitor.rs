//! A client that never stops asking, to see whether a service is ever away.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use serde_json::Value;

use crate::cli::Cli;
use crate::http;

/// An answer must come within this time.
const ANSWER: Duration = Duration::from_secs(5);
/// The list of tasks is asked for again after this time.
const LIST_AGE: Duration = Duration::from_millis(100);
/// Between two requests.
const PAUSE: Duration = Duration::from_millis(5);

/// What a [`Visitor`] saw.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Visits {
    /// How often each body was answered (trimmed).
    pub answers: BTreeMap<String, u64>,
    /// Each request that failed, and how.
    pub failures: Vec<String>,
}

impl Visits {
    /// How many requests were answered.
    #[must_use]
    pub fn answered(&self) -> u64 {
        self.answers.values().sum()
    }
}

/// A thread that asks a service's tasks in turn, one request after another.
///
/// It is the client that a service may expect: it knows the healthy tasks from a list that is a
/// moment old, and where a task refuses the *connection* it tries another. Whatever goes wrong
/// after that, a broken or a bad answer, or nobody to ask, is a failure.
#[derive(Debug)]
pub struct Visitor {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Visits>>,
}

impl Visitor {
    /// Begins to ask `http://TASK/PATH` at the named port of the tasks of `KIND/NAME`.
    #[must_use]
    pub fn start(cli: Cli, object: &str, port: &str, path: &str) -> Visitor {
        let stop = Arc::new(AtomicBool::new(false));
        let (object, port, path) = (object.to_owned(), port.to_owned(), path.to_owned());
        let asked_to_stop = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let mut visits = Visits::default();
            let mut list = List {
                cli,
                object,
                port,
                urls: Vec::new(),
                asked: None,
            };
            let mut turn = 0_usize;
            while !asked_to_stop.load(Ordering::SeqCst) {
                turn = turn.wrapping_add(1);
                match visit(&mut list, &path, turn) {
                    Ok(body) => *visits.answers.entry(body).or_default() += 1,
                    Err(failure) => visits.failures.push(failure),
                }
                std::thread::sleep(PAUSE);
            }
            visits
        });
        Visitor {
            stop,
            thread: Some(thread),
        }
    }

    /// Ends, and says what was seen.
    ///
    /// # Errors
    /// When the thread has failed.
    pub fn finish(mut self) -> Result<Visits> {
        self.stop.store(true, Ordering::SeqCst);
        let thread = self
            .thread
            .take()
            .ok_or_else(|| anyhow!("the visitor has ended before"))?;
        thread
            .join()
            .map_err(|_| anyhow!("the visitor's thread has failed"))
    }
}

impl Drop for Visitor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

struct List {
    cli: Cli,
    object: String,
    port: String,
    urls: Vec<String>,
    asked: Option<Instant>,
}

impl List {
    fn refresh(&mut self) -> Result<(), String> {
        let tasks = self
            .cli
            .running(&self.object)
            .map_err(|error| format!("no list of tasks: {error:#}"))?;
        let is_healthy =
            |task: &&Value| task.get("health").is_some_and(|health| health == "healthy");
        self.urls = tasks
            .iter()
            .filter(is_healthy)
            .filter_map(|task| url(task, &self.port))
            .collect();
        self.asked = Some(Instant::now());
        Ok(())
    }
}

/// One request: every task of the list is tried, then every task of a new list.
fn visit(list: &mut List, path: &str, turn: usize) -> Result<String, String> {
    let mut refused = String::from("no task is healthy");
    for attempt in 0..2 {
        if attempt > 0 || list.asked.is_none_or(|asked| asked.elapsed() >= LIST_AGE) {
            list.refresh()?;
        }
        for step in 0..list.urls.len() {
            let Some(url) = list.urls.get((turn + step) % list.urls.len()) else {
                continue;
            };
            match http::get(&format!("{url}{path}"), ANSWER) {
                Ok(response) if response.status == 200 => {
                    return Ok(response.body.trim().to_owned());
                }
                Ok(response) => return Err(format!("{url}: status {}", response.status)),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    refused = format!("{url}: {error}")
                }
                Err(error) => return Err(format!("{url}: {error}")),
            }
        }
    }
    Err(refused)
}

/// `http://HOST:PORT` of a task's named port, read from an item of `kelson tasks`.
#[must_use]
pub fn url(task: &Value, port: &str) -> Option<String> {
    let address = task.get("address")?.as_str()?;
    let port = task.get("ports")?.get(port)?.as_u64()?;
    Some(format!("http://{address}:{port}"))
}
