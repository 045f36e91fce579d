//! What a run found: every single sample for a file, medians and ratios as Markdown tables.

use std::fmt;

use serde::Serialize;

use super::stats::{median, paired_ratio, percentile};

/// Which number stands for a row's samples in the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Statistic {
    /// Ratios are medians of the rounds' ratios.
    Median,
    /// Ratios are ratios of the percentiles.
    P99,
}

/// One thing measured, for every subject of its table.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    /// What was measured, with its unit.
    pub name: String,
    /// Which number is shown.
    pub statistic: Statistic,
    /// By subject, in the table's order; in the order they were taken. A subject that has none was not measured.
    pub samples: Vec<Vec<f64>>,
}

impl Row {
    /// A row without samples yet.
    pub fn new(name: impl Into<String>, subjects: usize) -> Self {
        Self {
            name: name.into(),
            statistic: Statistic::Median,
            samples: vec![Vec::new(); subjects],
        }
    }

    /// The same samples under another name and statistic.
    #[must_use]
    pub fn as_p99(&self, name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            statistic: Statistic::P99,
            samples: self.samples.clone(),
        }
    }

    /// The number shown for a subject; NaN if it was not measured.
    pub fn value(&self, subject: usize) -> f64 {
        match self.statistic {
            Statistic::Median => median(&self.samples[subject]),
            Statistic::P99 => percentile(&self.samples[subject], 99),
        }
    }

    /// How one subject compares to another; NaN if either was not measured.
    pub fn ratio(&self, of: usize, to: usize) -> f64 {
        match self.statistic {
            Statistic::Median => paired_ratio(&self.samples[of], &self.samples[to]),
            Statistic::P99 => self.value(of) / self.value(to),
        }
    }
}

/// Rows that share their subjects.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Heading.
    pub title: String,
    /// How it was measured.
    pub how: String,
    /// Who was measured.
    pub subjects: Vec<String>,
    /// Pairs of subjects whose ratio is shown.
    pub ratios: Vec<(usize, usize)>,
    /// What was measured.
    pub rows: Vec<Row>,
    /// What the numbers should be.
    pub goals: Vec<Goal>,
}

/// A bound that a number should keep.
#[derive(Clone, Debug, Serialize)]
pub struct Goal {
    /// In words, with the bound.
    pub text: String,
    /// What was found.
    pub value: f64,
    /// Whether the bound is kept.
    pub met: bool,
}

impl Goal {
    /// `value` should be at least `bound`.
    pub fn at_least(text: impl fmt::Display, value: f64, bound: f64) -> Self {
        Self {
            text: format!("{text}: at least {bound}"),
            value,
            met: value >= bound,
        }
    }

    /// `value` should be at most `bound`.
    pub fn at_most(text: impl fmt::Display, value: f64, bound: f64) -> Self {
        Self {
            text: format!("{text}: at most {bound}"),
            value,
            met: value <= bound,
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let outcome = match (self.value.is_nan(), self.met) {
            (true, _) => return write!(f, "{}; not measured", self.text),
            (false, true) => "met",
            (false, false) => "missed",
        };
        write!(f, "{}; {} ({outcome})", self.text, number(self.value))
    }
}

impl Table {
    /// Markdown: the heading, the table, how it was measured, the goals.
    pub fn markdown(&self) -> String {
        let ratios = self
            .ratios
            .iter()
            .map(|(of, to)| format!("{} / {}", self.subjects[*of], self.subjects[*to]));
        let head: Vec<String> = self.subjects.iter().cloned().chain(ratios).collect();
        let mut lines = vec![
            format!("### {}\n", self.title),
            format!("| | {} |", head.join(" | ")),
            format!("|---|{}", "---:|".repeat(head.len())),
        ];
        for row in &self.rows {
            let values = (0..self.subjects.len()).map(|subject| number(row.value(subject)));
            let ratios = self
                .ratios
                .iter()
                .map(|(of, to)| number(row.ratio(*of, *to)));
            let cells: Vec<String> = values.chain(ratios).collect();
            lines.push(format!("| {} | {} |", row.name, cells.join(" | ")));
        }
        lines.push(format!("\n{}\n", self.how));
        lines.extend(self.goals.iter().map(|goal| format!("- {goal}")));
        lines.join("\n") + "\n"
    }
}

/// Three significant digits, thousands grouped; a dash for what was not measured.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".into();
    }
    match value.abs() {
        0.0..10.0 => format!("{value:.2}"),
        10.0..100.0 => format!("{value:.1}"),
        _ => grouped(&format!("{value:.0}")),
    }
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) && !text.ends_with('-') {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_what_was_not_measured_is_a_dash() {
        let shown = [1.004, 42.5, 123.0, 1234.0, 1_234_567.0, -123_456.0].map(number);
        assert_eq!(
            shown,
            ["1.00", "42.5", "123", "1,234", "1,234,567", "-123,456"]
        );
        assert_eq!(number(f64::NAN), "-");
    }

    #[test]
    fn a_table_shows_values_ratios_and_goals() {
        let mut row = Row::new("rate, 1/s", 2);
        row.samples = vec![vec![100.0, 110.0, 120.0], vec![50.0, 55.0, 60.0]];
        let table = Table {
            title: "T".into(),
            how: "So.".into(),
            subjects: vec!["a".into(), "b".into()],
            ratios: vec![(0, 1)],
            goals: vec![Goal::at_least("a / b", row.ratio(0, 1), 3.0)],
            rows: vec![row],
        };
        let expected = "### T\n\n| | a | b | a / b |\n|---|---:|---:|---:|\n\
             | rate, 1/s | 110 | 55.0 | 2.00 |\n\nSo.\n\n- a / b: at least 3; 2.00 (missed)\n";
        assert_eq!(table.markdown(), expected);
    }

    #[test]
    fn a_goal_without_a_measurement_is_not_met() {
        let goal = Goal::at_most("x", f64::NAN, 1.0);
        assert!(!goal.met);
        assert!(goal.to_string().ends_with("not measured"));
    }
}
