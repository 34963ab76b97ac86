//! A watch that heals itself.

use futures_util::StreamExt as _;
use futures_util::stream;
use kelson_model::id::Index;
use kelson_proto::v1;
use kelson_proto::v1::kernel_client::KernelClient;
use tonic::Streaming;
use tonic::transport::Channel;

use super::backoff::Backoff;
use super::port::{Batch, BatchStream, Row, RowKind};

struct Watching {
    client: KernelClient<Channel>,
    kinds: Vec<String>,
    /// The last state that is known as a whole; 0 while none is, since a restart has taken what
    /// was known.
    resume: u64,
    /// The cluster that it is of.
    cluster: String,
    open: Option<Streaming<v1::WatchBatch>>,
    backoff: Backoff,
    has_told: bool,
}

/// Watches rows of these kinds for as long as somebody reads.
pub(super) fn watch(client: KernelClient<Channel>, kinds: &[RowKind]) -> BatchStream {
    let watching = Watching {
        client,
        kinds: kinds.iter().map(|kind| kind.name().to_owned()).collect(),
        resume: 0,
        cluster: String::new(),
        open: None,
        backoff: Backoff::new(),
        has_told: false,
    };
    stream::unfold(watching, |mut watching| async move {
        let batch = watching.next().await;
        Some((batch, watching))
    })
    .boxed()
}

impl Watching {
    async fn next(&mut self) -> Batch {
        loop {
            match self.attempt().await {
                Ok(batch) => {
                    self.backoff.reset();
                    self.has_told = false;
                    return batch;
                }
                Err(reason) => {
                    self.open = None;
                    if !self.has_told {
                        self.has_told = true;
                        tracing::info!(%reason, "the watch on the kernel broke; it is taken up again");
                    }
                    self.backoff.wait().await;
                }
            }
        }
    }

    async fn attempt(&mut self) -> Result<Batch, String> {
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                let request = v1::WatchRequest {
                    kinds: self.kinds.clone(),
                    resume: self.resume,
                    cluster: self.cluster.clone(),
                };
                let answer = self.client.watch(request).await;
                let open = answer.map_err(|status| status.message().to_owned())?;
                self.open.insert(open.into_inner())
            }
        };
        let message = open.message().await;
        let batch = message
            .map_err(|status| status.message().to_owned())?
            .ok_or_else(|| "it has ended".to_owned())?;
        if batch.restart {
            self.resume = 0;
        }
        if batch.current {
            self.resume = batch.index;
            self.cluster.clone_from(&batch.cluster);
        }
        Ok(Batch {
            index: Index(batch.index),
            is_restart: batch.restart,
            is_current: batch.current,
            rows: batch.rows.into_iter().filter_map(row).collect(),
        })
    }
}

fn row(row: v1::WatchRow) -> Option<Row> {
    Some(Row {
        kind: RowKind::of_name(&row.kind)?,
        key: row.key,
        json: Some(row.json).filter(|json| !json.is_empty()),
    })
}
