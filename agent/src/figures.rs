//! Figures for Prometheus: families with their rows, and histograms of durations.
//!
//! Names end in their unit, counters in `_total`; labels take values of fixed sets, or of namespaces with a pod on the node.

mod histogram;
pub mod serve;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

pub use histogram::{Durations, Reading};

/// Of the answer: `OpenMetrics`, which Prometheus asks for.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Label names and values of a row.
pub type Labels = Vec<(&'static str, String)>;

/// Figures with one name.
#[derive(Debug)]
pub struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    /// Counters and gauges.
    pub rows: Vec<(Labels, u64)>,
    durations: Vec<(Labels, Reading)>,
}

impl Family {
    /// A counter; its name gets `_total` behind it.
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Counter)
    }

    /// A gauge.
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, MetricType::Gauge)
    }

    /// Durations; the name ends in `_seconds`.
    pub fn histogram(
        name: &'static str,
        help: &'static str,
        durations: Vec<(Labels, Reading)>,
    ) -> Self {
        let mut family = Self::new(name, help, MetricType::Histogram);
        family.durations = durations;
        family
    }

    fn new(name: &'static str, help: &'static str, kind: MetricType) -> Self {
        Self {
            name,
            help,
            kind,
            rows: Vec::new(),
            durations: Vec::new(),
        }
    }

    /// A row without labels.
    #[must_use]
    pub fn one(mut self, value: u64) -> Self {
        self.rows.push((Labels::new(), value));
        self
    }

    /// Rows with one label.
    #[must_use]
    pub fn labelled(
        mut self,
        label: &'static str,
        rows: impl IntoIterator<Item = (&'static str, u64)>,
    ) -> Self {
        let rows = rows.into_iter();
        let rows = rows.map(|(value, count)| (vec![(label, value.to_owned())], count));
        self.rows.extend(rows);
        self
    }

    /// The version that runs, as a label of a gauge that is 1.
    pub fn version(name: &'static str) -> Self {
        Self::gauge(name, "1, with the version that runs")
            .labelled("version", [(env!("CARGO_PKG_VERSION"), 1)])
    }
}

/// As Prometheus reads them.
pub fn written(families: Vec<Family>) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Figures(families)));
    let mut text = String::new();
    if let Err(error) = encode(&mut text, &registry) {
        tracing::error!(%error, "figures written to memory"); // a string takes all
    }
    text
}

#[derive(Debug)]
struct Figures(Vec<Family>);

impl Collector for Figures {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for family in &self.0 {
            let Family {
                name,
                help,
                kind,
                rows,
                durations,
            } = family;
            let mut metric = encoder.encode_descriptor(name, help, None, *kind)?;
            for (labels, value) in rows {
                write(*kind, *value, metric.encode_family(labels)?)?;
            }
            for (labels, reading) in durations {
                reading.write(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

fn write(kind: MetricType, value: u64, encoder: MetricEncoder<'_>) -> fmt::Result {
    match kind {
        MetricType::Counter => ConstCounter::new(value).encode(encoder),
        _ => ConstGauge::new(value).encode(encoder),
    }
}
