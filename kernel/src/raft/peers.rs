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
            for lane in link.state().lanes.values_mut() {
                lane.retry_at = None;
            }
        }
    }

    /// Says whether a member answered the last time that it was asked; `None` when it was never
    /// asked.
    pub(crate) fn is_reachable(&self, member: u64) -> Option<bool> {
        let links = self.links();
        let state = links.get(&member)?.state();
        state.lanes.get(&Lane::Urgent)?.is_up
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
    lanes: BTreeMap<Lane, LaneState>,
    /// The refusal that was told last.
    refusal: Option<String>,
}

/// One of the two connections. What goes wrong with one says nothing of the other: beats must not
/// pause because entries do not get through.
#[derive(Default)]
struct LaneState {
    channel: Option<Channel>,
    /// When the first of the failures was that no success has ended.
    failing_since: Option<Instant>,
    pause: Option<Duration>,
    retry_at: Option<Instant>,
    /// Whether the member answered the last time.
    is_up: Option<bool>,
}

impl LaneState {
    /// Lets the next attempts wait, longer each time.
    fn pause(&mut self, now: Instant) {
        let pause = self
            .pause
            .map_or(FIRST_PAUSE, |pause| (pause * 2).min(LONGEST_PAUSE));
        self.pause = Some(pause);
        self.retry_at = Some(now + pause);
    }

    /// Notes an answer; says whether that is news.
    fn answered(&mut self) -> bool {
        self.failing_since = None;
        self.pause = None;
        self.retry_at = None;
        self.is_up.replace(true) != Some(true)
    }
}

impl Link {
    fn state(&self) -> MutexGuard<'_, LinkState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a client, unless the member failed a moment ago.
    pub(crate) fn client(&self, lane: Lane) -> Result<Client, Failure> {
        let retry_at = self
            .state()
            .lanes
            .get(&lane)
            .and_then(|state| state.retry_at);
        if retry_at.is_some_and(|at| Instant::now() < at) {
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
        let lane_state = state.lanes.entry(lane).or_default();
        let channel = match &lane_state.channel {
            Some(channel) => channel.clone(),
            None => {
                let channel = self
                    .dialer
                    .dial(self.member, &self.address, lane)
                    .map_err(|error| Failure::Unreachable(error.to_string()))?;
                lane_state.channel = Some(channel.clone());
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
        state.refusal = None;
        if state.lanes.entry(lane).or_default().answered() {
            tracing::info!(member = self.member, address = %self.address, ?lane, "the member answers");
        }
    }

    /// Notes that there was none, or a refusal.
    pub(crate) fn failed(&self, lane: Lane, failure: &Failure) {
        let now = Instant::now();
        let mut state = self.state();
        if let Failure::Refused(reason, text) = failure {
            // It is there, and says no; asking again at once does not change its mind.
            if state.refusal.as_ref() != Some(text) {
                tracing::warn!(member = self.member, address = %self.address, text, "the member refuses this one");
                state.refusal = Some(text.clone());
            }
            let lane_state = state.lanes.entry(lane).or_default();
            lane_state.failing_since = None;
            lane_state.is_up = Some(true);
            lane_state.pause(now);
            if *reason == Reason::SenderRemoved
                && let Some(peers) = self.peers.upgrade()
            {
                peers.removed.send_replace(true);
            }
            return;
        }
        let lane_state = state.lanes.entry(lane).or_default();
        let since = *lane_state.failing_since.get_or_insert(now);
        let is_dead = now.duration_since(since) >= DEAD_AFTER;
        if is_dead || matches!(failure, Failure::Broken(_)) {
            // What is sent into a connection that lost its way arrives after a time-out of the
            // system, if at all; a new one arrives at once when the way is free.
            lane_state.channel = None;
            lane_state.failing_since = Some(now);
        }
        if !is_dead && !matches!(failure, Failure::Unreachable(_)) {
            return;
        }
        lane_state.pause(now);
        if lane_state.is_up.replace(false) != Some(false) {
            tracing::warn!(member = self.member, address = %self.address, ?lane, reason = %failure, "the member cannot be reached");
        }
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

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::raft::PlainDialer;

    fn peers() -> (Peers, watch::Sender<Roster>) {
        let (sender, roster) = watch::channel(Roster::default());
        let cluster = ClusterId::from_bytes([1; 16]);
        let dialer = Arc::new(PlainDialer);
        (Peers::new(cluster, 1, dialer, roster), sender)
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_cannot_be_reached_is_left_alone_for_longer_and_longer_on_that_lane() {
        let (peers, _roster) = peers();
        let link = peers.link(2, "127.0.0.1:1");
        assert_eq!(peers.is_reachable(2), None);
        let mut pauses = Vec::new();
        for _ in 0..8 {
            link.failed(Lane::Bulk, &Failure::Unreachable("refused".to_owned()));
            let start = Instant::now();
            while link.client(Lane::Bulk).is_err() {
                tokio::time::advance(Duration::from_millis(10)).await;
            }
            pauses.push(start.elapsed().as_millis());
        }
        assert_eq!(pauses, [20, 40, 80, 160, 320, 500, 500, 500]);
        link.failed(Lane::Bulk, &Failure::Unreachable("refused".to_owned()));
        assert!(link.client(Lane::Urgent).is_ok(), "beats go on");
        assert!(link.urgent_client(Lane::Bulk).is_ok());
        peers.heard_of(2);
        assert!(link.client(Lane::Bulk).is_ok());
        assert_eq!(peers.is_reachable(2), None, "nothing urgent was asked");
        link.succeeded(Lane::Urgent);
        assert_eq!(peers.is_reachable(2), Some(true));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_on_which_nothing_comes_back_is_given_up() {
        let (peers, _roster) = peers();
        let link = peers.link(2, "127.0.0.1:1");
        link.client(Lane::Urgent).unwrap();
        let has_channel = || {
            let state = link.state();
            state.lanes.get(&Lane::Urgent).unwrap().channel.is_some()
        };
        drop(link.attempt(Lane::Urgent));
        tokio::time::advance(DEAD_AFTER / 2).await;
        drop(link.attempt(Lane::Urgent));
        assert!(has_channel() && link.client(Lane::Urgent).is_ok());
        tokio::time::advance(DEAD_AFTER / 2).await;
        drop(link.attempt(Lane::Urgent));
        assert!(!has_channel() && link.client(Lane::Urgent).is_err());
        assert_eq!(peers.is_reachable(2), Some(false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_says_this_one_was_removed_is_believed() {
        let (peers, _roster) = peers();
        let link = peers.link(2, "127.0.0.1:1");
        let removed = peers.watch_removed();
        let refused = |reason| Failure::Refused(reason, "no".to_owned());
        link.failed(Lane::Urgent, &refused(Reason::OtherMember));
        assert!(!*removed.borrow());
        link.failed(Lane::Urgent, &refused(Reason::SenderRemoved));
        assert!(*removed.borrow());
    }
}
