//! Tokens in the state.

use std::sync::Arc;

use kelson_model::id::TokenId;
use kelson_model::time::{ClusterTime, WallTime};

use super::State;
use crate::record::TokenRecord;

impl State {
    pub(crate) fn put_token(&mut self, token: TokenRecord) {
        self.records.tokens.insert(token.id, Arc::new(token));
    }

    pub(crate) fn drop_token(&mut self, id: TokenId) {
        self.records.tokens.remove(&id);
    }

    /// Forgets the tokens that hold no more.
    pub(crate) fn drop_expired_tokens(&mut self, now: ClusterTime, wall: WallTime) {
        let tokens = &mut self.records.tokens;
        let expired = tokens.values().filter(|token| token.has_expired(now, wall));
        let expired: Vec<TokenId> = expired.map(|token| token.id).collect();
        for id in expired {
            tokens.remove(&id);
        }
    }
}
