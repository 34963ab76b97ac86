//! Rust source without what is not code: comments, literals and tests become blanks, so that what
//! is left has its lines and columns.

/// Blanks out comments, string and character literals.
pub(crate) fn without_comments_and_literals(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    let mut out = String::with_capacity(source.len());
    let mut i = 0;
    while i < chars.len() {
        let end = match (at(i), at(i + 1)) {
            ('/', '/') => until(&chars, i, |j| at(j) == '\n'),
            ('/', '*') => end_of_block_comment(&chars, i),
            ('r', '"' | '#')
                if !is_word(before(&chars, i))
                    || (before(&chars, i) == 'b' && !is_word(before(&chars, i - 1))) =>
            {
                end_of_raw_string(&chars, i).unwrap_or(i)
            }
            ('"', _) => end_of_string(&chars, i),
            // 'a' and '\n' are literals, 'a is a lifetime.
            ('\'', '\\') => until(&chars, i + 3, |j| at(j) == '\'') + 1,
            ('\'', _) if at(i + 2) == '\'' => i + 3,
            _ => i,
        };
        if end == i {
            out.push(at(i));
            i += 1;
        } else {
            let end = end.min(chars.len());
            out.extend(
                chars
                    .get(i..end)
                    .unwrap_or_default()
                    .iter()
                    .map(|c| if *c == '\n' { '\n' } else { ' ' }),
            );
            i = end;
        }
    }
    out
}

/// Blanks out each item under `#[cfg(test)]`. Expects code without comments and literals.
pub(crate) fn without_tests(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut out = code.to_owned();
    while let Some(start) = out.find(MARK) {
        let mut depth = 0_usize;
        let mut end = out.len();
        for (offset, c) in out
            .get(start + MARK.len()..)
            .unwrap_or_default()
            .char_indices()
        {
            match c {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                ';' if depth == 0 => {}
                _ => continue,
            }
            if depth == 0 {
                end = start + MARK.len() + offset + c.len_utf8();
                break;
            }
        }
        let blank: String = out
            .get(start..end)
            .unwrap_or_default()
            .chars()
            .map(|c| if c == '\n' { '\n' } else { ' ' })
            .collect();
        out.replace_range(start..end, &blank);
    }
    out
}

/// At which lines (from 1) `word` stands as a word of its own, or as a path of its own if it has
/// `::`.
pub(crate) fn lines_with(code: &str, word: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(word).any(|(at, _)| {
                let before = line
                    .get(..at)
                    .and_then(|s| s.chars().next_back())
                    .unwrap_or(' ');
                let after = line
                    .get(at + word.len()..)
                    .and_then(|s| s.chars().next())
                    .unwrap_or(' ');
                !is_word(before) && !is_word(after)
            })
        })
        .map(|(number, _)| number + 1)
        .collect()
}

/// At which lines (from 1) a path begins at the crate `name`: `name::x`, `use name;`. A module of
/// ours called so (`super::name::x`) does not count.
pub(crate) fn lines_with_crate(code: &str, name: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            line.match_indices(name).any(|(at, _)| {
                let before = line.get(..at).unwrap_or_default();
                let after = line.get(at + name.len()..).unwrap_or_default();
                let begins =
                    !before.ends_with(is_word) && (!before.ends_with("::") || is_absolute(before));
                let is_import = before.trim_end().ends_with("use") && !after.starts_with(is_word);
                begins && (after.starts_with("::") || is_import)
            })
        })
        .map(|(number, _)| number + 1)
        .collect()
}

/// Is the `::` at the end the beginning of a path?
fn is_absolute(before: &str) -> bool {
    !before
        .trim_end_matches("::")
        .ends_with(|c| is_word(c) || c == '>')
}

