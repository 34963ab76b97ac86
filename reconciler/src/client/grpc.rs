//! The kernel at the other end of a connection.

use std::time::Duration;

use bytes::Bytes;
use kelson_model::id::Digest;
use kelson_model::principal::Principal;
use kelson_model::request::{Answer, Request};
use kelson_proto::MAX_MESSAGE;
use kelson_proto::v1::kernel_client::KernelClient;
use kelson_trust::Dialer;
use tokio::sync::{mpsc, oneshot};
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::backoff::Backoff;
use super::blobs;
use super::port::{Asking, BatchStream, KernelPort, PortError, RowKind};
use super::submitting::{Order, may_pass, run_submitting};
use super::watching;

const KEEP_ALIVE: Duration = Duration::from_secs(5);
/// A batch of a watch has 500 rows at the most, each of them below the size of an entry.
const MAX_BATCH: usize = 128 << 20;

/// The kernel over gRPC.
///
/// *Guarantees*: connects when it is first asked and again whenever the connection is lost; see
/// [`KernelPort`]. Dropping it ends what it started.
///
/// *Assumes*: a tokio runtime with time and network.
#[derive(Debug)]
pub struct GrpcKernel {
    address: String,
    client: KernelClient<Channel>,
    principal: Principal,
    orders: mpsc::Sender<Order>,
    patience: Duration,
}

impl GrpcKernel {
    /// How long a question is tried before it is given up.
    pub const PATIENCE: Duration = Duration::from_secs(10);

    /// Speaks to the kernel that `dialer` connects to, as `principal`. Nobody need be there yet.
    pub fn new(dialer: Dialer, principal: Principal) -> Self {
        Self::with_patience(dialer, principal, Self::PATIENCE)
    }

    /// Like [`new`](Self::new), with another time after which a question is given up.
    pub fn with_patience(dialer: Dialer, principal: Principal, patience: Duration) -> Self {
        let address = format!("{}://{}", dialer.scheme(), dialer.addresses());
        // Where it goes is for the dialer to say.
        let endpoint = Endpoint::from_static("http://members.kelson.internal")
            .http2_keep_alive_interval(KEEP_ALIVE)
            .keep_alive_timeout(KEEP_ALIVE)
            .keep_alive_while_idle(true);
        let client = KernelClient::new(endpoint.connect_with_connector_lazy(dialer))
            .max_decoding_message_size(MAX_BATCH)
            .max_encoding_message_size(MAX_MESSAGE);
        let (orders, inbox) = mpsc::channel(64);
        // It ends once `orders` is gone, that is, with this value.
        tokio::spawn(run_submitting(client.clone(), address.clone(), inbox));
        Self {
            address,
            client,
            principal,
            orders,
            patience,
        }
    }

    /// Where the kernel is.
    pub fn address(&self) -> &str {
        &self.address
    }

    fn unreachable(&self, detail: impl Into<String>) -> PortError {
        PortError::Unreachable {
            address: self.address.clone(),
            detail: detail.into(),
        }
    }

    async fn ask(&self, request: Request) -> Result<Answer, PortError> {
        let (answer, answered) = oneshot::channel();
        let ended = || self.unreachable("its client has ended");
        let order = Order {
            principal: self.principal.clone(),
            request,
            answer,
        };
        self.orders.send(order).await.map_err(|_| ended())?;
        answered.await.map_err(|_| ended())?
    }

    /// Asks again for as long as it may help.
    async fn persist<T, F: Future<Output = Result<T, Status>>>(
        &self,
        ask: impl Fn(KernelClient<Channel>) -> F,
    ) -> Result<T, PortError> {
        let mut backoff = Backoff::new();
        loop {
            match ask(self.client.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(status) if may_pass(&status) => backoff.wait().await,
                Err(status) => {
                    return Err(PortError::Protocol {
                        address: self.address.clone(),
                        detail: status.message().to_owned(),
                    });
                }
            }
        }
    }

    async fn in_time<T>(
        &self,
        patience: Duration,
        asking: impl Future<Output = Result<T, PortError>>,
    ) -> Result<T, PortError> {
        match tokio::time::timeout(patience, asking).await {
            Ok(answer) => answer,
            Err(_) => Err(self.unreachable(format!("no answer within {patience:?}"))),
        }
    }
}

impl KernelPort for GrpcKernel {
    fn submit(&self, request: Request) -> Asking<'_, Answer> {
        Box::pin(self.in_time(self.patience, self.ask(request)))
    }

    fn watch(&self, kinds: &[RowKind]) -> BatchStream {
        watching::watch(self.client.clone(), kinds)
    }

    fn missing_blobs(&self, digests: Vec<Digest>) -> Asking<'_, Vec<Digest>> {
        Box::pin(async move {
            let ask = |client| blobs::missing(client, &digests);
            self.in_time(self.patience, self.persist(ask)).await
        })
    }

    fn put_blob(&self, content: Bytes) -> Asking<'_, Digest> {
        Box::pin(async move {
            // A large one takes its time: a second more for each MiB.
            let size = u64::try_from(content.len() >> 20).unwrap_or(u64::MAX);
            let patience = self.patience.saturating_add(Duration::from_secs(size));
            let ask = |client| blobs::put(client, content.clone());
            self.in_time(patience, self.persist(ask)).await
        })
    }
}
