//! The port to the kernel.

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use kelson_model::id::{Digest, Index};
use kelson_model::request::{Answer, Request};

/// A question that is under way.
pub type Asking<'a, T> = BoxFuture<'a, Result<T, PortError>>;

/// Batches of rows without an end; it heals itself when the kernel is away.
pub type BatchStream = BoxStream<'static, Batch>;

/// Why the kernel has not answered. A refusal is an answer and no error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PortError {
    /// Nobody answers there, or not in time. Whether the request was carried out is not known.
    #[error("the kernel at {address} does not answer: {detail}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the connection said.
        detail: String,
    },
    /// It answers, and what it says cannot be understood or says that the question cannot.
    #[error("the kernel at {address} does not understand: {detail}")]
    Protocol {
        /// Where it was asked.
        address: String,
        /// What it said.
        detail: String,
    },
}

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKind {
    /// A workload or a framework, as accepted and as it does.
    Object,
    /// A task.
    Task,
    /// An agent.
    Agent,
    /// A source of manifests.
    Source,
    /// The whole drift ledger.
    Drift,
    /// A framework that is or should be in force.
    Framework,
    /// Something that happened.
    Event,
}

impl RowKind {
    /// All of them.
    pub const ALL: [RowKind; 7] = [
        Self::Object,
        Self::Task,
        Self::Agent,
        Self::Source,
        Self::Drift,
        Self::Framework,
        Self::Event,
    ];

    /// The name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Task => "task",
            Self::Agent => "agent",
            Self::Source => "source",
            Self::Drift => "drift",
            Self::Framework => "framework",
            Self::Event => "event",
        }
    }

    /// The kind of this name; `None` for a kind of row that a newer kernel has.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// One row of the kernel's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub kind: RowKind,
    /// Names it within its kind.
    pub key: String,
    /// The row as JSON; `None`: it is gone.
    pub json: Option<String>,
}

/// Rows that have changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// The state that they are of.
    pub index: Index,
    /// Whether everything that was known must be dropped first.
    pub is_restart: bool,
    /// Whether with this batch the whole state as of `index` is known.
    pub is_current: bool,
    /// The rows, each at most once.
    pub rows: Vec<Row>,
}

/// What a client asks of the kernel.
///
/// *Guarantees*: a request that is given to [`submit`](Self::submit) is carried out once at the
/// most, however often the connection breaks; requests are carried out in the order in which they
/// are answered. A watch misses no row: what it cannot make up for begins again with `is_restart`.
pub trait KernelPort: Send + Sync + 'static {
    /// Asks for a change. Refusals are answers.
    fn submit(&self, request: Request) -> Asking<'_, Answer>;

    /// Watches rows of these kinds, all of them first.
    fn watch(&self, kinds: &[RowKind]) -> BatchStream;

    /// Says which of these blobs the kernel does not have, in the order of the question.
    fn missing_blobs(&self, digests: Vec<Digest>) -> Asking<'_, Vec<Digest>>;

    /// Stores a blob; done once it is durable.
    fn put_blob(&self, content: Bytes) -> Asking<'_, Digest>;
}
