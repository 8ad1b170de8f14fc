//! The published vectors of AWS's Signature Version 4 test suite, and what is particular here.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;

use super::*;
use crate::model::aws::payload::UNSIGNED_PAYLOAD;

/// The session token of the suite.
const TOKEN: &str = "AQoDYXdzEPT//////////wEXAMPLEtc764bNrC9SAPBSM22wDOk4x4HIZ8j4FZTwdQWLWsKWHGBuFq\
wAeMicRXmxfpSPfIeoIYRqTflfKD8YUuwthAx7mSEI/qkPpKPi/kMcGdQrmGdeehM4IC1NtBmUpp2wUE8phUZampKsburEDy0\
KPkyQDYwT7WZ0wq5VSXDvp75YU9HFvlRd8Tx6q6fE8YQcHNVXAkiY9q6d+xo0rKwT38xVqr7ZD0u0iPPkUL64lIZbqBAz+scq\
Kmlzm8FDrypNC9Yjc8fPOLn9FX9KSYvKTr4rvx3iSIlTJabIQwj2ICCR/oLxBA==";

fn keys() -> AwsKeys {
    AwsKeys {
        access_key_id: "AKIDEXAMPLE".into(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    }
}

fn scope(region: &str, service: &str) -> SigningScope {
    SigningScope { region: region.into(), service: service.into() }
}

fn fields(fields: &[(&str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(HeaderName::try_from(*name).unwrap(), value.parse().unwrap());
    }
    headers
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The signature of a request of the suite, in which every field is signed.
fn signature(method: &str, target: &str, own: &[(&str, &str)], body: &str) -> String {
    let always = [("host", "example.amazonaws.com"), ("x-amz-date", "20150830T123600Z")];
    let headers = fields(&[&always, own].concat());
    let payload = sha256(body.as_bytes());
    let parts = SignedParts { method, target, headers: &headers, payload: &payload };
    let time = SigningTime::of(time("2015-08-30T12:36:00Z"));
    let scope = scope("us-east-1", "service");
    let value = keys().authorization(&scope, &parts, &time, |_name| true);
    let begin = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders=";
    assert!(value.starts_with(begin), "{value}");
    value.rsplit_once("Signature=").unwrap().1.to_owned()
}

/// The signature of the vector get-vanilla, which others have too.
const VANILLA: &str = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";

/// Name, target and signature of vectors that are about the target.
const TARGETS: &[(&str, &str, &str)] = &[
    ("get-vanilla", "/", VANILLA),
    ("get-vanilla-query", "/", VANILLA),
    (
        "get-vanilla-empty-query-key",
        "/?Param1=value1",
        "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
    ),
    (
        "get-vanilla-query-order-key-case",
        "/?Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-vanilla-query-order-key",
        "/?Param1=value2&Param1=Value1",
        "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1",
    ),
    (
        "get-vanilla-query-order-value",
        "/?Param1=value2&Param1=value1",
        "5772eed61e12b33fae39ee5e7012498b51d56abc0abb7c60486157bd471c4694",
    ),
    (
        "get-vanilla-query-order-encoded",
        "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1",
        "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
    ),
    (
        "get-vanilla-utf8-query",
        "/?\u{1234}=bar",
        "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
    ),
    (
        "get-vanilla-query-unreserved",
        "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz\
=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
    ),
    (
        "get-unreserved",
        "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
        "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
    ),
    ("get-utf8", "/\u{1234}", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
    (
        "get-space",
        "/example space/",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    ("get-slash", "//", VANILLA),
    (
        "get-slashes",
        "//example//",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    ("get-slash-dot-slash", "/./", VANILLA),
    (
        "get-slash-pointless-dot",
        "/./example",
        "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
    ),
    ("get-relative", "/example/..", VANILLA),
    ("get-relative-relative", "/example1/example2/../..", VANILLA),
];

#[test]
fn targets_are_signed_as_the_published_vectors_have_it() {
    for (name, target, expected) in TARGETS {
        assert_eq!(signature("GET", target, &[], ""), *expected, "{name}");
    }
}

#[test]
fn fields_and_bodies_are_signed_as_the_published_vectors_have_it() {
    let vanilla = "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b";
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let form_utf8 = [("content-type", "application/x-www-form-urlencoded; charset=utf8")];
    for (name, own, body, expected) in [
        ("post-vanilla", &[][..], "", vanilla),
        ("post-header-key-case", &[], "", vanilla),
        // The session token is sent, and is not signed.
        ("post-sts-header-after", &[], "", vanilla),
        (
            "post-header-key-sort",
            &[("my-header1", "value1")],
            "",
            "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
        ),
        (
            "post-header-value-case",
            &[("my-header1", "VALUE1")],
            "",
            "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
        ),
        (
            "post-sts-header-before",
            &[("x-amz-security-token", TOKEN)],
            "",
            "85d96828115b5dc0cfc3bd16ad9e210dd772bbebba041836c64533a82be05ead",
        ),
        (
            "post-x-www-form-urlencoded",
            &form,
            "Param1=value1",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
        (
            "post-x-www-form-urlencoded-parameters",
            &form_utf8,
            "Param1=value1",
            "1a72ec8f64bd914b0e42e42607c7fbce7fb2c7465f63e3092b3b0d39fa77a6fe",
        ),
    ] {
        assert_eq!(signature("POST", "/", own, body), expected, "{name}");
    }
    let query = "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11";
    assert_eq!(signature("POST", "/?Param1=value1", &[], ""), query, "post-vanilla-query");
}

#[test]
fn repeated_fields_are_joined_and_spaces_collapsed() {
    let own = |values: &[&'static str]| -> Vec<_> {
        values.iter().map(|value| ("my-header1", *value)).collect()
    };
    let duplicate = signature("GET", "/", &own(&["value2", "value2", "value1"]), "");
    let expected = "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea";
    assert_eq!(duplicate, expected, "get-header-key-duplicate");
    let order = signature("GET", "/", &own(&["value4", "value1", "value3", "value2"]), "");
    let expected = "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01";
    assert_eq!(order, expected, "get-header-value-order");
    let spaces = [("my-header1", " value1"), ("my-header2", " \"a   b   c\"")];
    let expected = "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736";
    assert_eq!(signature("GET", "/", &spaces, ""), expected, "get-header-value-trim");
}

#[test]
fn a_request_is_signed_as_its_last_step() {
    let own = [
        ("host", "examplebucket.s3.amazonaws.com"),
        ("user-agent", "sdk/1"),
        ("range", "bytes=0-9"),
        ("content-type", "text/plain"),
        ("x-amz-content-sha256", UNSIGNED_PAYLOAD),
        ("x-amz-meta-b", "1"),
    ];
    let mut headers = fields(&own);
    let token = Some(Secret::new("session"));
    let keys = AwsKeys { session_token: token, ..keys() };
    let scope = scope("us-east-1", "s3");
    let now = time("2013-05-24T00:00:00.9Z");
    keys.sign(&scope, "PUT", "/test%20file.text", &mut headers, now).unwrap();
    assert_eq!(headers["x-amz-date"], "20130524T000000Z");
    assert_eq!(headers["x-amz-security-token"], "session");
    let value = headers["authorization"].to_str().unwrap();
    let names = "SignedHeaders=content-type;host;x-amz-content-sha256;x-amz-date;x-amz-meta-b;\
                 x-amz-security-token,";
    assert!(value.contains("/20130524/us-east-1/s3/aws4_request") && value.contains(names));
    for name in ["authorization", "x-amz-security-token"] {
        assert!(headers[name].is_sensitive(), "{name}");
    }
    // Signed again at the same time, it is the same; later, it is another one.
    let first = headers.clone();
    keys.sign(&scope, "PUT", "/test%20file.text", &mut headers, now).unwrap();
    assert_eq!(headers, first);
    let later = time("2013-05-25T00:00:00Z");
    keys.sign(&scope, "PUT", "/test%20file.text", &mut headers, later).unwrap();
    assert_ne!(headers["authorization"], first["authorization"]);
    assert_eq!(headers.get_all("x-amz-date").iter().count(), 1);
}

/// The example "GET Object" of Amazon S3's API reference.
#[test]
fn an_object_is_asked_for_as_the_reference_of_s3_has_it() {
    let headers = fields(&[
        ("host", "examplebucket.s3.amazonaws.com"),
        ("range", "bytes=0-9"),
        ("x-amz-content-sha256", EMPTY_SHA256),
        ("x-amz-date", "20130524T000000Z"),
    ]);
    let keys = AwsKeys {
        access_key_id: "AKIAIOSFODNN7EXAMPLE".into(),
        secret_access_key: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        session_token: None,
    };
    let parts = SignedParts {
        method: "GET",
        target: "/test.txt",
        headers: &headers,
        payload: EMPTY_SHA256,
    };
    let time = SigningTime::of(time("2013-05-24T00:00:00Z"));
    let value = keys.authorization(&scope("us-east-1", "s3"), &parts, &time, |_name| true);
    let expected = "AWS4-HMAC-SHA256 \
        Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, \
        SignedHeaders=host;range;x-amz-content-sha256;x-amz-date, \
        Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
    assert_eq!(value, expected);
}

#[test]
fn a_presigned_url_stays_as_it_is() {
    let target = "/key?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=k&X-Amz-Date=d\
                  &X-Amz-SignedHeaders=host&X-Amz-Signature=ab";
    let mut headers = fields(&[("host", "bucket.s3.amazonaws.com")]);
    let before = headers.clone();
    let now = time("2013-05-24T00:00:00Z");
    keys().sign(&scope("us-east-1", "s3"), "GET", target, &mut headers, now).unwrap();
    assert_eq!(headers, before);
}

#[test]
fn bytes_that_the_library_does_not_parse_are_signed_as_they_are_sent() {
    let sent = crate::model::target::encode_unparsable("/a\"b?c=<d>").unwrap();
    let now = time("2013-05-24T00:00:00Z");
    let signed = |target: &str| {
        let mut headers = fields(&[("host", "bucket.s3.amazonaws.com")]);
        keys().sign(&scope("us-east-1", "s3"), "GET", target, &mut headers, now).unwrap();
        headers
    };
    assert_eq!(signed(&sent), signed("/a%22b?c=%3Cd%3E"));
}

#[test]
fn debug_shows_the_keys_id_alone() {
    let keys = AwsKeys { session_token: Some(Secret::new("session")), ..keys() };
    assert_eq!(format!("{keys:?}"), "AwsKeys(AKIDEXAMPLE: *****)");
}
