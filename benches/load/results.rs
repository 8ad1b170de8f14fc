//! Everything that was measured.

use crate::{
    contender::Contender,
    load::Load,
    options::Options,
    sample::{Sample, median},
};

/// All measurements of a run.
#[derive(Debug, Default)]
pub(crate) struct Results {
    /// Measurements that came to nothing, or had errors in them, in words.
    pub(crate) faults: Vec<String>,
    entries: Vec<Entry>,
}

/// One measurement.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) contender: Contender,
    pub(crate) load: Load,
    pub(crate) round: u32,
    pub(crate) sample: Sample,
}

impl Results {
    /// Adds what one measurement gave.
    pub(crate) fn add(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// The median over the rounds, if there was any.
    pub(crate) fn median(&self, load: Load, contender: Contender) -> Option<Sample> {
        let samples: Vec<_> = self.entries(load, contender).map(|entry| &entry.sample).collect();
        (!samples.is_empty()).then(|| Sample::median(&samples))
    }

    /// How many times `theirs` a figure of `ours` is: the median over the rounds of what it was in
    /// each, because machines drift more between rounds than within one.
    pub(crate) fn ratio(&self, load: Load, ours: Figure, theirs: Figure) -> Option<f64> {
        let rounds = self.entries(load, ours.0).filter_map(|entry| {
            let mut others = self.entries(load, theirs.0);
            let other = others.find(|other| other.round == entry.round)?;
            Some(entry.sample.lookup(ours.1)? / other.sample.lookup(theirs.1)?)
        });
        median(rounds.filter(|ratio| ratio.is_finite()).collect())
    }

    /// Whether every measurement gave figures.
    pub(crate) fn is_clean(&self) -> bool {
        self.faults.is_empty()
    }

    /// All of it, every round by itself.
    pub(crate) fn to_json(&self, options: &Options, versions: &[String]) -> String {
        let versions: Vec<_> = versions.iter().map(|version| quote(version)).collect();
        let faults: Vec<_> = self.faults.iter().map(|fault| quote(fault)).collect();
        let loads: Vec<_> = options.loads.iter().map(|load| self.load(*load, options)).collect();
        format!(
            "{{\"rounds\":{},\"seconds\":{},\"transfers\":{},\"versions\":[{}],\"faults\":[{}],\n \
             \"loads\":{{\n{}}}}}\n",
            options.rounds,
            options.seconds,
            options.transfers,
            versions.join(","),
            faults.join(","),
            loads.join(",\n"),
        )
    }

    fn load(&self, load: Load, options: &Options) -> String {
        let contenders = options.contenders.iter().filter_map(|contender| {
            let median = self.median(load, *contender)?.to_json();
            let rounds = self.entries(load, *contender).map(|entry| entry.sample.to_json());
            let rounds = rounds.collect::<Vec<_>>().join(",\n     ");
            let name = quote(contender.name());
            Some(format!("   {name}:{{\"median\":{median},\n    \"rounds\":[{rounds}]}}"))
        });
        let contenders = contenders.collect::<Vec<_>>().join(",\n");
        format!("  {}:{{\n{contenders}}}", quote(&load.name()))
    }

    fn entries(&self, load: Load, contender: Contender) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(move |entry| entry.load == load && entry.contender == contender)
    }
}

/// A figure, by name, of a contender.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure(pub(crate) Contender, pub(crate) &'static str);

fn quote(text: &str) -> String {
    let plain = text.chars().map(|letter| if letter.is_control() { ' ' } else { letter });
    let escaped = plain.collect::<String>().replace('\\', r"\\").replace('"', r#"\""#);
    format!("\"{escaped}\"")
}
