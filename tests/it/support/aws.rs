//! An origin that speaks for AWS: it makes the signature of each request again, by code of its own.

use aws_lc_rs::{digest, hmac};
use jiff::Timestamp;

use super::origin::Seen;

/// The keys of the tests.
pub(crate) const KEY_ID: &str = "AKIDEXAMPLE";
pub(crate) const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// The facts that a request's signature states, once it has been verified.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Verified {
    pub(crate) key_id: String,
    /// `REGION/SERVICE`
    pub(crate) scope: String,
    pub(crate) signed: Vec<String>,
    /// The value of `x-amz-content-sha256`.
    pub(crate) payload: String,
}

/// Verifies a request that was signed with `secret`.
///
/// # Errors
/// The text says what is wrong.
pub(crate) fn verify(seen: &Seen, host: &str, secret: &str) -> Result<Verified, String> {
    // 1. The parts of the field.
    let field = seen.field("authorization");
    let rest = field.strip_prefix("AWS4-HMAC-SHA256 ").ok_or_else(|| format!("no: {field}"))?;
    let part = |name: &str| {
        let found = rest.split(", ").find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
        found.map(ToOwned::to_owned).ok_or_else(|| format!("no {name} in {field}"))
    };
    let (credential, names) = (part("Credential")?, part("SignedHeaders")?);
    let scope: Vec<&str> = credential.split('/').collect();
    let [key_id, date, region, service, "aws4_request"] = scope[..] else {
        return Err(format!("no scope: {credential}"));
    };
    // 2. The time is now, within what AWS accepts.
    let time = seen.field("x-amz-date");
    let now = Timestamp::now();
    let near = (-300..=300).map(|second| now + jiff::SignedDuration::from_secs(second));
    let mut near = near.map(|time| time.strftime("%Y%m%dT%H%M%SZ").to_string());
    if !near.any(|near| near == time) || !time.starts_with(date) {
        return Err(format!("another time: {time}"));
    }
    // 3. The fields that AWS wants signed are signed.
    let signed: Vec<String> = names.split(';').map(ToOwned::to_owned).collect();
    let wanted = seen.names().into_iter().filter(|name| name.starts_with("x-amz-"));
    let wanted: Vec<_> = wanted.chain(["host"]).collect();
    if let Some(left) = wanted.iter().find(|name| !signed.iter().any(|other| other == *name)) {
        return Err(format!("{left} is not signed"));
    }
    // 4. The body is what the request says.
    let payload = seen.field("x-amz-content-sha256");
    let hash = hex(digest::digest(&digest::SHA256, &seen.body).as_ref());
    if payload.len() == 64 && payload != hash {
        return Err("the body is another one".to_owned());
    }
    // 5. The signature once more.
    let fields = signed.iter().map(|name| {
        let value = if name == "host" { host.to_owned() } else { seen.field(name) };
        format!("{name}:{value}\n")
    });
    let (path, query) = path_and_query(&seen.target);
    let path = if service == "s3" { path } else { path.replace("//", "/").replace('%', "%25") };
    let payload_text = if payload.is_empty() { &hash } else { &payload };
    let fields: String = fields.collect();
    let request = format!("{}\n{path}\n{query}\n{fields}\n{names}\n{payload_text}", seen.method);
    let hash = hex(digest::digest(&digest::SHA256, request.as_bytes()).as_ref());
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{date}/{region}/{service}/aws4_request\n{hash}");
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, service, "aws4_request", &text] {
        let signing = hmac::Key::new(hmac::HMAC_SHA256, &key);
        key = hmac::sign(&signing, part.as_bytes()).as_ref().to_vec();
    }
    if part("Signature")? != hex(&key) {
        return Err(format!("the signature is another one than of {request:?}"));
    }
    let scope = format!("{region}/{service}");
    Ok(Verified { key_id: key_id.to_owned(), scope, signed, payload })
}

/// The path as it was sent, and the query in order. The tests send nothing that is encoded in an
/// unusual way.
fn path_and_query(target: &str) -> (String, String) {
    // Over HTTP/2 the library shows the whole URL.
    let rest =
        target.strip_prefix("https://").and_then(|rest| rest.find('/').map(|at| &rest[at..]));
    let target = rest.unwrap_or(target);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut params: Vec<_> = query
        .split('&')
        .filter(|param| !param.is_empty())
        .map(|param| if param.contains('=') { param.to_owned() } else { format!("{param}=") })
        .collect();
    params.sort();
    (path.to_owned(), params.join("&"))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}
