//! Receiving a snapshot from the leader.
//!
//! *Flow*: the offer is checked against what is here and what the disk has room for; the answer
//! says from where on to send; pieces are checked and appended to a file; the whole is checked,
//! synced, and handed to openraft. *Guarantees*: one transfer at a time, and a newer offer ends the
//! one before; what has arrived survives a broken connection; a whole that does not match its
//! checksum is thrown away and asked for anew.

use std::sync::Arc;

use futures_util::Stream;
use kelson_proto::v1;
use kelson_proto::v1::snapshot_down::Message as Down;
use kelson_proto::v1::snapshot_up::Message as Up;
use openraft::async_runtime::watch::WatchReceiver;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::message::{Nonsense, put_ballot, take_ballot, take_position};
use super::reserve::Reserve;
use super::service::{Receiver, nonsense, stopped};
use super::snapshot::{Incoming, Offered, SnapshotDirectory, SnapshotError};
use super::transfer::PIECE;
use super::types::Vote;

/// Where snapshots of the leader arrive.
pub(crate) struct Intake {
    snapshots: Arc<SnapshotDirectory>,
    reserve: Arc<Reserve>,
    /// Counts offers: a transfer ends when another one has begun.
    offers: watch::Sender<u64>,
    /// Held by the transfer under way.
    turn: Mutex<()>,
}

impl Intake {
    /// Takes snapshots into this directory, as long as the disk has room.
    pub(crate) fn new(snapshots: Arc<SnapshotDirectory>, reserve: Arc<Reserve>) -> Self {
        Self {
            snapshots,
            reserve,
            offers: watch::Sender::new(0),
            turn: Mutex::new(()),
        }
    }
}

/// Receives one snapshot; gives the answers to its sender.
pub(crate) fn receive(
    inner: Arc<Receiver>,
    pieces: Streaming<v1::SnapshotUp>,
) -> impl Stream<Item = Result<v1::SnapshotDown, Status>> + Send {
    let (answers, receiver) = mpsc::channel(2);
    let runtime = inner.runtime.clone();
    runtime.spawn(async move {
        let last = match take(&inner, pieces, &answers).await {
            Ok(vote) => Ok(answer(Down::Installed(put_ballot(&vote)))),
            Err(status) => {
                tracing::warn!(reason = status.message(), "a snapshot was not taken over");
                Err(status)
            }
        };
        let _ = answers.send(last).await;
    });
    ReceiverStream::new(receiver)
}

fn answer(message: Down) -> v1::SnapshotDown {
    v1::SnapshotDown {
        message: Some(message),
    }
}

fn failed(error: &SnapshotError) -> Status {
    Status::aborted(error.to_string())
}

fn panicked(error: &tokio::task::JoinError) -> Status {
    Status::internal(error.to_string())
}

async fn take(
    inner: &Arc<Receiver>,
    mut pieces: Streaming<v1::SnapshotUp>,
    answers: &mpsc::Sender<Result<v1::SnapshotDown, Status>>,
) -> Result<Vote, Status> {
    let first = pieces.message().await?.and_then(|up| up.message);
    let Some(Up::Offer(offer)) = first else {
        return Err(nonsense(&Nonsense("a snapshot begins with its offer")));
    };
    inner.check(offer.envelope.as_ref())?;
    let vote = take_ballot(offer.leader.as_ref()).map_err(|error| nonsense(&error))?;
    let last = offer
        .last
        .as_ref()
        .ok_or_else(|| nonsense(&Nonsense("the offered snapshot is empty")))?;
    let offered = Offered {
        last: take_position(last),
        bytes: offer.bytes,
        checksum: offer.checksum,
    };
    // A deposed leader need not send all of it to learn that it is one.
    let known = inner.raft.metrics().borrow_watched().vote;
    if known.leader_id.term > vote.leader_id.term {
        return Ok(known);
    }
    let intake = &inner.intake;
    intake.offers.send_modify(|offers| *offers += 1);
    let offers = intake.offers.subscribe();
    let _turn = intake.turn.lock().await;
    let (snapshots, reserve) = (Arc::clone(&intake.snapshots), Arc::clone(&intake.reserve));
    let opening = spawn_blocking(move || {
        let incoming = snapshots.incoming(&offered)?;
        let needed = offered.bytes.saturating_sub(incoming.length());
        let available = reserve.budget();
        if needed > available {
            return Err(SnapshotError::NoRoom { needed, available });
        }
        Ok(incoming)
    });
    let incoming = opening
        .await
        .map_err(|error| panicked(&error))?
        .map_err(|error| failed(&error))?;
    tracing::info!(
        bytes = offered.bytes,
        from = incoming.length(),
        index = offered.last.index,
        "receiving a snapshot"
    );
    let from = answer(Down::SendFrom(incoming.length()));
    if answers.send(Ok(from)).await.is_err() {
        return Err(Status::cancelled("the sender is gone"));
    }
    let whole = take_pieces(pieces, incoming, offers).await?;
    let snapshots = Arc::clone(&intake.snapshots);
    let checking = spawn_blocking(move || {
        whole.sync()?;
        match snapshots.inspect(whole.path()) {
            Ok(snapshot) => Ok(snapshot),
            Err(error) => {
                whole.discard()?;
                Err(error)
            }
        }
    });
    let snapshot = checking
        .await
        .map_err(|error| panicked(&error))?
        .map_err(|error| failed(&error))?;
    let installed = inner
        .raft
        .install_full_snapshot(vote, snapshot)
        .await
        .map_err(|error| stopped(&error))?;
    inner.note_stored();
    Ok(installed.vote)
}

async fn take_pieces(
    mut pieces: Streaming<v1::SnapshotUp>,
    mut incoming: Incoming,
    mut offers: watch::Receiver<u64>,
) -> Result<Incoming, Status> {
    while !incoming.is_complete() {
        // Ended between two pieces only: what is being written must be, before anybody else writes.
        let message = tokio::select! {
            _ = offers.changed() => {
                return Err(Status::aborted("another snapshot was offered meanwhile"));
            }
            message = pieces.message() => message?,
        };
        let piece = match message.and_then(|up| up.message) {
            Some(Up::Piece(piece)) => piece,
            Some(Up::Offer(_)) => {
                return Err(nonsense(&Nonsense("a second offer on one stream")));
            }
            None => return Err(Status::aborted("the snapshot ended early")),
        };
        let fits = piece.offset == incoming.length()
            && piece.data.len() <= PIECE
            && incoming.has_room(piece.data.len());
        if !fits {
            return Err(nonsense(&Nonsense("a piece of the snapshot does not fit")));
        }
        if crc32c::crc32c(&piece.data) != piece.checksum {
            return Err(Status::data_loss("a piece does not match its checksum"));
        }
        let writing = spawn_blocking(move || incoming.write(&piece.data).map(|()| incoming));
        incoming = writing
            .await
            .map_err(|error| panicked(&error))?
            .map_err(|error| failed(&error))?;
    }
    Ok(incoming)
}
