//! ID tokens of every kind that must not count, and of those that do.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, Header, encode};
use serde_json::json;

use super::*;

/// A provider's key, and its public half as a JWK with an id.
struct Key {
    signing: EncodingKey,
    jwk: Value,
}

static RSA: LazyLock<Key> = LazyLock::new(|| rsa("rsa"));
static OTHER_RSA: LazyLock<Key> = LazyLock::new(|| rsa("rsa"));
static P256: LazyLock<Key> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let der = key.to_pkcs8v1().unwrap();
    Key::of(EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES256, "p256")
});
static P384: LazyLock<Key> = LazyLock::new(|| {
    let key = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap();
    let der = key.to_pkcs8v1().unwrap();
    Key::of(EncodingKey::from_ec_der(der.as_ref()), Algorithm::ES384, "p384")
});
static ED: LazyLock<Key> = LazyLock::new(|| {
    let der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
    Key::of(EncodingKey::from_ed_der(der.as_ref()), Algorithm::EdDSA, "ed")
});

fn rsa(id: &str) -> Key {
    let key = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
    // The version and the name of the algorithm come before; an octet string has the rest.
    let pkcs8 = key.as_der().unwrap();
    Key::of(EncodingKey::from_rsa_der(&pkcs8.as_ref()[26..]), Algorithm::RS256, id)
}

impl Key {
    fn of(signing: EncodingKey, algorithm: Algorithm, id: &str) -> Self {
        let mut jwk = serde_json::to_value(Jwk::from_encoding_key(&signing, algorithm).unwrap());
        let members = jwk.as_mut().unwrap().as_object_mut().unwrap();
        members.remove("alg");
        members.insert("kid".to_owned(), id.into());
        Self { signing, jwk: jwk.unwrap() }
    }

    fn sign(&self, algorithm: Algorithm, claims: &Value) -> Secret {
        self.sign_as(algorithm, self.jwk["kid"].as_str(), claims)
    }

    fn sign_as(&self, algorithm: Algorithm, id: Option<&str>, claims: &Value) -> Secret {
        let header = Header { kid: id.map(str::to_owned), ..Header::new(algorithm) };
        Secret::new(encode(&header, claims, &self.signing).unwrap())
    }
}

const NOW: i64 = 1_800_000_000;

fn rules() -> IdTokenRules<'static> {
    IdTokenRules {
        issuer: "https://id.example.com",
        client_id: "keyferry",
        nonce: "of-this-sign-in",
        trusts_email: false,
        now: Timestamp::from_second(NOW).unwrap(),
    }
}

fn claims() -> Value {
    json!({
        "iss": "https://id.example.com", "aud": "keyferry", "sub": "248289761001",
        "nonce": "of-this-sign-in", "iat": NOW - 5, "exp": NOW + 300, "email": "ada@example.com",
        "email_verified": true, "groups": ["operators"],
    })
}

/// The claims with a member that has another value, or none at all.
fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    match value {
        Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
        value => claims[name] = value,
    }
    claims
}

fn keys(all: &[&Key]) -> IdTokenKeys {
    let all: Vec<_> = all.iter().map(|key| key.jwk.clone()).collect();
    IdTokenKeys::read(json!({ "keys": all }).to_string().as_bytes()).unwrap()
}

fn fault(keys: &IdTokenKeys, token: &Secret) -> Option<IdTokenFault> {
    keys.verify(token, &rules()).err()
}

/// The fault of these claims, signed as they should be.
fn fault_of(claims: &Value) -> Option<IdTokenFault> {
    fault(&keys(&[&P256]), &P256.sign(Algorithm::ES256, claims))
}

#[test]
fn every_algorithm_of_a_public_key_counts() {
    let keys = keys(&[&RSA, &P256, &P384, &ED]);
    let signed: [(&Key, &[Algorithm]); 4] = [
        (&RSA, AlgorithmFamily::Rsa.algorithms()),
        (&P256, &[Algorithm::ES256]),
        (&P384, &[Algorithm::ES384]),
        (&ED, &[Algorithm::EdDSA]),
    ];
    for (key, algorithms) in signed {
        for algorithm in algorithms {
            let found = keys.verify(&key.sign(*algorithm, &claims()), &rules());
            let found = found.unwrap_or_else(|fault| panic!("{algorithm:?}: {fault}"));
            assert_eq!(&*found.subject, "248289761001");
            assert_eq!(found.email.as_deref(), Some("ada@example.com"));
            assert_eq!(found.claims["groups"], json!(["operators"]));
        }
    }
}

