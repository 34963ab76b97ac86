//! Codes: every kind of error that a person can do something about, of all rooms.
//!
//! A code is told in text and JSON by its id, and has a page of that name under docs/errors. This
//! is the one list of them: whoever decides by a code compares values of [`Code`], never text.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a code is about; its codes begin alike and share a part of docs/errors/README.md.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Area {
    /// K01: faults of a commit or of the working tree.
    Manifests,
    /// K03: what the kernel refuses or cannot answer.
    Requests,
}

macro_rules! codes {
    ($($area:ident { $($(#[$doc:meta])* $name:ident = $id:literal, $title:literal;)* })*) => {
        /// What kind of thing is wrong.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Code { $($($(#[$doc])* $name,)*)* }

        impl Code {
            /// All codes, in the order of their numbers.
            pub const ALL: &'static [Code] = &[$($(Code::$name,)*)*];

            /// The code as people see it, `K0102`; the page is `docs/errors/K0102.md`.
            pub fn id(self) -> &'static str {
                match self { $($(Code::$name => $id,)*)* }
            }

            /// A few words, the title of the page.
            pub fn title(self) -> &'static str {
                match self { $($(Code::$name => $title,)*)* }
            }

            /// What it is about.
            pub fn area(self) -> Area {
                match self { $($(Code::$name => Area::$area,)*)* }
            }
        }
    };
}

codes! {
    Manifests {
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
        /// What is allowed, and is hardly ever meant: a warning.
        Unlikely = "K0129", "A value is hardly what was meant";
    }
    Requests {
        /// A plan that was made against another state than the present one.
        StalePlan = "K0301", "The plan was made against another state";
        /// An object, or a seat of a framework, that is not there.
        NoSuchObject = "K0302", "There is no such object";
        /// A task that is not there, or that has ended.
        NoSuchTask = "K0303", "There is no such task, or it has ended";
        /// A change by hand that the object's form does not take.
        UnsettableField = "K0304", "A field cannot be changed so";
        /// A request behind which its client has asked for more.
        TooLate = "K0305", "A request comes too late";
        /// Parts of a revision that are missing, or that come out of order.
        NotStaged = "K0306", "A revision is not staged as announced";
        /// A revision, or a hold of it, that is not there to be confirmed.
        NotHeld = "K0307", "There is no such held revision";
        /// A session of an agent that is over, or may not begin.
        AgentRefused = "K0308", "An agent may not do this";
        /// A weight of a namespace beyond what is allowed.
        BadWeight = "K0309", "This is not a weight";
        /// A reply that only the kernel itself should see.
        NotForClients = "K0310", "The kernel gave an answer that is not for clients";
        /// A request over HTTP that says nothing the kernel knows.
        UnreadableRequest = "K0311", "A request over HTTP cannot be read";
        /// A kernel that cannot record or compute at the moment.
        Unavailable = "K0312", "The kernel cannot answer now";
        /// A request that a browser sends for somebody else's page.
        ForeignPage = "K0313", "A web page of another origin asked";
        /// A request, or what it comes to, beyond a limit of the kernel.
        TooMuchAtOnce = "K0314", "It is more than is taken at once";
        /// A version of the cluster that is not above the present one.
        ClusterVersion = "K0315", "A cluster's version only goes up";
        /// A command that the cluster's version does not know.
        NotKnownYet = "K0316", "Not every member knows this yet";
        /// A request of a client of which nothing is remembered any more.
        ClientForgotten = "K0317", "A client is not known any more";
        /// A cluster without a leader, or a proposal whose outcome is not known.
        NoLeader = "K0318", "No member leads at the moment";
        /// A member that may not come, or that is not there.
        MemberRefused = "K0319", "A member cannot be admitted or changed";
        /// The output of a task that its agent has dropped.
        OutputGone = "K0320", "The output of a task is not kept any more";
        /// The output of a task whose agent does not answer.
        OutputAway = "K0321", "The output of a task cannot be read now";
        /// A verb that the scheduler does not answer.
        NoQueryAnswer = "K0330", "A framework does not answer a query";
        /// Nobody that the cluster knows: no certificate, no token, or one that does not hold.
        NotKnown = "K0340", "It is not known who asks";
        /// Somebody whose role does not allow it, or not there.
        Denied = "K0341", "Whoever asks may not do this";
        /// A token that does not hold, or is none that may be made.
        TokenRefused = "K0342", "A token is refused";
    }
}

impl Code {
    /// Whether a fault of this code keeps something of a revision back. The others say something of
    /// a source that is applied all the same.
    pub fn keeps_back(self) -> bool {
        !matches!(self, Self::TooMuchDrift | Self::Unlikely)
    }

    /// The codes of an area, in the order of their numbers.
    pub fn of(area: Area) -> impl Iterator<Item = Code> {
        let all = Self::ALL.iter().copied();
        all.filter(move |code| code.area() == area)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}

/// A code as it was told: one of the list, or one that only a newer kernel knows, which is shown as
/// it came and decides nothing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToldCode(Cow<'static, str>);

impl ToldCode {
    /// The code, if it is one of the list.
    pub fn known(&self) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.id() == self.0)
    }

    /// What is shown, `K0102`.
    pub fn id(&self) -> &str {
        &self.0
    }
}

impl From<Code> for ToldCode {
    fn from(code: Code) -> Self {
        Self(Cow::Borrowed(code.id()))
    }
}

impl From<String> for ToldCode {
    fn from(id: String) -> Self {
        Self(Cow::Owned(id))
    }
}

impl PartialEq<Code> for ToldCode {
    fn eq(&self, code: &Code) -> bool {
        self.known() == Some(*code)
    }
}

impl fmt::Display for ToldCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ToldCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ToldCode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_in_order_and_each_id_is_one_code_of_its_area() {
        for pair in Code::ALL.windows(2) {
            if let [before, after] = pair {
                assert!(before.id() < after.id(), "{before} stands before {after}");
            }
        }
        for code in Code::ALL {
            assert_eq!(ToldCode::from(*code).known(), Some(*code));
            let area = match code.area() {
                Area::Manifests => "K01",
                Area::Requests => "K03",
            };
            assert!(
                code.id().starts_with(area) && code.id().len() == 5,
                "{code}"
            );
        }
    }

    #[test]
    fn a_code_travels_as_its_id_and_one_of_a_newer_kernel_stays_readable() {
        let told = ToldCode::from(Code::StalePlan);
        let json = serde_json::to_string(&told).unwrap_or_default();
        assert_eq!(json, "\"K0301\"");
        assert_eq!(serde_json::from_str::<ToldCode>(&json).ok(), Some(told));
        let newer: Option<ToldCode> = serde_json::from_str("\"K9901\"").ok();
        let newer = newer.map(|told| (told.known(), told.to_string()));
        assert_eq!(newer, Some((None, "K9901".to_owned())));
    }
}
