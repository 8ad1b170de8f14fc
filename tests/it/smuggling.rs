//! Messages whose end or target two readers could take differently: refused, closed, and nothing
//! of them reaches an origin.

use crate::support::ask::{Ask, ask};
use crate::support::frames::{END_HEADERS, END_STREAM, HEADERS, SETTINGS, frame};
use crate::support::http2::request;
use crate::support::origin::Origin;
use crate::support::raw::{Raw, refused};
use crate::support::token;
use crate::support::world::{Running, World};

/// A whole message with these lines after `Host` and the caller's token.
fn message(line: &str, fields: &str, body: &str) -> String {
    let token = token("runner");
    format!(
        "{line} HTTP/1.1\r\nHost: a.test\r\nProxy-Authorization: Bearer {token}\r\n{fields}\r\n{body}"
    )
}

fn post(fields: &str, body: &str) -> String {
    message("POST https://api.example.test/v1", fields, body)
}

/// The bytes are refused with 400, the conn is closed, and no origin hears of it.
async fn assert_malformed(world: &Running, origin: &Origin, bytes: impl AsRef<[u8]>) {
    let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
    let mut raw = world.raw().await;
    raw.write(bytes).await;
    let answer = raw.answer().await;
    assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{shown:?}");
    assert!(!answer.title().contains("Malformed"), "the code says it: {}", answer.title());
    assert_eq!(answer.field("connection"), "close", "{shown:?}");
    raw.ends().await;
    assert_eq!(origin.conns(), 0, "{shown:?}");
}

#[tokio::test]
async fn contradictory_framing_never_reaches_the_origin() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5,6\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: -5\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5 5\r\n",
        "Content-Length: 5;\r\n",
        "Content-Length: \r\n",
        "Content-Length: five\r\n",
        "Content-Length: 99999999999999999999\r\n",
        "Content-Length: 18446744073709551621\r\n",
        "Content-Length: \u{ff15}\r\n",
    ] {
        assert_malformed(&world, &origin, post(fields, "hello")).await;
    }
}

#[tokio::test]
async fn any_transfer_encoding_but_one_chunked_never_reaches_the_origin() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for value in [
        ",chunked",
        "chunked,",
        "chunked, chunked",
        "cow, chunked",
        "chunked, cow",
        "gzip, chunked",
        "gzip",
        "identity",
        "identity, chunked",
        "\"chunked\"",
        "chunked;q=1",
        "xchunked",
        "chun\u{212a}ed",
        "chunked\u{b}",
        "\u{b}chunked",
        "x chunked",
        "",
    ] {
        let fields = format!("Transfer-Encoding: {value}\r\n");
        assert_malformed(&world, &origin, post(&fields, "0\r\n\r\n")).await;
    }
    for fields in [
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding : chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "\0Transfer-Encoding: chunked\r\n",
    ] {
        assert_malformed(&world, &origin, post(fields, "0\r\n\r\n")).await;
    }
    let old = post("Transfer-Encoding: chunked\r\n", "0\r\n\r\n").replace("HTTP/1.1", "HTTP/1.0");
    assert_malformed(&world, &origin, old).await;
}

#[tokio::test]
async fn spellings_that_name_and_control_characters_allow_are_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for fields in [
        "no colon\r\n",
        ": no name\r\n",
        "X Y: space in the name\r\n",
        "X\t: tab before the colon\r\n",
        "X: folded\r\n here\r\n",
        "X: folded\r\n\there\r\n",
        "X: nul\0\r\n",
        "X: bell\x07\r\n",
        "X: escape\x1b[0m\r\n",
        "X: delete\x7f\r\n",
        "X: bare cr\ry\r\n",
        "X: bare lf\ny\r\n",
        "X: bare lf at the end\n",
        "(X): not a token\r\n",
        "X\u{e9}: not ASCII\r\n",
    ] {
        assert_malformed(&world, &origin, post(fields, "")).await;
    }
}

#[tokio::test]
async fn request_lines_that_can_be_read_in_two_ways_are_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for line in [
        "GET  https://api.example.test/",
        "GET https://api.example.test/ ",
        " GET https://api.example.test/",
        "GET\thttps://api.example.test/",
        "GET https://api.example.test/a b",
        "GET https://api.example.test/#fragment",
        "GET https://api.example.test/\u{e9}",
        "GET https://api.example.test/\x0b",
        "GET https://api.example.test/\0",
        "GE(T https://api.example.test/",
        "G\u{c9}T https://api.example.test/",
        "https://api.example.test/",
    ] {
        assert_malformed(&world, &origin, message(line, "", "")).await;
    }
    for version in ["HTTP/1.2", "HTTP/2.0", "HTTP/0.9", "http/1.1", "HTTP/1.1x", "HTTP/01.1", ""] {
        let bytes = message("GET https://api.example.test/", "", "").replace("HTTP/1.1", version);
        assert_malformed(&world, &origin, bytes).await;
    }
}