#[test]
fn no_algorithm_is_taken_that_needs_no_private_key() {
    let keys = keys(&[&RSA, &P256]);
    let payload = URL_SAFE_NO_PAD.encode(claims().to_string());
    for name in ["none", "None", "NONE", "", "RS1", "ES512", "dir"] {
        let header = URL_SAFE_NO_PAD.encode(json!({"alg": name, "kid": "rsa"}).to_string());
        for signature in ["", "AAAA"] {
            let token = Secret::new(format!("{header}.{payload}.{signature}"));
            assert_eq!(fault(&keys, &token), Some(IdTokenFault::Algorithm), "{name}");
        }
    }
    // The public key is no secret: whoever knows it could sign by HMAC.
    let modulus = URL_SAFE_NO_PAD.decode(RSA.jwk["n"].as_str().unwrap()).unwrap();
    for secret in [modulus, RSA.jwk.to_string().into_bytes(), b"client-secret".to_vec()] {
        for algorithm in AlgorithmFamily::Hmac.algorithms() {
            let header = Header { kid: Some("rsa".to_owned()), ..Header::new(*algorithm) };
            let key = EncodingKey::from_secret(&secret).unwrap();
            let token = Secret::new(encode(&header, &claims(), &key).unwrap());
            assert_eq!(fault(&keys, &token), Some(IdTokenFault::Algorithm));
        }
    }
    // A provider that publishes a secret among its keys makes none of it.
    let jwk = json!({"kty": "oct", "kid": "oct", "k": URL_SAFE_NO_PAD.encode("published")});
    let keys = IdTokenKeys::read(json!({"keys": [jwk, P256.jwk]}).to_string().as_bytes()).unwrap();
    let header = Header { kid: Some("oct".to_owned()), ..Header::new(Algorithm::HS256) };
    let key = EncodingKey::from_secret(b"published").unwrap();
    let token = Secret::new(encode(&header, &claims(), &key).unwrap());
    assert_eq!(fault(&keys, &token), Some(IdTokenFault::Algorithm));
}

#[test]
fn a_key_that_a_token_brings_along_is_never_used() {
    let jwk: Jwk = serde_json::from_value(OTHER_RSA.jwk.clone()).unwrap();
    let header = Header {
        kid: Some("rsa".to_owned()),
        jwk: Some(jwk),
        jku: Some("https://evil.example/jwks".to_owned()),
        ..Header::new(Algorithm::RS256)
    };
    let token = Secret::new(encode(&header, &claims(), &OTHER_RSA.signing).unwrap());
    assert_eq!(fault(&keys(&[&RSA]), &token), Some(IdTokenFault::Signature));
}

#[test]
fn another_key_another_kind_or_another_use_verifies_nothing() {
    let known = keys(&[&RSA, &P256]);
    let forged = OTHER_RSA.sign(Algorithm::RS256, &claims());
    assert_eq!(fault(&known, &forged), Some(IdTokenFault::Signature));
    // The id of a key of another kind.
    let mixed = P256.sign_as(Algorithm::ES256, Some("rsa"), &claims());
    assert_eq!(fault(&known, &mixed), Some(IdTokenFault::UnknownKey));
    let unknown = P256.sign_as(Algorithm::ES256, Some("newer"), &claims());
    assert_eq!(fault(&known, &unknown), Some(IdTokenFault::UnknownKey));
    assert!(!known.have_key_of(&unknown) && known.have_key_of(&mixed));
    // Without an id, the one key of the kind; of several none is chosen.
    let unnamed = P256.sign_as(Algorithm::ES256, None, &claims());
    assert_eq!(fault(&known, &unnamed), None);
    let unnamed = RSA.sign_as(Algorithm::RS256, None, &claims());
    assert_eq!(fault(&keys(&[&RSA, &OTHER_RSA]), &unnamed), Some(IdTokenFault::UnknownKey));
    // A key for something else.
    for (member, value) in
        [("use", json!("enc")), ("key_ops", json!(["encrypt"])), ("alg", json!("PS256"))]
    {
        let mut jwk = RSA.jwk.clone();
        jwk[member] = value;
        let keys = IdTokenKeys::read(json!({ "keys": [jwk] }).to_string().as_bytes()).unwrap();
        let token = RSA.sign(Algorithm::RS256, &claims());
        assert_eq!(fault(&keys, &token), Some(IdTokenFault::UnknownKey), "{member}");
    }
}

#[test]
fn one_byte_that_differs_is_no_signature() {
    let keys = keys(&[&P256]);
    let token = P256.sign(Algorithm::ES256, &claims());
    let text = std::str::from_utf8(token.expose()).unwrap();
    let (rest, signature) = text.rsplit_once('.').unwrap();
    let (header, payload) = rest.split_once('.').unwrap();
    let other = URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string());
    for forged in [
        format!("{header}.{other}.{signature}"),
        format!("{header}.{payload}.{}", signature.replacen(|_: char| true, "A", 4)),
        format!("{header}.{payload}."),
    ] {
        assert_eq!(fault(&keys, &Secret::new(forged)), Some(IdTokenFault::Signature));
    }
    for malformed in ["", "a", "a.b", "a.b.c.d", &format!("{text}.x")] {
        assert_eq!(fault(&keys, &Secret::new(malformed)), Some(IdTokenFault::Malformed));
    }
    let long = Secret::new(format!("{}.{}.{}", "a".repeat(40_000), "b".repeat(40_000), "c"));
    assert_eq!(fault(&keys, &long), Some(IdTokenFault::Malformed));
}

