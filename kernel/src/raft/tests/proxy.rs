//! A way between two members that can be made bad: held up in one direction or both, slow, or cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the bytes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Flow {
    #[default]
    Pass,
    /// They wait, as packets do that are sent again until the way is free.
    Hold,
    Delay(Duration),
}

/// What the way is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Way {
    /// From the one that calls.
    pub(super) up: Flow,
    /// Back to it.
    pub(super) down: Flow,
    /// Whether connections end, and none is taken.
    pub(super) is_cut: bool,
    /// Ends each connection after so many bytes up.
    pub(super) cut_after: Option<u64>,
}

impl Way {
    pub(super) const HELD: Self = Self {
        up: Flow::Hold,
        down: Flow::Hold,
        is_cut: false,
        cut_after: None,
    };
}

/// One such way; it ends with the runtime that it was made in.
pub(super) struct Proxy {
    pub(super) address: SocketAddr,
    way: watch::Sender<Way>,
    /// Bytes up, over all connections.
    pub(super) bytes: Arc<AtomicU64>,
}

impl Proxy {
    pub(super) async fn start(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, ways) = watch::channel(Way::default());
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        tokio::spawn(async move {
            while let Ok((inbound, _)) = listener.accept().await {
                let (ways, counted) = (ways.clone(), Arc::clone(&counted));
                if ways.borrow().is_cut {
                    continue;
                }
                tokio::spawn(connect(inbound, target, ways, counted));
            }
        });
        Self {
            address,
            way,
            bytes,
        }
    }

    pub(super) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn connect(
    inbound: TcpStream,
    target: SocketAddr,
    mut ways: watch::Receiver<Way>,
    counted: Arc<AtomicU64>,
) {
    let Ok(outbound) = TcpStream::connect(target).await else {
        return;
    };
    inbound.set_nodelay(true).unwrap();
    outbound.set_nodelay(true).unwrap();
    let (in_read, in_write) = inbound.into_split();
    let (out_read, out_write) = outbound.into_split();
    let own = Arc::new(AtomicU64::new(0));
    let (up, down) = (ways.clone(), ways.clone());
    tokio::select! {
        _ = ways.wait_for(|way| way.is_cut) => {}
        () = pump(in_read, out_write, up, |way| way.up, Some((own, counted))) => {}
        () = pump(out_read, in_write, down, |way| way.down, None) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut ways: watch::Receiver<Way>,
    flow: fn(&Way) -> Flow,
    counters: Option<(Arc<AtomicU64>, Arc<AtomicU64>)>,
) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let Ok(length @ 1..) = from.read(&mut buffer).await else {
            return;
        };
        let Ok(way) = ways
            .wait_for(|way| flow(way) != Flow::Hold)
            .await
            .map(|way| *way)
        else {
            return;
        };
        if let Flow::Delay(delay) = flow(&way) {
            tokio::time::sleep(delay).await;
        }
        if let Some((own, all)) = &counters {
            let bytes = u64::try_from(length).unwrap();
            all.fetch_add(bytes, Ordering::Relaxed);
            let passed = own.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if way.cut_after.is_some_and(|limit| passed > limit) {
                return;
            }
        }
        if to.write_all(buffer.get(..length).unwrap()).await.is_err() {
            return;
        }
    }
}
