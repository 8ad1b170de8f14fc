//! The life of a refresh token, as the provider or the client's profile tells it.

use http::StatusCode;
use jiff::{SignedDuration, Timestamp};

use super::response::{AnswerShape, read};
use crate::model::oauth::grant::Grant;
use crate::model::oauth::life::GrantLife;
use crate::model::oauth::profile::{Lifetime, Profile};
use crate::model::oauth::tokens::TokenSet;
use crate::secret::Secret;

/// The life of a grant's refresh token after an answer of the provider; `None` where nobody tells
/// it. `before` has the tokens that the answer replaces, and their grant: a refresh token that the
/// provider has kept goes on with its life, another one begins its own.
pub fn refresh_token_life(
    tokens: &TokenSet,
    profile: &Profile,
    before: Option<(&TokenSet, &Grant)>,
) -> Option<GrantLife> {
    // 1. The beginning. That of a kept token whose past is unknown is the flow's end.
    let refresh_token = tokens.refresh_token.as_ref()?.expose();
    if tokens.is_access_token_exchanged() {
        let began = tokens.issued_at;
        return tokens.expires_at.map(|ends| GrantLife { began, ends });
    }
    let is_kept = |tokens: &TokenSet| {
        tokens.refresh_token.as_ref().map(Secret::expose) == Some(refresh_token)
    };
    let kept = before.filter(|(before, _)| is_kept(before)).map(|(_, grant)| grant);
    let known = kept.and_then(|grant| grant.refresh_token_life);
    let began = match kept {
        Some(grant) => known.map_or(grant.authorized_at, |life| life.began),
        None => tokens.issued_at,
    };
    // 2. The end. The answer counts from now, the profile from the beginning.
    let answered = answered_end(tokens, profile, before.is_some());
    let told = profile.refresh_token_lifetime.map(Lifetime::length);
    let told = told.and_then(|lifetime| began.checked_add(lifetime).ok());
    let ends = answered.or(told).or_else(|| known.map(|life| life.ends));
    // 3. A token that was accepted after its end has another one, which nobody knows.
    ends.filter(|ends| *ends > tokens.issued_at).map(|ends| GrantLife { began, ends })
}

/// The end that the provider's answer names.
fn answered_end(tokens: &TokenSet, profile: &Profile, is_refresh: bool) -> Option<Timestamp> {
    let shape = AnswerShape { profile, asked_at: tokens.issued_at, is_refresh };
    let granted = read(StatusCode::OK, tokens.response_body.expose(), &shape).ok()?;
    let lifetime = SignedDuration::from_secs(granted.refresh_token_expires_in?);
    tokens.issued_at.checked_add(lifetime).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::model::oauth::grant::GrantType;
    use crate::model::oauth::profile::{JsonPointer, RefreshStatuses};

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what there may be none of")]
    fn life(began: i64, ends: i64) -> Option<GrantLife> {
        Some(GrantLife { began: at(began), ends: at(ends) })
    }

    /// Tokens of an answer at this time, with these members.
    fn tokens(issued: i64, refresh_token: Option<&str>, members: &Value) -> TokenSet {
        let mut body = members.clone();
        if let Some(members) = body.as_object_mut() {
            members.insert("access_token".to_owned(), "a".into());
        }
        TokenSet {
            access_token: Secret::new("a"),
            refresh_token: refresh_token.map(Secret::new),
            response_body: Secret::new(body.to_string()),
            token_type: "".into(),
            scope: "".into(),
            issuer: "https://id.example.com".into(),
            issued_at: at(issued),
            expires_at: None,
        }
    }

    /// The grant of a flow that has ended 50 seconds before all answers.
    fn grant(life: Option<GrantLife>) -> Grant {
        Grant {
            client: Uuid::nil(),
            subdomain: None,
            grant_type: GrantType::AuthorizationCode,
            created_by: "runner".into(),
            scopes: "".into(),
            authorized_at: at(-50),
            generation: 1,
            refresh_token_life: life,
            lapse: None,
            injection: None,
            refresh_on_status: RefreshStatuses::default(),
        }
    }

    fn told(lifetime: &str) -> Profile {
        let refresh_token_lifetime = Some(Lifetime::parse(lifetime).unwrap());
        Profile { refresh_token_lifetime, ..Profile::default() }
    }

    #[test]
    fn the_answers_word_counts_before_the_profiles() {
        for (body, profile, ends) in [
            (json!({"refresh_token_expires_in": 60}), told("90s"), Some(60)),
            (json!({"refresh_expires_in": "60"}), Profile::default(), Some(60)),
            (json!({"x_refresh_token_expires_in": 60.5}), Profile::default(), Some(60)),
            (json!({"refresh_expires_in": 0}), Profile::default(), None),
            (json!({"refresh_expires_in": 0}), told("90s"), Some(90)),
            (json!({}), told("90s"), Some(90)),
            (json!({}), Profile::default(), None),
            (json!([]), told("90s"), Some(90)),
        ] {
            let found = refresh_token_life(&tokens(0, Some("r"), &body), &profile, None);
            assert_eq!(found, ends.and_then(|ends| life(0, ends)), "{body}");
            assert_eq!(refresh_token_life(&tokens(0, None, &body), &profile, None), None);
        }
        let path = JsonPointer::parse("/data/refresh_token").ok();
        let nested = Profile { refresh_token_path: path, ..Profile::default() };
        let body = json!({"data": {"refresh_expires_in": 60}, "refresh_expires_in": 1});
        let found = refresh_token_life(&tokens(0, Some("r"), &body), &nested, None);
        assert_eq!(found, life(0, 60));
    }

    #[test]
    fn an_access_token_that_is_exchanged_for_the_next_is_the_grants_life() {
        let tokens = TokenSet { expires_at: Some(at(90)), ..tokens(0, Some("a"), &json!({})) };
        assert_eq!(refresh_token_life(&tokens, &told("60s"), None), life(0, 90));
        let endless = TokenSet { expires_at: None, ..tokens };
        assert_eq!(refresh_token_life(&endless, &told("60s"), None), None);
    }

    #[test]
    fn another_refresh_token_begins_its_life_and_a_kept_one_goes_on() {
        let first = tokens(0, Some("r"), &json!({}));
        let after = |refresh_token, body: &Value, profile: &Profile, known| {
            let next = tokens(40, Some(refresh_token), body);
            refresh_token_life(&next, profile, Some((&first, &grant(known))))
        };
        let (silent, speaking) = (json!({}), json!({"refresh_token_expires_in": 60}));
        let unknown = Profile::default();
        assert_eq!(after("other", &speaking, &unknown, life(0, 60)), life(40, 100));
        assert_eq!(after("other", &silent, &told("60s"), life(0, 60)), life(40, 100));
        assert_eq!(after("other", &silent, &unknown, life(0, 60)), None);
        assert_eq!(after("r", &silent, &unknown, life(0, 60)), life(0, 60));
        assert_eq!(after("r", &silent, &told("60s"), life(0, 60)), life(0, 60));
        assert_eq!(after("r", &speaking, &unknown, life(0, 60)), life(0, 100));
        // Tokens from before it was told: the flow has brought them.
        assert_eq!(after("r", &silent, &told("100s"), None), life(-50, 50));
        assert_eq!(after("r", &silent, &told("60s"), None), None, "it should have ended at 10");
        assert_eq!(after("r", &silent, &unknown, None), None);
    }
}
