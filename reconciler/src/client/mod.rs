//! The way to the kernel: what the reconciler and the command line ask of it, and how that travels.
//!
//! [`KernelPort`] is the port: everything above it knows nothing of gRPC. [`GrpcKernel`] is the
//! kernel behind it. Tests put a kernel of their own there.

mod backoff;
mod blobs;
mod grpc;
mod port;
mod submitting;
mod watching;

pub use grpc::GrpcKernel;
pub use port::{Asking, Batch, BatchStream, KernelPort, PortError, Row, RowKind};