#[tokio::test]
async fn there_is_one_host_line_or_the_request_is_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let good = message("GET https://api.example.test/", "", "");
    assert_malformed(&world, &origin, good.replace("Host: a.test\r\n", "")).await;
    for second in ["Host: a.test\r\n", "Host: api.example.test\r\n", "HOST:\r\n"] {
        let bytes = message("GET https://api.example.test/", second, "");
        assert_malformed(&world, &origin, bytes).await;
    }
}

#[tokio::test]
async fn an_authority_that_can_be_read_in_two_ways_is_refused() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for authority in [
        "user@api.example.test",
        "user:pass@api.example.test",
        "api.example.test@evil.test",
        "@api.example.test",
        "api.example.test:",
        "api.example.test:0",
        "api.example.test:65536",
        "api.example.test:+443",
        "api.example.test:443:443",
        "api.example.test\\evil.test",
        "api..example.test",
        ".api.example.test",
        "[api.example.test]",
        "api.example.test,evil.test",
        "api%2eexample.test",
        "",
    ] {
        let ask = ask(&format!("GET https://{authority}/v1"));
        let answer = world.send(&ask).await;
        assert_eq!(answer.status, 400, "{authority}");
        let gateway = crate::support::ask::ask("GET /v1").field("X-Zis-Host", authority);
        let answer = world.send(&gateway).await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{authority}");
    }
    for target in ["ftp://api.example.test/", "//api.example.test/", "api.example.test", "https:/x"]
    {
        let answer = world.send(&ask(&format!("GET {target}"))).await;
        assert_eq!(answer.status / 100, 4, "{target}");
    }
    assert_eq!(origin.conns(), 0);
}

#[tokio::test]
async fn other_spellings_of_a_host_are_one_host_or_not_covered() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let named =
        |host: &str| ask(&format!("GET https://{host}/v1")).field("X-Zis-Connection", "api");
    for host in ["API.EXAMPLE.TEST", "api.example.test:443", "api.example.test:00443"] {
        let answer = world.send(&named(host)).await;
        if answer.status == 200 {
            assert_eq!(origin.last().field("host"), "api.example.test", "{host}");
        } else {
            assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{host}");
        }
    }
    for host in ["api.example.test.", "127.0.0.1", "[::1]", "2130706433", "0x7f.1", "127.1"] {
        let answer = world.send(&named(host)).await;
        assert_eq!(answer.refusal(), refused(403, "DomainNotAllowed"), "{host}");
    }
}