/// At which lines (from 1) a float literal stands. `x.0.1` is a field of a field and none.
pub(crate) fn lines_with_float_literals(code: &str) -> Vec<usize> {
    code.lines()
        .enumerate()
        .filter(|(_, line)| {
            let chars: Vec<char> = line.chars().collect();
            (1..chars.len().saturating_sub(1)).any(|dot| {
                let at = |i: usize| chars.get(i).copied().unwrap_or(' ');
                if at(dot) != '.' || !at(dot - 1).is_ascii_digit() || !at(dot + 1).is_ascii_digit()
                {
                    return false;
                }
                let mut start = dot - 1;
                while start > 0 && (is_word(at(start - 1))) {
                    start -= 1;
                }
                let leads = if start == 0 { ' ' } else { at(start - 1) };
                at(start).is_ascii_digit() && leads != '.'
            })
        })
        .map(|(number, _)| number + 1)
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn before(chars: &[char], i: usize) -> char {
    i.checked_sub(1)
        .and_then(|j| chars.get(j))
        .copied()
        .unwrap_or(' ')
}

fn until(chars: &[char], from: usize, mut found: impl FnMut(usize) -> bool) -> usize {
    (from..chars.len())
        .find(|j| found(*j))
        .unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let mut depth = 0_usize;
    let mut i = start;
    while i < chars.len() {
        match (chars.get(i), chars.get(i + 1)) {
            (Some('/'), Some('*')) => {
                depth += 1;
                i += 2;
            }
            (Some('*'), Some('/')) => {
                depth -= 1;
                i += 2;
                if depth == 0 {
                    return i;
                }
            }
            _ => i += 1,
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() {
        match chars.get(i) {
            Some('\\') => i += 2,
            Some('"') => return i + 1,
            _ => i += 1,
        }
    }
    chars.len()
}

/// The end of `r"…"` or `r#"…"#`; `None` where it is a raw identifier.
fn end_of_raw_string(chars: &[char], start: usize) -> Option<usize> {
    let hashes = chars
        .iter()
        .skip(start + 1)
        .take_while(|c| **c == '#')
        .count();
    if chars.get(start + 1 + hashes) != Some(&'"') {
        return None;
    }
    let from = start + 2 + hashes;
    let closes = |j: usize| {
        chars.get(j) == Some(&'"')
            && chars
                .iter()
                .skip(j + 1)
                .take(hashes)
                .filter(|c| **c == '#')
                .count()
                == hashes
    };
    Some(until(chars, from, closes) + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(source: &str) -> String {
        without_tests(&without_comments_and_literals(source))
    }

    #[test]
    fn a_word_in_a_comment_or_literal_is_not_code() {
        let source = r###"
            // HashMap
            /* HashMap /* nested */ HashMap */
            let a = "HashMap \" HashMap";
            let b = r#"HashMap " HashMap"#;
            let c = br"HashMap";
            let d = '"'; let e = '\''; let f: &'static str = "HashMap";
        "###;
        assert_eq!(lines_with(&code(source), "HashMap"), Vec::<usize>::new());
    }

    #[test]
    fn a_word_in_code_keeps_its_line() {
        assert_eq!(
            lines_with(
                &code("// x\nuse std::collections::HashMap;\n\"\n\n\"; HashMap\n"),
                "HashMap"
            ),
            [2, 5]
        );
    }

    #[test]
    fn a_lifetime_does_not_hide_what_follows() {
        assert_eq!(
            lines_with(&code("fn f<'a>(x: &'a HashMap) {}"), "HashMap"),
            [1]
        );
    }

    #[test]
    fn only_whole_words_count() {
        assert_eq!(
            lines_with("MyHashMap HashMaps as_f64", "HashMap"),
            Vec::<usize>::new()
        );
        assert_eq!(lines_with("x.as_f64()", "f64"), Vec::<usize>::new());
        assert_eq!(lines_with("use std::fsx;", "std::fs"), Vec::<usize>::new());
        assert_eq!(lines_with("use std::fs;", "std::fs"), [1]);
    }

    #[test]
    fn a_crate_is_where_a_path_begins() {
        let code = "use notify;\nuse notify::W;\nlet a = notify::f();\nlet b = ::notify::f();\nsuper::notify::f();\nself.notify();\nuse notify_x::y;\nmod notify;";
        assert_eq!(lines_with_crate(code, "notify"), [1, 2, 3, 4]);
    }

    #[test]
    fn what_is_under_cfg_test_is_not_code() {
        let source = "use a;\n#[cfg(test)]\nuse tokio;\n#[cfg(test)]\nmod tests {\n fn f() { tokio }\n}\nfn g() { tokio }\n";
        assert_eq!(lines_with(&code(source), "tokio"), [8]);
    }

    #[test]
    fn float_literals_are_found_and_tuple_fields_are_not() {
        assert_eq!(
            lines_with_float_literals(
                "a\nlet x = 0.5;\nlet y = x.0.1;\nlet z = 1..5;\nlet w = a1.0;"
            ),
            [2]
        );
    }
}
