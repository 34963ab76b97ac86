//! Context: what a command knows of its entry.

use kelson_model::event::Event;
use kelson_model::id::Index;
use kelson_model::object::ObjectKey;
use kelson_model::principal::Principal;
use kelson_model::text;
use kelson_model::time::{ClusterTime, WallTime};

use crate::reply::Reply;

/// What a command knows of its entry.
#[derive(Debug, Clone)]
pub struct Context {
    /// The entry's index.
    pub index: Index,
    /// Cluster time, already made monotonic.
    pub now: ClusterTime,
    /// Wall time, for people.
    pub wall: WallTime,
    /// The proposer's term.
    pub term: u64,
    /// Who asks.
    pub principal: Principal,
}

impl Context {
    pub(crate) fn event(&self, reason: &str, object: Option<&ObjectKey>, message: String) -> Event {
        Event {
            index: self.index,
            place: 0,
            at: self.wall,
            reason: reason.to_owned(),
            object: object.cloned(),
            message: text::message(&message),
            by: self.principal.clone(),
        }
    }

    pub(crate) fn done(&self, generation: Option<u64>) -> Reply {
        Reply::Done {
            index: self.index,
            generation,
        }
    }
}
