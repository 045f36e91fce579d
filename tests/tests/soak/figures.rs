//! Numbers, their bounds and their file.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

/// The figures of one case.
pub struct Figures {
    case: &'static str,
    rows: Vec<Row>,
}

struct Row {
    name: &'static str,
    found: f64,
    unit: &'static str,
    /// Bounds on both sides, as far as there are any.
    least: Option<f64>,
    most: Option<f64>,
}

impl Row {
    fn kept(&self) -> bool {
        self.least.is_none_or(|it| self.found >= it) && self.most.is_none_or(|it| self.found <= it)
    }
}

impl Figures {
    pub fn of(case: &'static str) -> Self {
        Self {
            case,
            rows: Vec::new(),
        }
    }

    fn note(
        &mut self,
        name: &'static str,
        (found, unit): (f64, &'static str),
        (least, most): (Option<f64>, Option<f64>),
    ) {
        let row = Row {
            name,
            found,
            unit,
            least,
            most,
        };
        let broken = if row.kept() { "" } else { "   BOUND BROKEN" };
        println!("{}: {name}: {found:.1} {unit}{broken}", self.case);
        self.rows.push(row);
    }

    pub fn plain(&mut self, name: &'static str, found: f64, unit: &'static str) {
        self.note(name, (found, unit), (None, None));
    }

    pub fn at_most(&mut self, name: &'static str, found: f64, unit: &'static str, most: f64) {
        self.note(name, (found, unit), (None, Some(most)));
    }

    pub fn at_least(&mut self, name: &'static str, found: f64, unit: &'static str, least: f64) {
        self.note(name, (found, unit), (Some(least), None));
    }

    /// Writes the file; fails if a bound is broken.
    pub fn finish(self, samples: &Value) {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("soak");
        fs::create_dir_all(&folder).unwrap();
        let rows = self.rows.iter().map(|row| {
            json!({"name": row.name, "found": row.found, "unit": row.unit, "atLeast": row.least, "atMost": row.most})
        });
        let rows: Vec<_> = rows.collect();
        let file = folder.join(format!("{}.json", self.case));
        let text = json!({"case": self.case, "figures": rows, "samples": samples});
        fs::write(&file, format!("{text:#}\n")).unwrap();
        println!("{}: written to {}", self.case, file.display());
        let broken = self.rows.iter().filter(|row| !row.kept());
        let broken: Vec<_> = broken.map(|row| row.name).collect();
        assert!(broken.is_empty(), "bounds broken: {broken:?}");
    }
}

/// A count as a figure.
pub fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().ok().unwrap().into()
}

/// The value that so many per cent of the samples do not exceed.
pub fn percentile(samples: &[f64], percent: usize) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() * percent).div_ceil(100).max(1) - 1]
}
