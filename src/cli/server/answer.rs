//! What the server answers, and what its refusals say to the operator.

use http::StatusCode;
use serde_json::Value;
use zeroize::Zeroizing;

use super::target::Target;
use crate::cli::output::{self, Failure};

/// A whole answer. Its body may hold a token that is shown this once.
pub(in crate::cli) struct Answer {
    pub(super) status: StatusCode,
    pub(super) retry_after: Option<String>,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl Answer {
    /// The body as it came.
    pub(in crate::cli) fn text(&self) -> Result<&str, Failure> {
        std::str::from_utf8(&self.body).map_err(|_where| unexpected()).map(str::trim_end)
    }

    /// The body, read.
    pub(in crate::cli) fn json(&self) -> Result<Value, Failure> {
        serde_json::from_slice(&self.body).map_err(|_where| unexpected())
    }

    /// Whether the server says that what was named does not exist. A 404 of somebody else, who
    /// knows nothing of connections and tokens, says no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        let code = |error: &Value| error.get("code").and_then(Value::as_str) == Some("NotFound");
        self.status == StatusCode::NOT_FOUND && self.errors().iter().any(code)
    }

    /// Everything that the server objects to, and what to do about it.
    pub(super) fn refusal(&self, server: &Target) -> Failure {
        let title =
            |error: &Value| error.get("title").and_then(Value::as_str).map(output::printable);
        let mut titles: Vec<String> = self.errors().iter().filter_map(title).collect();
        let Some(last) = titles.last_mut() else {
            return Failure::Because(format!(
                "{server} answered with status {} and does not say why: see whether --url names a \
                 Keyferry server",
                self.status.as_u16()
            ));
        };
        if let Some(advice) = self.advice() {
            let sentence = last.trim_end_matches('.').len();
            last.truncate(sentence);
            last.push_str("; ");
            last.push_str(&advice);
        }
        Failure::Refused(titles)
    }

    fn errors(&self) -> Vec<Value> {
        let Ok(Value::Object(mut body)) = serde_json::from_slice(&self.body) else {
            return Vec::new();
        };
        match body.remove("errors") {
            Some(Value::Array(errors)) => errors,
            _ => Vec::new(),
        }
    }

    fn advice(&self) -> Option<String> {
        let advice = match self.status {
            StatusCode::UNAUTHORIZED => {
                "show a token of this server and integration with KEYFERRY_TOKEN, or name the \
                 server's data directory with --data-dir"
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                return Some(match &self.retry_after {
                    Some(seconds) => format!("try again in {} s", output::printable(seconds)),
                    None => "try again later".to_owned(),
                });
            }
            status if status.is_server_error() => "look at the server's log",
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

fn unexpected() -> Failure {
    Failure::Because(
        "the server's answer can't be read: see whether --url names a Keyferry server of this \
         version"
            .to_owned(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> Answer {
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(str::to_owned),
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    fn titles(answer: &Answer) -> Vec<String> {
        let server = Target::of_url(&"http://[::1]:1".parse().unwrap());
        match answer.refusal(&server) {
            Failure::Refused(titles) => titles,
            Failure::Because(sentence) => vec![sentence],
            _ => panic!("another failure"),
        }
    }

    #[test]
    fn every_title_is_shown_and_the_last_says_what_to_do() {
        let body = r#"{"errors":[{"code":"A","title":"One."},{"code":"B","title":"Two."}]}"#;
        assert_eq!(titles(&answer(400, None, body)), ["One.", "Two."]);
        assert_eq!(titles(&answer(429, Some("7"), body)), ["One.", "Two; try again in 7 s"]);
        assert_eq!(titles(&answer(503, None, body)), ["One.", "Two; try again later"]);
        assert!(titles(&answer(401, None, body))[1].contains("KEYFERRY_TOKEN"));
        assert!(titles(&answer(500, None, body))[1].contains("log"));
    }

    #[test]
    fn what_a_stranger_answers_is_no_sentence_of_ours() {
        for body in ["", "<html>", "[]", r#"{"errors":"x"}"#, r#"{"errors":[{"code":"NotFound"}]}"#]
        {
            let said = titles(&answer(404, None, body));
            assert!(said.concat().contains("status 404") && !said.concat().contains("html"));
        }
        let escape = "{\"errors\":[{\"title\":\"\\u001b[2Jgone\"}]}";
        assert!(!titles(&answer(400, None, escape)).concat().contains('\u{1b}'));
    }

    #[test]
    fn only_the_apis_own_404_says_that_something_is_not_there() {
        let ours = r#"{"errors":[{"code":"NotFound","title":"Connection does not exist"}]}"#;
        assert!(answer(404, None, ours).is_not_found());
        assert!(!answer(404, None, "nothing here").is_not_found());
        assert!(!answer(400, None, ours).is_not_found());
    }
}
