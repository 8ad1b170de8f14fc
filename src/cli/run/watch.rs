//! The program's requests as the server has them: many clients show no more of a refusal than a
//! status, or not even that, when it was a tunnel that they asked for; and some try for minutes
//! what can't succeed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::cli::output::{self, count, printable};
use crate::cli::server::{Path, Server};
use crate::cli::table::cell;
use crate::clock::Clock;
use crate::listener::{CA_NOT_TRUSTED, LEFT_WITHOUT_REQUEST};

/// A look at the server from time to time, while the program runs and once it has failed.
pub(super) struct Watch<'a> {
    server: &'a Server,
    caller: &'a str,
    integration: &'a str,
    begun: String,
    /// The number of requests that the server had counted before.
    before: Option<f64>,
    /// The newest entry that has been seen, as a cursor.
    newest: Option<String>,
    found: Found,
    advice: Advice,
}

/// The next steps of a person who reads what was in the program's way.
pub(super) struct Advice {
    /// The command that explains a request, but for its method and URL.
    pub(super) explain: String,
    /// The bundle that the program should trust.
    pub(super) bundle: PathBuf,
}

/// What the entries since the beginning say.
#[derive(Default)]
struct Found {
    /// The number of them, of any caller.
    entries: f64,
    /// Tells whether one was of this caller.
    is_known: bool,
    /// The reason why the caller's requests were refused, and how often.
    refusals: BTreeMap<String, usize>,
    /// The codes of refusals to callers that are not known.
    of_unknown: BTreeMap<String, usize>,
    /// Where a request came through a tunnel.
    served: BTreeSet<String>,
    /// Where the program refused the CA's certificate.
    untrusted: BTreeSet<String>,
    /// Where it left without a request.
    left: BTreeSet<String>,
}

impl<'a> Watch<'a> {
    /// Begins with what the server counts now; `caller` is the name of the program's token.
    pub(super) fn begin(
        server: &'a Server,
        caller: &'a str,
        integration: &'a str,
        advice: Advice,
    ) -> Self {
        let newest = page(server, "1", None).and_then(|page| newest(&page));
        let (before, begun) = (requests(server), Clock::system().now().to_string());
        let found = Found::default();
        Self { server, caller, integration, begun, before, newest, found, advice }
    }

    /// Runs the program, and says at once when it does not trust the CA. Then it says all else that
    /// was in its way, should it have failed.
    pub(super) fn during<T>(
        mut self,
        program: impl FnOnce() -> T,
        has_failed: impl FnOnce(&T) -> bool,
    ) -> T {
        let (running, ended) = mpsc::channel();
        let (outcome, is_told) = thread::scope(|scope| {
            let watch = &mut self;
            let follower = scope.spawn(move || watch.follow(&ended));
            let outcome = program();
            drop(running);
            (outcome, follower.join().unwrap_or(true))
        });
        if has_failed(&outcome) {
            self.tell(is_told);
        }
        outcome
    }

    /// Looks until the program has ended; whether it was said that the CA is not trusted.
    fn follow(&mut self, ended: &Receiver<()>) -> bool {
        let mut is_told = false;
        while ended.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            if is_told {
                continue;
            }
            self.look();
            if let Some(sentence) = self.found.distrust(&self.advice) {
                output::note(&sentence);
                is_told = true;
            }
        }
        is_told
    }

    /// Says what was in the program's way, as far as the server tells.
    fn tell(mut self, is_told: bool) {
        let (Some(before), Some(after)) = (self.before, requests(self.server)) else { return };
        // Entries are kept by the batch.
        for _look in 0..LOOKS {
            self.look();
            if self.found.entries >= after - before {
                break;
            }
            thread::sleep(PAUSE);
        }
        let distrust = self.found.distrust(&self.advice).filter(|_| !is_told);
        for sentence in distrust.into_iter().chain(self.found.refused(&self.advice)) {
            output::note(&sentence);
        }
    }

    /// Reads the entries since the last look.
    fn look(&mut self) {
        while let Some(page) = page(self.server, "100", self.newest.as_deref()) {
            let entries = page.get("entries").and_then(Value::as_array);
            for entry in entries.into_iter().flatten() {
                if cell(entry, "time").as_str() >= self.begun.as_str() {
                    self.found.note(entry, self.caller, self.integration);
                }
            }
            // Without a cursor the page is the newest one, and what is beyond it is older.
            let has_more = page.pointer("/meta/has_more").and_then(Value::as_bool);
            let goes_on = self.newest.is_some() && has_more == Some(true);
            let last = newest(&page);
            if last.is_none() || last == self.newest {
                return;
            }
            self.newest = last;
            if !goes_on {
                return;
            }
        }
    }
}

