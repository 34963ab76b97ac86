//! Who a data directory belongs to: one member of one cluster, for ever.
//!
//! A member id used twice, or a log of one cluster read by another, can lose committed entries; so
//! both are written once and compared at each start.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::config::Beginning;
use super::error::RaftError;
use super::wire::Fields;

const MAGIC: &[u8; 8] = b"KELSONID";
/// The version of a member that joined; a founder's is the one before, without the last byte.
const VERSION: u32 = 2;
const FOUNDER: u32 = 1;
const JOINED: u8 = 1;

/// The name of a cluster: 128 random bits, drawn when its first member starts on an empty
/// directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClusterId([u8; 16]);

impl ClusterId {
    /// Takes 16 bytes as they are.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Gives the 16 bytes.
    #[must_use]
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0
    }

    /// Draws a new one from the system's random source.
    ///
    /// # Errors
    /// When the system has no random source to give.
    pub fn random() -> io::Result<Self> {
        let mut bytes = [0_u8; 16];
        let mut filled = 0;
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            filled += rustix::rand::getrandom(rest, rustix::rand::GetRandomFlags::empty())?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, byte) in self.0.iter().enumerate() {
            if matches!(position, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ClusterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterId({self})")
    }
}

/// What the identity file says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The cluster.
    pub(crate) cluster: ClusterId,
    /// The member's number in it.
    pub(crate) member: u64,
    /// What the directory was made for. A member that joins and was never heard of again must not
    /// make a cluster of its own.
    pub(crate) beginning: Beginning,
}

impl Identity {
    fn encode(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(41);
        out.extend(MAGIC);
        let version = match self.beginning {
            Beginning::Found => FOUNDER,
            Beginning::Join => VERSION,
        };
        out.extend(version.to_le_bytes());
        out.extend(self.cluster.0);
        out.extend(self.member.to_le_bytes());
        if self.beginning == Beginning::Join {
            out.push(JOINED);
        }
        let checksum = crc32c::crc32c(&out);
        out.extend(checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8], path: &Path) -> Result<Self, RaftError> {
        let damaged = || RaftError::DamagedIdentity {
            path: path.to_owned(),
        };
        let mut fields = Fields::new(bytes);
        if fields.array::<8>().as_ref() != Some(MAGIC) {
            return Err(damaged());
        }
        let version = fields.u32().ok_or_else(damaged)?;
        if !(FOUNDER..=VERSION).contains(&version) {
            return Err(RaftError::UnknownVersion {
                path: path.to_owned(),
                found: version,
                supported: VERSION,
            });
        }
        let cluster = ClusterId(fields.array().ok_or_else(damaged)?);
        let member = fields.u64().ok_or_else(damaged)?;
        let beginning = match version {
            FOUNDER => Beginning::Found,
            _ if fields.u8() == Some(JOINED) => Beginning::Join,
            _ => return Err(damaged()),
        };
        let covered = bytes.len().checked_sub(4).ok_or_else(damaged)?;
        let checksum = fields.u32().ok_or_else(damaged)?;
        let covered = bytes.get(..covered).ok_or_else(damaged)?;
        if checksum != crc32c::crc32c(covered) || !fields.is_empty() {
            return Err(damaged());
        }
        Ok(Self {
            cluster,
            member,
            beginning,
        })
    }
}

/// Reads the identity of `directory`.
pub(crate) fn read_identity(directory: &Path) -> Result<Identity, RaftError> {
    let path = directory.join("identity");
    let bytes = fs::read(&path).map_err(|source| RaftError::io("reading", &path, source))?;
    Identity::decode(&bytes, &path)
}

/// Reads the identity of `directory`, or writes one when the directory has none; compares with what
/// the caller expects.
pub(crate) fn ensure_identity(
    directory: &Path,
    member: u64,
    cluster: Option<ClusterId>,
    beginning: Beginning,
) -> Result<Identity, RaftError> {
    let path = directory.join("identity");
    let found = match fs::read(&path) {
        Ok(bytes) => Identity::decode(&bytes, &path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if let Some(orphan) = first_entry(&directory.join("log"))
                .or_else(|| first_entry(&directory.join("snapshots")))
            {
                return Err(RaftError::MissingIdentity {
                    path,
                    found: orphan,
                });
            }
            let cluster = match cluster {
                Some(cluster) => cluster,
                None if beginning == Beginning::Join => {
                    return Err(RaftError::NoCluster { member });
                }
                None => ClusterId::random()
                    .map_err(|source| RaftError::io("drawing a cluster id for", &path, source))?,
            };
            let identity = Identity {
                cluster,
                member,
                beginning,
            };
            write_durably(&path, &identity.encode())
                .map_err(|source| RaftError::io("writing", &path, source))?;
            identity
        }
        Err(source) => return Err(RaftError::io("reading", &path, source)),
    };
    if found.member != member {
        return Err(RaftError::WrongMember {
            path,
            found: found.member,
            expected: member,
        });
    }
    match cluster {
        Some(expected) if expected != found.cluster => Err(RaftError::WrongCluster {
            path,
            found: found.cluster,
            expected,
        }),
        _ => Ok(found),
    }
}

