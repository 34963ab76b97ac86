//! `kelson members`.

use anyhow::Result;
use clap::{Args, Subcommand};
use kelson_model::id::MemberId;
use kelson_model::member::{
    MemberAnswer, MemberChange, MemberList, MemberRequest, MemberRole, MemberRow, MemberState,
};
use kelson_model::principal::Principal;

use crate::client::user;
use crate::context::Context;
use crate::exit::Exit;
use crate::output::{Cell, Palette, Table, Tint, plain, print};

/// What may be typed behind `members`.
#[derive(Debug, Args)]
pub(crate) struct Members {
    #[command(subcommand)]
    change: Option<Change>,
}

#[derive(Debug, Subcommand)]
enum Change {
    /// Makes room for a further member, which comes once its kernel runs there
    Add {
        /// Where it will listen
        #[arg(value_name = "HOST:PORT")]
        address: String,
        /// Its name
        #[arg(long)]
        name: String,
    },
    /// Lets a learner vote, once it has caught up
    Promote {
        /// The member, mbr_2
        member: MemberId,
    },
    /// Takes a member out for good
    Remove {
        /// The member, mbr_2
        member: MemberId,
    },
    /// Makes a voter the leader
    Transfer {
        /// The member, mbr_2
        member: MemberId,
    },
}

pub(crate) async fn run(arguments: &Members, context: &Context) -> Result<Exit> {
    const PATH: &str = "/v1/members";
    let client = context.client().await?;
    let Some(change) = &arguments.change else {
        let list: MemberList = client.get_as(PATH, &[]).await?;
        let palette = context.palette();
        print(context.format(), &list, |is_wide| {
            table(&list.items, is_wide, palette)
        })?;
        return Ok(Exit::Done);
    };
    let (change, done) = match change {
        Change::Add { address, name } => {
            let (name, address) = (name.clone(), address.clone());
            (MemberChange::Add { name, address }, "has a place")
        }
        Change::Promote { member } => (MemberChange::Promote { member: *member }, "votes"),
        Change::Remove { member } => (MemberChange::Remove { member: *member }, "is removed"),
        Change::Transfer { member } => (MemberChange::Transfer { member: *member }, "leads"),
    };
    let request = MemberRequest {
        principal: Principal::new(&user(), "cli"),
        change,
    };
    let answer: MemberAnswer = client.post_as(PATH, &request).await?;
    print(context.format(), &answer, |_| {
        format!("{} {done}\n", answer.member)
    })?;
    Ok(Exit::Done)
}

/// The members as a table.
pub(crate) fn table(members: &[MemberRow], is_wide: bool, palette: Palette) -> String {
    let mut heads = vec!["ID", "NAME", "ROLE", "STATE", "LAG", "ADDRESS"];
    if is_wide {
        heads.extend(["INDEX", "VERSION"]);
    }
    let mut table = Table::new(heads);
    for member in members {
        table.push(cells(member, is_wide));
    }
    table.render(palette)
}

fn cells(member: &MemberRow, is_wide: bool) -> Vec<Cell> {
    let number = |known: Option<u64>| known.map_or_else(|| "-".to_owned(), |it| it.to_string());
    let role = match member.role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
    };
    let state = match member.state {
        MemberState::Leader => Cell::new("leader", Tint::Good),
        MemberState::Follower => Cell::new("follower", Tint::Good),
        MemberState::Unreachable => Cell::new("unreachable", Tint::Bad),
    };
    let mut cells: Vec<Cell> = vec![
        member.id.as_str().into(),
        plain(&member.name).into(),
        role.into(),
        state,
        number(member.lag).into(),
        plain(&member.address).into(),
    ];
    if is_wide {
        cells.push(number(member.index).into());
        let version = member.version.as_deref().unwrap_or("-");
        cells.push(plain(version).into());
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_cannot_be_reached_is_shown_without_its_lag() {
        let row = |id: &str, state, lag| MemberRow {
            id: id.to_owned(),
            name: "a".to_owned(),
            address: "10.0.0.1:7460".to_owned(),
            role: MemberRole::Voter,
            state,
            index: lag,
            lag,
            version: None,
        };
        let members = [
            row("mbr_1", MemberState::Leader, Some(0)),
            row("mbr_2", MemberState::Unreachable, None),
        ];
        let text = table(&members, false, Palette::plain());
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split_whitespace().collect())
            .collect();
        assert_eq!(
            lines,
            [
                vec!["ID", "NAME", "ROLE", "STATE", "LAG", "ADDRESS"],
                vec!["mbr_1", "a", "voter", "leader", "0", "10.0.0.1:7460"],
                vec!["mbr_2", "a", "voter", "unreachable", "-", "10.0.0.1:7460"],
            ]
        );
    }
}
