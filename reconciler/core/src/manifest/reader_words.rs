//! The words of the YAML reader by which its reasons are told apart: it has no kinds of errors. The
//! tests below hold that it still says them.

/// What a reader of YAML complains about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Complaint {
    /// More brackets within each other than it counts.
    TooDeep,
    /// A tab.
    Tab,
    /// An alias to an anchor that there is not.
    UnknownAnchor,
    /// An anchor or an alias.
    Anchor,
    /// A colon where no value may follow.
    Value,
    /// Something that stands where a key belongs.
    Key,
    /// Something that stands where an item of a list belongs.
    Item,
    /// A sign that begins nothing.
    Sign,
    /// A text in quotes.
    Quoted,
    /// Brackets and what is in them.
    Bracket,
    /// Nothing where a value belongs.
    NoValue,
}

impl Complaint {
    /// The words that stand in its text.
    fn words(self) -> &'static str {
        match self {
            Self::TooDeep => "recursion limit",
            Self::Tab => " tab",
            Self::UnknownAnchor => "unknown anchor",
            Self::Anchor => "anchor",
            Self::Value => "mapping values are not allowed",
            Self::Key => "expected key",
            Self::Item => "expected '-'",
            Self::Sign => "unexpected character",
            Self::Quoted => "quoted scalar",
            Self::Bracket => "flow",
            Self::NoValue => "expected node content",
        }
    }

    /// Whether the reader says this.
    pub(crate) fn is_in(self, info: &str) -> bool {
        info.contains(self.words())
    }
}

#[cfg(test)]
mod tests {
    use saphyr_parser::{Parser, StrInput};

    use super::Complaint::{self, *};

    fn said(text: &str) -> String {
        let mut parser: Parser<'_, StrInput<'_>> = Parser::new_from_str(text);
        let error = std::iter::from_fn(|| parser.next_event()).find_map(Result::err);
        error.map_or_else(String::new, |error| error.info().to_owned())
    }

    #[test]
    fn the_reader_says_the_words_that_are_looked_for() {
        let deep = "[".repeat(300);
        let cases: &[(&str, &[Complaint])] = &[
            (&deep, &[TooDeep]),
            ("a: |\n\t\tx\n", &[Tab]),
            ("a: *b\n", &[UnknownAnchor, Anchor]),
            ("a: & x\n", &[Anchor]),
            ("a: b: c\n", &[Value]),
            ("a:\n    b: 1\n  c: 2\n", &[Key]),
            ("- a\nb: 1\n", &[Item]),
            ("a: @x\n", &[Sign]),
            ("a: 'x\n", &[Quoted]),
            ("a: \"x\n", &[Quoted]),
            ("a: [1 2: 3\n", &[Bracket]),
            ("a: [1, ,]\n", &[NoValue]),
        ];
        for (text, complaints) in cases {
            for complaint in *complaints {
                let said = said(text);
                assert!(complaint.is_in(&said), "{complaint:?} of {text:?}: {said}");
            }
        }
    }
}
