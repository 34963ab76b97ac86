//! The other members as this one sees them: their channels, whether they answer, and when to try
//! again.
//!
//! *Guarantees*: a member that does not answer is tried again after a pause that grows to half a
//! second, and at once when it is heard of; a connection on which nothing comes back is given up
//! for a new one; each change is told once. *Caveats*: votes are sent without a pause, since an
//! election cannot wait.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kelson_proto::v1;
use kelson_proto::v1::member_refusal::Reason;
use kelson_proto::v1::members_client::MembersClient;
use prost::Message as _;
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::transport::Channel;
use tonic::{Code, Status};

use super::ClusterId;
use super::dialer::{Dialer, Lane};
use super::message::envelope;
use super::roster::Roster;

/// The first pause after a failure.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_millis(500);
/// How long nothing may come back before the connection itself is taken for dead.
const DEAD_AFTER: Duration = Duration::from_millis(400);

/// A client of another member.
pub(crate) type Client = MembersClient<Channel>;

/// Why a call to another member came to nothing.
#[derive(Debug, Clone)]
pub(crate) enum Failure {
    /// It could not be reached, or the pause after that is not over.
    Unreachable(String),
    /// No answer came in time.
    Silent,
    /// It answered with a refusal.
    Refused(Reason, String),
    /// Anything else that went wrong on the way.
    Broken(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Refused(_, text) | Self::Broken(text) => {
                f.write_str(text)
            }
            Self::Silent => f.write_str("it did not answer in time"),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let text = describe(&status);
        match status.code() {
            Code::FailedPrecondition => {
                let reason = v1::MemberRefusal::decode(status.details())
                    .map_or(Reason::Unknown, |refusal| refusal.reason());
                Self::Refused(reason, text)
            }
            Code::Unavailable => Self::Unreachable(text),
            Code::DeadlineExceeded => Self::Silent,
            _ => Self::Broken(text),
        }
    }
}

