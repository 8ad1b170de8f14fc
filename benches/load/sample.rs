//! The figures of one measurement, by name.

use std::{collections::BTreeMap, fmt, io, str::FromStr};

/// Written by the generator, one `name value` a line, and read by the orchestrator.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sample(BTreeMap<String, f64>);

impl Sample {
    /// The figure, if this measurement has it.
    pub(crate) fn lookup(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    /// Adds or replaces a figure; one that is not a number is left out.
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        if value.is_finite() {
            self.0.insert(name.to_owned(), value);
        }
    }

    /// Whether every request was answered, and by what it asked for.
    pub(crate) fn is_clean(&self) -> bool {
        ["errors", "rejected"].iter().all(|name| self.lookup(name).is_none_or(|count| count == 0.0))
    }

    /// The median of each figure; of errors and rejections the most.
    pub(crate) fn median(samples: &[&Self]) -> Self {
        let mut all = BTreeMap::<&str, Vec<f64>>::new();
        for (name, value) in samples.iter().flat_map(|sample| &sample.0) {
            all.entry(name).or_default().push(*value);
        }
        let mut summary = Self::default();
        for (name, values) in all {
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let counts_faults = matches!(name, "errors" | "rejected");
            let value = if counts_faults { Some(most) } else { median(values) };
            summary.set(name, value.unwrap_or(f64::NAN));
        }
        summary
    }

    /// As a JSON object.
    pub(crate) fn to_json(&self) -> String {
        let members = self.0.iter().map(|(name, value)| format!(r#""{name}":{value:.4}"#));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(formatter, "{name} {value}"))
    }
}

impl FromStr for Sample {
    type Err = io::Error;

    fn from_str(text: &str) -> io::Result<Self> {
        let mut sample = Self::default();
        for line in text.lines() {
            let (name, value) = line.split_once(' ').unwrap_or_default();
            sample.set(name, value.parse().map_err(io::Error::other)?);
        }
        Ok(sample)
    }
}

/// The middle one of some values, or the mean of the middle two.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let (low, high) =
        (values.get(values.len().saturating_sub(1) / 2)?, values.get(values.len() / 2)?);
    Some(f64::midpoint(*low, *high))
}
