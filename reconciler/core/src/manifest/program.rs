//! A command line as somebody types it, and what a manifest says instead: a program and a list of
//! arguments, without a shell in between.
//!
//! *Guarantees*: what is suggested comes out, once an agent has replaced `${NAME}` and `$$`, as the
//! words that a shell would have made of the line; what only a shell can do is left to `sh -c`.

use std::iter::Peekable;
use std::str::Chars;

use kelson_model::interpolation::literal;

use super::surprise;
use super::tree::{Content, Meaning};
use super::yaml;

/// First words that only a shell knows.
const OF_SHELLS: [&str; 24] = [
    "!", ".", ":", "[[", "alias", "case", "cd", "eval", "exec", "exit", "export", "for",
    "function", "if", "readonly", "set", "source", "then", "trap", "ulimit", "umask", "unset",
    "until", "while",
];

/// A word of a line.
#[derive(Debug, Default, PartialEq, Eq)]
struct Word {
    /// Without its quotes.
    text: String,
    /// As an argument spells it.
    argument: String,
    /// Whether `${NAME}` is in it.
    has_name: bool,
    /// Whether a quote or a backslash is in it.
    is_quoted: bool,
}

impl Word {
    fn push(&mut self, c: char) {
        self.text.push(c);
        self.argument.push(c);
        if c == '$' {
            self.argument.push(c);
        }
    }

    fn push_name(&mut self, name: &str) {
        self.has_name = true;
        for said in [&mut self.text, &mut self.argument] {
            said.push_str("${");
            said.push_str(name);
            said.push('}');
        }
    }
}

/// What a line comes to.
#[derive(Debug, Default)]
struct Line {
    words: Vec<Word>,
    /// Whether a variable is written as only shells write it, `$NAME`.
    has_shell_name: bool,
}

/// The words of a line; `None` where a quote is not closed or only a shell can carry it out.
fn read(line: &str) -> Option<Line> {
    let mut out = Line::default();
    let mut word: Option<Word> = None;
    let mut quote = None;
    let mut letters = line.chars().peekable();
    while let Some(c) = letters.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"'), '\\') => {
                // Of others, some shells keep the backslash and some do not.
                let next = letters.next_if(|c| matches!(c, '"' | '\\' | '$' | '`'))?;
                word.get_or_insert_default().push(next);
            }
            (Some('"') | None, '`') => return None,
            (Some('"') | None, '$') => {
                let word = word.get_or_insert_default();
                out.has_shell_name |= dollar(&mut letters, quote.is_some(), word)?;
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default().is_quoted = true;
            }
            (None, '\\') => {
                let word = word.get_or_insert_default();
                word.is_quoted = true;
                word.push(letters.next_if(|c| !matches!(c, '\n' | '\r'))?);
            }
            (None, ' ' | '\t') => out.words.extend(word.take()),
            (None, '#') if word.is_none() => return None,
            (None, '\n' | '\r' | '~') => return None,
            (None, c) if "&|;<>()*?[]{}".contains(c) => return None,
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    out.words.extend(word);
    quote.is_none().then_some(out)
}

/// What stands behind a dollar: a variable, or nothing, so that it is a dollar. Whether it is a
/// variable without braces; `None` where it is something else that only a shell can do.
fn dollar(letters: &mut Peekable<Chars<'_>>, is_quoted: bool, word: &mut Word) -> Option<bool> {
    let Some(next) = letters.peek().copied() else {
        word.push('$');
        return Some(false);
    };
    let ends = match next {
        ' ' | '\t' => true,
        '"' => is_quoted,
        _ => false,
    };
    if ends {
        word.push('$');
        return Some(false);
    }
    let has_braces = letters.next_if_eq(&'{').is_some();
    let mut name = String::new();
    while let Some(c) = letters.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
        name.push(c);
    }
    if has_braces {
        letters.next_if_eq(&'}')?;
    }
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    is_name.then(|| word.push_name(&name))?;
    Some(!has_braces)
}