impl Found {
    fn note(&mut self, entry: &Value, caller: &str, integration: &str) {
        self.entries += 1.0;
        let is_refused = cell(entry, "decision") == "refuse";
        let (code, origin) = (cell(entry, "code"), printable(&cell(entry, "origin")));
        let theirs = cell(entry, "caller");
        if theirs.is_empty() && is_refused {
            *self.of_unknown.entry(printable(&code)).or_insert(0) += 1;
        }
        if theirs != caller || ![integration, ""].contains(&cell(entry, "integration").as_str()) {
            return;
        }
        self.is_known = true;
        if is_refused {
            // There is none where the request was read no further.
            let aim = if origin.is_empty() { String::new() } else { format!(" for {origin}") };
            *self.refusals.entry(printable(&format!("{code}{aim}"))).or_insert(0) += 1;
        }
        let (form, cause) = (cell(entry, "form"), cell(entry, "cause"));
        if form == "tunnel" {
            self.served.insert(origin);
        } else if cause.starts_with(CA_NOT_TRUSTED) {
            self.untrusted.insert(origin);
        } else if cause.starts_with(LEFT_WITHOUT_REQUEST) {
            self.left.insert(origin);
        }
    }

    /// Says that the program does not trust the CA. A program that leaves one tunnel of several may
    /// have opened it in advance.
    fn distrust(&self, advice: &Advice) -> Option<String> {
        let (origin, does) = match self.untrusted.first() {
            Some(origin) => (origin, "does not trust the proxy's CA"),
            None => {
                (self.left.difference(&self.served).next()?, "seems not to trust the proxy's CA")
            }
        };
        Some(format!(
            "keyferry: the program {does}: its TLS handshake for {origin} came to nothing; it has a \
             setting of its own for the CAs that it trusts, which should name {} (the file is \
             there while this command runs; `keyferry ca export` prints the CA for one that stays)",
            advice.bundle.display()
        ))
    }

    /// Says what was refused.
    fn refused(&self, advice: &Advice) -> Option<String> {
        let (reasons, whose, what_next) = if self.refusals.is_empty() {
            // Who has shown its token once was only asked for it before.
            let counts = |code: &str| !(self.is_known && code == "CallerUnknown");
            let reasons = self.of_unknown.iter().filter(|(code, _)| counts(code)).collect();
            let what_next = "the program may not send the proxy's token".to_owned();
            (reasons, "whose caller is not known", what_next)
        } else {
            let what_next = format!("`{} GET URL` says why", advice.explain);
            (self.refusals.iter().collect::<Vec<_>>(), "of this program", what_next)
        };
        let number: usize = reasons.iter().map(|(_, times)| **times).sum();
        let reasons: Vec<_> =
            reasons.iter().take(MAX_REASONS).map(|(reason, _)| reason.as_str()).collect();
        (number > 0).then(|| {
            let were = if number == 1 { "was" } else { "were" };
            let (all, reasons) = (count(number, "request"), reasons.join(", "));
            format!("keyferry: {all} {whose} {were} refused: {reasons}; {what_next}")
        })
    }
}

