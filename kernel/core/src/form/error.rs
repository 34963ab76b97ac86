//! Why bytes are not what they should be, or a value has no form.

/// Bytes that this program cannot read, or a value that it must not write.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// They end in the middle of something.
    #[error("the bytes end too early")]
    Short,
    /// More follows.
    #[error("{0} bytes follow the end")]
    Trailing(usize),
    /// A number that is too large for its place, or written longer than it need be.
    #[error("a number is too large for its place, or written too long")]
    Number,
    /// A list that cannot be in the bytes that are left.
    #[error("{count} items are announced where {left} bytes are left")]
    Count {
        /// How many there should be.
        count: u64,
        /// How many bytes there are.
        left: usize,
    },
    /// A text that is none.
    #[error("a text is not UTF-8")]
    Text,
    /// A number that names nothing that this program knows.
    #[error("{what} {number} is not known to this program")]
    Unknown {
        /// What it should name: `command`, `table`, `task state`.
        what: &'static str,
        /// The number.
        number: u64,
    },
    /// A newer program wrote it.
    #[error("version {version} of {what} is not known to this program")]
    Version {
        /// What has the version.
        what: &'static str,
        /// The version.
        version: u64,
    },
    /// Something that is readable and not what must stand there.
    #[error("this is not {0}")]
    Value(&'static str),
    /// Keys that are not in their order, or one that is there twice.
    #[error("{0} are out of order, or one is there twice")]
    Order(&'static str),
    /// A value that the members of the cluster do not all know yet.
    #[error("{what} is known since cluster version {since}, and the cluster has version {version}")]
    NotYet {
        /// The command, or the field.
        what: &'static str,
        /// Since which version.
        since: u32,
        /// Which one the cluster has.
        version: u32,
    },
    /// A row that is larger than is ever read.
    #[error("a row of {what} has {bytes} bytes, more than is read")]
    TooLarge {
        /// The table.
        what: &'static str,
        /// The bytes.
        bytes: usize,
    },
}
