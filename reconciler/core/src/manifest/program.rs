//! A command line as somebody types it, and what a manifest says instead: a program and a list of
//! arguments, without a shell in between.

/// What only a shell can do.
const OF_SHELLS: [&str; 11] = ["&&", "||", "|", ";", ">", "<", "&", "`", "$(", "*", "\n"];

/// The words of a line, without their quotes; `None` where a quote is not closed or only a shell
/// can carry it out.
fn words(line: &str) -> Option<Vec<String>> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut bare = String::new();
    let mut letters = line.chars();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some('"') | None, '\\') => word.get_or_insert_default().push(letters.next()?),
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, c) if c.is_whitespace() && c != '\n' => words.extend(word.take()),
            (None, c) => {
                bare.push(c);
                word.get_or_insert_default().push(c);
            }
        }
    }
    words.extend(word);
    let needs_shell = OF_SHELLS.iter().any(|sign| bare.contains(sign));
    (quote.is_none() && !needs_shell).then_some(words)
}

/// A list of texts as it stands between brackets, each in quotes.
pub(crate) fn list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted = texts
        .into_iter()
        .map(|text| serde_json::Value::from(text).to_string());
    format!("[{}]", quoted.collect::<Vec<_>>().join(", "))
}

/// The arguments of a line as a list; a line that only a shell can carry out is one text.
pub(crate) fn arguments(line: &str) -> String {
    let words = words(line).unwrap_or_else(|| vec![line.to_owned()]);
    list(words.iter().map(String::as_str))
}

/// A line as a program and its arguments, `{command: sleep, args: ["100"]}`: with a shell where
/// only that can carry it out.
pub(crate) fn mapping(line: &str) -> String {
    let (command, args) = parts(line);
    if args == "[]" {
        format!("{{command: {command}}}")
    } else {
        format!("{{command: {command}, args: {args}}}")
    }
}

/// A line as what `command` and `args` say, each as a manifest spells it.
pub(crate) fn parts(line: &str) -> (String, String) {
    match words(line).as_deref() {
        Some([program, rest @ ..]) if !program.contains('$') => {
            let is_plain = program
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"./_+-".contains(&b))
                && program.starts_with(|c: char| c.is_ascii_alphabetic() || "./".contains(c));
            let command = if is_plain {
                program.clone()
            } else {
                serde_json::Value::from(program.as_str()).to_string()
            };
            (command, list(rest.iter().map(String::as_str)))
        }
        Some(_) | None => ("sh".to_owned(), list(["-c", line])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_program_and_its_arguments() {
        for (line, said) in [
            ("nginx", "{command: nginx}"),
            ("sleep 100", r#"{command: sleep, args: ["100"]}"#),
            (
                "./run --name 'two words' \"a\\\"b\" ''",
                r#"{command: ./run, args: ["--name", "two words", "a\"b", ""]}"#,
            ),
            ("'my tool' x", r#"{command: "my tool", args: ["x"]}"#),
            ("7z x", r#"{command: "7z", args: ["x"]}"#),
        ] {
            assert_eq!(mapping(line), said, "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_given_to_one() {
        for line in [
            "sleep 100 && echo hi",
            "a | b",
            "a > b",
            "a; b",
            "echo 'not closed",
            "cat *.txt",
            "echo $(date)",
            "$SHELL x",
        ] {
            let (command, args) = parts(line);
            assert_eq!((command.as_str(), args), ("sh", list(["-c", line])));
        }
        assert_eq!(arguments("-c 'a && b'"), r#"["-c", "a && b"]"#);
        assert_eq!(arguments("-c a && b"), r#"["-c a && b"]"#);
    }
}