/// A page of the audit trail: the newest entries, or those after a cursor.
fn page(server: &Server, size: &str, newer_than: Option<&str>) -> Option<Value> {
    let mut path = Path::keyferry(&["audit"]).with("page[size]", size);
    if let Some(cursor) = newer_than {
        path = path.with("page[before]", cursor);
    }
    server.get(&path).and_then(|answer| answer.json()).ok()
}

/// The cursor of the newest entry of a page.
fn newest(page: &Value) -> Option<String> {
    let cursor = page.pointer("/meta/before").and_then(Value::as_str);
    cursor.filter(|cursor| !cursor.is_empty()).map(str::to_owned)
}

/// The number of requests that the server has counted, of all callers.
fn requests(server: &Server) -> Option<f64> {
    let answer = server.get(&Path::root(&["metrics"])).ok()?;
    let lines = answer.text().ok()?.lines();
    let counts = lines.filter(|line| line.starts_with("keyferry_requests_total{"));
    Some(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// A program that does not trust the CA may try for minutes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
const LOOKS: u32 = 6;
const PAUSE: Duration = Duration::from_millis(400);
const MAX_REASONS: usize = 5;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(entries: &[Value]) -> Found {
        let mut found = Found::default();
        for entry in entries {
            found.note(entry, "run", "acme");
        }
        found
    }

    fn advice() -> Advice {
        Advice {
            explain: "keyferry explain --integration acme".to_owned(),
            bundle: "/b.pem".into(),
        }
    }

    fn connect(origin: &str, cause: &str) -> Value {
        json!({"caller": "run", "integration": "acme", "form": "connect", "origin": origin,
               "decision": "allow", "cause": cause})
    }

    fn refusal(caller: &str, code: &str) -> Value {
        json!({"caller": caller, "integration": "", "form": "", "origin": "https://a",
               "decision": "refuse", "code": code})
    }

    #[test]
    fn a_tunnel_left_among_others_is_no_distrust() {
        let left = connect("https://a", LEFT_WITHOUT_REQUEST);
        let mut served = connect("https://a", "");
        served["form"] = "tunnel".into();
        assert!(found(&[left.clone(), served]).distrust(&advice()).is_none());
        assert!(found(&[connect("https://a", "")]).distrust(&advice()).is_none());
        let said = found(&[left]).distrust(&advice()).unwrap();
        assert!(said.contains("seems not to trust") && said.contains("https://a"), "{said}");
        assert!(said.contains("should name /b.pem (") && !said.contains('$'), "{said}");
        let refused = connect("https://b", &format!("{CA_NOT_TRUSTED}: alert"));
        assert!(found(&[refused]).distrust(&advice()).unwrap().contains("does not trust"));
    }

    #[test]
    fn refusals_to_nobody_known_are_told_where_there_are_no_others() {
        let unknown = [refusal("", "CallerUnknown"), refusal("", "CallerUnknown")];
        let said = found(&unknown).refused(&advice()).unwrap();
        assert!(said.contains("2 requests whose caller is not known were refused"), "{said}");
        // Java's client asks without its token first.
        let [first, second] = unknown;
        assert!(found(&[first, connect("https://a", ""), second]).refused(&advice()).is_none());
        let both = [refusal("", "MalformedRequest"), refusal("run", "DomainNotAllowed")];
        let said = found(&both).refused(&advice()).unwrap();
        assert!(said.contains("1 request of this program was refused: DomainNotAllowed"), "{said}");
        assert!(said.contains("`keyferry explain --integration acme GET URL` says why"), "{said}");
        assert!(found(&[refusal("other", "DomainNotAllowed")]).refused(&advice()).is_none());
        let mut unread = refusal("run", "HttpsRequired");
        unread["origin"] = "".into();
        let said = found(&[unread]).refused(&advice()).unwrap();
        assert!(said.contains("HttpsRequired") && !said.contains(" for ;"), "{said}");
    }
}
