//! The wildcards of gitignore patterns: `*`, `?`, `[…]`, `**`.
//!
//! A match costs pattern length times text length at most, whatever the pattern: it is simulated,
//! never backtracked.

/// Matches a text, byte by byte as git does, with `/` between names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wildcard {
    tokens: Vec<Token>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    /// This byte.
    Byte(u8),
    /// `?`: any byte but `/`.
    One,
    /// `*`: any number of bytes but `/`.
    Star,
    /// `**` at the end of a pattern: any number of bytes.
    Rest,
    /// The start of `**/`: it and `Folders` after it may be passed over.
    MaybeFolders,
    /// The rest of `**/`: any number of bytes that end with `/`.
    Folders,
    /// `[a-z]`.
    Class {
        ranges: Vec<(u8, u8)>,
        negated: bool,
    },
    /// What git never matches: a class without its end, a lone backslash at the end.
    Never,
}

impl Wildcard {
    /// Compiles a pattern; every text is one.
    pub(super) fn new(pattern: &str) -> Self {
        let mut rest = pattern.as_bytes();
        let mut tokens = Vec::new();
        let mut after_slash = true;
        while let Some((first, tail)) = rest.split_first() {
            rest = tail;
            let token = match first {
                b'\\' => match rest.split_first() {
                    Some((escaped, tail)) => {
                        rest = tail;
                        Token::Byte(*escaped)
                    }
                    None => Token::Never,
                },
                b'?' => Token::One,
                b'*' => {
                    let stars = rest.iter().take_while(|byte| **byte == b'*').count();
                    rest = rest.get(stars..).unwrap_or_default();
                    match rest {
                        [] if stars > 0 && after_slash => Token::Rest,
                        [b'/', tail @ ..] | [b'\\', b'/', tail @ ..]
                            if stars > 0 && after_slash =>
                        {
                            rest = tail;
                            tokens.push(Token::MaybeFolders);
                            Token::Folders
                        }
                        _ => Token::Star,
                    }
                }
                b'[' => match class(rest) {
                    Some((token, tail)) => {
                        rest = tail;
                        token
                    }
                    None => Token::Never,
                },
                byte => Token::Byte(*byte),
            };
            after_slash = matches!(token, Token::Byte(b'/') | Token::Folders);
            tokens.push(token);
        }
        Self { tokens }
    }

    /// Tells whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        // `live[n]`: the text so far can be matched by the first n tokens.
        let mut live = vec![false; self.tokens.len() + 1];
        if let Some(first) = live.first_mut() {
            *first = true;
        }
        self.skip_empty(&mut live);
        for byte in text.bytes() {
            let mut next = vec![false; live.len()];
            let mut any = false;
            for (at, token) in self.tokens.iter().enumerate() {
                if !live.get(at).copied().unwrap_or(false) {
                    continue;
                }
                let (stay, step) = match token {
                    Token::Byte(wanted) => (false, byte == *wanted),
                    Token::One => (false, byte != b'/'),
                    Token::Star => (byte != b'/', false),
                    Token::Rest => (true, false),
                    Token::Folders => (true, byte == b'/'),
                    Token::Class { ranges, negated } => {
                        let within = ranges
                            .iter()
                            .any(|(low, high)| (*low..=*high).contains(&byte));
                        (false, byte != b'/' && within != *negated)
                    }
                    Token::MaybeFolders | Token::Never => (false, false),
                };
                any |= stay | step;
                for (reached, to) in [(stay, at), (step, at + 1)] {
                    if let (true, Some(place)) = (reached, next.get_mut(to)) {
                        *place = true;
                    }
                }
            }
            if !any {
                return false;
            }
            live = next;
            self.skip_empty(&mut live);
        }
        live.last().copied().unwrap_or(false)
    }

    /// Marks what can be reached by tokens that match nothing.
    fn skip_empty(&self, live: &mut [bool]) {
        for (at, token) in self.tokens.iter().enumerate() {
            if !live.get(at).copied().unwrap_or(false) {
                continue;
            }
            let steps: &[usize] = match token {
                Token::Star | Token::Rest => &[1],
                Token::MaybeFolders => &[1, 2],
                Token::Byte(_)
                | Token::One
                | Token::Folders
                | Token::Class { .. }
                | Token::Never => &[],
            };
            for step in steps {
                if let Some(place) = live.get_mut(at + step) {
                    *place = true;
                }
            }
        }
    }
}

