//! Telling one session its news.

use std::sync::Arc;

use kelson_kernel_core::State;
use kelson_model::session::SessionEnd;
use kelson_proto::v1;
use kelson_proto::v1::kernel_message::Message as Down;
use tokio::sync::watch;

use crate::blobs::Blobs;
use crate::sessions::news::News;
use crate::sessions::pages::Pages;
use crate::sessions::registry::{Ending, Outbox, Session};

/// A message to an agent.
pub(crate) fn say(message: Down) -> v1::KernelMessage {
    v1::KernelMessage {
        message: Some(message),
    }
}

/// Tells a session its news until it ends or nobody reads any more.
///
/// *Flow:* whatever has become news since the last time is told as the newest state has it;
/// everything, between a begin and an end. *Guarantees:* what was news is told, or the session is
/// over; an agent that is slow holds up nobody and is told less often. *Caveats:* assignments of
/// one task may be skipped, never the newest.
pub(crate) async fn run_writer(
    session: Arc<Session>,
    view: watch::Receiver<State>,
    blobs: Blobs,
    outbox: Outbox,
) {
    tokio::select! {
        () = session.ended() => {}
        () = write(&session, &view, &blobs, &outbox) => {}
    }
}

async fn write(session: &Session, view: &watch::Receiver<State>, blobs: &Blobs, outbox: &Outbox) {
    loop {
        let news = session.unsaid.take().await;
        let state = view.borrow().clone();
        let (agent, blobs) = (session.agent, blobs.clone());
        let is_everything = news == News::Everything;
        let mut pages = match news {
            News::Everything => Pages::all(state, agent, blobs),
            News::Tasks(tasks) => Pages::new(state, agent, tasks, blobs),
        };
        let send = async |down: Down| outbox.send(Ok(say(down))).await.is_ok();
        if is_everything && !send(Down::ListBegin(v1::ListBegin {})).await {
            return;
        }
        loop {
            let cut = tokio::task::spawn_blocking(move || {
                let page = pages.next_page();
                (pages, page)
            });
            let Ok((back, page)) = cut.await else {
                let message = "the assignments could not be written";
                session.cut(Ending::new(SessionEnd::Unavailable, message));
                return;
            };
            pages = back;
            let Some(page) = page else { break };
            if !send(Down::Assignments(page)).await {
                return;
            }
        }
        if is_everything && !send(Down::ListEnd(v1::ListEnd {})).await {
            return;
        }
    }
}
