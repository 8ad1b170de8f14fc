//! States, times and types at a glance.

use std::borrow::Cow;

use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use crate::management::{ConnectionStatus, RENEWED_WHEN_USED, State};
use crate::model::connection::{ConnectionType, Defect};
use crate::model::expiry_notice::ExpiryNotice;
use crate::model::options::ConnectionOptions;
use crate::model::sealed::KeyId;

/// The name of a type, for people.
pub(super) fn kind(kind: ConnectionType) -> &'static str {
    match kind {
        ConnectionType::ApiKey => "API key",
        ConnectionType::BasicAuth => "Basic authentication",
        ConnectionType::BearerToken => "Bearer token",
        ConnectionType::OAuth => "OAuth 2.0",
        ConnectionType::AwsSigV4 => "AWS",
        ConnectionType::Custom => "Custom",
    }
}

/// A name or address that may be broken where its parts end, and not within a word. What is short
/// fits anywhere.
pub(super) fn breakable(text: &str) -> Markup {
    let is_short = text.len() <= SHORT;
    let parts = text.split_inclusive(['.', '/', '_', '-', ':']);
    html! {
        @for (number, part) in parts.enumerate() { @if number > 0 && !is_short { wbr; } (part) }
    }
}

/// A moment: in UTC as it is served, in the viewer's zone once the script has seen it.
pub(super) fn time(time: Timestamp) -> Markup {
    let exact = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) { (time.strftime("%Y-%m-%d %H:%M UTC").to_string()) } }
}

/// The time of day of a moment of today.
pub(super) fn clock(time: Timestamp) -> Markup {
    let exact = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) data-clock { (time.strftime("%H:%M:%S UTC").to_string()) } }
}

/// The same, to the minute.
pub(super) fn minute(time: Timestamp) -> Markup {
    let exact = time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    html! { time datetime=(exact) data-clock="short" { (time.strftime("%H:%M UTC").to_string()) } }
}

/// Shows the state of a connection in a word or two and a color.
pub(super) fn state(surveyed: &ConnectionStatus, now: Timestamp) -> Markup {
    html! {
        span class=(format!("state {}", color(surveyed.state))) { (surveyed.state.words()) }
        @if let (State::Works | State::Unused, Some(end)) = (surveyed.state, surveyed.expires_at) {
            " " span.aside { (renewed(end, now)) }
        }
        @for words in ends(&surveyed.options, now) { " " span.aside { (words) } }
    }
}

/// Says what a state means and who must act, where somebody must.
pub(super) fn advice(state: State) -> Option<Cow<'static, str>> {
    let advice = match state {
        State::CommandFailed => {
            "The command that prints its secret has failed for longer than the last one is good. The server’s log says why; the operator of the server must fix it."
        }
        State::SwitchedOff => {
            "Every request that uses it is refused, and its secret is kept, until it is enabled again."
        }
        State::NewSecretRefused => {
            "An origin has answered 401 to the new secret, and requests go on with the old one while that is kept. See that the new one is good, and replace it before the old one is forgotten."
        }
        State::KeyMissing(id) => return Some(key_missing(id).into()),
        State::SealBroken => {
            "The secret that is kept can’t be opened: its record was changed by hand. Delete the connection and create it again."
        }
        State::Failing("SealBroken") => {
            "The last request was refused because a secret could not be opened. The server’s log names the master key that is missing, or the record that was changed by hand."
        }
        State::Failing("NameUnresolved") => {
            "The host of the last request has no address. Under a domain with *. it may have been mistyped; else its DNS must be fixed."
        }
        State::Failing(_) => {
            "The last request did not come back from the origin. The page Try it shows at which step; Activity shows the requests."
        }
        State::NeedsAuthorization => {
            "The provider gives no new tokens: the grant has ended. Somebody who may sign in there must authorize it again."
        }
        State::NeedsDomain => {
            "Requests that use it are refused until its allowed domain is set, unless the configuration says oauth.unrestricted."
        }
        State::Defective(Defect::Domain(_)) => {
            "Names under its domain belong to different people, so no request can use it. Delete it, and create it for a name of the account’s own."
        }
        State::Defective(Defect::Field(_)) => {
            "HTTP or the proxy uses its header name, so no request can use it. Give it another header name."
        }
        State::Defective(Defect::Injection) => {
            "A field that was to carry its access token is used by HTTP or the proxy, so no request can use it. Change inject of its OAuth client, and authorize it again."
        }
        State::Defective(Defect::Placement) => {
            "A place that was to carry a secret is used by HTTP or the proxy, so no request can use it. Change its places."
        }
        State::Rejected(401 | 403) => {
            "The origin says that the credential is not good, or not for what was asked. Replace the secret, or have the account’s rights checked at the origin."
        }
        State::Rejected(_) => {
            "The origin answered with an error of its own; it must be fixed there."
        }
        State::Unused | State::Works => return None,
    };
    Some(advice.into())
}

