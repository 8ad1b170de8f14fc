//! Tests of the vault's promises, with every part of a record and every byte of a ciphertext.

use jiff::Timestamp;
use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::model::aws::access::AwsAccess;
use crate::model::caller::Reach;
use crate::model::custom::CustomAccess;
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::oauth::grant::{Grant, GrantType};
use crate::model::oauth::profile::RefreshStatuses;
use crate::model::record::Detail;
use crate::model::token::{Scopes, TokenDigest};

/// The owned parts of a context.
#[derive(Clone, Debug)]
struct Parts {
    uuid: Uuid,
    integration: IntegrationName,
    name: ConnectionName,
    allowed_domain: AllowedDomain,
    detail: Detail,
}

impl Parts {
    fn new() -> Self {
        Self {
            uuid: Uuid::from_bytes([7; 16]),
            integration: IntegrationName::parse("acme").unwrap(),
            name: ConnectionName::parse("billing").unwrap(),
            allowed_domain: AllowedDomain::parse("api.example.com").unwrap(),
            detail: Detail::ApiKey { header_name: "X-Api-Key".into() },
        }
    }

    fn context(&self) -> Context<'_> {
        Context::Connection {
            options: Box::leak(Box::default()),
            uuid: self.uuid,
            integration: &self.integration,
            name: &self.name,
            allowed_domain: Some(&self.allowed_domain),
            detail: &self.detail,
        }
    }

    /// All that differ from this in one part.
    fn edited(&self) -> Vec<Self> {
        let domain = |text| AllowedDomain::parse(text).unwrap();
        let detail = |detail| Self { detail, ..self.clone() };
        vec![
            Self { uuid: Uuid::from_bytes([8; 16]), ..self.clone() },
            Self { integration: IntegrationName::parse("acme2").unwrap(), ..self.clone() },
            Self { name: ConnectionName::parse("Billing").unwrap(), ..self.clone() },
            Self { allowed_domain: domain("*.api.example.com"), ..self.clone() },
            Self { allowed_domain: domain("evil.example.com"), ..self.clone() },
            detail(Detail::ApiKey { header_name: "x-api-key".into() }),
            detail(Detail::ApiKey { header_name: "".into() }),
            detail(Detail::BasicAuth { username: "X-Api-Key".into() }),
            detail(Detail::BearerToken),
        ]
    }
}

fn vault() -> Vault {
    Vault::new(Keyring::generate().unwrap())
}

#[test]
fn a_secret_opens_for_its_own_context_only() {
    let (vault, parts, secret) = (vault(), Parts::new(), Secret::new("hunter2"));
    let sealed = vault.seal(&parts.context(), &secret).unwrap();
    assert_eq!(vault.open(&parts.context(), &sealed).unwrap().expose(), b"hunter2");
    for edited in parts.edited() {
        assert!(vault.open(&edited.context(), &sealed).is_err(), "{edited:?}");
    }
    assert!(vault.open(&Context::KeyCheck, &sealed).is_err());
}

#[test]
fn the_user_name_is_part_of_the_context() {
    let vault = vault();
    let named = |username: &str| Parts {
        detail: Detail::BasicAuth { username: username.into() },
        ..Parts::new()
    };
    let sealed = vault.seal(&named("ann").context(), &Secret::new("hunter2")).unwrap();
    assert!(vault.open(&named("ann").context(), &sealed).is_ok());
    assert!(vault.open(&named("bob").context(), &sealed).is_err());
}

#[test]
fn everything_that_says_what_keys_of_aws_sign_is_part_of_the_context() {
    let vault = vault();
    let signs = |id: &str, region: Option<&str>, service: Option<&str>| {
        let (region, service) = (region.map(Into::into), service.map(Into::into));
        let access = AwsAccess { access_key_id: id.into(), region, service, assume_role: None };
        Parts { detail: Detail::AwsSigV4(Box::new(access)), ..Parts::new() }
    };
    let parts = signs("AKID", Some("us-east-1"), None);
    let sealed = vault.seal(&parts.context(), &Secret::new("hunter2")).unwrap();
    assert!(vault.open(&parts.context(), &sealed).is_ok());
    for edited in [
        signs("AKID2", Some("us-east-1"), None),
        signs("AKID", Some("us-east-2"), None),
        signs("AKID", None, Some("us-east-1")),
        signs("AKID", Some("us-east-1"), Some("iam")),
        signs("AKID", None, None),
        Parts { detail: Detail::BearerToken, ..Parts::new() },
    ] {
        assert!(vault.open(&edited.context(), &sealed).is_err(), "{edited:?}");
    }
}

