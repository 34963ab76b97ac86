//! What can be asked of a kernel.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hyper::Method;
use kelson_model::code::Code;
use kelson_model::principal::Principal;
use kelson_model::request::{Answer, Beginning, Request, Submission};
use kelson_model::time::ClusterTime;
use kelson_model::view::ErrorReport;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::sleep;

use super::address::Address;
use super::connection::{self, ANSWER, Arrived, TO_READ, percent_encoded};
use super::lines::ByteStream;
use crate::exit::{Exit, Failure};

/// A client of one kernel. Each request has a connection of its own.
pub(crate) struct Client {
    address: Address,
    name: String,
    sequence: AtomicU64,
    /// When it began, once the kernel has told it.
    since: OnceCell<ClusterTime>,
}

/// How long a request whose outcome is not known is repeated.
const PERSISTENCE: Duration = Duration::from_secs(10);
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(100);

/// One line of `/v1/watch`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchBatch {
    /// The state that the client knows after it.
    pub(crate) index: u64,
    /// Whether what is known must be dropped first: what has changed since is not known any more.
    #[serde(default)]
    pub(crate) restart: bool,
    /// Whether the client now knows all of it.
    #[serde(default)]
    pub(crate) current: bool,
    /// What has changed.
    #[serde(default)]
    pub(crate) rows: Vec<WatchRow>,
}

/// One row that has changed.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct WatchRow {
    /// `object`, `task`, `event`, …
    pub(crate) kind: String,
    /// Names it within its kind.
    #[serde(default)]
    pub(crate) key: String,
    /// The row; null: it is gone.
    #[serde(default)]
    pub(crate) json: Value,
}

impl Client {
    /// Makes a client with a random name.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(crate) fn new(address: Address) -> anyhow::Result<Self> {
        let mut random = [0_u8; 12];
        rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
        let hex: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self {
            address,
            name: format!("cli-{hex}"),
            sequence: AtomicU64::new(1),
            since: OnceCell::new(),
        })
    }

    /// The kernel's address.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Reads what is at a path.
    ///
    /// # Errors
    /// When nothing listens, or the kernel refuses.
    pub(crate) async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Value, Failure> {
        let target = target(path, query);
        let response = connection::send(&self.address, Method::GET, &target, None, TO_READ).await?;
        let arrived = connection::read(&self.address, response).await?;
        self.accepted(arrived)
    }

    /// Reads what is at a path, in its form.
    ///
    /// # Errors
    /// As [`Client::get`]; also when the kernel answers in a form that this version does not know.
    pub(crate) async fn get_as<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        let value = self.get(path, query).await?;
        self.parsed(path, value)
    }

    /// Reads a value of the kernel in its form.
    pub(crate) fn parsed<T: DeserializeOwned>(
        &self,
        path: &str,
        value: Value,
    ) -> Result<T, Failure> {
        serde_json::from_value(value).map_err(|error| {
            Failure::new(
                Exit::Refused,
                format!(
                    "{}{path} answers in a form that this version does not know: {error}",
                    self.address
                ),
            )
            .with_hint("`kelson version` must be the same on both sides")
        })
    }

    /// Sends a body to a path.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        let response =
            connection::send(&self.address, Method::POST, path, Some(body), ANSWER).await?;
        let arrived = connection::read(&self.address, response).await?;
        self.accepted(arrived)
    }

    /// Sends a question to a path, and reads the answer in its form.
    ///
    /// # Errors
    /// As [`Client::get_as`].
    pub(crate) async fn post_as<T: DeserializeOwned>(
        &self,
        path: &str,
        question: &impl Serialize,
    ) -> Result<T, Failure> {
        let body = serde_json::to_value(question)
            .map_err(|error| Failure::usage(format!("the request cannot be sent: {error}")))?;
        let answer = self.post(path, &body).await?;
        self.parsed(path, answer)
    }

    /// Asks for a change; returns the generation that came of it, where an object changed. A
    /// request whose outcome is not known is repeated: it is carried out once.
    ///
    /// # Errors
    /// When nothing listens, or the kernel refuses; nothing has changed then, unless the outcome is
    /// still not known.
    pub(crate) async fn submit(&self, request: Request) -> Result<Option<u64>, Failure> {
        const PATH: &str = "/v1/requests";
        let since = self.since.get_or_try_init(|| async {
            let told: Beginning = self.get_as("/v1/client", &[]).await?;
            Ok::<_, Failure>(told.since)
        });
        let submission = Submission {
            client: self.name.clone(),
            sequence: self.sequence.fetch_add(1, Ordering::Relaxed),
            since: *since.await?,
            principal: Principal::new(&user(), "cli"),
            request,
        };
        let body = serde_json::to_value(&submission)
            .map_err(|error| Failure::usage(format!("the request cannot be sent: {error}")))?;
        let begun = Instant::now();
        let arrived = loop {
            let attempt = async {
                let sent = connection::send(&self.address, Method::POST, PATH, Some(&body), ANSWER);
                connection::read(&self.address, sent.await?).await
            };
            let came = attempt.await;
            let is_open = match &came {
                Ok(arrived) => is_open(arrived),
                Err(failure) => failure.exit == Exit::NothingListens,
            };
            if !is_open || begun.elapsed() >= PERSISTENCE {
                break came?;
            }
            sleep(PAUSE).await;
        };
        let answer: Option<Answer> = serde_json::from_value(arrived.body.clone()).ok();
        match answer {
            Some(Answer::Done { generation, .. }) => Ok(generation),
            Some(Answer::Refused(refusal)) => Err(Failure::new(Exit::Refused, refusal.message)
                .with_code(refusal.code)
                .with_hint(refusal.hint)),
            None => {
                let value = self.accepted(arrived)?;
                self.parsed::<Answer>(PATH, value).map(|_| None)
            }
        }
    }

    /// Reads what goes on at a path, as it comes.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn stream(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<ByteStream, Failure> {
        let target = target(path, query);
        let response = connection::send(&self.address, Method::GET, &target, None, ANSWER).await?;
        if response.status().is_success() {
            return Ok(ByteStream::new(self.address.clone(), response.into_body()));
        }
        let arrived = connection::read(&self.address, response).await?;
        Err(connection::refusal(&self.address, &arrived))
    }

    /// Watches rows of these kinds, all of them first or those after `resume`; lines are
    /// [`WatchBatch`]es.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub(crate) async fn watch(
        &self,
        kinds: &str,
        resume: Option<u64>,
    ) -> Result<ByteStream, Failure> {
        let resume = resume.map(|index| index.to_string());
        let mut query = vec![("kinds", kinds)];
        query.extend(resume.as_deref().map(|index| ("resume", index)));
        self.stream("/v1/watch", &query).await
    }

    fn accepted(&self, arrived: Arrived) -> Result<Value, Failure> {
        if arrived.status.is_success() {
            Ok(arrived.body)
        } else {
            Err(connection::refusal(&self.address, &arrived))
        }
    }
}

