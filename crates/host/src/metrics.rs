//! Metrics: what a process counts, in the text that Prometheus and IoT Edge's collector read.
//!
//! Whoever counts hands in a [`Source`] and keeps it; it is asked when somebody reads, so counting costs nothing
//! more. A module's loop, whose numbers are its own, posts them on a [`Board`]. [`serve`] answers `GET /metrics` on
//! `METRICS_ADDRESS`, to whoever can reach that address: there are numbers in it, and no readings of others, no keys.

mod board;
mod serve;
mod text;

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError, Weak};

pub use board::{Board, Figures};
pub use serve::serve;

/// What a number means when it is looked at twice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Value {
    /// It only grows, while the process lives. The name in the text ends with `_total`.
    Counter(u64),
    /// It goes up and down.
    Gauge(f64),
}

/// One number at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// What is counted, without `_total`: `isotherm_sensor_readings`.
    pub name: Cow<'static, str>,
    /// The same in words.
    pub help: Cow<'static, str>,
    /// The number.
    pub value: Value,
    /// What tells it from others of that name.
    pub labels: Vec<(&'static str, String)>,
}

impl Sample {
    /// A number that only grows.
    pub fn counter(
        name: impl Into<Cow<'static, str>>,
        help: impl Into<Cow<'static, str>>,
        value: u64,
    ) -> Self {
        Self { name: name.into(), help: help.into(), value: Value::Counter(value), labels: Vec::new() }
    }

    /// A number that goes up and down.
    pub fn gauge(name: impl Into<Cow<'static, str>>, help: impl Into<Cow<'static, str>>, value: f64) -> Self {
        Self { name: name.into(), help: help.into(), value: Value::Gauge(value), labels: Vec::new() }
    }

    /// The same with one label more.
    #[must_use]
    pub fn with(mut self, label: &'static str, value: impl Into<String>) -> Self {
        self.labels.push((label, value.into()));
        self
    }
}

/// Says its numbers when asked. Must not wait for anything.
pub trait Source: Send + Sync {
    /// All of them, at this moment.
    fn samples(&self) -> Vec<Sample>;
}

/// All the sources of a process. Clones are the same; a source that was dropped is silent.
#[derive(Clone, Default)]
pub struct Metrics(Arc<Mutex<Vec<Weak<dyn Source>>>>);

impl Metrics {
    /// From now on this source is asked too, as long as somebody else keeps it.
    pub fn ask<S: Source + 'static>(&self, source: &Arc<S>) {
        let source: Arc<dyn Source> = source.clone();
        let mut sources = self.lock();
        sources.retain(|known| known.strong_count() > 0); // clients come and go
        sources.push(Arc::downgrade(&source));
    }

    /// All numbers of all sources.
    pub fn samples(&self) -> Vec<Sample> {
        let sources: Vec<_> = self.lock().iter().filter_map(Weak::upgrade).collect();
        sources.iter().flat_map(|source| source.samples()).collect()
    }

    /// All numbers as text.
    pub fn text(&self) -> String {
        text::text(self.samples())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Weak<dyn Source>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} sources of metrics", self.lock().len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Seen(u64);

    impl Figures for Seen {
        fn samples(&self) -> Vec<Sample> {
            vec![Sample::counter("seen", "Things seen", self.0)]
        }
    }

    #[test]
    fn a_source_is_asked_when_somebody_reads_and_not_after_it_was_dropped() {
        let metrics = Metrics::default();
        let board = Arc::new(Board::<Seen>::default());
        metrics.ask(&board);
        assert!(metrics.text().contains("\nseen_total 0\n"), "{}", metrics.text());
        board.post(Seen(3));
        assert!(metrics.clone().text().contains("\nseen_total 3\n"));
        drop(board);
        assert_eq!(metrics.text(), "# EOF\n");
    }

    #[test]
    fn dropped_sources_leave_no_trace() {
        let metrics = Metrics::default();
        for _ in 0..100 {
            metrics.ask(&Arc::new(Board::<Seen>::default()));
        }
        assert_eq!(metrics.lock().len(), 1);
    }
}