#[test]
fn every_place_and_domain_of_a_custom_connection_is_part_of_the_context() {
    let vault = vault();
    let json = concat!(
        r#"{"secrets":["a","b"],"inject":[{"name":"X-A","value":"{a}"}],"#,
        r#""domains":[{"domain":"api.example.com"},"#,
        r#"{"domain":"b.com","inject":[{"in":"path","name":"HERE","value":"{b}"}]}]}"#,
    );
    let custom = |json: &str| {
        let access = CustomAccess::decode(json).unwrap();
        Parts { detail: Detail::Custom(Box::new(access)), ..Parts::new() }
    };
    let sealed = vault.seal(&custom(json).context(), &Secret::new("hunter2")).unwrap();
    assert!(vault.open(&custom(json).context(), &sealed).is_ok());
    for (part, other) in [
        (r#""a","b""#, r#""a""#),
        ("X-A", "X-B"),
        ("{a}", "x{a}"),
        ("api.example.com", "evil.example.com"),
        ("b.com", "*.b.com"),
        (r#""in":"path","#, r#""in":"query","#),
        ("HERE", "THERE"),
        (r#","inject":[{"in":"path","name":"HERE","value":"{b}"}]"#, ""),
    ] {
        let edited = custom(&json.replacen(part, other, 1));
        assert!(vault.open(&edited.context(), &sealed).is_err(), "{part}");
    }
    let moved = Parts { allowed_domain: AllowedDomain::parse("b.com").unwrap(), ..custom(json) };
    assert!(vault.open(&moved.context(), &sealed).is_err());
}

#[test]
fn every_place_of_an_access_token_is_part_of_the_context() {
    let vault = vault();
    let injected = |json: &str| {
        let grant = Grant {
            injection: Some(serde_json::from_str(json).unwrap()),
            refresh_on_status: RefreshStatuses::default(),
            client: Uuid::nil(),
            subdomain: None,
            grant_type: GrantType::AuthorizationCode,
            created_by: "runner".into(),
            scopes: "read".into(),
            authorized_at: Timestamp::UNIX_EPOCH,
            generation: 1,
            refresh_token_life: None,
            lapse: None,
        };
        Parts { detail: Detail::OAuth(Box::new(grant)), ..Parts::new() }
    };
    let fields =
        r#"{"fields":[{"name":"query","value":"a"},{"name":"b","value":"query"}],"client_id":"c"}"#;
    let query = r#"{"fields":[{"in":"query","name":"query","value":"a"}],"client_id":"c"}"#;
    for (one, others) in [(fields, [query, "query"]), (query, [fields, "path"])] {
        let sealed = vault.seal(&injected(one).context(), &Secret::new("hunter2")).unwrap();
        assert!(vault.open(&injected(one).context(), &sealed).is_ok());
        for other in others {
            let other = if other.starts_with('{') {
                other.to_owned()
            } else {
                one.replacen(r#"{"name""#, &format!(r#"{{"in":"{other}","name""#), 1).replacen(
                    r#""in":"query""#,
                    &format!(r#""in":"{other}""#),
                    1,
                )
            };
            assert!(vault.open(&injected(&other).context(), &sealed).is_err(), "{one} {other}");
        }
    }
}

#[test]
fn parts_of_two_ciphertexts_do_not_mix() {
    let (vault, parts) = (vault(), Parts::new());
    let one = vault.seal(&parts.context(), &Secret::new("one")).unwrap();
    let two = vault.seal(&parts.context(), &Secret::new("two")).unwrap();
    assert!(one.payload != two.payload && one.wrapped != two.wrapped);
    for mixed in [
        Sealed { payload: two.payload.clone(), ..one.clone() },
        Sealed { wrapped: two.wrapped, ..one.clone() },
        Sealed { payload: one.wrapped.clone(), ..one.clone() },
        Sealed { wrapped: one.payload.clone(), ..one.clone() },
        Sealed { payload: Box::default(), ..one.clone() },
        Sealed { wrapped: Box::default(), ..one },
    ] {
        assert!(vault.open(&parts.context(), &mixed).is_err());
    }
}

#[test]
fn another_key_of_the_same_id_does_not_open() {
    let key = |byte: u8| {
        use base64::Engine as _;
        let key = base64::engine::general_purpose::STANDARD.encode([byte; 32]);
        Vault::new(Keyring::parse(&Secret::new(format!("k1:{key}"))).unwrap())
    };
    let (ours, theirs) = (key(1), key(2));
    let parts = Parts::new();
    let sealed = ours.seal(&parts.context(), &Secret::new("hunter2")).unwrap();
    assert!(theirs.open(&parts.context(), &sealed).is_err());
    let unknown = Sealed { key_id: "k2".into(), ..sealed };
    assert!(ours.open(&parts.context(), &unknown).is_err());
}

#[test]
fn a_rewrap_keeps_the_payload_and_needs_the_old_key_no_more() {
    let parts = Parts::new();
    let old = Keyring::generate().unwrap();
    let both = Vault::new(old.with_new_first().unwrap());
    let new = Vault::new(both.keyring().first_alone().unwrap());
    let old = Vault::new(old);
    let sealed = old.seal(&parts.context(), &Secret::new("hunter2")).unwrap();
    assert!(matches!(new.rewrap(&parts.context(), &sealed), Err(RewrapError::Open(_))));
    for edited in parts.edited() {
        assert!(both.rewrap(&edited.context(), &sealed).is_err(), "{edited:?}");
    }
    let renewed = both.rewrap(&parts.context(), &sealed).unwrap().unwrap();
    assert_eq!((&*renewed.key_id, &renewed.payload), (both.keyring().first_id(), &sealed.payload));
    assert_eq!(new.open(&parts.context(), &renewed).unwrap().expose(), b"hunter2");
    assert!(old.open(&parts.context(), &renewed).is_err());
    assert!(both.rewrap(&parts.context(), &renewed).unwrap().is_none());
    let relabelled = Sealed { key_id: renewed.key_id, ..sealed };
    assert!(both.open(&parts.context(), &relabelled).is_err());
}

/// The owned parts of claims.
#[derive(Clone, Debug)]
struct Held {
    id: Uuid,
    name: &'static str,
    reach: Reach,
    scopes: Scopes,
    expires_at: Option<Timestamp>,
    digest: TokenDigest,
}

impl Held {
    fn new() -> Self {
        Self {
            id: Uuid::from_bytes([1; 16]),
            name: "ci",
            reach: Reach::parse("acme", Some(&["one", "two"])).unwrap(),
            scopes: Scopes::parse(["proxy"]).unwrap(),
            expires_at: Timestamp::from_second(1_900_000_000).ok(),
            digest: TokenDigest::from_bytes([2; 32]),
        }
    }

    fn claims(&self) -> TokenClaims<'_> {
        let Self { id, name, ref reach, scopes, expires_at, digest } = *self;
        TokenClaims {
            id,
            name,
            reach,
            scopes,
            expires_at,
            rules: Box::leak(Box::default()),
            digest,
        }
    }

    fn edited(&self) -> Vec<Self> {
        let reach = |integration: &str, names: Option<&[&str]>| Self {
            reach: Reach::parse(integration, names).unwrap(),
            ..self.clone()
        };
        let scopes = |names: &[&str]| Self {
            scopes: Scopes::parse(names.iter().copied()).unwrap(),
            ..self.clone()
        };
        vec![
            Self { id: Uuid::from_bytes([9; 16]), ..self.clone() },
            Self { name: "ci2", ..self.clone() },
            Self { digest: TokenDigest::from_bytes([3; 32]), ..self.clone() },
            Self { expires_at: None, ..self.clone() },
            Self { expires_at: Timestamp::from_second(1_900_000_001).ok(), ..self.clone() },
            reach("other", Some(&["one", "two"])),
            reach("acme", Some(&["one"])),
            reach("acme", Some(&["onetwo"])),
            reach("acme", None),
            reach("*", None),
            reach("*", Some(&["acme.one", "acme.two"])),
            scopes(&["proxy", "admin"]),
            scopes(&["admin"]),
        ]
    }
}

#[test]
fn a_token_counts_only_as_it_was_written() {
    let (vault, held) = (vault(), Held::new());
    let mac = vault.mac(&held.claims());
    assert!(vault.verify(&held.claims(), &mac).is_ok());
    for edited in held.edited() {
        assert!(vault.verify(&edited.claims(), &mac).is_err(), "{edited:?}");
        assert!(vault.renew_mac(&edited.claims(), &mac).is_err(), "{edited:?}");
    }
    let other = Vault::new(Keyring::generate().unwrap());
    let forged = Mac { key_id: vault.keyring().first_id().into(), ..other.mac(&held.claims()) };
    assert!(vault.verify(&held.claims(), &forged).is_err());
    assert!(vault.verify(&held.claims(), &Mac { code: [0; 32], ..mac }).is_err());
}

#[test]
fn a_tokens_code_is_renewed_under_the_first_key() {
    let (old, held) = (vault(), Held::new());
    let both = Vault::new(old.keyring().with_new_first().unwrap());
    let new = Vault::new(both.keyring().first_alone().unwrap());
    let mac = old.mac(&held.claims());
    let renewed = both.renew_mac(&held.claims(), &mac).unwrap().unwrap();
    assert!(new.verify(&held.claims(), &renewed).is_ok());
    assert!(new.verify(&held.claims(), &mac).is_err());
    assert_eq!(both.renew_mac(&held.claims(), &renewed).unwrap(), None);
}

#[test]
fn only_whole_microseconds_of_an_end_count() {
    let (vault, held) = (vault(), Held::new());
    let mac = vault.mac(&held.claims());
    let finer = Timestamp::new(1_900_000_000, 999).ok();
    assert!(vault.verify(&TokenClaims { expires_at: finer, ..held.claims() }, &mac).is_ok());
}

proptest! {
    #[test]
    fn what_is_sealed_opens_and_shows_nothing(secret in prop::collection::vec(any::<u8>(), 8..300)) {
        let (vault, parts) = (vault(), Parts::new());
        let sealed = vault.seal(&parts.context(), &Secret::new(secret.clone())).unwrap();
        prop_assert!(!sealed.payload.windows(8).any(|window| secret.windows(8).any(|s| s == window)));
        let opened = vault.open(&parts.context(), &sealed).unwrap();
        prop_assert_eq!(opened.expose(), secret);
    }

    #[test]
    fn no_bit_can_be_changed(at in any::<prop::sample::Index>(), bit in 0_u8..8, wrap in any::<bool>()) {
        let (vault, parts) = (vault(), Parts::new());
        let mut sealed = vault.seal(&parts.context(), &Secret::new("hunter2")).unwrap();
        let bytes = if wrap { &mut sealed.wrapped } else { &mut sealed.payload };
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert!(vault.open(&parts.context(), &sealed).is_err());
    }

    #[test]
    fn anything_at_all_is_refused_without_a_panic(
        wrapped in prop::collection::vec(any::<u8>(), 0..100),
        payload in prop::collection::vec(any::<u8>(), 0..100),
        id in "[a-z]{0,4}",
    ) {
        let vault = vault();
        let key_id = if id.is_empty() { vault.keyring().first_id().into() } else { id.into() };
        let sealed = Sealed { key_id, wrapped: wrapped.into(), payload: payload.into() };
        prop_assert!(vault.open(&Context::KeyCheck, &sealed).is_err());
    }

    #[test]
    fn what_is_no_keyring_is_refused_and_not_repeated(text in "[A-Z0-9:+/=\n]{0,120}|\\PC{0,120}") {
        let refused = Keyring::parse(&Secret::new(text.as_str())).unwrap_err().to_string();
        let mut words = text.split([':', '\n']).filter(|word| word.len() > 8);
        prop_assert!(words.all(|word| !refused.contains(word)), "{}", refused);
    }
}
