//! Serving the connections of other members on this member's own threads: what keeps the threads of
//! the listener busy then keeps nobody from hearing its leader.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::stream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tonic::transport::Server;
use tonic::transport::server::Connected;

use super::dialer::{CONNECTION_WINDOW, STREAM_WINDOW};
use super::member::Member;

impl Member {
    /// Serves one connection of another member until it ends. `open` is called on this member's
    /// runtime and must give a connection that belongs to it: one that was taken by another runtime
    /// goes there by way of the system's own.
    pub fn serve_connection<Io>(&self, open: impl FnOnce() -> io::Result<Io> + Send + 'static)
    where
        Io: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let service = self.service();
        self.inner.runtime.handle().spawn(async move {
            let connection = match open() {
                Ok(connection) => Incoming(connection),
                Err(error) => {
                    tracing::debug!(%error, "a connection of another member could not be taken over");
                    return;
                }
            };
            let served = Server::builder()
                .initial_stream_window_size(STREAM_WINDOW)
                .initial_connection_window_size(CONNECTION_WINDOW)
                .add_service(service)
                .serve_with_incoming(stream::iter([Ok::<_, io::Error>(connection)]));
            if let Err(error) = served.await {
                tracing::debug!(%error, "a connection of another member could not be served");
            }
        });
    }
}

/// A connection as the server takes it.
struct Incoming<Io>(Io);

impl<Io> Connected for Incoming<Io> {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl<Io: AsyncRead + Unpin> AsyncRead for Incoming<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Incoming<Io> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
