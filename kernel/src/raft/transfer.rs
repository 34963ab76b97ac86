//! Sending a snapshot to another member.
//!
//! *Flow*: the offer names the file by its last entry, length and checksum; the receiver says from
//! where on it wants it, because it keeps what an interrupted transfer left; the pieces follow, no
//! faster than the pace; the receiver checks the whole, takes it over, and says so. *Guarantees*:
//! one transfer for each receiver (openraft's), never more in memory than a few pieces; the file
//! stays readable while it is sent, even when newer ones take its place. *Caveats*: what goes wrong
//! ends the attempt, and openraft's next one goes on where this one was.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use kelson_proto::v1;
use kelson_proto::v1::snapshot_down::Message as Down;
use kelson_proto::v1::snapshot_up::Message as Up;
use openraft::raft::SnapshotResponse;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::dialer::Lane;
use super::message::{put_ballot, put_last, take_ballot};
use super::peers::{Failure, Link};
use super::snapshot::{Snapshot, name_checksum};
use super::types::{TypeConfig, Vote};

/// Bytes of a piece.
pub(crate) const PIECE: usize = 256 << 10;
/// Pieces read ahead of the connection.
const AHEAD: usize = 4;
/// How long the receiver may take to answer an offer.
const OFFER: Duration = Duration::from_secs(10);
/// How long a piece may take to leave: the receiver writes each to its disk.
const LEAVE: Duration = Duration::from_secs(30);
/// How long the receiver may take to check and take over the whole.
const INSTALL: Duration = Duration::from_secs(600);

/// Most bytes of a snapshot that are sent in a second, to one member.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace(pub(crate) u64);

impl Pace {
    /// Says when so many bytes may have left that began at `start`.
    fn due(self, start: Instant, bytes: u64) -> Instant {
        let micros = bytes.saturating_mul(1_000_000) / self.0.max(1);
        start + Duration::from_micros(micros)
    }
}

/// Sends one snapshot, and waits until it is installed.
pub(crate) async fn send_snapshot(
    link: &Arc<Link>,
    envelope: v1::Envelope,
    vote: &Vote,
    snapshot: &Snapshot,
    pace: Pace,
) -> Result<SnapshotResponse<TypeConfig>, Failure> {
    let path = snapshot.snapshot.path.clone();
    let opened = tokio::task::spawn_blocking(move || -> io::Result<(File, u64, u32)> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let checksum = name_checksum(&file, bytes)?;
        Ok((file, bytes, checksum))
    });
    // Newer snapshots take the place of old ones, so the file may just have gone.
    let (file, bytes, checksum) = opened
        .await
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Failure::Broken(format!("reading the snapshot: {error}")))?;
    let mut client = link.client(Lane::Bulk)?;
    let offer = v1::SnapshotOffer {
        envelope: Some(envelope),
        leader: Some(put_ballot(vote)),
        last: put_last(snapshot.meta.last_log_id.as_ref()),
        bytes,
        checksum,
    };
    let (sender, pieces) = mpsc::channel(AHEAD);
    let first = v1::SnapshotUp {
        message: Some(Up::Offer(offer)),
    };
    let upward = stream::once(async move { first }).chain(ReceiverStream::new(pieces));
    let attempt = link.attempt(Lane::Bulk);
    let begun = timeout(OFFER, async {
        let mut answers = client.send_snapshot(upward).await?.into_inner();
        match answers.message().await?.and_then(|down| down.message) {
            Some(Down::SendFrom(offset)) => Ok((answers, Ok(offset))),
            Some(Down::Installed(ballot)) => Ok((answers, Err(ballot))),
            None => Err(Status::unknown("the receiver did not answer the offer")),
        }
    });
    let (mut answers, begun) = match begun.await {
        Ok(begun) => attempt.end(begun)?,
        Err(_) => return Err(Failure::Silent),
    };
    let offset = match begun {
        Ok(offset) => offset.min(bytes),
        Err(ballot) => return installed(&ballot),
    };
    tracing::info!(bytes, offset, "sending a snapshot");
    let sending = send_pieces(file, offset, bytes, pace, sender);
    let answered = async {
        match answers.message().await?.and_then(|down| down.message) {
            Some(Down::Installed(ballot)) => Ok(ballot),
            _ => Err(Status::unknown("the receiver ended the transfer")),
        }
    };
    tokio::pin!(answered);
    // A refusal may come at any time; the answer to the whole comes after the last piece.
    let outcome = tokio::select! {
        sent = sending => match sent {
            Ok(()) => match timeout(INSTALL, &mut answered).await {
                Ok(outcome) => outcome,
                Err(_) => Err(Status::deadline_exceeded("the snapshot was not installed in time")),
            },
            // The reason why nothing can be sent any more is in the answer, if anywhere.
            Err(status) => match timeout(OFFER, &mut answered).await {
                Ok(Err(told)) => Err(told),
                _ => Err(status),
            },
        },
        outcome = &mut answered => outcome,
    };
    let ballot = outcome.map_err(|status| {
        let failure = Failure::from(status);
        link.failed(Lane::Bulk, &failure);
        failure
    })?;
    link.succeeded(Lane::Bulk);
    installed(&ballot)
}

fn installed(ballot: &v1::Ballot) -> Result<SnapshotResponse<TypeConfig>, Failure> {
    let vote = take_ballot(Some(ballot)).map_err(|error| Failure::Broken(error.to_string()))?;
    Ok(SnapshotResponse::new(vote))
}

async fn send_pieces(
    file: File,
    offset: u64,
    bytes: u64,
    pace: Pace,
    sender: mpsc::Sender<v1::SnapshotUp>,
) -> Result<(), Status> {
    let file = Arc::new(file);
    let start = Instant::now();
    let mut at = offset;
    while at < bytes {
        let length = usize::try_from(bytes - at).map_or(PIECE, |rest| rest.min(PIECE));
        let reading = Arc::clone(&file);
        let data = tokio::task::spawn_blocking(move || {
            let mut data = vec![0; length];
            reading.read_exact_at(&mut data, at).map(|()| data)
        });
        let data = data
            .await
            .map_err(io::Error::other)
            .flatten()
            .map_err(|error| Status::unknown(format!("reading the snapshot: {error}")))?;
        let checksum = crc32c::crc32c(&data);
        let piece = v1::SnapshotPiece {
            offset: at,
            data: data.into(),
            checksum,
        };
        at += u64::try_from(length).unwrap_or(u64::MAX);
        let message = v1::SnapshotUp {
            message: Some(Up::Piece(piece)),
        };
        match timeout(LEAVE, sender.send(message)).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => return Err(Status::unavailable("the connection is gone")),
            Err(_) => return Err(Status::deadline_exceeded("the receiver takes no more")),
        }
        sleep_until(pace.due(start, at - offset)).await;
    }
    Ok(())
}
