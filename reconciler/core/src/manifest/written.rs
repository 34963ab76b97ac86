//! What names a specification as it was written: keys in order, scalars as they are spelt, without
//! defaults. A kind whose schema gets another default has not been written anew.

use kelson_model::id::Digest;

use super::tree::{Content, Meaning, Node};

/// Names what a node says.
pub(crate) fn digest(node: &Node) -> Digest {
    let mut text = String::new();
    write(node, &mut text);
    Digest::of(text.as_bytes())
}

/// Names the same together with the contents of the files that it names.
pub(crate) fn with_files<'a>(
    written: &Digest,
    files: impl IntoIterator<Item = &'a Digest>,
) -> Digest {
    let mut text = written.to_string();
    for file in files {
        text.push('\n');
        text.push_str(&file.to_string());
    }
    Digest::of(text.as_bytes())
}

fn write(node: &Node, text: &mut String) {
    match &node.content {
        Content::Scalar(scalar) => {
            text.push(match scalar.meaning {
                Meaning::Null => 'n',
                Meaning::Bool(_) => 'b',
                Meaning::Number => 'd',
                Meaning::Text => 't',
            });
            counted(&scalar.text, text);
        }
        Content::Sequence(items) => {
            text.push('[');
            for item in items {
                write(item, text);
            }
            text.push(']');
        }
        Content::Mapping(entries) => {
            let mut entries: Vec<_> = entries.iter().collect();
            entries.sort_by(|a, b| a.key.cmp(&b.key));
            text.push('{');
            for entry in entries {
                counted(&entry.key, text);
                write(&entry.value, text);
            }
            text.push('}');
        }
    }
}

/// A text with its length, so that no two values read alike.
fn counted(value: &str, text: &mut String) {
    text.push_str(&format!("{}:", value.len()));
    text.push_str(value);
}
