//! One figure of a workload: what was measured, how it is spread, what it is held against.

use serde::{Serialize, Serializer};

use crate::series::Series;

/// One thing that was measured.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Measure {
    /// What, in a few words.
    pub name: String,
    /// `ms` unless it says otherwise.
    pub unit: &'static str,
    /// How many samples.
    pub samples: usize,
    /// Half of the samples were no more.
    #[serde(serialize_with = "short")]
    pub p50: f64,
    /// 99 of a hundred were no more; with fewer samples than that, the largest.
    #[serde(serialize_with = "short")]
    pub p99: f64,
    /// The largest.
    #[serde(serialize_with = "short")]
    pub max: f64,
    /// How many a second, one after another, at the median; of times only.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "short_maybe"
    )]
    pub rate: Option<f64>,
    /// What is aimed at.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub goals: Vec<Goal>,
    /// How it compares with the reference of the same run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ratio: Option<Ratio>,
}

/// What is aimed at. Whoever misses it has failed no test.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Goal {
    /// Of which figure: `p50`, `p99`.
    pub of: &'static str,
    /// No more than this, in the measure's unit.
    pub at_most: f64,
    /// Whether it was reached.
    pub is_reached: bool,
}

/// How many times the reference's median the median is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ratio {
    /// What the reference is.
    pub to: String,
    /// The ratio.
    #[serde(serialize_with = "short")]
    pub value: f64,
}

impl Measure {
    /// Sums up samples of milliseconds.
    #[must_use]
    pub fn of(name: impl Into<String>, series: &Series) -> Measure {
        let p50 = series.p50();
        Measure {
            rate: (p50 > 0.0).then(|| 1e3 / p50),
            ..Self::of_unit(name, "ms", series)
        }
    }

    /// Sums up samples of another unit.
    #[must_use]
    pub fn of_unit(name: impl Into<String>, unit: &'static str, series: &Series) -> Measure {
        Measure {
            name: name.into(),
            unit,
            samples: series.values().len(),
            p50: series.p50(),
            p99: series.percentile(99),
            max: series.max(),
            rate: None,
            goals: Vec::new(),
            ratio: None,
        }
    }

    /// Adds what is aimed at of `p50`.
    #[must_use]
    pub fn p50_at_most(self, at_most: f64) -> Measure {
        let is_reached = self.p50 <= at_most;
        self.goal("p50", at_most, is_reached)
    }

    /// Adds what is aimed at of `p99`.
    #[must_use]
    pub fn p99_at_most(self, at_most: f64) -> Measure {
        let is_reached = self.p99 <= at_most;
        self.goal("p99", at_most, is_reached)
    }

    /// Compares it with a reference of the same run and unit.
    #[must_use]
    pub fn against(mut self, reference: &Measure) -> Measure {
        self.ratio = (reference.p50 > 0.0).then(|| Ratio {
            to: reference.name.clone(),
            value: self.p50 / reference.p50,
        });
        self
    }

    fn goal(mut self, of: &'static str, at_most: f64, is_reached: bool) -> Measure {
        self.goals.push(Goal {
            of,
            at_most,
            is_reached,
        });
        self
    }
}

/// Four digits say all that a measurement can.
fn short<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(rounded(*value))
}

#[expect(clippy::ref_option, reason = "the signature that serde asks for")]
fn short_maybe<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => short(value, serializer),
        None => serializer.serialize_none(),
    }
}

fn rounded(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return 0.0;
    }
    let scale = 10_f64.powf(3.0 - value.abs().log10().floor());
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_measure_knows_its_goals_and_its_ratio() {
        let of = |name, value| Measure::of(name, &[value].into_iter().collect());
        let measure = of("slow", 12.5)
            .p50_at_most(10.0)
            .p99_at_most(20.0)
            .against(&of("fast", 2.5));
        let reached: Vec<bool> = measure.goals.iter().map(|goal| goal.is_reached).collect();
        assert_eq!(reached, [false, true]);
        assert_eq!(measure.ratio.clone().unwrap().value, 5.0);
        assert_eq!(measure.rate, Some(80.0));
        assert_eq!(of("none", 0.0).rate, None);
    }

    #[test]
    fn figures_are_written_with_four_digits() {
        let values = [0.123_456, 1.0, 123_456.0, 0.0, f64::NAN].map(rounded);
        assert_eq!(values, [0.1235, 1.0, 123_500.0, 0.0, 0.0]);
    }
}
