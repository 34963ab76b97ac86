//! Plots as SVG: horizontal bars on a logarithmic axis, and histograms.

use std::fmt::Write;

use crate::measure::Measure;

const WIDTH: f64 = 860.0;
const LABEL: f64 = 330.0;
const RIGHT: f64 = 130.0;
const ROW: f64 = 26.0;
const HISTOGRAM: f64 = 150.0;
/// The most columns of a histogram.
const COLUMNS: usize = 40;

/// One bar: a median, with a thin line up to its 99th percentile, and a mark at its goal.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What stands to its left.
    pub label: String,
    /// The bar's end.
    pub p50: f64,
    /// The thin line's end.
    pub p99: f64,
    /// What is aimed at of the median.
    pub goal: Option<f64>,
    /// Whether it is the reference, which has another colour.
    pub is_reference: bool,
}

impl From<&Measure> for Bar {
    fn from(measure: &Measure) -> Bar {
        let goal = measure.goals.iter().find(|goal| goal.of == "p50");
        Bar {
            label: measure.name.clone(),
            p50: measure.p50,
            p99: measure.p99,
            goal: goal.map(|goal| goal.at_most),
            is_reference: false,
        }
    }
}

/// How samples are spread.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// What stands above it.
    pub title: String,
    /// Of the samples.
    pub unit: String,
    /// The samples.
    pub values: Vec<f64>,
    /// Lines with a word each, such as at a percentile or a goal.
    pub marks: Vec<(String, f64)>,
}

/// A page of panels, one below the other.
#[derive(Debug, Clone)]
pub struct Plot {
    body: String,
    height: f64,
}

impl Plot {
    /// Begins a page.
    #[must_use]
    pub fn new(title: &str, subtitle: &str) -> Plot {
        let mut plot = Plot {
            body: String::new(),
            height: 62.0,
        };
        plot.text(16.0, 28.0, "start", "title", title);
        plot.text(16.0, 48.0, "start", "small", subtitle);
        plot
    }

    /// Adds bars on a logarithmic axis.
    #[must_use]
    pub fn bars(mut self, title: &str, unit: &str, bars: &[Bar]) -> Plot {
        let shown = || {
            bars.iter()
                .flat_map(|bar| [bar.p50, bar.p99].into_iter().chain(bar.goal))
                .filter(|value| value.is_finite() && *value > 0.0)
        };
        let least = shown().fold(f64::INFINITY, f64::min);
        let most = shown().fold(0.0, f64::max);
        if most == 0.0 {
            return self;
        }
        let (from, to) = (least.log10().floor(), most.log10().ceil());
        let to = if to > from { to } else { from + 1.0 };
        let x = |value: f64| {
            let part = (value.max(least).log10() - from) / (to - from);
            LABEL + part * (WIDTH - LABEL - RIGHT)
        };
        let top = self.heading(&format!("{title} ({unit}, logarithmic)"));
        let bottom = top + ROW * bars.len() as f64;
        let decades = (to - from).round() as i32;
        for decade in 0..=decades {
            let value = 10_f64.powf(from + f64::from(decade));
            self.line((x(value), top), (x(value), bottom), "grid");
            self.text(x(value), bottom + 14.0, "middle", "small", &figure(value));
        }
        for (row, bar) in (0..).zip(bars) {
            let middle = top + ROW * (f64::from(row) + 0.5);
            self.text(LABEL - 8.0, middle + 4.0, "end", "label", &bar.label);
            let class = if bar.is_reference { "reference" } else { "bar" };
            let width = (x(bar.p50) - LABEL).max(1.0);
            self.rectangle((LABEL, middle - 8.0), (width, 16.0), class);
            self.line((x(bar.p50), middle), (x(bar.p99), middle), "whisker");
            if let Some(goal) = bar.goal {
                self.line((x(goal), middle - 11.0), (x(goal), middle + 11.0), "goal");
            }
            let right = x(bar.p99.max(bar.p50).max(bar.goal.unwrap_or(0.0))) + 6.0;
            self.text(right, middle + 4.0, "start", "small", &figure(bar.p50));
        }
        self.height = bottom + 30.0;
        self
    }