/// Reads a class after its `[`; nothing if it has no end.
fn class(pattern: &[u8]) -> Option<(Token, &[u8])> {
    let (negated, mut rest) = match pattern {
        [b'!' | b'^', tail @ ..] => (true, tail),
        tail => (false, tail),
    };
    let mut ranges = Vec::new();
    let mut first = true;
    loop {
        let (byte, tail) = rest.split_first()?;
        rest = tail;
        let low = match byte {
            b']' if !first => return Some((Token::Class { ranges, negated }, rest)),
            b'[' if rest.first() == Some(&b':') => {
                let inner = rest.get(1..).unwrap_or_default();
                let end = inner.iter().position(|byte| *byte == b']')?;
                match inner.get(..end)?.strip_suffix(b":") {
                    Some(name) => {
                        ranges.extend_from_slice(named_class(name)?);
                        rest = inner.get(end + 1..)?;
                        first = false;
                        continue;
                    }
                    // Not the name of a class after all.
                    None => b'[',
                }
            }
            b'\\' => {
                let (escaped, tail) = rest.split_first()?;
                rest = tail;
                *escaped
            }
            byte => *byte,
        };
        first = false;
        let high = match rest {
            [b'-', b']', ..] => low,
            [b'-', b'\\', high, tail @ ..] | [b'-', high, tail @ ..] => {
                rest = tail;
                *high
            }
            _ => low,
        };
        ranges.push((low, high));
    }
}

fn named_class(name: &[u8]) -> Option<&'static [(u8, u8)]> {
    Some(match name {
        b"alnum" => &[(b'0', b'9'), (b'A', b'Z'), (b'a', b'z')],
        b"alpha" => &[(b'A', b'Z'), (b'a', b'z')],
        b"blank" => &[(b' ', b' '), (b'\t', b'\t')],
        b"cntrl" => &[(0, 0x1f), (0x7f, 0x7f)],
        b"digit" => &[(b'0', b'9')],
        b"graph" => &[(0x21, 0x7e)],
        b"lower" => &[(b'a', b'z')],
        b"print" => &[(0x20, 0x7e)],
        b"punct" => &[(0x21, 0x2f), (0x3a, 0x40), (0x5b, 0x60), (0x7b, 0x7e)],
        b"space" => &[(b' ', b' '), (b'\t', b'\r')],
        b"upper" => &[(b'A', b'Z')],
        b"xdigit" => &[(b'0', b'9'), (b'A', b'F'), (b'a', b'f')],
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_as_git_says() {
        for (pattern, text, wanted) in [
            ("foo", "foo", true),
            ("foo", "fooo", false),
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a/b.yaml", false),
            ("f?o", "f/o", false),
            ("**/foo", "foo", true),
            ("**/foo", "a/b/foo", true),
            ("**/foo", "afoo", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/xb", false),
            ("a/**/b", "axb", false),
            ("a/**", "a", false),
            ("a/**", "a/b/c", true),
            ("a**b", "axyb", true),
            ("a**b", "ax/yb", false),
            ("[a-c]x", "bx", true),
            ("[!a-c]x", "bx", false),
            ("[!a-c]x", "/x", false),
            ("[]a]", "]", true),
            ("[[:digit:]]", "7", true),
            ("[a-", "a", false),
            (r"\*", "*", true),
            (r"\*", "a", false),
            ("a\\", "a\\", false),
            ("", "", true),
        ] {
            assert_eq!(
                Wildcard::new(pattern).matches(text),
                wanted,
                "{pattern} {text}"
            );
        }
    }

    #[test]
    fn a_pattern_made_to_be_slow_is_not() {
        let pattern = "*a**/".repeat(100);
        assert!(!Wildcard::new(&pattern).matches(&"a".repeat(4000)));
    }
}
