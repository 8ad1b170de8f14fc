//! The API's answers, and what its refusals say to the operator.

use http::StatusCode;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::addr::ServerAddr;
use super::token::TokenSource;
use crate::cli::output::{self, ApiFault, CliError};
use crate::wire::{ErrorBody, ErrorItem, NumberedError, NumberedErrors};

/// A whole answer. Its body may hold a token that is shown this once.
pub(in crate::cli) struct ApiAnswer {
    pub(in crate::cli) status: StatusCode,
    pub(super) retry_after: Option<String>,
    /// Tells whether the proxy has answered, in place of the API.
    pub(in crate::cli) is_of_proxy: bool,
    pub(super) body: Zeroizing<Vec<u8>>,
}

impl ApiAnswer {
    #[cfg(test)]
    pub(in crate::cli) fn of_json(text: &str) -> Self {
        let body = Zeroizing::new(text.as_bytes().to_vec());
        Self { status: StatusCode::OK, retry_after: None, is_of_proxy: false, body }
    }

    /// The body as it came.
    pub(in crate::cli) fn text(&self) -> Result<&str, CliError> {
        std::str::from_utf8(&self.body).map_err(|_where| unexpected()).map(str::trim_end)
    }

    pub(in crate::cli) fn read<T: DeserializeOwned>(&self) -> Result<T, CliError> {
        serde_json::from_slice(&self.body).map_err(|_where| unexpected())
    }

    /// Tells whether the API says that what was named does not exist. A 404 of another program,
    /// which knows nothing of connections and tokens, says no such thing.
    pub(super) fn is_not_found(&self) -> bool {
        self.status == StatusCode::NOT_FOUND
            && self.errors().iter().any(|error| has_code(error, &NOT_FOUND))
    }

    /// Everything that the API objects to, and what to do about it. `shown` is the source of the
    /// token that the request carried.
    pub(super) fn refusal(&self, server: &ServerAddr, shown: Option<TokenSource>) -> CliError {
        let mut faults: Vec<ApiFault> = self.errors().iter().map(fault).collect();
        // OAuth's paths begin with words of ZIS that say nothing, and then say what is wrong.
        if faults.len() > 1 {
            faults.retain(|fault| fault.message != "Invalid request");
        }
        let Some(last) = faults.last_mut() else {
            return CliError::Message(format!(
                "{server} answered with status {} and does not say why: see whether --url names a \
                 Keyferry server",
                self.status.as_u16()
            ));
        };
        // Examples of callers set the same variable to a caller's token.
        let is_misread = shown == Some(TokenSource::Variable) && is_of_token(self.status, last);
        let advice = if is_misread { Some(VARIABLE.to_owned()) } else { self.advice() };
        if let Some(advice) = advice {
            let end = last.message.trim_end_matches('.').len();
            last.message.truncate(end);
            last.message.push_str("; ");
            last.message.push_str(&advice);
        }
        CliError::Api(faults)
    }

    /// The errors of the body, in either of the API's two families.
    fn errors(&self) -> Vec<ErrorItem> {
        if let Ok(body) = serde_json::from_slice::<ErrorBody>(&self.body) {
            return body.errors;
        }
        let body = serde_json::from_slice::<NumberedErrors>(&self.body).unwrap_or_default();
        let item = |error: NumberedError| ErrorItem { code: error.code, title: error.detail };
        body.errors.into_iter().map(item).collect()
    }

    fn advice(&self) -> Option<String> {
        let advice = match self.status {
            StatusCode::UNAUTHORIZED => {
                "show a token of this server and integration with KEYFERRY_TOKEN, or name the \
                 server's data directory with --data-dir"
            }
            // OAuth's paths say no more than that.
            StatusCode::FORBIDDEN
                if self.errors().iter().any(|error| has_code(error, &["1200"])) =>
            {
                "show a token with the scope write that reaches it"
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                return Some(match &self.retry_after {
                    Some(seconds) => format!("try again in {} s", output::printable(seconds)),
                    None => "try again later".to_owned(),
                });
            }
            // The API's own sentences about what fails in the server say what to do, or lead to
            // its log.
            status if status.is_server_error() && !self.errors().iter().any(is_ours) => {
                "look at the server's log"
            }
            _ => return None,
        };
        Some(advice.to_owned())
    }
}

/// Tells whether another token would help.
fn is_of_token(status: StatusCode, fault: &ApiFault) -> bool {
    let lacks_scope =
        fault.code.as_deref() == Some("1200") || fault.message.contains("Missing scope");
    status == StatusCode::UNAUTHORIZED || (status == StatusCode::FORBIDDEN && lacks_scope)
}

fn has_code(error: &ErrorItem, codes: &[&str]) -> bool {
    codes.contains(&&*error.code)
}

fn is_ours(error: &ErrorItem) -> bool {
    has_code(error, &["1500", "Internal", "KeysUnreadable", "SealBroken"])
}

