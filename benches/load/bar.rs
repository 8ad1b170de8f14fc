//! The speed bar: what Keyferry is held to, judged from the results.

use crate::{
    contender::{
        Contender::{self, Bare, Haproxy, Keyferry, KeyferryFew, KeyferryMany, NginxLog},
        MANY,
    },
    load::Load,
    options::Options,
    results::{Figure, Results},
};

/// A sentence for each figure that has a limit; none where Keyferry or its yardstick is missing.
pub(crate) fn judge(results: &Results, options: &Options) -> Vec<String> {
    let limits = |load| limits(load).into_iter().map(move |limit| (load, limit));
    let judged = options.loads.iter().copied().flat_map(limits);
    let judged = judged.filter_map(|(load, limit)| limit.sentence(results, load));
    judged.chain(scale(results).unwrap_or_default()).collect()
}

/// What a hundred thousand connections may cost beside a hundred.
fn scale(results: &Results) -> Option<[String; 3]> {
    let load = Load::KeepAlive(32);
    let (few, many) = (results.median(load, KeyferryFew)?, results.median(load, KeyferryMany)?);
    let cpu = |contender| Figure(contender, "cpu_ms");
    let times = results.ratio(load, cpu(KeyferryMany), cpu(KeyferryFew))?;
    let (start, more) =
        (many.lookup("start_ms")?, many.lookup("memory_mib")? - few.lookup("memory_mib")?);
    #[expect(clippy::cast_precision_loss, reason = "a hundred thousand is exact")]
    let each = more * f64::from(1 << 20) / MANY as f64;
    let verdict = |met: bool| if met { "met" } else { "MISSED" };
    Some([
        format!(
            "* {}: 100,000 connections: a request costs {times:.2} times what it costs among 100, the limit is 1.05",
            verdict(times <= 1.05)
        ),
        format!(
            "* {}: 100,000 connections: it has answered after {start:.0} ms, the limit is 5000",
            verdict(start <= 5000.0)
        ),
        format!(
            "* {}: 100,000 connections: each takes {each:.0} bytes, the limit is 1024",
            verdict(each <= 1024.0)
        ),
    ])
}

/// Keyferry's figure may be so many times the yardstick's.
struct Limit {
    is_aim: bool,
    ours: &'static str,
    theirs: Figure,
    times: f64,
}

impl Limit {
    const fn cpu(yardstick: Contender, times: f64) -> Self {
        let theirs = Figure(yardstick, "cpu_ms");
        Self { is_aim: false, ours: "cpu_ms", theirs, times }
    }

    fn sentence(&self, results: &Results, load: Load) -> Option<String> {
        let ratio = results.ratio(load, Figure(Keyferry, self.ours), self.theirs)?;
        let verdict = match (self.is_aim, ratio <= self.times) {
            (false, true) => "met",
            (false, false) => "MISSED",
            (true, true) => "aim met",
            (true, false) => "aim not met",
        };
        let Figure(yardstick, figure) = self.theirs;
        Some(format!(
            "* {verdict}: {load}: {ours} is {ratio:.2} times {yardstick}'s {figure}, the limit is \
             {times:.2}",
            load = load.name(),
            ours = self.ours,
            yardstick = yardstick.name(),
            times = self.times,
        ))
    }
}

fn limits(load: Load) -> Vec<Limit> {
    let mut limits = match load {
        // nginx opens no tunnels, so that there is no memory of its to compare with.
        Load::Tunnel(_) => {
            return vec![Limit::cpu(Bare, 1.3), Limit { is_aim: true, ..Limit::cpu(Bare, 1.15) }];
        }
        Load::TunnelChurn(_) => return vec![Limit::cpu(Bare, 1.25)],
        Load::Churn(_) => vec![Limit::cpu(NginxLog, 1.3)],
        Load::Download | Load::Upload => vec![Limit::cpu(Haproxy, 1.0)],
        Load::KeepAlive(_) => {
            let aim = Limit { is_aim: true, ..Limit::cpu(Bare, 1.15) };
            vec![Limit::cpu(NginxLog, 1.0), aim]
        }
    };
    // nginx's master shares most of its memory with the worker, so the worker alone is the
    // stricter measure.
    let worker = Figure(NginxLog, "memory_worker_mib");
    limits.push(Limit { is_aim: false, ours: "memory_mib", theirs: worker, times: 2.0 });
    limits
}
