//! Tables: columns as wide as what is in them.

use super::style::{Palette, Tint};
use super::text::plain;

/// One cell: what it says, and what that means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    tint: Tint,
}

impl Cell {
    /// Makes a cell; nothing is shown as a dash.
    pub(crate) fn new(text: impl AsRef<str>, tint: Tint) -> Self {
        let text = plain(text.as_ref());
        Self {
            text: if text.is_empty() {
                "-".to_owned()
            } else {
                text
            },
            tint,
        }
    }

    /// Makes a cell without a colour.
    pub(crate) fn plain(text: impl AsRef<str>) -> Self {
        Self::new(text, Tint::Plain)
    }

    /// Makes a cell of what may be absent.
    pub(crate) fn maybe(text: Option<impl AsRef<str>>) -> Self {
        text.map_or_else(|| Self::plain(""), Self::plain)
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::plain(text)
    }
}

/// A table under its heads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    /// Makes a table without rows.
    pub(crate) fn new<'a>(heads: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            heads: heads.into_iter().map(str::to_owned).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = Cell>) {
        self.rows.push(row.into_iter().collect());
    }

    /// Whether there is no row.
    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The whole table, each line with its end; nothing where there is no row.
    pub(crate) fn render(&self, palette: Palette) -> String {
        if self.is_empty() {
            return String::new();
        }
        let heads: Vec<Cell> = self
            .heads
            .iter()
            .map(|head| Cell::new(head, Tint::Dim))
            .collect();
        let mut widths = vec![0_usize; self.heads.len()];
        for row in std::iter::once(&heads).chain(&self.rows) {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(cell.text.chars().count());
            }
        }
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            let mut line = String::new();
            let last = row.len().saturating_sub(1);
            for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
                line.push_str(&palette.paint(cell.tint, &cell.text));
                if at < last {
                    let gap = width.saturating_sub(cell.text.chars().count()) + 2;
                    line.extend(std::iter::repeat_n(' ', gap));
                }
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_what_is_absent_is_a_dash() {
        let mut table = Table::new(["NAME", "HEALTH", "MESSAGE"]);
        table.push([
            "web".into(),
            Cell::new("Healthy", Tint::Good),
            Cell::maybe(None::<&str>),
        ]);
        table.push(["visitor-book".into(), "Größe".into(), "1 of 3".into()]);
        assert_eq!(
            table.render(Palette::plain()),
            "NAME          HEALTH   MESSAGE\nweb           Healthy  -\nvisitor-book  Größe    1 of 3\n"
        );
    }

    #[test]
    fn a_table_without_rows_is_nothing() {
        assert_eq!(Table::new(["NAME"]).render(Palette::plain()), "");
    }
}
