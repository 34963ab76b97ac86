//! The codes of faults in manifests. Every one has a page of its name under docs/errors.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)*) => {
        /// What kind of thing is wrong with a manifest.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$(Code::$name,)*];

            /// The code as people see it, `K0102`; the page is `docs/errors/K0102.md`.
            pub fn id(self) -> &'static str {
                match self { $(Code::$name => $id,)* }
            }

            /// A few words, the title of the page.
            pub fn title(self) -> &'static str {
                match self { $(Code::$name => $title,)* }
            }
        }
    };
}

codes! {
    /// The bytes are not UTF-8.
    NotUtf8 = "K0101", "A manifest is not UTF-8";
    /// A field that the kind does not have.
    UnknownField = "K0102", "A field is not known";
    /// A document that no reader of YAML takes.
    Syntax = "K0103", "A manifest is not valid YAML";
    /// A tab where YAML wants spaces.
    Tab = "K0104", "A line is indented with a tab";
    /// One key twice in one mapping.
    DuplicateKey = "K0105", "A key stands twice";
    /// The file, its depth or its number of values is beyond what is read.
    TooBig = "K0106", "A manifest is too big";
    /// Aliases that would unfold to too much.
    Expansion = "K0107", "Aliases unfold to too much";
    /// Tags, merge keys, keys that are not text.
    Unsupported = "K0108", "A form of YAML that manifests do not use";
    /// A plain value that YAML readers read differently.
    Surprise = "K0109", "A value without quotes means different things to different readers";
    /// The two readers of this program do not agree on a file.
    Disagreement = "K0110", "A file can be read in two ways";
    /// A document that is a list or a single value.
    NotAnObject = "K0111", "A document is not a mapping";
    /// A field that must be there is not.
    MissingField = "K0112", "A field is missing";
    /// A value of the wrong type.
    WrongType = "K0113", "A value is of the wrong type";
    /// Another `apiVersion`.
    ApiVersion = "K0114", "The apiVersion is not known";
    /// A kind that no framework brings.
    UnknownKind = "K0115", "The kind is not known";
    /// A name, namespace or port name that is not made of the allowed characters.
    BadName = "K0116", "A name is not allowed";
    /// A quantity without its unit, or with another.
    BadQuantity = "K0117", "A quantity is not readable";
    /// A value outside what is allowed.
    BadValue = "K0118", "A value is not allowed";
    /// None, or more than one, of fields that exclude each other.
    ExactlyOne = "K0119", "Exactly one of several fields must be there";
    /// Two documents name the same object.
    DuplicateObject = "K0120", "Two manifests name the same object";
    /// A manifest refers to a file that the commit does not have.
    MissingFile = "K0121", "A file that a manifest refers to is not there";
    /// The file is there, and is not the one that the manifest pins.
    DigestMismatch = "K0122", "A file is not the one that the manifest pins";
    /// A path that leaves the repository, or names a folder.
    BadPath = "K0123", "A path names no file of the repository";
    /// The framework that handles the kind refuses the specification.
    Rejected = "K0124", "The framework refuses the specification";
    /// A file of the tree that cannot be a manifest.
    UnreadableFile = "K0125", "A file cannot be read as a manifest";
    /// More faults than are listed.
    TooManyFaults = "K0126", "More faults than are listed";
    /// A field that is reserved and not built yet.
    Reserved = "K0127", "A field is reserved";
    /// More drift than is listed.
    TooMuchDrift = "K0128", "More drift than is listed";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}