/// Gives the text of a status with its causes, which the transport hides.
fn describe(status: &Status) -> String {
    let mut text = status.message().to_owned();
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

/// All other members.
#[derive(Clone)]
pub(crate) struct Peers {
    shared: Arc<Shared>,
}

struct Shared {
    cluster: ClusterId,
    member: u64,
    dialer: Arc<dyn Dialer>,
    roster: watch::Receiver<Roster>,
    /// What others said of this member: that it was removed.
    removed: watch::Sender<bool>,
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
}

impl Peers {
    /// Starts with nobody.
    pub(crate) fn new(
        cluster: ClusterId,
        member: u64,
        dialer: Arc<dyn Dialer>,
        roster: watch::Receiver<Roster>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                cluster,
                member,
                dialer,
                roster,
                removed: watch::Sender::new(false),
                links: Mutex::default(),
            }),
        }
    }

    fn links(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Link>>> {
        self.shared
            .links
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the link to a member at an address; another address makes another link.
    pub(crate) fn link(&self, member: u64, address: &str) -> Arc<Link> {
        let mut links = self.links();
        if let Some(link) = links.get(&member)
            && link.address == address
        {
            return Arc::clone(link);
        }
        let link = Arc::new(Link {
            member,
            address: address.to_owned(),
            peers: Arc::downgrade(&self.shared),
            dialer: Arc::clone(&self.shared.dialer),
            state: Mutex::default(),
        });
        links.insert(member, Arc::clone(&link));
        link
    }

    /// Forgets the links to members that are no more.
    pub(crate) fn keep_only(&self, is_member: impl Fn(u64) -> bool) {
        self.links().retain(|member, _| is_member(*member));
    }

    /// Makes the head of a message.
    pub(crate) fn envelope(&self, to: u64) -> v1::Envelope {
        let standing = self.shared.roster.borrow().standing(to);
        envelope(self.shared.cluster, self.shared.member, to, standing)
    }

    /// Notes that a member has spoken: it can be reached again, most likely.
    pub(crate) fn heard_of(&self, member: u64) {
        if let Some(link) = self.links().get(&member) {
            link.state().retry_at = None;
        }
    }

    /// Says whether a member answered the last time that it was asked; `None` when it was never
    /// asked.
    pub(crate) fn is_reachable(&self, member: u64) -> Option<bool> {
        let links = self.links();
        let state = links.get(&member)?.state();
        state.is_up
    }

    /// Watches whether another member has said that this one was removed.
    pub(crate) fn watch_removed(&self) -> watch::Receiver<bool> {
        self.shared.removed.subscribe()
    }
}

/// The way to one member.
pub(crate) struct Link {
    member: u64,
    address: String,
    peers: std::sync::Weak<Shared>,
    dialer: Arc<dyn Dialer>,
    state: Mutex<LinkState>,
}

#[derive(Default)]
struct LinkState {
    channels: BTreeMap<Lane, Channel>,
    /// When the first of the failures was that no success has ended.
    failing_since: BTreeMap<Lane, Instant>,
    pause: Option<Duration>,
    retry_at: Option<Instant>,
    /// Whether it answered the last time.
    is_up: Option<bool>,
    /// The refusal that was told last.
    refusal: Option<String>,
}

impl Link {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a client, unless the member failed a moment ago.
    pub(crate) fn client(&self, lane: Lane) -> Result<Client, Failure> {
        if let Some(retry_at) = self.state().retry_at
            && Instant::now() < retry_at
        {
            return Err(Failure::Unreachable(format!(
                "member {} at '{}' did not answer a moment ago",
                self.member, self.address
            )));
        }
        self.urgent_client(lane)
    }

    /// Gives a client even if the member failed a moment ago.
    pub(crate) fn urgent_client(&self, lane: Lane) -> Result<Client, Failure> {
        let mut state = self.state();
        let channel = match state.channels.get(&lane) {
            Some(channel) => channel.clone(),
            None => {
                let channel = self
                    .dialer
                    .dial(self.member, &self.address, lane)
                    .map_err(|error| Failure::Unreachable(error.to_string()))?;
                state.channels.insert(lane, channel.clone());
                channel
            }
        };
        Ok(MembersClient::new(channel)
            .max_decoding_message_size(kelson_proto::MAX_MESSAGE)
            .max_encoding_message_size(kelson_proto::MAX_MESSAGE))
    }

    /// Notes an answer.
    pub(crate) fn succeeded(&self, lane: Lane) {
        let mut state = self.state();
        state.failing_since.remove(&lane);
        state.pause = None;
        state.retry_at = None;
        state.refusal = None;
        if state.is_up.replace(true) != Some(true) {
            tracing::info!(member = self.member, address = %self.address, "the member answers");
        }
    }

    /// Notes that there was none, or a refusal.
    pub(crate) fn failed(&self, lane: Lane, failure: &Failure) {
        let now = Instant::now();
        let mut state = self.state();
        if let Failure::Refused(reason, text) = failure {
            // It is there, and says no; asking again at once does not change its mind.
            state.failing_since.remove(&lane);
            state.is_up = Some(true);
            if state.refusal.as_ref() != Some(text) {
                tracing::warn!(member = self.member, address = %self.address, text, "the member refuses this one");
                state.refusal = Some(text.clone());
            }
            if *reason == Reason::SenderRemoved
                && let Some(peers) = self.peers.upgrade()
            {
                peers.removed.send_replace(true);
            }
        } else {
            let since = *state.failing_since.entry(lane).or_insert(now);
            let is_dead = now.duration_since(since) >= DEAD_AFTER;
            if is_dead || matches!(failure, Failure::Broken(_)) {
                // What is sent into a connection that lost its way arrives after a time-out of the
                // system, if at all; a new one arrives at once when the way is free.
                state.channels.remove(&lane);
                state.failing_since.insert(lane, now);
            }
            let is_certain = is_dead || matches!(failure, Failure::Unreachable(_));
            if is_certain && state.is_up.replace(false) != Some(false) {
                tracing::warn!(member = self.member, address = %self.address, reason = %failure, "the member cannot be reached");
            }
            if !is_certain {
                return;
            }
        }
        let pause = state
            .pause
            .map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        state.pause = Some(pause);
        state.retry_at = Some(now + pause);
    }

    /// Watches one call: unless it is told otherwise, the call counts as one without an answer when
    /// this is dropped.
    pub(crate) fn attempt(self: &Arc<Self>, lane: Lane) -> Attempt {
        Attempt {
            link: Arc::clone(self),
            lane,
            is_over: false,
        }
    }
}

/// One call to a member; see [`Link::attempt`].
pub(crate) struct Attempt {
    link: Arc<Link>,
    lane: Lane,
    is_over: bool,
}

impl Attempt {
    /// Ends it with what came of it.
    pub(crate) fn end<T>(mut self, outcome: Result<T, Status>) -> Result<T, Failure> {
        self.is_over = true;
        match outcome {
            Ok(value) => {
                self.link.succeeded(self.lane);
                Ok(value)
            }
            Err(status) => {
                let failure = Failure::from(status);
                self.link.failed(self.lane, &failure);
                Err(failure)
            }
        }
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.is_over {
            self.link.failed(self.lane, &Failure::Silent);
        }
    }
}
