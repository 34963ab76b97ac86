//! Blobs on their way to the kernel.

use bytes::Bytes;
use futures_util::stream;
use kelson_model::id::Digest;
use kelson_proto::v1::kernel_client::KernelClient;
use kelson_proto::{BLOB_CHUNK, v1};
use tonic::Status;
use tonic::transport::Channel;

/// At most this many digests are asked for at once.
const DIGESTS: usize = 1_000;

pub(super) async fn missing(
    mut client: KernelClient<Channel>,
    digests: &[Digest],
) -> Result<Vec<Digest>, Status> {
    let mut missing = Vec::new();
    for page in digests.chunks(DIGESTS) {
        let digests = page.iter().map(Digest::to_string).collect();
        let answer = client.missing_blobs(v1::BlobDigests { digests }).await?;
        for digest in answer.into_inner().digests {
            missing.push(parse(&digest)?);
        }
    }
    Ok(missing)
}

pub(super) async fn put(
    mut client: KernelClient<Channel>,
    content: Bytes,
) -> Result<Digest, Status> {
    let answer = client.put_blob(stream::iter(pieces(content))).await?;
    parse(&answer.into_inner().digest)
}

fn pieces(mut content: Bytes) -> Vec<v1::BlobChunk> {
    let mut pieces = Vec::with_capacity(content.len() / BLOB_CHUNK + 1);
    loop {
        let piece = content.split_to(BLOB_CHUNK.min(content.len()));
        pieces.push(v1::BlobChunk { data: piece });
        if content.is_empty() {
            return pieces;
        }
    }
}

fn parse(digest: &str) -> Result<Digest, Status> {
    digest
        .parse()
        .map_err(|error| Status::data_loss(format!("a digest that is none: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_cut_into_pieces_and_an_empty_one_is_one_piece() {
        let sizes = |length: usize| -> Vec<usize> {
            let pieces = pieces(Bytes::from(vec![7_u8; length]));
            pieces.iter().map(|piece| piece.data.len()).collect()
        };
        assert_eq!(sizes(0), [0]);
        assert_eq!(sizes(BLOB_CHUNK), [BLOB_CHUNK]);
        assert_eq!(sizes(BLOB_CHUNK + 1), [BLOB_CHUNK, 1]);
    }
}
