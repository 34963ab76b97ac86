//! Versions of forms, and since which version of a cluster each is known.

use super::error::FormError;
use super::reader::Reader;

/// What pieces of the log begin with. The first form began with 8, so that a program which knows
/// that one alone refuses this one.
pub const FORM: u8 = 2;

/// The newest cluster version that this program knows. A cluster has it once all its members know
/// it; a member of a cluster with a newer one stops.
pub const CLUSTER_VERSION: u32 = 1;

/// The versions of something: since which cluster version each is known, from version 1 on.
pub(super) type Since = &'static [u32];

/// The newest version that a cluster knows, and its level.
pub(super) fn newest(
    versions: Since,
    what: &'static str,
    cluster_version: u32,
) -> Result<(u64, u32), FormError> {
    let known = (1..).zip(versions.iter().copied());
    known
        .take_while(|(_, since)| *since <= cluster_version)
        .last()
        .ok_or(FormError::NotYet {
            what,
            since: versions.first().copied().unwrap_or(u32::MAX),
            version: cluster_version,
        })
}

/// The level of a version.
pub(super) fn level_of(
    versions: Since,
    what: &'static str,
    version: u64,
) -> Result<u32, FormError> {
    let place = version.checked_sub(1).map(usize::try_from);
    place
        .and_then(|place| versions.get(place.ok()?))
        .copied()
        .ok_or(FormError::Version { what, version })
}

/// Reads the byte with which a piece begins.
pub(super) fn take_form(from: &mut Reader<'_>) -> Result<(), FormError> {
    match from.byte()? {
        FORM => Ok(()),
        byte => Err(FormError::Unknown {
            what: "form",
            number: u64::from(byte),
        }),
    }
}