/// Whether only a shell knows what this first word is.
fn is_of_shells(first: &Word) -> bool {
    let assigns = first.text.split_once('=').is_some_and(|(name, _)| {
        let is_of_names = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.chars().all(is_of_names) && !name.starts_with(|c: char| c.is_ascii_digit())
    });
    let is_known = OF_SHELLS.contains(&first.text.as_str());
    first.text.is_empty() || first.has_name || !first.is_quoted && (assigns || is_known)
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
    match read(line) {
        Some(line) => list(line.words.iter().map(|word| word.argument.as_str())),
        None => list([literal(line).as_str()]),
    }
}

/// A line as a program and its arguments, `{command: sleep, args: ["100"]}`: with a shell where
/// only that can carry it out.
pub(crate) fn mapping(line: &str) -> String {
    between_braces(&parts(line))
}

/// A line as what `command` and `args` say, each as a manifest spells it.
pub(crate) fn parts(line: &str) -> (String, String) {
    let read = read(line).filter(|line| !line.has_shell_name);
    match read.as_ref().map(|line| line.words.as_slice()) {
        Some([program, rest @ ..]) if !is_of_shells(program) => {
            let arguments = rest.iter().map(|word| word.argument.as_str());
            (scalar(&program.text), list(arguments))
        }
        Some(_) | None => ("sh".to_owned(), list(["-c", &literal(line)])),
    }
}

/// A list that begins with the program, as what `command` and `args` say: its texts are arguments
/// as they stand, but for dollars that say nothing.
pub(crate) fn parts_of_list(program: &str, rest: &[&str]) -> (String, String) {
    let arguments: Vec<String> = rest.iter().map(|text| mended(text)).collect();
    let arguments = list(arguments.iter().map(String::as_str));
    (scalar(program), arguments)
}

/// The same between braces.
pub(crate) fn mapping_of_list(program: &str, rest: &[&str]) -> String {
    between_braces(&parts_of_list(program, rest))
}

fn between_braces((command, args): &(String, String)) -> String {
    if args == "[]" {
        format!("{{command: {command}}}")
    } else {
        format!("{{command: {command}, args: {args}}}")
    }
}

/// A text with each dollar doubled that is neither `$$` nor before `{NAME}`.
fn mended(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let is_name = |body: &str| {
            let name = body.split_once('}').map(|(name, _)| name);
            name.is_some_and(|name| {
                let mut letters = name.chars();
                let is_of_names = |c: char| c.is_ascii_alphanumeric() || c == '_';
                !name.is_empty() && letters.all(is_of_names)
            })
        };
        out.push('$');
        rest = after;
        if let Some(next) = after.strip_prefix('$') {
            out.push('$');
            rest = next;
        } else if !after.strip_prefix('{').is_some_and(is_name) {
            out.push('$');
        }
    }
    out.push_str(rest);
    out
}

/// A text as a value between braces: without quotes where every reader takes it for that text.
fn scalar(text: &str) -> String {
    let is_plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"./_+-".contains(&b))
        && text.starts_with(|c: char| c.is_ascii_alphabetic() || "./".contains(c))
        && surprise::of_plain(text).is_none()
        && is_text(text);
    if is_plain {
        text.to_owned()
    } else {
        serde_json::Value::from(text).to_string()
    }
}

