//! Columns: rows of numbers, each column on its own, each number by its distance from the one above
//! it. Where rows are alike, a number takes one byte.

use super::error::FormError;
use super::reader::Reader;
use super::writer::Writer;

/// Writes the first `width` numbers of rows column by column; whoever reads them knows how many
/// there are.
pub(super) fn put_columns<const N: usize>(rows: &[[u64; N]], width: usize, to: &mut Writer) {
    for column in 0..width {
        let mut last = 0;
        for number in rows.iter().filter_map(|row| row.get(column)) {
            to.step(&mut last, *number);
        }
    }
}

/// Reads this many rows of `width` numbers, which have at least a byte each; the others are 0.
pub(super) fn take_columns<const N: usize>(
    count: usize,
    width: usize,
    from: &mut Reader<'_>,
) -> Result<Vec<[u64; N]>, FormError> {
    let least = count.checked_mul(width.max(1));
    if least.is_none_or(|least| least > from.left()) {
        return Err(FormError::Short);
    }
    let mut rows = vec![[0; N]; count];
    for column in 0..width {
        let mut last = 0;
        for number in rows.iter_mut().filter_map(|row| row.get_mut(column)) {
            *number = from.step(&mut last)?;
        }
    }
    Ok(rows)
}

/// A number of a column that has to fit a smaller type.
pub(super) fn small<T: TryFrom<u64>>(number: u64) -> Result<T, FormError> {
    T::try_from(number).map_err(|_| FormError::Number)
}
