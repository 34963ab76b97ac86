//! What a framework author writes.

use serde_json::Value;

use crate::cluster::Cluster;
use crate::describe::{Description, Problem};
use crate::treaty::Reads;
use crate::turn::Turn;

/// A scheduler: a function of what it is shown.
///
/// One value of the type serves one seat (one framework in one namespace). It may be dropped
/// between any two turns and made anew with `Default`; the cluster is then restored and handed to
/// the next turn with everything in [`Cluster::changes`]. So whatever it keeps is a cache: a
/// restored scheduler must answer as a warm one would.
pub trait Scheduler: Default + 'static {
    /// Says what the framework is. Pure.
    fn describe() -> Description;

    /// Checks one normalised specification beyond its schema. Pure.
    fn validate(_kind: &str, _spec: &Value) -> Vec<Problem> {
        Vec::new()
    }

    /// Answers what has changed. A turn with nothing to do should ask for nothing.
    ///
    /// # Errors
    /// An error voids the turn: nothing of it has happened, the instance is dropped, and the seat
    /// backs off.
    fn turn(&mut self, cluster: &Cluster, turn: &mut Turn<'_>) -> Result<(), String>;

    /// Answers a read-only verb of the framework.
    ///
    /// # Errors
    /// Says what is wrong with the question.
    fn query(
        &self,
        _cluster: &Cluster,
        _read: Reads<'_>,
        verb: &str,
        _arguments: &Value,
    ) -> Result<Value, String> {
        Err(format!("there is no verb '{verb}'"))
    }
}
