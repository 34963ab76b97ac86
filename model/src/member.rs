//! Members of the kernel: what each says about itself, and what people may ask of them.

use serde::{Deserialize, Serialize};

use crate::id::MemberId;
use crate::principal::Principal;
use crate::report::API_VERSION;

/// Which versions of the cluster a program can work with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Supports {
    /// The lowest.
    pub oldest: u32,
    /// The highest.
    pub newest: u32,
}

/// What a member says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberDescription {
    /// A name for people, `[a-z0-9-]`, 1 to 63 characters.
    pub name: String,
    /// Where it listens, `host:port`.
    pub address: String,
    /// Of its program; empty: it has not come yet.
    pub version: String,
    /// Which versions of the cluster it can work with.
    pub supports: Supports,
}

impl MemberDescription {
    /// Longest name, in bytes.
    pub const NAME_BYTES: usize = 63;
    /// Longest address, in bytes.
    pub const ADDRESS_BYTES: usize = 261;
    /// Longest version, in bytes.
    pub const VERSION_BYTES: usize = 64;

    /// What is wrong with it, where something is.
    pub fn objection(&self) -> Option<String> {
        let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty()
            || self.name.len() > Self::NAME_BYTES
            || !self.name.chars().all(is_name)
        {
            return Some("a member's name has 1 to 63 of a-z, 0-9 and -".to_owned());
        }
        let port = self.address.rsplit_once(':').map(|(_, port)| port);
        let is_port = port.is_some_and(|port| port.parse::<u16>().is_ok_and(|port| port > 0));
        if !is_port || self.address.len() > Self::ADDRESS_BYTES {
            return Some(format!("'{}' is not host:port", short(&self.address)));
        }
        (self.version.len() > Self::VERSION_BYTES)
            .then(|| "a version has at most 64 bytes".to_owned())
    }
}

fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// What people may ask of the members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum MemberChange {
    /// Makes room for a further member, which comes by itself once it runs there.
    Add {
        /// Its name.
        name: String,
        /// Where it will listen.
        address: String,
    },
    /// Lets a learner vote, once it has caught up.
    Promote {
        /// Which one.
        member: MemberId,
    },
    /// Takes a member out for good.
    Remove {
        /// Which one.
        member: MemberId,
    },
    /// Makes a voter the leader.
    Transfer {
        /// Which one.
        member: MemberId,
    },
}

/// A change of the members, with who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MemberRequest {
    /// Who asks.
    pub principal: Principal,
    /// What is asked.
    pub change: MemberChange,
}

/// Which member a change was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberAnswer {
    /// Its id.
    pub member: MemberId,
}

/// Whether a member's confirmation counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberRole {
    /// It does.
    Voter,
    /// It follows, and does not count.
    Learner,
}

/// How a member does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum MemberState {
    /// It leads.
    Leader,
    /// It follows.
    Follower,
    /// The leader does not reach it.
    Unreachable,
}

/// One member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberRow {
    /// `mbr_1`.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Whether its confirmation counts.
    pub role: MemberRole,
    /// How it does.
    pub state: MemberState,
    /// Up to where it has the log; absent: not known.
    pub index: Option<u64>,
    /// How many entries it is behind the leader; absent: not known.
    pub lag: Option<u64>,
    /// Of its program; absent: it has not come yet.
    pub version: Option<String>,
}

/// All members.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MemberList {
    /// `kelson/v1`.
    pub api_version: String,
    /// `MemberList`.
    pub kind: String,
    /// The members, by id.
    pub items: Vec<MemberRow>,
}

impl MemberList {
    /// Lists these.
    pub fn new(items: Vec<MemberRow>) -> Self {
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "MemberList".to_owned(),
            items,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_has_a_name_and_an_address_with_a_port() {
        let of = |name: &str, address: &str| MemberDescription {
            name: name.to_owned(),
            address: address.to_owned(),
            ..MemberDescription::default()
        };
        for good in [of("a", "10.0.0.1:7460"), of("rack-1", "[::1]:1")] {
            assert_eq!(good.objection(), None);
        }
        for bad in [
            of("", "h:1"),
            of("A", "h:1"),
            of("a", "h"),
            of("a", "h:0"),
            of("a", "h:70000"),
        ] {
            assert!(bad.objection().is_some(), "{bad:?}");
        }
    }
}