fn target(path: &str, query: &[(&str, &str)]) -> String {
    let mut target = path.to_owned();
    for (at, (name, value)) in query.iter().enumerate() {
        target.push(if at == 0 { '?' } else { '&' });
        target.push_str(name);
        target.push('=');
        target.push_str(&percent_encoded(value));
    }
    target
}

/// Who asks: the user's name, as the environment or the machine's list of users tells it.
/// Whether the same request may still be answered when it is asked again.
fn is_open(arrived: &Arrived) -> bool {
    let told = ErrorReport::deserialize(&arrived.body);
    told.is_ok_and(|told| told.error.code == Code::NoLeader)
}

/// Who types, for what is recorded of a change.
pub(crate) fn user() -> String {
    let named = ["USER", "LOGNAME"]
        .iter()
        .filter_map(|name| std::env::var(name).ok())
        .find(|name| !name.is_empty());
    let id = rustix::process::getuid().as_raw();
    named
        .or_else(|| user_in(&std::fs::read_to_string("/etc/passwd").ok()?, id))
        .unwrap_or_else(|| format!("uid {id}"))
}

/// The name of a user in a list of the form of /etc/passwd.
fn user_in(list: &str, id: u32) -> Option<String> {
    let id = id.to_string();
    list.lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.get(2) == Some(&id.as_str()))
        .and_then(|fields| fields.first().map(ToString::to_string))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_spelled_out() {
        assert_eq!(target("/v1/kinds", &[]), "/v1/kinds");
        assert_eq!(
            target(
                "/v1/object",
                &[("kind", "Service"), ("namespace", "shop/a")]
            ),
            "/v1/object?kind=Service&namespace=shop%2Fa"
        );
    }

    #[test]
    fn a_user_has_the_name_that_the_machine_knows() {
        let list = "root:x:0:0:root:/root:/bin/sh\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(user_in(list, 1000).as_deref(), Some("alice"));
        assert_eq!(user_in(list, 7), None);
    }
}
