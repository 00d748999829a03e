//! Samples as OpenMetrics text, which Prometheus reads and in which IoT Edge's modules answer.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::{Sample, Value};

/// The samples by name: the text wants those of one name together, whoever they come from.
#[derive(Debug)]
struct Families(BTreeMap<String, Vec<Sample>>);

pub(super) fn text(samples: Vec<Sample>) -> String {
    let mut families: BTreeMap<String, Vec<Sample>> = BTreeMap::new();
    for sample in samples {
        families.entry(sample.name.to_string()).or_default().push(sample);
    }
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Families(families)));
    let mut text = String::new();
    encode(&mut text, &registry).expect("writing to a string cannot fail");
    text
}

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        for (name, family) in &self.0 {
            let Some(first) = family.first() else { continue };
            let kind = match first.value {
                Value::Counter(_) => MetricType::Counter,
                Value::Gauge(_) => MetricType::Gauge,
            };
            let mut metric = encoder.encode_descriptor(name, &first.help, None, kind)?;
            for sample in family {
                write(sample, &mut metric)?;
            }
        }
        Ok(())
    }
}

fn write(sample: &Sample, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    if sample.labels.is_empty() {
        return number(sample.value, metric);
    }
    number(sample.value, &mut metric.encode_family(&sample.labels)?)
}

fn number(value: Value, metric: &mut MetricEncoder<'_>) -> fmt::Result {
    match value {
        Value::Counter(count) => metric.encode_counter::<NoLabelSet, u64, f64>(&count, None),
        Value::Gauge(level) => metric.encode_gauge(&level),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_name_stand_together_under_one_head() {
        let sent = |module: &str, n| Sample::counter("sent", "Messages sent", n).with("module", module);
        let text = text(vec![sent("a", 1), Sample::gauge("warm", "How warm", 21.5), sent("b\"", 2)]);
        let expected = "# HELP sent Messages sent\n# TYPE sent counter\nsent_total{module=\"a\"} 1\n\
                        sent_total{module=\"b\\\"\"} 2\n# HELP warm How warm\n# TYPE warm gauge\nwarm 21.5\n# EOF\n";
        assert_eq!(text, expected);
    }
}
