//! Amounts of instances: a number, or a percentage of them.

use kelson_sdk::serde_json::Value;

/// `2` or `"25%"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// A number of tasks.
    Count(u32),
    /// A share in hundredths of all instances.
    Percent(u32),
}

impl Amount {
    /// Reads what stands in a normalised specification.
    pub fn read(value: &Value) -> Option<Self> {
        if let Some(count) = value.as_u64() {
            return u32::try_from(count).ok().map(Self::Count);
        }
        let percent = value.as_str()?.strip_suffix('%')?.parse().ok()?;
        (percent <= 100).then_some(Self::Percent(percent))
    }

    /// The amount of `instances`, a part of one counted as none.
    pub fn floor_of(self, instances: u32) -> u32 {
        self.of(instances, 0)
    }

    /// The amount of `instances`, a part of one counted as a whole.
    pub fn ceil_of(self, instances: u32) -> u32 {
        self.of(instances, 99)
    }

    fn of(self, instances: u32, added: u64) -> u32 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let hundredths = u64::from(instances) * u64::from(percent) + added;
                u32::try_from(hundredths / 100).unwrap_or(u32::MAX)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kelson_sdk::serde_json::json;

    #[test]
    fn a_percentage_is_rounded_as_asked() {
        let quarter = Amount::read(&json!("25%")).unwrap_or(Amount::Count(0));
        assert_eq!((quarter.floor_of(3), quarter.ceil_of(3)), (0, 1));
        assert_eq!((quarter.floor_of(8), quarter.ceil_of(8)), (2, 2));
        assert_eq!(Amount::read(&json!(2)), Some(Amount::Count(2)));
        assert_eq!(Amount::read(&json!("125%")), None);
        assert_eq!(Amount::read(&json!(-1)), None);
    }
}
