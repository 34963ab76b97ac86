//! Blobs of commits, fetched from the kernel by digest and kept for the next task that needs them.

use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use kelson_model::id::Digest;
use kelson_proto::v1::BlobRequest;
use kelson_proto::v1::kernel_client::KernelClient;
use tonic::transport::Channel;

use crate::record::write_durably;

/// Largest file of a task, in bytes.
const MAX_BLOB: usize = 256 << 20;
/// Most bytes that are kept; the oldest go first.
const MAX_CACHE: u64 = 2 << 30;

/// A blob could not be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BlobError {
    #[error("the kernel does not give {digest}: {status}")]
    Fetch { digest: Digest, status: String },
    #[error("what the kernel gave for {0} is something else")]
    Mismatch(Digest),
    #[error("{0} is larger than {MAX_BLOB} bytes")]
    TooLarge(Digest),
    #[error("the file cache: {0}")]
    Io(String),
}

/// The blobs that this agent keeps.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    directory: PathBuf,
    channel: Channel,
}

impl Blobs {
    pub(crate) fn new(directory: PathBuf, channel: Channel) -> Self {
        Self { directory, channel }
    }

    /// Gives the content, from the cache or from the kernel, and checks it in both cases.
    pub(crate) async fn get(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        if let Some(content) = self.cached(digest).await {
            return Ok(content);
        }
        let content = self.fetch(digest).await?;
        let (blobs, name, kept) = (self.clone(), digest.hex().to_owned(), content.clone());
        let write = move || {
            fs::create_dir_all(&blobs.directory).map_err(|error| error.to_string())?;
            blobs.make_room(kept.len() as u64);
            write_durably(&blobs.directory, &name, &kept).map_err(|error| error.to_string())
        };
        match tokio::task::spawn_blocking(write).await {
            Ok(Ok(())) => Ok(content),
            Ok(Err(error)) => Err(BlobError::Io(error)),
            Err(error) => Err(BlobError::Io(error.to_string())),
        }
    }

    async fn cached(&self, digest: &Digest) -> Option<Vec<u8>> {
        let content = tokio::fs::read(self.directory.join(digest.hex()))
            .await
            .ok()?;
        (Digest::of(&content) == *digest).then_some(content)
    }

    async fn fetch(&self, digest: &Digest) -> Result<Vec<u8>, BlobError> {
        let refused = |status: tonic::Status| BlobError::Fetch {
            digest: digest.clone(),
            status: status.message().to_owned(),
        };
        let mut client = KernelClient::new(self.channel.clone())
            .max_decoding_message_size(kelson_proto::MAX_MESSAGE);
        let request = BlobRequest {
            digest: digest.to_string(),
        };
        let mut stream = client
            .get_blob(request)
            .await
            .map_err(refused)?
            .into_inner();
        let mut content = Vec::new();
        while let Some(chunk) = stream.message().await.map_err(refused)? {
            if content.len() + chunk.data.len() > MAX_BLOB {
                return Err(BlobError::TooLarge(digest.clone()));
            }
            content.extend_from_slice(&chunk.data);
        }
        if Digest::of(&content) != *digest {
            return Err(BlobError::Mismatch(digest.clone()));
        }
        Ok(content)
    }

    /// Drops the blobs that were written first, until there is room.
    fn make_room(&self, wanted: u64) {
        let Ok(entries) = fs::read_dir(&self.directory) else {
            return;
        };
        let mut kept: Vec<(SystemTime, u64, PathBuf)> = entries
            .flatten()
            .filter_map(|entry| {
                let metadata = entry.metadata().ok()?;
                Some((metadata.modified().ok()?, metadata.len(), entry.path()))
            })
            .collect();
        kept.sort();
        let mut sum: u64 = kept.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in kept {
            if sum.saturating_add(wanted) <= MAX_CACHE {
                return;
            }
            let _ = fs::remove_file(path);
            sum = sum.saturating_sub(size);
        }
    }
}