/// The one who must act, as the API names them, for people.
pub(super) fn actor(name: &str) -> &'static str {
    match name {
        "caller" => "the caller, which is the program that sends the request",
        "operator" => "an operator of Keyferry",
        "caller_or_operator" => "the caller, or an operator of Keyferry",
        "api" => "the operator of the API",
        "user" => "a user with an account at the provider",
        _ => "nobody",
    }
}

/// Says what is to be done where a master key is missing.
pub(super) fn key_missing(id: KeyId) -> String {
    format!(
        "The server lacks the master key {id}, under which the secret is sealed. The operator of the server must add that key to its master keys; the secret itself is sound."
    )
}

fn color(state: State) -> &'static str {
    match state {
        State::CommandFailed
        | State::Failing(_)
        | State::Rejected(_)
        | State::SealBroken
        | State::KeyMissing(_)
        | State::Defective(_) => "bad",
        State::NeedsAuthorization | State::NeedsDomain | State::NewSecretRefused => "warn",
        State::Unused | State::SwitchedOff => "idle",
        State::Works => "good",
    }
}

/// Says when a secret expires, as its operator has written down, and when a client certificate
/// does, from a month before that.
fn ends(options: &ConnectionOptions, now: Timestamp) -> Vec<String> {
    let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
    let notices = options.expiry_notices(now, EXPIRY_SHOWN).into_iter();
    let words = notices.map(|notice| match notice {
        ExpiryNotice::SecretExpires(day) => format!("secret expires on {day}"),
        ExpiryNotice::SecretExpired(day) => format!("secret has expired on {day}"),
        ExpiryNotice::CertificateExpires(end) => format!("certificate expires on {}", day(end)),
        ExpiryNotice::CertificateExpired(end) => format!("certificate has expired on {}", day(end)),
        ExpiryNotice::CertificateNotYetValid(begin) => {
            format!("certificate is not valid before {}", day(begin))
        }
    });
    words.collect()
}

/// Says when a token expires that can be refreshed.
fn renewed(end: Timestamp, now: Timestamp) -> String {
    let left = end.duration_since(now);
    if left <= SignedDuration::ZERO {
        return RENEWED_WHEN_USED.to_owned();
    }
    format!("token expires in {}", span(left))
}

/// A length of time in its largest unit.
pub(super) fn span(length: SignedDuration) -> String {
    let seconds = length.as_secs();
    let (count, unit) = match seconds {
        ..120 => (seconds.max(1), "second"),
        120..7_200 => (seconds / 60, "minute"),
        7_200..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

/// The time before its end from which on the end of a secret is shown at a glance.
const EXPIRY_SHOWN: SignedDuration = SignedDuration::from_hours(30 * 24);

/// As much as a phone shows in a column.
const SHORT: usize = 18;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_break_between_their_parts() {
        assert_eq!(breakable("my_orders").0, "my_orders");
        assert_eq!(
            breakable("eu.api.<b>.example.com").0,
            "eu.<wbr>api.<wbr>&lt;b&gt;.<wbr>example.<wbr>com"
        );
        assert_eq!(breakable("").0, "");
    }

    #[test]
    fn a_length_is_told_in_its_largest_unit() {
        for (seconds, told) in [
            (0, "1 second"),
            (119, "119 seconds"),
            (120, "2 minutes"),
            (7_200, "2 hours"),
            (604_800, "7 days"),
        ] {
            assert_eq!(span(SignedDuration::from_secs(seconds)), told);
        }
    }
}
