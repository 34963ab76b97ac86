//! Replies: what an entry came to.

use kelson_model::code::Code;
use kelson_model::id::{AgentId, Index, MemberId, TokenId};
use kelson_model::request::Refusal;
use kelson_model::session::SessionEnd;
use kelson_model::text;
use serde::{Deserialize, Serialize};

use crate::port::RefusalRow;

/// What an entry came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Reply {
    /// It is done.
    Done {
        /// The entry that did it.
        index: Index,
        /// The generation that came of it, where an object changed.
        generation: Option<u64>,
    },
    /// An agent is attached under this id.
    Attached {
        /// The id.
        agent: AgentId,
        /// The entry that began this session of it.
        #[serde(default)]
        session: Index,
    },
    /// A member is admitted under this id.
    #[serde(skip)]
    Admitted {
        /// The id.
        member: MemberId,
    },
    /// The session of an agent has ended, or may not begin; nothing was done.
    SessionOver {
        /// Why.
        end: SessionEnd,
        /// The same for people, and what to do about it.
        refusal: Refusal,
    },
    /// A turn counts; these of its operations were refused.
    Counted {
        /// The refused ones.
        refusals: Vec<RefusalRow>,
        /// Whether anything of it was not refused, beside what people are told.
        #[serde(default)]
        has_changed: bool,
    },
    /// A turn was void and has changed nothing.
    Void {
        /// Why.
        reason: String,
    },
    /// Nothing was done.
    Refused(Refusal),
    /// A token was made.
    #[serde(skip)]
    TokenCreated {
        /// Its id.
        token: TokenId,
    },
    /// A machine has joined, or had joined before.
    #[serde(skip)]
    Joined {
        /// The number of its id.
        id: u64,
    },
}

/// Makes a refusal; what it says is cut to what is kept of a reason.
pub(crate) fn refusal(code: Code, message: impl Into<String>, hint: impl Into<String>) -> Refusal {
    Refusal {
        code: code.into(),
        message: text::message(&message.into()),
        hint: text::message(&hint.into()),
    }
}
