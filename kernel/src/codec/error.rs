//! Why bytes of the log or of a snapshot cannot be read, or not be written.

use std::io;

use kelson_kernel_core::form::FormError;

/// Bytes that are no entry, reply or snapshot that this program knows.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The form is not one that this program knows.
    #[error(transparent)]
    Form(#[from] FormError),
    /// The envelope of the first version cannot be read.
    #[error("the envelope cannot be read: {0}")]
    Envelope(#[from] prost::DecodeError),
    /// A newer program wrote it.
    #[error("version {0} is not known to this program")]
    Version(u32),
    /// What the first version wrote has something that this program does not know.
    #[error("the body cannot be read: {0}")]
    Body(#[from] rmp_serde::decode::Error),
    /// It is no snapshot at all.
    #[error("this is not a snapshot of a kernel")]
    NotASnapshot,
    /// A chunk of it is not what was written.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// It could not be read or written.
    #[error("the snapshot cannot be read or written: {0}")]
    Io(#[from] io::Error),
}
