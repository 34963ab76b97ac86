//! The dollar in arguments and files of a task: `${NAME}` is a variable, `$$` is a dollar, and no
//! other dollar may stand there.

/// A piece of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece<'a> {
    /// As it stands.
    Text(&'a str),
    /// `$$`.
    Dollar,
    /// The name in `${NAME}`.
    Name(&'a str),
}

/// A dollar that says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray {
    /// `${` without `}`.
    Unclosed,
    /// A dollar before something else, or at the end.
    Alone,
}

/// The pieces of a text, in order; nothing comes behind a stray dollar.
pub fn pieces(text: &str) -> impl Iterator<Item = Result<Piece<'_>, Stray>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let next = match rest.strip_prefix('$') {
            None if rest.is_empty() => return None,
            None => {
                let (before, after) = rest.split_at(rest.find('$').unwrap_or(rest.len()));
                rest = after;
                return Some(Ok(Piece::Text(before)));
            }
            Some(next) => next,
        };
        rest = "";
        if let Some(after) = next.strip_prefix('$') {
            rest = after;
            Some(Ok(Piece::Dollar))
        } else if let Some(body) = next.strip_prefix('{') {
            let Some((name, after)) = body.split_once('}') else {
                return Some(Err(Stray::Unclosed));
            };
            rest = after;
            Some(Ok(Piece::Name(name)))
        } else {
            Some(Err(Stray::Alone))
        }
    })
}

/// Writes a text so that it comes out as it is.
pub fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a text comes to where `A` is `1` and nothing else is known, as the table says it.
    fn verdict(text: &str) -> String {
        let mut out = String::new();
        for piece in pieces(text) {
            match piece {
                Ok(Piece::Text(text)) => out.push_str(text),
                Ok(Piece::Dollar) => out.push('$'),
                Ok(Piece::Name("A")) => out.push('1'),
                Ok(Piece::Name(_)) => return "unknown".to_owned(),
                Err(Stray::Unclosed) => return "unclosed".to_owned(),
                Err(Stray::Alone) => return "alone".to_owned(),
            }
        }
        format!("is {out}")
    }

    /// Schedulers share no code with this: their tests read the same table.
    #[test]
    fn every_text_of_the_table_comes_to_what_it_says() {
        for line in include_str!("../tests/dollars.txt").lines() {
            let (text, said) = line.split_once(" => ").unwrap_or_default();
            assert_eq!(verdict(text), said, "{line}");
        }
    }

    #[test]
    fn a_literal_comes_out_as_it_was() {
        for text in ["", "$", "$$", "${A}", "a$b${", "5$"] {
            assert_eq!(verdict(&literal(text)), format!("is {text}"));
        }
    }
}