#[test]
fn a_token_of_another_issuer_or_client_does_not_count() {
    for issuer in [
        json!("https://id2.example.com"),
        json!("https://id.example.com/"),
        json!(["https://id.example.com"]),
        Value::Null,
    ] {
        assert_eq!(fault_of(&with("iss", issuer)), Some(IdTokenFault::Issuer));
    }
    for audience in [
        json!("another"),
        json!(["another"]),
        json!(["keyferry", "another"]),
        json!([]),
        json!({"keyferry": true}),
        Value::Null,
    ] {
        assert_eq!(fault_of(&with("aud", audience)), Some(IdTokenFault::Audience));
    }
    assert_eq!(fault_of(&with("aud", json!(["keyferry"]))), None);
    assert_eq!(fault_of(&with("azp", json!("another"))), Some(IdTokenFault::Audience));
    assert_eq!(fault_of(&with("azp", json!("keyferry"))), None);
}

#[test]
fn a_token_counts_in_its_time_and_for_its_sign_in() {
    for (end, fault) in [
        (json!(NOW - 59), None),
        (json!(NOW - 60), Some(IdTokenFault::Expired)),
        (json!(NOW - 86_400), Some(IdTokenFault::Expired)),
        (json!((NOW + 300).to_string()), Some(IdTokenFault::Expired)),
        (Value::Null, Some(IdTokenFault::Expired)),
    ] {
        assert_eq!(fault_of(&with("exp", end.clone())), fault, "{end}");
    }
    for (begin, fault) in [
        (json!(NOW + 60), None),
        (json!(NOW + 61), Some(IdTokenFault::Early)),
        (json!("now"), Some(IdTokenFault::Early)),
    ] {
        assert_eq!(fault_of(&with("nbf", begin.clone())), fault, "{begin}");
        assert_eq!(fault_of(&with("iat", begin)), fault);
    }
    assert_eq!(fault_of(&with("iat", Value::Null)), Some(IdTokenFault::Early));
    for nonce in [json!("of-another"), json!(""), Value::Null] {
        assert_eq!(fault_of(&with("nonce", nonce)), Some(IdTokenFault::Nonce));
    }
}

#[test]
fn a_person_is_named_by_what_can_be_kept() {
    for subject in [json!(""), json!(7), json!("a b"), json!("x".repeat(256)), Value::Null] {
        assert_eq!(fault_of(&with("sub", subject)), Some(IdTokenFault::Subject));
    }
    let keys = keys(&[&P256]);
    let email = |claims: &Value, trusts_email: bool| {
        let rules = IdTokenRules { trusts_email, ..rules() };
        keys.verify(&P256.sign(Algorithm::ES256, claims), &rules).unwrap().email
    };
    // Who may be silent of it is a provider that is trusted, and then it alone.
    let refuted = [json!(false), json!("false"), json!(1), json!("True"), json!({}), json!("")]
        .map(|verified| with("email_verified", verified));
    let odd =
        ["ada", "ada @example.com", "ada\u{202e}@example.com"].map(|it| with("email", json!(it)));
    for claims in refuted.iter().chain(&odd) {
        assert_eq!([false, true].map(|trusts| email(claims, trusts)), [None, None], "{claims}");
    }
    let silent = with("email_verified", Value::Null);
    assert_eq!(email(&silent, false), None);
    assert_eq!(email(&silent, true).as_deref(), Some("ada@example.com"));
    for verified in [json!(true), json!("true")] {
        let vouched_for = email(&with("email_verified", verified), false);
        assert_eq!(vouched_for.as_deref(), Some("ada@example.com"));
    }
    // Neither is any other claim a name that people can't choose.
    let mut chosen = silent;
    chosen["preferred_username"] = json!("grace@example.com");
    assert_eq!(email(&chosen, false), None);
}

#[test]
fn keys_that_cant_be_read_are_left_out() {
    let set = json!({"keys": [{"kty": "RSA"}, 7, {"kty": "unknown", "kid": "x"}, P256.jwk]});
    let keys = IdTokenKeys::read(set.to_string().as_bytes()).unwrap();
    assert_eq!(fault(&keys, &P256.sign(Algorithm::ES256, &claims())), None);
    for body in ["", "[]", "{}", "{\"keys\": {}}", "{\"keys\": []}", "{\"keys\": [1]}"] {
        assert!(IdTokenKeys::read(body.as_bytes()).is_err(), "{body}");
    }
}
