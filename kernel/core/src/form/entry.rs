//! Entries: a byte 2, a head, and one command in a version of its own.

use kelson_model::principal::Principal;
use kelson_model::time::{ClusterTime, WallTime};

use super::command::{put_command, take_command};
use super::error::FormError;
use super::reader::Reader;
use super::statement::Form;
use super::version::{FORM, Since, level_of, newest, take_form};
use super::writer::Writer;
use crate::apply::Entry;

/// Since which cluster version each version of heads is known.
const HEAD_SINCE: Since = &[0];

/// An entry as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The entry.
    pub entry: Entry,
    /// The cluster version since which members know the form that it has: `apply` refuses it in a
    /// cluster of an older one.
    pub since: u32,
}

/// Everything of an entry but its command.
struct Head {
    principal: Principal,
    at: ClusterTime,
    wall: WallTime,
    term: u64,
    client: Option<(String, u64)>,
    since: Option<ClusterTime>,
}

form!(Head {
    principal,
    at,
    wall,
    term,
    client,
    since
});

/// Writes an entry in the newest forms that a cluster of this version knows.
///
/// # Errors
/// Its command, or something of it, is not known in such a cluster.
pub fn encode_entry(entry: &Entry, cluster_version: u32) -> Result<Vec<u8>, FormError> {
    let Entry {
        principal,
        at,
        wall,
        term,
        client,
        since,
        command,
    } = entry;
    let head = Head {
        principal: principal.clone(),
        at: *at,
        wall: *wall,
        term: *term,
        client: client.clone(),
        since: *since,
    };
    let (version, level) = newest(HEAD_SINCE, "the head of an entry", cluster_version)?;
    let mut to = Writer::new(level);
    to.byte(FORM);
    to.number(version);
    head.put(&mut to);
    put_command(command, cluster_version, &mut to)?;
    to.finish()
}

/// Reads an entry.
///
/// # Errors
/// The bytes are not one that this program knows: the member must stop.
pub fn decode_entry(bytes: &[u8]) -> Result<Decoded, FormError> {
    let mut from = Reader::new(bytes, 0);
    take_form(&mut from)?;
    let version = from.number()?;
    from.set_level(level_of(HEAD_SINCE, "the head of an entry", version)?);
    let Head {
        principal,
        at,
        wall,
        term,
        client,
        since,
    } = Head::take(&mut from)?;
    let level = from.level();
    let command = take_command(&mut from)?;
    from.end()?;
    Ok(Decoded {
        entry: Entry {
            principal,
            at,
            wall,
            term,
            client,
            since,
            command,
        },
        since: level.max(from.level()),
    })
}