#[tokio::test]
async fn before_a_bad_request_a_good_one_is_answered() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let good = message("GET https://api.example.test/good", "", "");
    let smuggled = "GET https://api.example.test/bad HTTP/1.1\r\nHost: a\r\n\r\n";
    for bad in [
        post("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", smuggled),
        post("Transfer-Encoding: chunked, chunked\r\n", smuggled),
        format!("{smuggled}\nGET https://api.example.test/bad"),
        "\0\0\0\0\r\n\r\n".to_owned(),
    ] {
        origin.forget();
        let bad = bad.replace(smuggled, &message("GET https://api.example.test/bad", "", ""));
        let mut raw = world.raw().await;
        raw.write(format!("{good}{bad}")).await;
        let answer = raw.answer().await;
        assert_eq!((answer.status, answer.text().as_str()), (200, "ok"), "{bad:?}");
        let mut second = raw.answer().await;
        if second.status == 200 {
            second = raw.answer().await;
        }
        assert_eq!(second.refusal(), refused(400, "MalformedRequest"), "{bad:?}");
        raw.ends().await;
    }
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::answering(&["http/1.1"], |seen| {
        crate::support::origin::ok(&format!(
            "{} {}",
            seen.target,
            String::from_utf8_lossy(&seen.body)
        ))
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    let asks = [
        ask("POST https://api.example.test/1").body("sized"),
        ask("POST https://api.example.test/2").chunks("3\r\nabc\r\n0\r\n\r\n"),
        ask("GET https://api.example.test/3"),
        ask("POST https://api.example.test/4").body(""),
    ];
    let bytes: Vec<u8> = asks.iter().flat_map(Ask::bytes).collect();
    raw.write(bytes).await;
    for expected in ["/1 sized", "/2 abc", "/3 ", "/4 "] {
        assert_eq!(raw.answer().await.text(), expected);
    }
}

#[tokio::test]
async fn a_body_that_turns_malformed_never_looks_complete_to_the_origin() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for rest in [
        "g\r\n",
        "\r\n",
        ";x\r\n",
        "5 \r\nhello\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "+5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-1\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "ffffffffffffffffffff\r\n",
        "1234567890123456\r\n",
        "5;\0\r\nhello\r\n0\r\n\r\n",
        "0\r\nno colon\r\n\r\n",
        "0\r\nX: a\nb\r\n\r\n",
        "0\r\n folded: x\r\n\r\n",
        "0\n\r\n",
    ] {
        let mut raw = world.raw().await;
        raw.write(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n")).await;
        raw.write(rest).await;
        let answer = raw.answer().await;
        assert_eq!(answer.refusal(), refused(400, "MalformedRequest"), "{rest:?}");
        raw.ends().await;
    }
    for (fields, body) in
        [("Transfer-Encoding: chunked\r\n", "5\r\nhel"), ("Content-Length: 9\r\n", "x")]
    {
        let mut raw = world.raw().await;
        raw.write(post(fields, body)).await;
        raw.close_write().await;
        let rest = raw.rest().await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{body:?}");
    }
    // A request that is whole, and after the others: all that there is to see.
    assert_eq!(world.send(&ask("GET https://api.example.test/whole")).await.status, 200);
    let seen: Vec<_> = origin.seen().into_iter().map(|seen| seen.target).collect();
    assert_eq!(seen, ["/whole"]);
}

#[tokio::test]
async fn after_a_malformed_body_there_is_one_answer_at_most() {
    let origin = Origin::scripted(|mut conn| async move {
        while conn.head().await.is_some() {
            conn.raw.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nearly").await;
        }
    })
    .await;
    let world = World::new(&origin).run().await;
    let mut raw = world.raw().await;
    raw.write(post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n")).await;
    assert_eq!(raw.answer().await.text(), "early");
    raw.write("no size\r\n").await;
    raw.ends().await;
}

#[tokio::test]
async fn chunk_extensions_and_framing_stay_with_the_hop() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let ask = ask("POST https://api.example.test/v1")
        .chunks("3;a=\"b;c\"\r\nabc\r\n00A;x\r\n0123456789\r\n0;z\r\n\r\n");
    assert_eq!(world.send(&ask).await.status, 200);
    let seen = origin.only();
    assert_eq!(&seen.body[..], b"abc0123456789");
    assert_eq!(seen.field("transfer-encoding"), "chunked");
    assert_eq!(seen.field("content-length"), "");
}

#[tokio::test]
async fn over_http2_connection_fields_do_not_become_framing() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    let mut http2 = world.http2().await;
    let short = request("POST", "https://api.example.test/v1").header("content-length", "9");
    let sent = http2.try_send(short, "short").await;
    assert!(sent.is_none_or(|answer| answer.status != 200));
    assert!(origin.seen().is_empty());
    let fine = request("POST", "https://api.example.test/v1").header("content-length", "4");
    assert_eq!(http2.send_body(fine, "fine").await.status, 200);
    assert_eq!(&origin.only().body[..], b"fine");
}

#[tokio::test]
async fn a_conn_that_is_not_http_is_turned_away() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    for bytes in [
        &b"SSH-2.0-OpenSSH_9\r\n"[..],
        b"\r\n\r\n\r\nGARBAGE\r\n",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
    ] {
        assert_malformed(&world, &origin, bytes).await;
    }
    let mut silent = Raw::tcp(world.address()).await;
    silent.close_write().await;
    silent.ends().await;
}

#[tokio::test]
async fn a_fragment_over_http2_reaches_no_origin_and_no_entry() {
    let origin = Origin::start().await;
    let world = World::new(&origin).run().await;
    // What clients' libraries would not write: a head by hand (RFC 7541 §6).
    let literal = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let authorization = format!("Bearer {}", token("runner"));
    let head = [
        // `:method: GET` and `:scheme: https`, then `:path` and `:authority` by their names.
        vec![0x82, 0x87, 0x04],
        literal("/v1?x=1#/../evil"),
        vec![0x01],
        literal("api.example.test"),
        vec![0x00],
        literal("proxy-authorization"),
        literal(&authorization),
    ];
    let mut raw = world.raw().await;
    raw.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    raw.write(frame(SETTINGS, 0, 0, &[])).await;
    raw.write(frame(HEADERS, END_HEADERS | END_STREAM, 1, &head.concat())).await;
    origin.has_seen(1).await;
    assert_eq!(origin.only().target, "/v1?x=1");
    assert_eq!(world.log.entry_of("/v1").await["status"], 200);
}