    /// Adds a histogram.
    #[must_use]
    pub fn histogram(mut self, histogram: &Histogram) -> Plot {
        let values = || histogram.values.iter().copied();
        let most = values()
            .chain(histogram.marks.iter().map(|mark| mark.1))
            .fold(0.0, f64::max);
        if most == 0.0 {
            return self;
        }
        let unit = &histogram.unit;
        let top = self.heading(&format!(
            "{} ({unit}, {} samples)",
            histogram.title,
            histogram.values.len()
        )) + 16.0;
        let bottom = top + HISTOGRAM;
        let left = 40.0;
        let x = |value: f64| left + value / most * (WIDTH - left - 40.0);
        let mut columns = [0_u32; COLUMNS];
        for value in values() {
            let column = (value / most * COLUMNS as f64) as usize;
            if let Some(count) = columns.get_mut(column.min(COLUMNS - 1)) {
                *count += 1;
            }
        }
        let highest = f64::from(columns.iter().copied().max().unwrap_or(1).max(1));
        let step = (x(most) - left) / COLUMNS as f64;
        for (place, count) in (0_u32..).zip(columns) {
            let height = f64::from(count) / highest * HISTOGRAM;
            let corner = (left + f64::from(place) * step, bottom - height);
            self.rectangle(corner, (step - 1.0, height), "bar");
        }
        self.line((left, bottom), (x(most), bottom), "axis");
        for part in 0..=4 {
            let value = most * f64::from(part) / 4.0;
            self.text(x(value), bottom + 14.0, "middle", "small", &figure(value));
        }
        for (row, (word, value)) in (0_u32..).zip(&histogram.marks) {
            self.line((x(*value), top - 12.0), (x(*value), bottom), "goal");
            let words = format!("{word} {}", figure(*value));
            let y = top + 14.0 * f64::from(row);
            let is_right = x(*value) > WIDTH * 0.75;
            let (x, anchor) = if is_right {
                (x(*value) - 4.0, "end")
            } else {
                (x(*value) + 4.0, "start")
            };
            self.text(x, y, anchor, "small", &words);
        }
        self.height = bottom + 30.0;
        self
    }

    /// The page as a document.
    #[must_use]
    pub fn to_svg(&self) -> String {
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" font-family=\"sans-serif\">\n\
             <style>text{{fill:#222}} .title{{font-size:18px;font-weight:bold}} .head{{font-size:14px;font-weight:bold}} .label{{font-size:12px}} \
             .small{{font-size:11px;fill:#555}} .bar{{fill:#3b6ea5}} .reference{{fill:#9aa5b1}} .whisker{{stroke:#1f3d5c;stroke-width:2}} \
             .goal{{stroke:#c0392b;stroke-width:2}} .grid{{stroke:#ddd}} .axis{{stroke:#888}}</style>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
            height = self.height.ceil(),
            body = self.body
        )
    }

    /// Puts a panel's title, and returns where the panel begins.
    fn heading(&mut self, title: &str) -> f64 {
        let at = self.height + 18.0;
        self.text(16.0, at, "start", "head", title);
        at + 12.0
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, class: &str, text: &str) {
        self.put(format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" class=\"{class}\">{}</text>",
            escaped(text)
        ));
    }

    fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.put(format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" class=\"{class}\"/>",
            from.0, from.1, to.0, to.1
        ));
    }

    fn rectangle(&mut self, corner: (f64, f64), size: (f64, f64), class: &str) {
        self.put(format_args!(
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" class=\"{class}\"/>",
            corner.0, corner.1, size.0, size.1
        ));
    }

    fn put(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a string does not fail.
        let _always_ok = writeln!(self.body, "{element}");
    }
}

/// A figure with about three digits.
fn figure(value: f64) -> String {
    let digits = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_its_bars_goals_and_columns() {
        let bar = |p50: f64, goal| Bar {
            label: format!("a < {p50}"),
            p50,
            p99: p50 * 2.0,
            goal,
            is_reference: goal.is_none(),
        };
        let histogram = Histogram {
            title: "spread".into(),
            unit: "ms".into(),
            values: vec![1.0, 2.0, 2.5, 40.0],
            marks: vec![("p50".into(), 2.0)],
        };
        let svg = Plot::new("bench", "here")
            .bars("times", "ms", &[bar(0.5, Some(3.0)), bar(200.0, None)])
            .histogram(&histogram)
            .to_svg();
        assert!(svg.contains("a &lt; 0.5") && !svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg.matches("class=\"goal\"").count(), 2);
        assert_eq!(svg.matches("class=\"reference\"").count(), 1);
        assert_eq!(svg.matches("class=\"bar\"").count(), 1 + COLUMNS);
    }

    #[test]
    fn nothing_measured_is_an_empty_page() {
        let svg = Plot::new("bench", "here").bars("times", "ms", &[]).to_svg();
        assert!(svg.contains("bench") && !svg.contains("NaN"));
    }

    #[test]
    fn figures_are_short() {
        let texts = [0.0, 0.0312, 1.5, 10.0, 12.34, 250.0, 12_345.6].map(figure);
        assert_eq!(texts, ["0", "0.0312", "1.5", "10", "12.3", "250", "12346"]);
    }
}