fn is_text(plain: &str) -> bool {
    match yaml::read(plain).documents.as_slice() {
        [one] => match &one.content {
            Content::Scalar(scalar) => scalar.meaning == Meaning::Text,
            Content::Sequence(_) | Content::Mapping(_) => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use kelson_model::interpolation::{Piece, pieces};
    use proptest::prelude::*;
    use serde_json::Value;

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
            ("true 1", r#"{command: "true", args: ["1"]}"#),
            ("yes", r#"{command: "yes"}"#),
            (
                "sed s/a$//",
                r#"{command: sh, args: ["-c", "sed s/a$$//"]}"#,
            ),
            ("grep 'a$'", r#"{command: grep, args: ["a$$"]}"#),
            (
                "grep a$ \"b$\" \"\\$c\"",
                r#"{command: grep, args: ["a$$", "b$$", "$$c"]}"#,
            ),
            (
                "web --port=${PORT} '${PORT}'",
                r#"{command: web, args: ["--port=${PORT}", "$${PORT}"]}"#,
            ),
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
            "echo \"$(date)\"",
            "echo \"`date`\"",
            "echo \"a\\nb\"",
            "$SHELL x",
            "web --port $PORT",
            "web \"--port=$PORT\"",
            "web --port ${PORT:-80}",
            "${WEB} x",
            "PORT=1 web",
            "ls ~/x",
            "exec web",
            "cd /srv",
            "web # listens",
            "''",
            "",
        ] {
            let (command, args) = parts(line);
            let written = line.replace('$', "$$");
            assert_eq!((command.as_str(), args), ("sh", list(["-c", &written])));
        }
        assert_eq!(arguments("-c 'a && b'"), r#"["-c", "a && b"]"#);
        assert_eq!(arguments("-c a && b $1"), r#"["-c a && b $$1"]"#);
        assert_eq!(
            arguments("--port $PORT '$5'"),
            r#"["--port", "${PORT}", "$$5"]"#
        );
    }

    #[test]
    fn a_list_keeps_its_texts() {
        for (program, rest, said) in [
            (
                "web",
                vec!["${PORT}", "$$x"],
                r#"{command: web, args: ["${PORT}", "$$x"]}"#,
            ),
            (
                "sh",
                vec!["-c", "echo $A"],
                r#"{command: sh, args: ["-c", "echo $$A"]}"#,
            ),
            ("a: b", vec![], r#"{command: "a: b"}"#),
            ("x", vec!["${a b}$"], r#"{command: x, args: ["$${a b}$$"]}"#),
        ] {
            assert_eq!(mapping_of_list(program, &rest), said);
        }
    }

    /// What a suggestion says to a reader of YAML, and its arguments as an agent makes them, where
    /// every variable is `<NAME>`.
    fn run(mapping: &str) -> (String, Vec<String>) {
        let value = yaml::read_value(mapping).unwrap();
        let args = value.get("args").and_then(Value::as_array);
        let args = args.into_iter().flatten().map(|text| {
            let mut out = String::new();
            for piece in pieces(text.as_str().unwrap()) {
                match piece.unwrap() {
                    Piece::Text(text) => out.push_str(text),
                    Piece::Dollar => out.push('$'),
                    Piece::Name(name) => out.push_str(&format!("<{name}>")),
                }
            }
            out
        });
        (
            value.get("command").unwrap().as_str().unwrap().to_owned(),
            args.collect(),
        )
    }

    proptest! {
        #[test]
        fn quoted_words_come_out_as_they_were(words in prop::collection::vec("[ -~äß€]{0,12}", 1..5)) {
            prop_assume!(words.first().is_some_and(|word| !word.is_empty()));
            let quoted = words.iter().map(|word| format!("'{}'", word.replace('\'', r"'\''")));
            let line = quoted.collect::<Vec<_>>().join(" ");
            let (program, arguments) = run(&mapping(&line));
            prop_assert_eq!(&program, words.first().unwrap());
            prop_assert_eq!(&arguments, words.get(1..).unwrap());
            let args = format!("{{command: x, args: {}}}", super::arguments(&line));
            prop_assert_eq!(run(&args).1, words);
        }

        #[test]
        fn any_line_is_run_as_it_stands_or_by_a_shell(line in "([ -~]|[$'\"\\\\ A{}=]){0,24}") {
            let (program, arguments) = run(&mapping(&line));
            if program == "sh" && arguments.first().is_some_and(|it| it == "-c") {
                prop_assert_eq!(arguments.get(1), Some(&line));
            }
            let args = format!("{{command: x, args: {}}}", super::arguments(&line));
            run(&args);
        }

        #[test]
        fn any_list_is_taken(texts in prop::collection::vec("([ -~]|[$A{}]){0,12}", 1..4)) {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let (program, rest) = texts.split_first().unwrap();
            let (command, arguments) = run(&mapping_of_list(program, rest));
            prop_assert_eq!(command.as_str(), *program);
            prop_assert_eq!(arguments.len(), rest.len());
        }
    }
}
