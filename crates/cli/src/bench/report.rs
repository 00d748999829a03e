//! Figures: what was measured, of whom, in every round.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::output::{Failure, Output};

/// Figures by name, in the order in which they were first taken.
#[derive(Debug, Default)]
pub(super) struct Report {
    order: Vec<(String, String)>,
    figures: BTreeMap<(String, String), Figure>,
    /// What went wrong, as sentences.
    troubles: Vec<String>,
}

#[derive(Debug)]
struct Figure {
    unit: &'static str,
    values: Vec<f64>,
}

impl Report {
    /// Takes down what one round showed.
    pub(super) fn take(&mut self, name: &str, who: &str, unit: &'static str, value: f64) {
        let key = (name.to_owned(), who.to_owned());
        let order = &mut self.order;
        let figure = self.figures.entry(key).or_insert_with_key(|key| {
            order.push(key.clone());
            Figure { unit, values: Vec::new() }
        });
        figure.values.push(value);
        eprintln!("  {name} {who}: {} {unit}", short(value));
    }

    /// Takes down that a run failed, or that messages were lost, doubled or out of order.
    pub(super) fn trouble(&mut self, sentence: String) {
        eprintln!("  ! {sentence}");
        self.troubles.push(sentence);
    }

    /// Prints every figure; fails if something went wrong.
    pub(super) fn print(&self, output: &Output) -> Result<(), Failure> {
        let mut names: Vec<&str> = self.order.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        let mut seen = Vec::new();
        for name in names {
            if seen.contains(&name) {
                continue;
            }
            seen.push(name);
            for (key, figure) in
                self.order.iter().filter(|(of, _)| of == name).map(|key| (key, &self.figures[key]))
            {
                let ours = self.figures.get(&(name.to_owned(), "isotherm".to_owned()));
                output.say(&line(key, figure), sentence(key, figure, ours))?;
            }
        }
        match self.troubles.len() {
            0 => Ok(()),
            count => Err(Failure::No(format!("{count} runs went wrong: {}", self.troubles.join("; ")))),
        }
    }
}

fn line((name, who): &(String, String), figure: &Figure) -> Value {
    let (min, median, max) = spread(&figure.values);
    json!({
        "event": "figure", "name": name, "who": who, "unit": figure.unit,
        "median": median, "min": min, "max": max, "rounds": figure.values.len(),
    })
}

/// For people: the median, its spread, and how many times ours it is.
fn sentence((name, who): &(String, String), figure: &Figure, ours: Option<&Figure>) -> String {
    let (min, median, max) = spread(&figure.values);
    let times = match ours {
        Some(ours) if who != "isotherm" && spread(&ours.values).1 != 0.0 => {
            format!("   {:.2} × isotherm", median / spread(&ours.values).1)
        }
        _ => String::new(),
    };
    let range = format!("({} … {})", short(min), short(max));
    format!("{name:<24} {who:<18} {:>10} {:<20} {range:<24}{times}", short(median), figure.unit)
}

fn spread(values: &[f64]) -> (f64, f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len() - 1;
    let median = (sorted[last / 2] + sorted[last.div_ceil(2)]) / 2.0;
    (sorted[0], median, sorted[last])
}

fn short(value: f64) -> String {
    match value.abs() {
        1000.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        _ => format!("{value:.3}"),
    }
}

/// The value below which `part` of them lie.
pub(super) fn percentile(values: &mut [u64], part: f64) -> u64 {
    values.sort_unstable();
    let last = values.len().saturating_sub(1);
    values.get((last as f64 * part).round() as usize).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(spread(&[4.0, 1.0, 2.0, 3.0]), (1.0, 2.5, 4.0));
        assert_eq!(spread(&[3.0, 1.0, 2.0]), (1.0, 2.0, 3.0));
    }

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let mut values: Vec<u64> = (0..=100).rev().collect();
        assert_eq!(percentile(&mut values, 0.99), 99);
        assert_eq!(percentile(&mut values, 0.5), 50);
        assert_eq!(percentile(&mut [], 0.5), 0);
    }
}
