//! RevokeToken: a token holds no more.

use kelson_model::code::Code;
use kelson_model::id::TokenId;
use kelson_model::request::Refusal;

use crate::context::Context;
use crate::reply::{Reply, refusal};
use crate::state::State;

/// Takes a token away. Machines that have joined by it stay what they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RevokeToken {
    /// Which one.
    pub token: TokenId,
}

pub(super) fn apply(
    state: &mut State,
    context: &Context,
    command: &RevokeToken,
) -> Result<Reply, Refusal> {
    let id = command.token;
    if !state.tokens.contains_key(&id) {
        let message = format!("there is no token {id}");
        return Err(refusal(
            Code::TokenRefused,
            message,
            "see `kelson token list`",
        ));
    }
    state.drop_token(id);
    state.push_event(context.event("TokenRevoked", None, format!("{id} holds no more")));
    Ok(context.done(None))
}
