//! JSON pointers (RFC 6901), as paths of fields.

use std::borrow::Cow;

/// The unescaped parts of a pointer; of the empty pointer there are none.
pub(crate) fn parts(pointer: &str) -> impl Iterator<Item = Cow<'_, str>> {
    let path = pointer.strip_prefix('/');
    path.into_iter()
        .flat_map(|path| path.split('/'))
        .map(|part| {
            if part.contains('~') {
                Cow::Owned(part.replace("~1", "/").replace("~0", "~"))
            } else {
                Cow::Borrowed(part)
            }
        })
}

/// `pointer` with one more part.
pub(crate) fn join(pointer: &str, part: &str) -> String {
    if part.contains(['~', '/']) {
        format!("{pointer}/{}", part.replace('~', "~0").replace('/', "~1"))
    } else {
        format!("{pointer}/{part}")
    }
}

/// A pointer as people write fields: `/spec/run/args/0` is `spec.run.args[0]`.
pub(crate) fn dotted(pointer: &str) -> String {
    let mut text = String::new();
    for part in parts(pointer) {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
            text.push_str(&format!("[{part}]"));
        } else {
            if !text.is_empty() {
                text.push('.');
            }
            text.push_str(&part);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_with_a_slash_survives_joining_and_parting() {
        let pointer = join(&join("/metadata/labels", "a/b~c"), "0");
        let found: Vec<_> = parts(&pointer).collect();
        assert_eq!(found, ["metadata", "labels", "a/b~c", "0"]);
        assert_eq!(dotted("/spec/run/args/0"), "spec.run.args[0]");
        assert_eq!(parts("").count(), 0);
    }
}
