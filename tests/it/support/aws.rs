//! An origin that speaks for AWS: it makes the signature of each request again, by code of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use http::Response;
use http_body_util::Full;
use hyper::body::Bytes;
use jiff::{SignedDuration, Timestamp};
use keyferry::clock::Clock;
use parking_lot::Mutex;

use super::origin::{Origin, Seen, ok};

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
    verify_at(seen, host, secret, Timestamp::now())
}

/// The same at another time than now.
pub(crate) fn verify_at(
    seen: &Seen,
    host: &str,
    secret: &str,
    now: Timestamp,
) -> Result<Verified, String> {
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
    let near = (-300..=300).map(|second| now + SignedDuration::from_secs(second));
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

/// AWS with its Security Token Service, which gives sessions of a role to who signs with the keys of
/// the tests, and services that take no other keys than those of a session that has not ended.
#[derive(Clone, Debug)]
pub(crate) struct Aws {
    desk: Arc<Mutex<Desk>>,
    clock: Clock,
}

/// The state of the service.
#[derive(Debug)]
struct Desk {
    /// The questions so far, with their parameters.
    asked: Vec<BTreeMap<String, String>>,
    /// The sessions by the ids of their keys: the key, the token, and the end.
    sessions: BTreeMap<String, (String, String, Timestamp)>,
    /// The status and code of every answer, where it refuses.
    refusal: Option<(u16, &'static str)>,
    lifetime: SignedDuration,
    /// Whatever was wrong with a request.
    wrong: Vec<String>,
}

impl Aws {
    /// The services, and the origin that all of them are at.
    pub(crate) async fn start(clock: &Clock) -> (Self, Origin) {
        let desk = Desk {
            asked: Vec::new(),
            sessions: BTreeMap::new(),
            refusal: None,
            lifetime: SignedDuration::from_hours(1),
            wrong: Vec::new(),
        };
        let aws = Self { desk: Arc::new(Mutex::new(desk)), clock: clock.clone() };
        let answering = aws.clone();
        let origin = Origin::answering(&["http/1.1"], move |seen| answering.answer(seen)).await;
        (aws, origin)
    }

    /// Refuses from now on, with this status and code; `None` for no more.
    pub(crate) fn refuse(&self, refusal: Option<(u16, &'static str)>) {
        self.desk.lock().refusal = refusal;
    }

    /// The questions so far.
    pub(crate) fn asked(&self) -> Vec<BTreeMap<String, String>> {
        let desk = self.desk.lock();
        assert_eq!(desk.wrong, Vec::<String>::new());
        desk.asked.clone()
    }

    /// The secret keys and the tokens of all sessions.
    pub(crate) fn secrets(&self) -> Vec<String> {
        let desk = self.desk.lock();
        let all = desk.sessions.values().flat_map(|(key, token, _)| [key.clone(), token.clone()]);
        all.collect()
    }

    fn answer(&self, seen: &Seen) -> Response<Full<Bytes>> {
        let host = seen.field("host");
        let answered = if host.starts_with("sts.") {
            self.session(seen, &host)
        } else {
            self.serve(seen, &host).map(|()| ok("served"))
        };
        answered.unwrap_or_else(|wrong| {
            self.desk.lock().wrong.push(wrong);
            Response::builder().status(403).body(Full::default()).unwrap()
        })
    }

    /// A service takes the keys of a session alone.
    fn serve(&self, seen: &Seen, host: &str) -> Result<(), String> {
        let field = seen.field("authorization");
        let id = field.split("Credential=").nth(1).and_then(|rest| rest.split('/').next());
        let id = id.ok_or_else(|| format!("no key: {field}"))?;
        let known = self.desk.lock().sessions.get(id).cloned();
        let (secret, token, end) = known.ok_or_else(|| format!("no session's key: {id}"))?;
        let now = self.clock.now();
        verify_at(seen, host, &secret, now)?;
        if seen.field("x-amz-security-token") != token || now >= end {
            return Err(format!("another token, or one that has ended: {seen:?}"));
        }
        Ok(())
    }

    fn session(&self, seen: &Seen, host: &str) -> Result<Response<Full<Bytes>>, String> {
        // 1. The question is whole, and signed with the connection's own keys.
        let verified = verify_at(seen, host, SECRET_KEY, self.clock.now())?;
        let region = host.split('.').nth(1).unwrap_or_default();
        let expected = (KEY_ID.to_owned(), format!("{region}/sts"), 64);
        if (verified.key_id, verified.scope, verified.payload.len()) != expected {
            return Err(format!("another scope or key, or no digest: {seen:?}"));
        }
        let (form, twice) = seen.form();
        let known =
            ["Action", "Version", "RoleArn", "RoleSessionName", "ExternalId", "DurationSeconds"];
        let is_unknown = form.keys().any(|name| !known.contains(&&**name));
        if seen.method != "POST" || seen.target != "/" || twice.is_some() || is_unknown {
            return Err(format!("not the question: {seen:?}"));
        }
        // 2. The answer, as AWS gives it.
        let mut desk = self.desk.lock();
        desk.asked.push(form);
        let number = desk.asked.len();
        let xml = |status: u16, body: String| {
            let head = Response::builder().status(status).header("content-type", "text/xml");
            Ok(head.body(Full::from(body)).unwrap())
        };
        if let Some((status, code)) = desk.refusal {
            let error = format!("<Type>Sender</Type><Code>{code}</Code><Message>no</Message>");
            return xml(
                status,
                format!(
                    "<ErrorResponse {XMLNS}>\n  <Error>{error}</Error>\n  \
                <RequestId>0</RequestId>\n</ErrorResponse>\n"
                ),
            );
        }
        let (key, token) =
            (format!("session/key+{number}="), format!("session-token-{number}/+=="));
        let end = self.clock.now() + desk.lifetime;
        let end: Timestamp = Timestamp::from_second(end.as_second()).unwrap();
        let id = format!("ASIASESSION{number}");
        let credentials = format!(
            "<AccessKeyId>{id}</AccessKeyId>\n<SecretAccessKey>{key}</SecretAccessKey>\n\
             <SessionToken>{token}</SessionToken>\n<Expiration>{end}</Expiration>"
        );
        desk.sessions.insert(id, (key, token, end));
        xml(
            200,
            format!(
                "<AssumeRoleResponse {XMLNS}>\n<AssumeRoleResult>\n<AssumedRoleUser>\
            <AssumedRoleId>A:b</AssumedRoleId><Arn>arn:aws:sts::1:assumed-role/a/b</Arn>\
            </AssumedRoleUser>\n<Credentials>{credentials}</Credentials>\n</AssumeRoleResult>\n\
            <ResponseMetadata><RequestId>0</RequestId></ResponseMetadata>\n</AssumeRoleResponse>\n"
            ),
        )
    }
}

const XMLNS: &str = "xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"";

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
