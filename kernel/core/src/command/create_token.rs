//! CreateToken: gives out a token, by which machines join or a person is let in.

use kelson_model::access::Role;
use kelson_model::code::Code;
use kelson_model::id::{Digest, TokenId};
use kelson_model::object::Namespace;
use kelson_model::quantity::Millis;
use kelson_model::request::Refusal;

use crate::context::Context;
use crate::record::{MOST_TOKENS, TokenRecord};
use crate::reply::{Reply, refusal};
use crate::state::State;

/// Longest life of a token.
const LONGEST: Millis = Millis(366 * 24 * 60 * 60 * 1000);
/// How many machines may join by one token, at most.
const MOST_USES: u32 = 1000;
/// Longest name of a person, in bytes.
const NAME_BYTES: usize = 64;

/// Gives out a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CreateToken {
    /// What whoever shows it becomes.
    pub role: Role,
    /// Where the role of a person holds: there and below; absent: everywhere.
    pub namespace: Option<Namespace>,
    /// The person's name; empty: the token's id. Of a machine: for people only.
    pub name: String,
    /// The hash of its secret.
    pub hash: Digest,
    /// How long it holds.
    pub ttl: Millis,
    /// How many machines may join by it; of a person's 0: it is used as often as wanted.
    pub uses: u32,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &CreateToken,
) -> Result<Reply, Refusal> {
    if let Some(objection) = objection(command) {
        let hint = "see `kelson token create --help`";
        return Err(refusal(Code::TokenRefused, objection, hint));
    }
    state.drop_expired_tokens(context.now, context.wall);
    if state.tokens.len() >= MOST_TOKENS {
        return Err(refusal(
            Code::TooMuchAtOnce,
            format!("there are {MOST_TOKENS} tokens that hold"),
            "revoke some: kelson token revoke",
        ));
    }
    // No two entries have one index.
    let id = TokenId(context.index.0);
    let name = if command.name.is_empty() {
        id.to_string()
    } else {
        command.name.clone()
    };
    state.push_event(context.event(
        "TokenCreated",
        None,
        format!("{id} makes whoever shows it {}", command.role),
    ));
    state.put_token(TokenRecord {
        id,
        role: command.role,
        namespace: command.namespace.clone(),
        name,
        hash: command.hash.clone(),
        by: context.principal.clone(),
        made: context.now,
        made_wall: context.wall,
        ttl: command.ttl,
        uses: command.uses,
        joined: Vec::new(),
    });
    Ok(Reply::TokenCreated { token: id })
}

/// What is wrong with it, where something is.
fn objection(command: &CreateToken) -> Option<String> {
    let is_plain = |byte: u8| byte.is_ascii_graphic();
    if command.name.len() > NAME_BYTES || !command.name.bytes().all(is_plain) {
        return Some(format!(
            "a name has at most {NAME_BYTES} printable characters of ASCII, without spaces"
        ));
    }
    if command.ttl.0 == 0 || command.ttl > LONGEST {
        return Some("a token holds for a second at least and for 366 days at most".to_owned());
    }
    if command.role.is_of_people() {
        return (command.uses != 0)
            .then(|| "a person's token is used as often as wanted until it expires".to_owned());
    }
    if command.namespace.is_some() {
        return Some(format!("an {} is of no namespace", command.role));
    }
    if !(1..=MOST_USES).contains(&command.uses) {
        return Some(format!("by a token 1 to {MOST_USES} machines may join"));
    }
    None
}
