//! The state of a connection, in a word or two.

use jiff::Timestamp;
use serde_json::Value;

use crate::cli::table::cell;
use crate::management::{RENEWED_WHEN_USED, State};
use crate::model::oauth::grant::LapseReason;

/// The state of a connection, in the words of the console.
pub(super) fn of(connection: &Value, now: Timestamp) -> String {
    if connection.get("defect").is_some() {
        return "unusable".to_owned();
    }
    if connection.get("needs_reauthorization").and_then(Value::as_bool) == Some(true) {
        return State::NeedsAuthorization.words();
    }
    // Of connections by OAuth alone an expiry is told, also where the provider has named none.
    if connection.get("token_expiry").is_none() {
        return "does not expire".to_owned();
    }
    if connection.get("allowed_domain").is_none_or(Value::is_null) {
        return State::NeedsDomain.words();
    }
    let Ok(end) = cell(connection, "token_expiry").parse::<Timestamp>() else {
        return "provider named no expiry".to_owned();
    };
    match u64::try_from(end.duration_since(now).as_secs()) {
        Ok(left @ 1..) => format!("token expires in {}", rough(left)),
        // What can't be renewed needs reauthorization, which the server has said then.
        _ => RENEWED_WHEN_USED.to_owned(),
    }
}

/// The reason why only a new flow helps, as a sentence where there is one for it.
pub(super) fn reason(connection: &Value) -> String {
    let reason = cell(connection, "reauthorization_reason");
    LapseReason::parse(&reason).map_or(reason, |known| known.as_sentence().to_owned())
}

/// The largest unit of which there are two at least.
fn rough(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let fits = units.into_iter().find(|(length, _)| seconds / length >= 2);
    let (length, unit) = fits.unwrap_or((1, "s"));
    format!("{} {unit}", seconds / length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(expiry: &Value) -> String {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        of(&json!({"token_expiry": expiry, "allowed_domain": "api.example.com"}), now)
    }

    #[test]
    fn tokens_expire_in_units_that_can_be_read_at_a_glance() {
        for (expiry, said) in [
            ("2026-01-01T00:00:01Z", "token expires in 1 s"),
            ("2026-01-01T00:01:59Z", "token expires in 119 s"),
            ("2026-01-01T00:02:00Z", "token expires in 2 min"),
            ("2026-01-01T01:59:59Z", "token expires in 119 min"),
            ("2026-01-02T23:59:59Z", "token expires in 47 h"),
            ("2026-03-01T00:00:00Z", "token expires in 59 d"),
            ("2026-01-01T00:00:00Z", "token is renewed when it is used"),
            ("2025-12-31T00:00:00Z", "token is renewed when it is used"),
            ("soon", "provider named no expiry"),
            ("", "provider named no expiry"),
        ] {
            assert_eq!(at(&json!(expiry)), said, "{expiry}");
        }
        assert_eq!(at(&Value::Null), "provider named no expiry");
        assert_eq!(of(&json!({"name": "orders"}), Timestamp::UNIX_EPOCH), "does not expire");
    }

    #[test]
    fn that_somebody_must_act_comes_first() {
        let lapsed = json!({"needs_reauthorization": true, "token_expiry": "2025-01-01T00:00:00Z"});
        assert_eq!(of(&lapsed, Timestamp::UNIX_EPOCH), "needs reauthorization");
        assert_eq!(reason(&lapsed), "");
        let known = json!({"reauthorization_reason": "invalid_grant"});
        assert!(reason(&known).contains("revoked or ended"));
        assert_eq!(reason(&json!({"reauthorization_reason": "expired"})), "expired");
        let unbound = json!({"needs_reauthorization": false, "token_expiry": null});
        assert_eq!(of(&unbound, Timestamp::UNIX_EPOCH), "no allowed domain");
    }
}
