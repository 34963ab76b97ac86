//! Clients: what each was answered, so that a request is carried out once however often it comes.
//!
//! *Guarantees:* a request of a client that is remembered is carried out once, in whatever order
//! its requests come, as long as they are within the window; one behind it is refused. A client
//! that was forgotten is told apart from one that never asked by when it began, and is never taken
//! for new. *Assumes:* a client asks for the first time no earlier than at the time that it was
//! told when it began. *Caveats:* a client that began long ago and never asked may be taken for a
//! forgotten one.

use imbl::{OrdMap, OrdSet};
use kelson_model::request::Submission;
use kelson_model::time::ClusterTime;

use super::State;
use crate::record::Client;
use crate::reply::Reply;

/// What is kept of clients, at most.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// How many are remembered; the longest silent ones are dropped first.
    clients: usize,
    /// Bytes of all their answers.
    bytes: usize,
    /// Bytes of the answers of one.
    bytes_of_one: usize,
}

const LIMITS: Limits = Limits {
    clients: 10_000,
    bytes: 16 << 20,
    bytes_of_one: 64 << 10,
};

/// Derived: clients by how long they are silent, and what their answers take.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ClientIndex {
    by_silence: OrdSet<(ClusterTime, String)>,
    bytes: usize,
}

impl ClientIndex {
    pub(super) fn of(clients: &OrdMap<String, Client>) -> Self {
        Self {
            by_silence: clients
                .iter()
                .map(|(name, client)| (client.at, name.clone()))
                .collect(),
            bytes: clients.values().map(answers_bytes).sum(),
        }
    }
}

/// What is known of a request before it is carried out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// It was not carried out yet.
    New,
    /// It was, with this answer.
    Answered(Reply),
    /// It is behind what is remembered; the newest request of its client was this one.
    TooLate(u64),
    /// Its client was forgotten: whether it was carried out is not known any more.
    Forgotten,
}

impl State {
    /// What is known of a request. `since` is when its client began; entries of the version before
    /// do not say it.
    pub(crate) fn standing(
        &self,
        name: &str,
        sequence: u64,
        since: Option<ClusterTime>,
    ) -> Standing {
        let Some(known) = self.clients.get(name) else {
            let may_be_forgotten = since.is_some() && since <= self.forgotten;
            return if may_be_forgotten {
                Standing::Forgotten
            } else {
                Standing::New
            };
        };
        if known.sequence < sequence || known.gaps.contains(&sequence) {
            return Standing::New;
        }
        let answer = if known.sequence == sequence {
            Some(&known.reply)
        } else {
            known.earlier.get(&sequence)
        };
        answer.map_or(Standing::TooLate(known.sequence), |answer| {
            Standing::Answered(answer.clone())
        })
    }

    /// Remembers what a new request was answered.
    pub(crate) fn remember(
        &mut self,
        name: &str,
        sequence: u64,
        since: Option<ClusterTime>,
        reply: &Reply,
    ) {
        self.remember_within(LIMITS, name, sequence, since, reply);
    }

    fn remember_within(
        &mut self,
        limits: Limits,
        name: &str,
        sequence: u64,
        since: Option<ClusterTime>,
        reply: &Reply,
    ) {
        let at = self.records.time;
        let known = self.records.clients.get(name);
        if let Some(known) = known {
            let place = (known.at, name.to_owned());
            self.client_index.by_silence.remove(&place);
            self.client_index.bytes = self.client_index.bytes.saturating_sub(answers_bytes(known));
        }
        let mut client = match known {
            Some(known) if since.is_some() => known.answered(sequence, reply, at),
            // What was written by the version before remembers the newest request alone.
            Some(_) | None => Client {
                sequence,
                reply: reply.clone(),
                at,
                earlier: OrdMap::new(),
                gaps: since.map_or_else(OrdSet::new, |_| missing_between(0, sequence)),
            },
        };
        while answers_bytes(&client) > limits.bytes_of_one {
            let (dropped, kept) = client.earlier.without_min();
            client.earlier = kept;
            if dropped.is_none() {
                break;
            }
        }
        self.client_index.bytes += answers_bytes(&client);
        self.client_index.by_silence.insert((at, name.to_owned()));
        self.records.clients.insert(name.to_owned(), client);
        while self.records.clients.len() > limits.clients || self.client_index.bytes > limits.bytes
        {
            let mut oldest_first = self.client_index.by_silence.iter();
            let Some(oldest) = oldest_first.find(|(_, other)| other != name).cloned() else {
                break;
            };
            self.forget_client(&oldest);
        }
    }

    fn forget_client(&mut self, place: &(ClusterTime, String)) {
        self.client_index.by_silence.remove(place);
        if let Some(client) = self.records.clients.remove(&place.1) {
            self.client_index.bytes = self
                .client_index
                .bytes
                .saturating_sub(answers_bytes(&client));
        }
        self.records.forgotten = self.records.forgotten.max(Some(place.0));
    }
}

impl Client {
    /// This client after one more request.
    fn answered(&self, sequence: u64, reply: &Reply, at: ClusterTime) -> Self {
        let mut client = Self { at, ..self.clone() };
        if sequence > self.sequence {
            client.earlier.insert(self.sequence, self.reply.clone());
            client.gaps = client.gaps.union(missing_between(self.sequence, sequence));
            client.sequence = sequence;
            client.reply = reply.clone();
        } else {
            client.gaps.remove(&sequence);
            client.earlier.insert(sequence, reply.clone());
        }
        let floor = client.sequence.saturating_sub(Submission::WINDOW);
        let is_behind = |oldest: Option<u64>| oldest.is_some_and(|oldest| oldest <= floor);
        while is_behind(client.earlier.get_min().map(|(sequence, _)| *sequence)) {
            (_, client.earlier) = client.earlier.without_min();
        }
        while is_behind(client.gaps.get_min().copied()) {
            client.gaps.remove_min();
        }
        client
    }
}

/// The requests between two that have not come yet and that may still come.
fn missing_between(before: u64, newest: u64) -> OrdSet<u64> {
    let floor = newest.saturating_sub(Submission::WINDOW).max(before);
    (floor + 1..newest).collect()
}

fn answers_bytes(client: &Client) -> usize {
    bytes(&client.reply) + client.earlier.values().map(bytes).sum::<usize>()
}

/// About what an answer takes.
fn bytes(reply: &Reply) -> usize {
    const FIXED: usize = 64;
    match reply {
        Reply::Refused(refusal) | Reply::SessionOver { refusal, .. } => {
            FIXED + refusal.message.len() + refusal.hint.len()
        }
        Reply::Void { reason } => FIXED + reason.len(),
        Reply::Counted { refusals, .. } => {
            let rows = refusals.iter().map(|refusal| FIXED + refusal.reason.len());
            FIXED + rows.sum::<usize>()
        }
        Reply::Done { .. }
        | Reply::Attached { .. }
        | Reply::Admitted { .. }
        | Reply::TokenCreated { .. }
        | Reply::Joined { .. } => FIXED,
    }
}

#[cfg(test)]
#[path = "clients_tests.rs"]
mod tests;
