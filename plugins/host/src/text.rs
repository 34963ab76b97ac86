//! Text from guests, cut as all text from outside is.

pub(crate) use kelson_model::text::{cut as message, word};
