//! The lines of a file, as YAML counts them: a line ends with LF, CR LF or CR.

use super::tree::Position;

/// Most characters of a source line that a fault carries.
const MAX_SHOWN: usize = 200;
/// How many characters stand before the place of a fault where its line is cut on the left.
const BEFORE: usize = 100;

/// A text with the places where its lines begin.
#[derive(Debug)]
pub(crate) struct Lines<'a> {
    text: &'a str,
    /// Where each line begins, in bytes; never empty.
    starts: Vec<usize>,
    /// How many bytes there are without the white space at the end.
    written: usize,
}

/// A line as a fault shows it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Excerpt {
    pub(crate) text: String,
    /// The column of its first character; 0 for the beginning of the line.
    pub(crate) column: u32,
}

impl<'a> Lines<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut starts = vec![0];
        let bytes = text.as_bytes();
        for (at, byte) in bytes.iter().enumerate() {
            let ends = match byte {
                b'\n' => true,
                b'\r' => bytes.get(at + 1) != Some(&b'\n'),
                _ => false,
            };
            if ends {
                starts.push(at + 1);
            }
        }
        Self {
            text,
            starts,
            written: text.trim_end().len(),
        }
    }

    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// How many lines there are; what stands behind the last line end is a line, too.
    pub(crate) fn count(&self) -> usize {
        self.starts.len()
    }

    /// Where a line begins, in bytes; the end of the text for one that is not there.
    pub(crate) fn start(&self, line: usize) -> usize {
        line.checked_sub(1)
            .and_then(|index| self.starts.get(index))
            .copied()
            .unwrap_or(self.text.len())
    }

    /// A line without its end; lines are counted from 1, and one that is not there is empty.
    pub(crate) fn get(&self, line: usize) -> &'a str {
        if line == 0 {
            return "";
        }
        self.text
            .get(self.start(line)..self.start(line + 1))
            .unwrap_or_default()
            .trim_end_matches(['\n', '\r'])
    }

    /// The line of a position.
    pub(crate) fn at(&self, position: Position) -> &'a str {
        self.get(usize::try_from(position.line).unwrap_or(0))
    }

    /// The byte of a position; `None` where the line has no such column. The end of a line counts.
    pub(crate) fn byte(&self, position: Position) -> Option<usize> {
        let number = usize::try_from(position.line).ok()?;
        if number == 0 || number > self.count() {
            return None;
        }
        let line = self.get(number);
        let skipped = usize::try_from(position.column).ok()?.checked_sub(1)?;
        let within = match line.char_indices().nth(skipped) {
            Some((at, _)) => at,
            None if line.chars().count() == skipped => line.len(),
            None => return None,
        };
        Some(self.start(number) + within)
    }

    /// The line of a byte.
    pub(crate) fn line_of(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start <= byte)
    }

    /// Where the text ends: behind the last character that is no white space.
    pub(crate) fn end(&self) -> Position {
        let line = self.line_of(self.written.saturating_sub(1)).max(1);
        Position::new(line, self.get(line).trim_end().chars().count().max(1))
    }

    /// What a fault shows of the line of a position: at most 200 characters around its column,
    /// without what a terminal would act on.
    pub(crate) fn excerpt(&self, position: Position) -> Excerpt {
        let line = self.at(position).trim_end();
        let column = usize::try_from(position.column).unwrap_or(0);
        let skipped = if column + 20 > MAX_SHOWN {
            column.saturating_sub(BEFORE)
        } else {
            0
        };
        let text = line
            .chars()
            .skip(skipped)
            .take(MAX_SHOWN)
            .map(|c| {
                if c.is_control() && c != '\t' {
                    '\u{fffd}'
                } else {
                    c
                }
            })
            .collect();
        Excerpt {
            text,
            column: if skipped == 0 {
                0
            } else {
                u32::try_from(skipped + 1).unwrap_or(u32::MAX)
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_any_of_the_three_line_ends() {
        let lines = Lines::new("a\nb\r\nc\rd");
        let all: Vec<&str> = (0..=5).map(|line| lines.get(line)).collect();
        assert_eq!(all, ["", "a", "b", "c", "d", ""]);
        assert_eq!(lines.line_of(0), 1);
        assert_eq!(lines.line_of(3), 2);
        assert_eq!(lines.byte(Position::new(4, 2)), Some(8));
        assert_eq!(lines.byte(Position::new(4, 3)), None);
        assert_eq!(lines.byte(Position::new(5, 1)), None);
        assert_eq!(lines.end(), Position::new(4, 1));
        assert_eq!(Lines::new("").end(), Position::new(1, 1));
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}x{}", "a".repeat(499), "b".repeat(499));
        let lines = Lines::new(&text);
        let excerpt = lines.excerpt(Position::new(1, 500));
        assert_eq!(excerpt.text.chars().count(), 200);
        let before = 500 - usize::try_from(excerpt.column).unwrap_or(0);
        assert_eq!(excerpt.text.chars().nth(before), Some('x'));
        assert_eq!(lines.excerpt(Position::new(1, 3)).column, 0);
    }
}
