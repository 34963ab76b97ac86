//! The members, as people ask for them and change them.

use std::time::Duration;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State as Shared};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use kelson_model::code::Code;
use kelson_model::member::{MemberAnswer, MemberList, MemberRequest, MemberRow};
use kelson_model::view::ErrorReport;

use tokio::time::timeout;

use super::access::Who;
use super::forward::hand_on;
use super::http::{Answered, Asked, Failure, reply};
use crate::kernel::Kernel;
use crate::members::{AdmitError, MembersError};
use crate::raft::ChangeError;

/// How long the leader is asked for what it knows of the members, for a status.
const ANSWER: Duration = Duration::from_secs(1);
/// Bytes of a list of members, at most.
const LIST_BYTES: usize = 64 << 10;

/// All members.
pub(super) async fn list(Shared(kernel): Shared<Kernel>, asked: Asked) -> Answered {
    asked.state(&kernel).await?;
    reply(MemberList::new(kernel.member_rows()))
}

/// All members, where there are several: as the leader knows them, or as this one does while that
/// does not answer.
pub(super) async fn of_several(kernel: &Kernel) -> Vec<MemberRow> {
    let own = kernel.member_rows();
    if own.len() < 2 {
        return Vec::new();
    }
    let Some((leader, address)) = kernel.leader_elsewhere() else {
        return own;
    };
    let asked = async {
        let request = Request::get("/v1/members").body(Body::empty()).ok()?;
        let answer = hand_on(kernel, leader, &address, request).await.ok()?;
        let bytes = axum::body::to_bytes(answer.into_body(), LIST_BYTES).await;
        let list: MemberList = serde_json::from_slice(&bytes.ok()?).ok()?;
        Some(list.items)
    };
    let told = timeout(ANSWER, asked).await.ok().flatten();
    told.unwrap_or(own)
}

/// Changes who belongs to the cluster; this member leads.
pub(super) async fn change(
    Shared(kernel): Shared<Kernel>,
    Extension(who): Extension<Who>,
    body: Bytes,
) -> Answered {
    let mut asked: MemberRequest =
        serde_json::from_slice(&body).map_err(|error| Failure::bad(error.to_string()))?;
    asked.principal = who.principal(asked.principal);
    match kernel.change_members(asked).await {
        Ok(member) => reply(MemberAnswer { member }),
        Err(MembersError::Admit(AdmitError::Refused(error))) => {
            Ok((StatusCode::CONFLICT, axum::Json(ErrorReport { error })).into_response())
        }
        Err(MembersError::Admit(AdmitError::Submit(error))) if error.is_open() => {
            Err(Failure::leaderless(error.to_string()))
        }
        Err(MembersError::Admit(AdmitError::Submit(error))) => {
            Err(Failure::unavailable(error.to_string()))
        }
        Err(error @ MembersError::Underway(_)) => Err(Failure::leaderless(error.to_string())),
        Err(MembersError::Change(error)) => Err(failure(&error)),
    }
}

fn failure(error: &ChangeError) -> Failure {
    let message = error.to_string();
    match error {
        ChangeError::NotLeader { .. } | ChangeError::Unclear { .. } => Failure::leaderless(message),
        ChangeError::Stopped { .. } => Failure::unavailable(message),
        ChangeError::UsedBefore { .. }
        | ChangeError::Exists { .. }
        | ChangeError::Unknown { .. }
        | ChangeError::Behind { .. }
        | ChangeError::LastVoter { .. }
        | ChangeError::NoVoter { .. }
        | ChangeError::InProgress => Failure::new(
            StatusCode::CONFLICT,
            Code::MemberRefused,
            message,
            "see `kelson members`",
        ),
    }
}
