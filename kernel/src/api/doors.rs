//! The doors: how the listener of a member serves axum, and who is at the other end.

use std::io;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use kelson_trust::{Connection, Listener, Peer};

/// The listener as axum takes it.
pub(super) struct Doors(pub(super) Listener);

impl axum::serve::Listener for Doors {
    type Io = Connection;
    type Addr = Peer;

    async fn accept(&mut self) -> (Connection, Peer) {
        self.0.accept().await
    }

    fn local_addr(&self) -> io::Result<Peer> {
        Ok(Peer {
            address: self.0.local_addr()?,
            is_secure: false,
            certified: None,
        })
    }
}

/// Who asks: an extension of each request, of HTTP and of gRPC alike.
#[derive(Debug, Clone)]
pub(crate) struct Caller(pub(crate) Peer);

impl Connected<IncomingStream<'_, Doors>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Doors>) -> Self {
        Self(stream.remote_addr().clone())
    }
}
