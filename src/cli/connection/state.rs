//! The state of a connection, in a word or two.

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::health;
use crate::management::{RENEWED_WHEN_USED, State};
use crate::model::oauth::grant::LapseReason;
use crate::wire::{HealthView, OAuthItem, OptionMembers};

/// The state of a connection by OAuth, in the words of the console. Its health is there if somebody
/// must act.
pub(super) fn of(it: &OAuthItem, health: Option<&HealthView>, now: Timestamp) -> String {
    if it.defect.is_some() {
        return UNUSABLE.to_owned();
    }
    if let Some(state) = of_options(&it.options, it.not_after.as_deref(), now) {
        return state;
    }
    if it.needs_reauthorization {
        return State::NeedsAuthorization.words();
    }
    if it.allowed_domain.is_none() {
        return State::NeedsDomain.words();
    }
    if let Some(failure) = it.refresh_failure.as_ref().filter(|it| it.who_must_act == OPERATOR) {
        let code = failure.code.as_ref().map(|code| format!(" ({code})")).unwrap_or_default();
        return format!("not refreshed{code}: the operator must act");
    }
    if let Some(health) = health {
        return health::word(health);
    }
    let end = it.token_expiry.as_ref().and_then(|end| end.parse::<Timestamp>().ok());
    let Some(end) = end else { return "provider named no expiry".to_owned() };
    match u64::try_from(end.duration_since(now).as_secs()) {
        Ok(left @ 1..) => format!("token expires in {}", rough(left)),
        // What can't be renewed needs reauthorization, which the server has said then.
        _ => RENEWED_WHEN_USED.to_owned(),
    }
}

/// The members that tell the state of a connection whose secret was entered.
pub(super) struct EnteredState<'a> {
    options: &'a OptionMembers,
    defect: Option<&'a str>,
    /// The end of its client certificate.
    not_after: Option<&'a str>,
}

impl<'a> EnteredState<'a> {
    pub(super) fn of(
        options: &'a OptionMembers,
        defect: Option<&'a str>,
        not_after: Option<&'a str>,
    ) -> Self {
        Self { options, defect, not_after }
    }

    /// The state in a word or two. The connection's health is there if somebody must act.
    pub(super) fn words(&self, health: Option<&HealthView>, now: Timestamp) -> String {
        if self.defect.is_some() {
            return UNUSABLE.to_owned();
        }
        if let Some(state) = of_options(self.options, self.not_after, now) {
            return state;
        }
        if let Some(health) = health {
            return health::word(health);
        }
        let today = now.to_zoned(TimeZone::UTC).date();
        let day = self.options.expires_on.filled().and_then(|day| day.parse::<Date>().ok());
        match day {
            Some(day) if day < today => format!("secret expired on {day}"),
            Some(day) => format!("secret expires on {day}"),
            None => "does not expire".to_owned(),
        }
    }
}

/// The state that options make of a connection of any type, whatever its secret is.
fn of_options(options: &OptionMembers, not_after: Option<&str>, now: Timestamp) -> Option<String> {
    if options.enabled.value() == Some(&false) {
        return Some("switched off".to_owned());
    }
    let end = not_after?.parse::<Timestamp>().ok()?;
    (end <= now).then(|| "client certificate expired".to_owned())
}

/// The reason why only a new flow helps, as a sentence where there is one for it; or why the tokens
/// are not refreshed, and since when.
pub(super) fn reason(it: &OAuthItem) -> String {
    if let Some(failure) = it.refresh_failure.as_ref().filter(|_| !it.needs_reauthorization) {
        return format!("{}, since {}", failure.reason, failure.since);
    }
    let reason = it.reauthorization_reason.clone().unwrap_or_default();
    LapseReason::parse(&reason).map_or(reason, |known| known.as_sentence().to_owned())
}

/// The largest unit of which there are two at least.
fn rough(seconds: u64) -> String {
    let units = [(86_400, "d"), (3_600, "h"), (60, "min")];
    let fits = units.into_iter().find(|(length, _)| seconds / length >= 2);
    let (length, unit) = fits.unwrap_or((1, "s"));
    format!("{} {unit}", seconds / length)
}

const UNUSABLE: &str = "unusable";

/// The one who must act where a client is refused.
const OPERATOR: &str = "operator";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// An item of a list with these members, and whatever else one has.
    fn item(members: &Value) -> OAuthItem {
        let mut item = json!({
            "access_token": "", "created_by": "", "name": "", "permission_scope": "", "uuid": "",
            "oauth_access_token_response_body": "", "oauth_url_subdomain": "", "refresh_token": "",
            "token_expiry": null, "token_type": "",
        });
        item.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value(item).unwrap()
    }

    fn at(expiry: &Value) -> String {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let members = json!({"token_expiry": expiry, "allowed_domain": "api.example.com"});
        of(&item(&members), None, now)
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
    }

    #[test]
    fn options_that_stop_requests_are_the_state() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        for (members, not_after, said) in [
            (json!({}), None, "does not expire"),
            (json!({"expires_on": "2025-12-31"}), None, "secret expired on 2025-12-31"),
            (json!({"expires_on": "2026-01-01"}), None, "secret expires on 2026-01-01"),
            (json!({}), Some("2026-01-01T00:00:00Z"), "client certificate expired"),
            (json!({}), Some("2026-01-01T00:00:01Z"), "does not expire"),
            (json!({"enabled": false, "expires_on": "2025-12-31"}), None, "switched off"),
        ] {
            let options = serde_json::from_value(members.clone()).unwrap();
            let state = EnteredState::of(&options, None, not_after).words(None, now);
            assert_eq!(state, said, "{members}");
        }
        assert_eq!(of(&item(&json!({"enabled": false})), None, now), "switched off");
    }

    #[test]
    fn that_somebody_must_act_comes_first() {
        let lapsed = json!({"needs_reauthorization": true, "token_expiry": "2025-01-01T00:00:00Z"});
        let lapsed = item(&lapsed);
        assert_eq!(of(&lapsed, None, Timestamp::UNIX_EPOCH), "needs reauthorization");
        assert_eq!(reason(&lapsed), "");
        let known = item(&json!({"reauthorization_reason": "invalid_grant"}));
        assert!(reason(&known).contains("revoked or ended"));
        let failing = json!({"refresh_failure": {
            "who_must_act": "operator", "since": "2026-01-01T00:00:00Z", "code": "invalid_client",
            "reason": "the provider said invalid_client",
        }, "allowed_domain": "api.example.com"});
        let said = "not refreshed (invalid_client): the operator must act";
        assert_eq!(of(&item(&failing), None, Timestamp::UNIX_EPOCH), said);
        let why = "the provider said invalid_client, since 2026-01-01T00:00:00Z";
        assert_eq!(reason(&item(&failing)), why);
        let other = item(&json!({"reauthorization_reason": "expired"}));
        assert_eq!(reason(&other), "expired");
        let unbound = item(&json!({"needs_reauthorization": false, "token_expiry": null}));
        assert_eq!(of(&unbound, None, Timestamp::UNIX_EPOCH), "no allowed domain");
        let options = OptionMembers::default();
        let unusable = EnteredState::of(&options, Some("x"), None);
        assert_eq!(unusable.words(None, Timestamp::UNIX_EPOCH), "unusable");
    }
}
