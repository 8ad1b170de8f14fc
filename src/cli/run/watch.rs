//! The program's requests as the server has them: many clients show no more of a refusal than a
//! status, or not even that of a tunnel; and some try for minutes a request that can't succeed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::cli::output::{self, count, printable};
use crate::cli::server::{ApiClient, ApiPath};
use crate::clock::Clock;
use crate::listener::{CA_NOT_TRUSTED, LEFT_WITHOUT_REQUEST};
use crate::wire::{AuditEntries, AuditEntry};

/// Looks at the server from time to time, while the program runs and once it has failed.
pub(super) struct Watch<'a> {
    api: &'a ApiClient<'a>,
    caller: &'a str,
    integration: &'a str,
    begun: String,
    /// The number of requests that the server had counted before.
    before: Option<f64>,
    /// The newest entry that has been seen, as a cursor.
    newest: Option<String>,
    found: Findings,
    advice: Advice,
}

/// The next steps of a person who reads what was in the program's way.
pub(super) struct Advice {
    /// The command that explains a request, but for its method and URL.
    pub(super) explain: String,
    /// The bundle that the program should trust.
    pub(super) bundle: PathBuf,
}

/// The entries since the beginning, counted.
#[derive(Default)]
struct Findings {
    /// The number of them, of any caller.
    entries: f64,
    /// Tells whether one was of this caller.
    is_known: bool,
    /// The reason why the caller's requests were refused, and how often.
    refusals: BTreeMap<String, usize>,
    /// The codes of refusals to callers that are not known, and how often.
    of_unknown: BTreeMap<String, usize>,
    /// For each code, the cause of its first refusal, which is its title where there is no longer
    /// story.
    causes: BTreeMap<String, String>,
    /// The origins whose tunnel a request came through.
    served: BTreeSet<String>,
    /// The origins for which the program refused the CA's certificate.
    untrusted: BTreeSet<String>,
    /// The origins whose tunnel it left without a request.
    left: BTreeSet<String>,
}

impl<'a> Watch<'a> {
    /// Begins with what the server counts now; `caller` is the name of the program's token.
    pub(super) fn begin(
        api: &'a ApiClient<'a>,
        caller: &'a str,
        integration: &'a str,
        advice: Advice,
    ) -> Self {
        let newest = page(api, "1", None).and_then(|page| newest(&page));
        let (before, begun) = (requests(api), Clock::system().now().to_string());
        let found = Findings::default();
        Self { api, caller, integration, begun, before, newest, found, advice }
    }

    /// Runs the program, and says at once when it does not trust the CA. If the program fails, it
    /// then says everything else that was in its way.
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

    /// Looks until the program has ended; tells whether it said that the CA is not trusted.
    fn follow(&mut self, ended: &Receiver<()>) -> bool {
        let mut is_told = false;
        while ended.recv_timeout(POLL_INTERVAL) == Err(RecvTimeoutError::Timeout) {
            if is_told {
                continue;
            }
            self.look();
            if let Some(sentence) = self.found.distrust(&self.advice) {
                output::note(&format!("keyferry: {sentence}"));
                is_told = true;
            }
        }
        is_told
    }

    /// Says what was in the program's way, as far as the server knows.
    fn tell(mut self, is_told: bool) {
        let (Some(before), Some(after)) = (self.before, requests(self.api)) else { return };
        // Entries are kept by the batch.
        for _look in 0..MAX_LOOKS {
            self.look();
            if self.found.entries >= after - before {
                break;
            }
            thread::sleep(LOOK_INTERVAL);
        }
        let distrust = self.found.distrust(&self.advice).filter(|_| !is_told);
        for sentence in distrust.into_iter().chain(self.found.refused(&self.advice)) {
            output::note(&format!("keyferry: {sentence}"));
        }
    }

