//! Form: what a type looks like as bytes, and how that is stated.

use std::collections::BTreeMap;
use std::sync::Arc;

use imbl::{OrdMap, OrdSet, Vector};

use super::error::FormError;
use super::reader::Reader;
use super::writer::Writer;

/// A type with a form. Every form has at least one byte, so that a list never has more items than
/// bytes.
pub(crate) trait Form: Sized {
    /// Writes the value.
    fn put(&self, to: &mut Writer);

    /// Reads a value.
    ///
    /// # Errors
    /// The bytes are not one.
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError>;
}

/// Another form of a type than its own, named in `form!` by `as`.
pub(super) trait Way<T> {
    fn put(value: &T, to: &mut Writer);
    fn take(from: &mut Reader<'_>) -> Result<T, FormError>;
}

/// A type's own form.
pub(super) struct Own;
/// Texts that come again and again.
pub(super) struct Name;
/// A field that is not stored.
pub(super) struct Nothing;
/// A list of rows, column by column.
pub(super) struct Columns;
/// A list from its end to its beginning.
pub(super) struct NewestFirst;

impl<T: Form> Way<T> for Own {
    fn put(value: &T, to: &mut Writer) {
        value.put(to);
    }
    fn take(from: &mut Reader<'_>) -> Result<T, FormError> {
        T::take(from)
    }
}

impl<T: Default> Way<T> for Nothing {
    fn put(_: &T, _: &mut Writer) {}
    fn take(_: &mut Reader<'_>) -> Result<T, FormError> {
        Ok(T::default())
    }
}

impl Way<String> for Name {
    fn put(value: &String, to: &mut Writer) {
        to.name(value);
    }
    fn take(from: &mut Reader<'_>) -> Result<String, FormError> {
        from.name().map(str::to_owned)
    }
}

impl Way<Option<String>> for Name {
    fn put(value: &Option<String>, to: &mut Writer) {
        to.byte(u8::from(value.is_some()));
        if let Some(name) = value {
            to.name(name);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Option<String>, FormError> {
        bool::take(from)?
            .then(|| from.name().map(str::to_owned))
            .transpose()
    }
}

impl Way<BTreeMap<String, String>> for Name {
    fn put(value: &BTreeMap<String, String>, to: &mut Writer) {
        to.count(value.len());
        for (name, value) in value {
            to.name(name);
            to.name(value);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<BTreeMap<String, String>, FormError> {
        take_pairs(from, |from| {
            Ok((from.name()?.to_owned(), from.name()?.to_owned()))
        })
    }
}

impl Way<BTreeMap<String, u16>> for Name {
    fn put(value: &BTreeMap<String, u16>, to: &mut Writer) {
        to.count(value.len());
        for (name, value) in value {
            to.name(name);
            value.put(to);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<BTreeMap<String, u16>, FormError> {
        take_pairs(from, |from| Ok((from.name()?.to_owned(), u16::take(from)?)))
    }
}

/// Whether a field that a level does not have says nothing.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "no field has come after the first level yet")
)]
pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// States the form of a struct: its fields in their order, each in its own form or `as` another; a
/// field that came after the first release with the level `since` which it is there.
macro_rules! form {
    ($type:ident { $($field:ident $(as $way:ident)? $(since $level:literal)?),* $(,)? }) => {
        impl $crate::form::statement::Form for $type {
            fn put(&self, to: &mut $crate::form::writer::Writer) {
                let Self { $($field),* } = self;
                $(form!(@put to, $field, [$($way)?], [$($level)?]);)*
            }
            fn take(
                from: &mut $crate::form::reader::Reader<'_>,
            ) -> Result<Self, $crate::form::error::FormError> {
                $(let $field = form!(@take from, [$($way)?], [$($level)?]);)*
                Ok(Self { $($field),* })
            }
        }
    };
    (@put $to:ident, $field:ident, [], $level:tt) => {
        form!(@put $to, $field, [Own], $level)
    };
    (@put $to:ident, $field:ident, [$way:ident], []) => {
        <$crate::form::statement::$way as $crate::form::statement::Way<_>>::put($field, $to)
    };
    (@put $to:ident, $field:ident, [$way:ident], [$level:literal]) => {
        if $to.level() >= $level {
            form!(@put $to, $field, [$way], []);
        } else if !$crate::form::statement::is_default($field) {
            $to.refuse($crate::form::error::FormError::NotYet {
                what: stringify!($field),
                since: $level,
                version: $to.level(),
            });
        }
    };
    (@take $from:ident, [], $level:tt) => {
        form!(@take $from, [Own], $level)
    };
    (@take $from:ident, [$way:ident], []) => {
        <$crate::form::statement::$way as $crate::form::statement::Way<_>>::take($from)?
    };
    (@take $from:ident, [$way:ident], [$level:literal]) => {
        if $from.level() >= $level {
            form!(@take $from, [$way], [])
        } else {
            Default::default()
        }
    };
}

/// States the numbers of an enum without data; a number that is not stated is an error.
macro_rules! numbers {
    ($type:ident, $what:literal { $($number:literal = $variant:ident),* $(,)? }) => {
        impl $crate::form::statement::Numbered for $type {
            fn number(&self) -> u64 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }
            fn numbered(number: u64) -> Result<Self, $crate::form::error::FormError> {
                match number {
                    $($number => Ok(Self::$variant),)*
                    _ => Err($crate::form::error::FormError::Unknown { what: $what, number }),
                }
            }
        }
        impl $crate::form::statement::Form for $type {
            fn put(&self, to: &mut $crate::form::writer::Writer) {
                to.number($crate::form::statement::Numbered::number(self));
            }
            fn take(
                from: &mut $crate::form::reader::Reader<'_>,
            ) -> Result<Self, $crate::form::error::FormError> {
                <Self as $crate::form::statement::Numbered>::numbered(from.number()?)
            }
        }
    };
}

/// An enum without data.
pub(super) trait Numbered: Sized {
    fn number(&self) -> u64;
    fn numbered(number: u64) -> Result<Self, FormError>;
}

impl Form for bool {
    fn put(&self, to: &mut Writer) {
        to.byte(u8::from(*self));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        match from.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(FormError::Value("yes or no")),
        }
    }
}

macro_rules! whole_numbers {
    ($($type:ident)*) => {
        $(impl Form for $type {
            fn put(&self, to: &mut Writer) {
                to.number(u64::from(*self));
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
                from.small()
            }
        })*
    };
}
whole_numbers!(u8 u16 u32 u64);

impl Form for i32 {
    fn put(&self, to: &mut Writer) {
        to.signed(i64::from(*self));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Self::try_from(from.signed()?).map_err(|_| FormError::Number)
    }
}

impl Form for String {
    fn put(&self, to: &mut Writer) {
        to.text(self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        from.text().map(str::to_owned)
    }
}

impl Form for Arc<str> {
    fn put(&self, to: &mut Writer) {
        to.text(self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        from.text().map(Self::from)
    }
}

impl Form for Arc<[u8]> {
    fn put(&self, to: &mut Writer) {
        to.bytes(self);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        from.bytes().map(Self::from)
    }
}

impl<T: Form> Form for Option<T> {
    fn put(&self, to: &mut Writer) {
        to.byte(u8::from(self.is_some()));
        if let Some(value) = self {
            value.put(to);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        bool::take(from)?.then(|| T::take(from)).transpose()
    }
}

macro_rules! around {
    ($($kind:ident)*) => {
        $(impl<T: Form> Form for $kind<T> {
            fn put(&self, to: &mut Writer) {
                T::put(self, to);
            }
            fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
                T::take(from).map(Self::new)
            }
        })*
    };
}
around!(Arc Box);

impl<A: Form, B: Form> Form for (A, B) {
    fn put(&self, to: &mut Writer) {
        self.0.put(to);
        self.1.put(to);
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Ok((A::take(from)?, B::take(from)?))
    }
}

impl<T: Form> Form for Vec<T> {
    fn put(&self, to: &mut Writer) {
        to.count(self.len());
        self.iter().for_each(|item| item.put(to));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        // Room is made as items come: many bytes of memory may be one byte here.
        let mut items = Self::new();
        for _ in 0..from.count(1)? {
            items.push(T::take(from)?);
        }
        Ok(items)
    }
}

impl<T: Form + Clone> Form for Vector<T> {
    fn put(&self, to: &mut Writer) {
        to.count(self.len());
        self.iter().for_each(|item| item.put(to));
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        Vec::take(from).map(Self::from)
    }
}

impl<K: Form + Ord + Clone, V: Form + Clone> Form for OrdMap<K, V> {
    fn put(&self, to: &mut Writer) {
        to.count(self.len());
        for (key, value) in self {
            key.put(to);
            value.put(to);
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        take_pairs(from, <(K, V)>::take).map(Self::from)
    }
}

/// Distances from the one before, ascending.
impl Form for OrdSet<u64> {
    fn put(&self, to: &mut Writer) {
        to.count(self.len());
        let mut last = 0;
        for number in self {
            to.number(number.saturating_sub(last));
            last = *number;
        }
    }
    fn take(from: &mut Reader<'_>) -> Result<Self, FormError> {
        let mut numbers = Self::new();
        let mut last = 0_u64;
        for place in 0..from.count(1)? {
            let distance = from.number()?;
            if place > 0 && distance == 0 {
                return Err(FormError::Order("a set of numbers"));
            }
            last = last.checked_add(distance).ok_or(FormError::Number)?;
            numbers.insert(last);
        }
        Ok(numbers)
    }
}

/// Reads pairs, whose keys must be in their order.
fn take_pairs<K: Ord, V>(
    from: &mut Reader<'_>,
    mut pair: impl FnMut(&mut Reader<'_>) -> Result<(K, V), FormError>,
) -> Result<BTreeMap<K, V>, FormError> {
    let mut pairs = BTreeMap::new();
    for _ in 0..from.count(2)? {
        let (key, value) = pair(from)?;
        if pairs.last_key_value().is_some_and(|(last, _)| *last >= key) {
            return Err(FormError::Order("keys"));
        }
        pairs.insert(key, value);
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[derive(Debug, Clone, PartialEq, Default)]
    struct Growing {
        old: u32,
        name: String,
        new: u64,
    }
    form!(Growing { old, name as Name, new since 3 });

    fn written<T: Form>(value: &T, level: u32) -> Result<Vec<u8>, FormError> {
        let mut writer = Writer::new(level);
        value.put(&mut writer);
        writer.finish()
    }

    fn read<T: Form>(bytes: &[u8], level: u32) -> Result<T, FormError> {
        let mut reader = Reader::new(bytes, level);
        let value = T::take(&mut reader)?;
        reader.end().map(|()| value)
    }

    #[test]
    fn a_field_of_a_later_level_stands_only_there_and_is_never_lost_in_silence() {
        let mut value = Growing {
            old: 300,
            name: "a".to_owned(),
            new: 0,
        };
        assert_eq!(written(&value, 2).unwrap(), [0xac, 2, 2, b'a']);
        assert_eq!(written(&value, 3).unwrap(), [0xac, 2, 2, b'a', 0]);
        assert_eq!(read::<Growing>(&[0xac, 2, 2, b'a'], 2).unwrap(), value);
        value.new = 5;
        let bytes = written(&value, 3).unwrap();
        assert_eq!(read::<Growing>(&bytes, 3).unwrap(), value);
        assert!(matches!(
            written(&value, 2),
            Err(FormError::NotYet {
                what: "new",
                since: 3,
                version: 2
            })
        ));
    }

    #[test]
    fn numbers_have_one_form_each() {
        for number in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let bytes = written(&number, 0).unwrap();
            assert_eq!(read::<u64>(&bytes, 0).unwrap(), number);
        }
        for number in [0, -1, 1, i32::MIN, i32::MAX] {
            let bytes = written(&number, 0).unwrap();
            assert_eq!(read::<i32>(&bytes, 0).unwrap(), number);
        }
        for wrong in [&[0x80, 0][..], &[0xff, 0x80, 0], &[0xff; 10], &[0x80]] {
            assert!(read::<u64>(wrong, 0).is_err(), "{wrong:?}");
        }
        assert_eq!(read::<u16>(&[0x80, 0x80, 4], 0), Err(FormError::Number));
        assert_eq!(read::<bool>(&[2], 0), Err(FormError::Value("yes or no")));
    }

    #[test]
    fn a_list_longer_than_its_bytes_and_bytes_behind_the_end_are_refused() {
        let many = [0xff, 0xff, 0xff, 0xff, 0x0f, 1, 2];
        assert!(matches!(
            read::<Vec<u8>>(&many, 0),
            Err(FormError::Count { left: 2, .. })
        ));
        assert!(matches!(
            read::<String>(&many, 0),
            Err(FormError::Count { .. })
        ));
        assert_eq!(read::<u8>(&[1, 2], 0), Err(FormError::Trailing(1)));
        let pairs: BTreeMap<String, String> = [("b", "x"), ("a", "x")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        let mut writer = Writer::new(0);
        Name::put(&pairs, &mut writer);
        let bytes = writer.finish().unwrap();
        assert_eq!(bytes, [2, 2, b'a', 2, b'x', 2, b'b', 3]);
        let mut swapped = Reader::new(&[2, 2, b'b', 2, b'x', 2, b'a', 3], 0);
        let read: Result<BTreeMap<String, String>, _> = Name::take(&mut swapped);
        assert_eq!(read, Err(FormError::Order("keys")));
    }

    #[test]
    fn a_writer_that_goes_back_has_forgotten_what_it_wrote() {
        let mut writer = Writer::new(0);
        writer.name("a");
        let mark = writer.mark();
        writer.name("b");
        writer.name("a");
        writer.go_back(mark);
        writer.name("b");
        writer.name("a");
        assert_eq!(writer.finish().unwrap(), [2, b'a', 2, b'b', 1]);
    }
}
