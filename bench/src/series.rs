//! Samples of one thing.

use std::time::Duration;

/// Samples in milliseconds (or whatever unit the measure says), in the order in which they were
/// taken.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// Adds a duration, as milliseconds.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64() * 1e3);
    }

    /// Adds a figure in the measure's own unit.
    pub fn push_value(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The samples, as taken.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    /// Takes `work` this many times.
    ///
    /// # Errors
    /// The first error of `work`.
    pub fn take<E>(
        samples: usize,
        mut work: impl FnMut(usize) -> Result<Duration, E>,
    ) -> Result<Series, E> {
        let mut series = Series::default();
        for sample in 0..samples {
            series.push(work(sample)?);
        }
        Ok(series)
    }

    /// The smallest sample that is at least as large as `percent` of all samples; 0 without any.
    #[must_use]
    pub fn percentile(&self, percent: usize) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() * percent).div_ceil(100).max(1);
        sorted.get(rank - 1).copied().unwrap_or_default()
    }

    /// The sample in the middle.
    #[must_use]
    pub fn p50(&self) -> f64 {
        self.percentile(50)
    }

    /// The largest sample.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.percentile(100)
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_samples_by_nearest_rank() {
        let series: Series = (1..=200).rev().map(f64::from).collect();
        let ranks = [0, 1, 50, 99, 100].map(|percent| series.percentile(percent));
        assert_eq!(ranks, [1.0, 2.0, 100.0, 198.0, 200.0]);
        assert_eq!(Series::default().p50(), 0.0);
        let one: Series = [7.0].into_iter().collect();
        assert_eq!((one.p50(), one.percentile(99), one.max()), (7.0, 7.0, 7.0));
    }
}