    /// Reads the entries since the last look.
    fn look(&mut self) {
        while let Some(page) = page(self.api, "100", self.newest.as_deref()) {
            // Without a cursor the page is the newest one, and what is beyond it is older.
            let goes_on = self.newest.is_some() && page.meta.has_more;
            let last = newest(&page);
            for entry in &page.entries {
                if entry.time >= self.begun {
                    self.found.note(entry, self.caller, self.integration);
                }
            }
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

impl Findings {
    fn note(&mut self, entry: &AuditEntry, caller: &str, integration: &str) {
        self.entries += 1.0;
        let is_refused = entry.decision == "refuse";
        let (code, origin) = (printable(&entry.code), printable(&entry.origin));
        let cause = || printable(&entry.cause);
        // A refusal to a caller that is not known may be the program's.
        if entry.caller.is_empty() && is_refused {
            self.causes.entry(code.clone()).or_insert_with(cause);
            *self.of_unknown.entry(code.clone()).or_insert(0) += 1;
        }
        if entry.caller != caller || ![integration, ""].contains(&entry.integration.as_str()) {
            return;
        }

        // A refusal to the program itself.
        self.is_known = true;
        if is_refused {
            // There is no origin where the request was read no further.
            let aim = if origin.is_empty() { String::new() } else { format!(" for {origin}") };
            self.causes.entry(code.clone()).or_insert_with(cause);
            *self.refusals.entry(format!("{code}{aim}")).or_insert(0) += 1;
        }

        // The end of a tunnel, which tells whether the program trusts the CA.
        if entry.form == "tunnel" {
            self.served.insert(origin);
        } else if entry.cause.starts_with(CA_NOT_TRUSTED) {
            self.untrusted.insert(origin);
        } else if entry.cause.starts_with(LEFT_WITHOUT_REQUEST) {
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
            "the program {does}: its TLS handshake for {origin} came to nothing; it has a \
             setting of its own for the CAs that it trusts, which should name {} (the file is \
             there while this command runs; `keyferry ca export` prints the CA for one that stays)",
            advice.bundle.display()
        ))
    }

    /// Says what was refused, and why: a sentence for all requests, and one for each code.
    fn refused(&self, advice: &Advice) -> Vec<String> {
        let (reasons, whose, what_next) = if self.refusals.is_empty() {
            // A caller that has shown its token was asked for it before.
            let counts = |code: &str| !(self.is_known && code == "CallerUnknown");
            let reasons = self.of_unknown.iter().filter(|(code, _)| counts(code)).collect();
            let what_next = "the program may not send the proxy's token".to_owned();
            (reasons, "whose caller is not known", what_next)
        } else {
            let what_next = format!("`{} GET URL` says why", advice.explain);
            (self.refusals.iter().collect::<Vec<_>>(), "of this program", what_next)
        };

        // One sentence says how many, and what to do.
        let number: usize = reasons.iter().map(|(_, times)| **times).sum();
        if number == 0 {
            return Vec::new();
        }
        let reasons: Vec<_> =
            reasons.iter().take(MAX_REASONS).map(|(reason, _)| reason.as_str()).collect();
        let were = if number == 1 { "was" } else { "were" };
        let (all, listed) = (count(number, "request"), reasons.join(", "));
        let mut sentences = vec![format!("{all} {whose} {were} refused: {listed}; {what_next}")];

        // And one for each code says why.
        for (code, cause) in self.causes.iter().filter(|(_, cause)| !cause.is_empty()) {
            // A reason is its code, or begins with it.
            if reasons.iter().any(|reason| reason.split(' ').next() == Some(code)) {
                let section = code.to_ascii_lowercase();
                sentences.push(format!("{code}: {cause} (see {PAGE_OF_CODES}#{section})"));
            }
        }
        sentences
    }
}

/// Reads a page of the audit trail: the newest entries, or those after a cursor.
fn page(api: &ApiClient<'_>, size: &str, newer_than: Option<&str>) -> Option<AuditEntries> {
    let mut path = ApiPath::keyferry(&["audit"]).with("page[size]", size);
    if let Some(cursor) = newer_than {
        path = path.with("page[before]", cursor);
    }
    api.get(&path).and_then(|answer| answer.read()).ok()
}

/// The cursor of the newest entry of a page.
fn newest(page: &AuditEntries) -> Option<String> {
    Some(page.meta.before.clone()).filter(|cursor| !cursor.is_empty())
}

/// The number of requests that the server has counted, of all callers.
fn requests(api: &ApiClient<'_>) -> Option<f64> {
    let answer = api.get(&ApiPath::root(&["metrics"])).ok()?;
    let lines = answer.text().ok()?.lines();
    let counts = lines.filter(|line| line.starts_with("keyferry_requests_total{"));
    Some(counts.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum())
}

/// A program that does not trust the CA may try for minutes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);
/// Entries are kept within about a second of their request.
const MAX_LOOKS: u32 = 6;
const LOOK_INTERVAL: Duration = Duration::from_millis(400);
const MAX_REASONS: usize = 5;

/// The page that has a section for each code.
const PAGE_OF_CODES: &str = "docs/reference/errors.md";

#[cfg(test)]
mod tests {
    use super::*;

    fn found(entries: &[AuditEntry]) -> Findings {
        let mut found = Findings::default();
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

    fn connect(origin: &str, cause: &str) -> AuditEntry {
        AuditEntry {
            caller: "run".to_owned(),
            integration: "acme".to_owned(),
            form: "connect".to_owned(),
            origin: origin.to_owned(),
            decision: "allow".to_owned(),
            cause: cause.to_owned(),
            ..AuditEntry::default()
        }
    }

    fn refusal(caller: &str, code: &str) -> AuditEntry {
        AuditEntry {
            caller: caller.to_owned(),
            origin: "https://a".to_owned(),
            decision: "refuse".to_owned(),
            code: code.to_owned(),
            cause: format!("The cause of {code}."),
            ..AuditEntry::default()
        }
    }

    #[test]
    fn a_tunnel_left_among_others_is_no_distrust() {
        let left = connect("https://a", LEFT_WITHOUT_REQUEST);
        let mut served = connect("https://a", "");
        served.form = "tunnel".to_owned();
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
        let said = found(&unknown).refused(&advice()).concat();
        assert!(said.contains("2 requests whose caller is not known were refused"), "{said}");
        // Java's client asks without its token first.
        let [first, second] = unknown;
        assert!(found(&[first, connect("https://a", ""), second]).refused(&advice()).is_empty());
        let both = [refusal("", "MalformedRequest"), refusal("run", "DomainNotAllowed")];
        let said = found(&both).refused(&advice()).concat();
        assert!(said.contains("1 request of this program was refused: DomainNotAllowed"), "{said}");
        assert!(said.contains("`keyferry explain --integration acme GET URL` says why"), "{said}");
        assert!(found(&[refusal("other", "DomainNotAllowed")]).refused(&advice()).is_empty());
        let mut unread = refusal("run", "HttpsRequired");
        unread.origin.clear();
        let said = found(&[unread]).refused(&advice()).concat();
        assert!(said.contains("HttpsRequired") && !said.contains(" for ;"), "{said}");
    }

    #[test]
    fn each_code_is_explained_once() {
        let entries = ["DomainNotAllowed", "DomainNotAllowed", "HttpsRequired"];
        let entries = entries.map(|code| refusal("run", code));
        let [all, domain, https] = &found(&entries).refused(&advice())[..] else { panic!() };
        assert!(all.starts_with("3 requests of this program were refused: "), "{all}");
        let page = "(see docs/reference/errors.md";
        let explained = format!("DomainNotAllowed: The cause of DomainNotAllowed. {page}");
        assert_eq!(*domain, format!("{explained}#domainnotallowed)"));
        let explained = format!("HttpsRequired: The cause of HttpsRequired. {page}");
        assert_eq!(*https, format!("{explained}#httpsrequired)"));
    }
}