fn fault(error: &ErrorItem) -> ApiFault {
    let field_and_why = error.title.strip_prefix("Invalid value for: ");
    let message = match field_and_why.and_then(|rest| rest.split_once(". Desc: ")) {
        Some((field, why)) => format!("{field}: {why}"),
        // Where else the API says what is in the way, it says what to do as well.
        None if error.title == "Resource conflict" => NAME_TAKEN.to_owned(),
        None => error.title.clone(),
    };
    let code = Some(output::printable(&error.code));
    ApiFault { code, message: output::printable(&message) }
}

fn unexpected() -> CliError {
    CliError::Message(
        "the server's answer can't be read: see whether --url names a Keyferry server of this \
         version"
            .to_owned(),
    )
}

/// The meaning of `Resource conflict`, the words of ZIS.
const NAME_TAKEN: &str = "the name is taken in this integration: choose another, or change the \
                          connection that has it with `keyferry connection update`";

/// The code for what does not exist: in words, and in the numbers of OAuth's paths.
const NOT_FOUND: [&str; 2] = ["NotFound", "1302"];

const VARIABLE: &str = "it came from KEYFERRY_TOKEN, which is for the operator's token and not \
                        for a caller's: set another, or unset it to use admin.token of the data \
                        directory";

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, retry_after: Option<&str>, body: &str) -> ApiAnswer {
        ApiAnswer {
            status: StatusCode::from_u16(status).unwrap(),
            retry_after: retry_after.map(str::to_owned),
            is_of_proxy: false,
            body: Zeroizing::new(body.as_bytes().to_vec()),
        }
    }

    fn titles(answer: &ApiAnswer) -> Vec<String> {
        let server = ServerAddr::of_url(&"http://[::1]:1".parse().unwrap());
        match answer.refusal(&server, None) {
            CliError::Api(faults) => faults.into_iter().map(|fault| fault.message).collect(),
            CliError::Message(sentence) => vec![sentence],
            _ => panic!("another error"),
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
        let taken = r#"{"errors":[{"code":"Conflict","title":"Resource conflict"}]}"#;
        assert_eq!(titles(&answer(409, None, taken)), [NAME_TAKEN]);
        let seal = r#"{"errors":[{"code":"SealBroken","title":"The operator must act"}]}"#;
        assert_eq!(titles(&answer(500, None, seal)), ["The operator must act"]);
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

    #[test]
    fn errors_in_numbers_are_understood_as_those_in_words() {
        let none = r#"{"errors":[{"code":"1302","detail":"Not found","status":"404"}]}"#;
        assert!(answer(404, None, none).is_not_found());
        assert!(!answer(400, None, none).is_not_found());
        let other = r#"{"errors":[{"code":"1301","detail":"Invalid request","status":"404"}]}"#;
        assert!(!answer(404, None, other).is_not_found());
        let number = r#"{"errors":[{"code":1302,"detail":7}]}"#;
        assert!(!answer(404, None, number).is_not_found());
        let invalid = "Invalid value for: Name. Desc: it is taken";
        let body =
            format!(r#"{{"errors":[{{"code":"1303","detail":"{invalid}","status":"422"}}]}}"#);
        assert_eq!(titles(&answer(422, None, &body)), ["Name: it is taken"]);
        let unknown = r#"{"errors":[{"code":"1200","detail":"Unauthorized","status":"401"}]}"#;
        assert!(titles(&answer(401, None, unknown))[0].starts_with("Unauthorized; show a token"));
        let forbidden = r#"{"errors":[{"code":"1200","detail":"Forbidden","status":"403"}]}"#;
        assert!(titles(&answer(403, None, forbidden))[0].contains("scope write"));
        let worded = r#"{"errors":[{"code":"Forbidden","title":"Missing scope write"}]}"#;
        assert_eq!(titles(&answer(403, None, worded)), ["Missing scope write"]);
        let many = r#"{"errors":[{"code":"1300","detail":"Too many requests","status":"429"}]}"#;
        assert_eq!(titles(&answer(429, Some("3"), many)), ["Too many requests; try again in 3 s"]);
        let escape = "{\"errors\":[{\"detail\":\"\\u001b[2Jgone\"}]}";
        assert!(!titles(&answer(400, None, escape)).concat().contains('\u{1b}'));
    }

    #[test]
    fn a_callers_token_in_the_operators_variable_is_told_of() {
        let body = r#"{"errors":[{"code":"Forbidden","title":"Missing scope write."}]}"#;
        let server = ServerAddr::of_url(&"http://[::1]:1".parse().unwrap());
        for (source, told) in [
            (Some(TokenSource::Variable), true),
            (Some(TokenSource::Argument), false),
            (Some(TokenSource::File), false),
        ] {
            let CliError::Api(faults) = answer(403, None, body).refusal(&server, source) else {
                panic!("another error")
            };
            assert_eq!(faults[0].message.contains("unset it"), told, "{}", faults[0].message);
        }
    }
}
