//! Reasons: the words by which programs tell one hold, or one wait, from another.
//!
//! A word that only a newer kernel knows is kept and shown as it came, and decides nothing.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$word_doc:meta])* $word:ident,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$word_doc])* $word,)*
            /// A word of a newer kernel.
            Other(String),
        }

        impl $name {
            /// As people and scripts see it.
            pub fn word(&self) -> &str {
                match self {
                    $(Self::$word => stringify!($word),)*
                    Self::Other(word) => word,
                }
            }
        }

        impl From<String> for $name {
            fn from(word: String) -> Self {
                match word.as_str() {
                    $(stringify!($word) => Self::$word,)*
                    _ => Self::Other(word),
                }
            }
        }

        impl Default for $name {
            fn default() -> Self {
                Self::Other(String::new())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.word())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.word())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer).map(Self::from)
            }
        }
    };
}

words! {
    /// Why a revision, or a part of it, is held.
    HoldReason {
        /// Too much would go at once.
        PruneGuard,
        /// Objects go only with a person's word.
        PruneConfirm,
        /// History was rewritten.
        ForcePush,
        /// The branch was there and is not there now.
        BranchMissing,
        /// The repository was there and is not there now.
        RepositoryMissing,
        /// The branch has no commit yet.
        Unborn,
        /// The folder of the manifests is not in the revision.
        EmptyTree,
    }
}

words! {
    /// Why an object is left as it is.
    KeptReason {
        /// Its file has a fault.
        BadFile,
        /// Nothing is taken away while a file of the source has a fault.
        FaultsElsewhere,
        /// `lifecycle.prune: never`.
        PruneNever,
        /// Its kind, or its form, may come with a framework of the same commit.
        WaitsForFramework,
        /// The new version of its framework comes with the same commit, and is held.
        FrameworkHeld,
        /// Its revision is held as a whole.
        RevisionHeld,
        /// It was changed by hand, and `lifecycle.drift` is `report`.
        DriftReported,
        /// Another source has accepted an object of this key.
        OtherSource,
        /// Its newest version was rolled back, and git still asks for it.
        RolledBack,
        /// A framework that git has no more, while objects of its kinds are there.
        InUse,
    }
}

impl KeptReason {
    /// Whether the object is wanted and waits for a framework of its commit.
    pub fn waits(&self) -> bool {
        matches!(self, Self::WaitsForFramework | Self::FrameworkHeld)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_travels_as_its_word_and_one_of_a_newer_kernel_is_kept() {
        for (json, reason) in [
            ("\"PruneGuard\"", HoldReason::PruneGuard),
            ("\"Eclipse\"", HoldReason::Other("Eclipse".to_owned())),
        ] {
            assert_eq!(serde_json::from_str(json).ok(), Some(reason.clone()));
            assert_eq!(serde_json::to_string(&reason).ok().as_deref(), Some(json));
        }
        let known = KeptReason::from("WaitsForFramework".to_owned());
        assert!(known.waits());
        let newer = KeptReason::from("Waits".to_owned());
        assert!(!newer.waits());
    }
}
