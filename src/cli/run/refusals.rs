//! What was refused to the program: many clients show no more of it than a status, or not even
//! that, when it was a tunnel that they asked for.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::cli::output::{self, count, printable};
use crate::cli::server::{Path, Server};
use crate::cli::table::cell;

/// How much was refused before the program began.
pub(super) struct Before(Option<f64>);

impl Before {
    /// As the server counts it now.
    pub(super) fn of(server: &Server) -> Self {
        Self(refused(server))
    }

    /// Says what was refused to the program since, as far as the server tells.
    pub(super) fn tell(self, server: &Server, caller: &str, integration: &str, begun: &str) {
        let (Some(before), Some(after)) = (self.0, refused(server)) else { return };
        if after <= before {
            return;
        }
        // Entries are kept by the batch.
        for _look in 0..LOOKS {
            let found = refusals(server, caller, integration, begun);
            if !found.is_empty() {
                return output::note(&told(&found));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

/// How many requests the server has refused, to whomever.
fn refused(server: &Server) -> Option<f64> {
    let answer = server.get(&Path::root(&["metrics"])).ok()?;
    let lines = answer.text().ok()?.lines().filter(|line| {
        line.starts_with("keyferry_requests_total{") && line.contains("decision=\"refuse\"")
    });
    Some(lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// The newest refusals to a program since then, by what was refused and why.
fn refusals(
    server: &Server,
    caller: &str,
    integration: &str,
    begun: &str,
) -> BTreeMap<String, usize> {
    let path = Path::keyferry(&["audit"]).with("page[size]", "100");
    let page = server.get(&path).and_then(|answer| answer.json()).unwrap_or_default();
    let mut found = BTreeMap::new();
    for entry in page.get("entries").and_then(Value::as_array).into_iter().flatten() {
        let is_ours = cell(entry, "caller") == caller
            && [integration, ""].contains(&cell(entry, "integration").as_str())
            && cell(entry, "decision") == "refuse"
            && cell(entry, "time").as_str() >= begun;
        if is_ours {
            let (code, origin) = (cell(entry, "code"), cell(entry, "origin"));
            *found.entry(printable(&format!("{code} for {origin}"))).or_insert(0) += 1;
        }
    }
    found
}

fn told(found: &BTreeMap<String, usize>) -> String {
    let all = count(found.values().sum(), "request");
    let reasons: Vec<_> = found.keys().take(MOST_TOLD).map(String::as_str).collect();
    format!(
        "keyferry: {all} of this program {} refused: {}; `keyferry explain GET URL` says why",
        if all.starts_with("1 ") { "was" } else { "were" },
        reasons.join(", ")
    )
}

const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(400);
const MOST_TOLD: usize = 5;
