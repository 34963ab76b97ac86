//! Replies: a byte 2, a version, and what an entry came to.

use super::error::FormError;
use super::reader::Reader;
use super::statement::Form;
use super::version::{FORM, Since, level_of, newest, take_form};
use super::writer::Writer;
use crate::reply::Reply;

/// Since which cluster version each version of replies is known, from version 1 on.
const REPLY_SINCE: Since = &[0];

/// Writes a reply in the newest form that a cluster of this version knows.
///
/// # Errors
/// Something of it is not known in such a cluster.
pub fn encode_reply(reply: &Reply, cluster_version: u32) -> Result<Vec<u8>, FormError> {
    let (version, level) = newest(REPLY_SINCE, "replies", cluster_version)?;
    let mut to = Writer::new(level);
    to.byte(FORM);
    to.number(version);
    reply.put(&mut to);
    to.finish()
}

/// Reads a reply.
///
/// # Errors
/// The bytes are not one that this program knows.
pub fn decode_reply(bytes: &[u8]) -> Result<Reply, FormError> {
    let mut from = Reader::new(bytes, 0);
    take_form(&mut from)?;
    let version = from.number()?;
    from.set_level(level_of(REPLY_SINCE, "replies", version)?);
    let reply = Reply::take(&mut from)?;
    from.end().map(|()| reply)
}

impl Form for Reply {
    fn put(&self, to: &mut Writer) {
        match self {
            Self::Done { index, generation } => {
                to.number(0);
                index.put(to);
                generation.put(to);
            }
            Self::Attached { agent, session } => {
                to.number(1);
                agent.put(to);
                session.put(to);
            }
            Self::SessionOver { end, refusal } => {
                to.number(2);
                end.put(to);
                refusal.put(to);
            }
            Self::Counted {
                refusals,
                has_changed,
            } => {
                to.number(3);
                refusals.put(to);
                has_changed.put(to);
            }
            Self::Void { reason } => {
                to.number(4);
                reason.put(to);
            }
            Self::Refused(refusal) => {
                to.number(5);
                refusal.put(to);
            }
            Self::Admitted { member } => {
                to.number(6);
                member.put(to);
            }
            Self::TokenCreated { token } => {
                to.number(30);
                token.put(to);
            }
            Self::Joined { id } => {
                to.number(31);
                id.put(to);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Ok(match from.number()? {
            0 => Self::Done {
                index: Form::take(from)?,
                generation: Form::take(from)?,
            },
            1 => Self::Attached {
                agent: Form::take(from)?,
                session: Form::take(from)?,
            },
            2 => Self::SessionOver {
                end: Form::take(from)?,
                refusal: Form::take(from)?,
            },
            3 => Self::Counted {
                refusals: Form::take(from)?,
                has_changed: Form::take(from)?,
            },
            4 => Self::Void {
                reason: Form::take(from)?,
            },
            5 => Self::Refused(Form::take(from)?),
            6 => Self::Admitted {
                member: Form::take(from)?,
            },
            30 => Self::TokenCreated {
                token: Form::take(from)?,
            },
            31 => Self::Joined {
                id: Form::take(from)?,
            },
            number => {
                return Err(FormError::Unknown {
                    what: "reply",
                    number,
                });
            }
        })
    }
}