fn first_entry(directory: &Path) -> Option<PathBuf> {
    Some(fs::read_dir(directory).ok()?.next()?.ok()?.path())
}

/// Writes a small file so that after a crash either all of it is there or nothing.
fn write_durably(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let unfinished = path.with_extension("tmp");
    let mut file = File::create(&unfinished)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Makes creations, renames and removals in a directory durable.
pub(crate) fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;

    const CLUSTER: ClusterId = ClusterId::from_bytes(*b"0123456789abcdef");

    #[test]
    fn the_identity_file_keeps_its_bytes() {
        let bytes = Identity {
            cluster: CLUSTER,
            member: 7,
            beginning: Beginning::Found,
        }
        .encode();
        let mut expected = b"KELSONID\x01\0\0\x000123456789abcdef\x07\0\0\0\0\0\0\0".to_vec();
        expected.extend(0xa01f_6790_u32.to_le_bytes());
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_member_that_joined_stays_one_and_its_bytes_are_kept() {
        let identity = Identity {
            cluster: CLUSTER,
            member: 7,
            beginning: Beginning::Join,
        };
        let mut expected = b"KELSONID\x02\0\0\x000123456789abcdef\x07\0\0\0\0\0\0\0\x01".to_vec();
        expected.extend(crc32c::crc32c(&expected).to_le_bytes());
        assert_eq!(identity.encode(), expected);
        let directory = tempfile::tempdir().unwrap();
        let join = || ensure_identity(directory.path(), 7, None, Beginning::Join);
        assert!(matches!(join(), Err(RaftError::NoCluster { member: 7 })));
        let joined = ensure_identity(directory.path(), 7, Some(CLUSTER), Beginning::Join).unwrap();
        assert_eq!(joined, identity);
        let again = ensure_identity(directory.path(), 7, None, Beginning::Found).unwrap();
        assert_eq!(again, identity);
        for position in 0..expected.len() {
            let mut bad = expected.clone();
            bad[position] ^= 1;
            assert!(
                Identity::decode(&bad, directory.path()).is_err(),
                "byte {position}"
            );
        }
    }

    #[test]
    fn a_directory_keeps_its_identity_and_refuses_another() {
        let directory = tempfile::tempdir().unwrap();
        let first = ensure_identity(directory.path(), 1, None, Beginning::Found).unwrap();
        assert_eq!(
            ensure_identity(directory.path(), 1, Some(first.cluster), Beginning::Found).unwrap(),
            first
        );
        assert!(matches!(
            ensure_identity(directory.path(), 2, None, Beginning::Found),
            Err(RaftError::WrongMember {
                found: 1,
                expected: 2,
                ..
            })
        ));
        assert!(matches!(
            ensure_identity(directory.path(), 1, Some(CLUSTER), Beginning::Found),
            Err(RaftError::WrongCluster { .. })
        ));
    }

    #[test]
    fn any_flipped_bit_of_an_identity_is_noticed() {
        let directory = tempfile::tempdir().unwrap();
        ensure_identity(directory.path(), 1, Some(CLUSTER), Beginning::Found).unwrap();
        let path = directory.path().join("identity");
        let good = fs::read(&path).unwrap();
        for position in 0..good.len() {
            let mut bad = good.clone();
            bad[position] ^= 1;
            fs::write(&path, &bad).unwrap();
            assert!(
                ensure_identity(directory.path(), 1, None, Beginning::Found).is_err(),
                "byte {position}"
            );
        }
    }

    #[test]
    fn a_log_without_an_identity_is_not_taken_for_a_new_cluster() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("log")).unwrap();
        fs::write(directory.path().join("log/0000000000000001.wal"), b"x").unwrap();
        assert!(matches!(
            ensure_identity(directory.path(), 1, None, Beginning::Found),
            Err(RaftError::MissingIdentity { .. })
        ));
    }

    #[test]
    fn a_cluster_id_prints_as_a_uuid() {
        assert_eq!(CLUSTER.to_string(), "30313233-3435-3637-3839-616263646566");
    }
}
