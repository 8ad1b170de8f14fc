//! The callback as people and providers meet it: by a form, loaded again, in another browser.

use serde_json::{Value, json};

use crate::support::ask::stranger;
use crate::support::authorized::{OAUTH, parameter, prepared, target, world};
use crate::support::provider::{HOST, Provider, origin_accepting};
use crate::support::raw::{Answer, Raw};
use crate::support::world::{Running, World, authority};

/// A browser with the cookies that it was given.
#[derive(Default)]
struct Browser {
    cookies: Vec<String>,
}

impl Browser {
    async fn get(&self, server: &Running, url: &str) -> Answer {
        self.send(server, &format!("GET {}", target(url)), None).await
    }

    async fn post(&self, server: &Running, form: &str) -> Answer {
        self.send(server, &format!("POST {OAUTH}/oauth/callback"), Some(form)).await
    }

    async fn send(&self, server: &Running, line: &str, form: Option<&str>) -> Answer {
        let mut ask = stranger(line).field("User-Agent", "Mozilla/5.0");
        if !self.cookies.is_empty() {
            ask = ask.field("Cookie", &self.cookies.join("; "));
        }
        if let Some(form) = form {
            ask = ask.field("Content-Type", "application/x-www-form-urlencoded").body(form);
        }
        Raw::tcp(authority(&server.api)).await.send(&ask).await
    }

    /// Begins a flow and goes to the provider; gives the cookie's attributes, and the callback with
    /// all that it is sent.
    async fn consent(
        &mut self,
        server: &Running,
        provider: &Provider,
        flow: Value,
    ) -> (String, String) {
        let url = server.start_flow(flow).await;
        let led = self.get(server, &url).await;
        assert_eq!(led.status, 307, "{led:?}");
        let (cookie, attributes) = led.field("set-cookie").split_once("; ").unwrap();
        self.cookies.push(cookie.to_owned());
        let address = provider.origin.address.to_string();
        let (mut raw, _alpn) = Raw::tls_as(HOST, &address, &["http/1.1"]).await;
        let asked = stranger(&format!("GET {}", target(&led.location()))).host(HOST);
        (attributes.to_owned(), raw.send(&asked).await.location())
    }
}

/// A flow that ends at a page of ours.
fn flow(name: &str) -> Value {
    let mut flow = Running::flow(name);
    flow.as_object_mut().unwrap().remove("origin_oauth_redirect_url");
    flow
}

fn form_of(callback: &str) -> &str {
    callback.split_once('?').unwrap().1
}

#[tokio::test]
async fn a_provider_may_send_its_answer_as_a_form() {
    let provider = Provider::start().await;
    let secure = |world: World| world.set("api.public_url", "\"https://keyferry.example.com\"");
    let (_origin, server) = world(&provider, secure).await;
    server.register(&provider).await;
    let mut browser = Browser::default();
    let (attributes, callback) = browser.consent(&server, &provider, Running::flow("mine")).await;
    assert!(attributes.ends_with("HttpOnly; SameSite=None; Secure"), "{attributes}");
    // Only its own browser, and only a form.
    let stranger_there = Browser::default().post(&server, form_of(&callback)).await;
    assert_eq!(stranger_there.status, 400, "{stranger_there:?}");
    assert!(stranger_there.text().contains("another browser"), "{}", stranger_there.text());
    let line = format!("POST {OAUTH}/oauth/callback");
    let json = stranger(&line).field("Content-Type", "application/json").body("{}");
    let unfit = Raw::tcp(authority(&server.api)).await.send(&json).await;
    assert_eq!(unfit.status, 415, "{unfit:?}");
    let twice = browser.post(&server, &format!("{}&state=a", form_of(&callback))).await;
    assert_eq!(twice.status, 400, "{twice:?}");
    let form = format!("{}&user=%7B%22name%22%3A%22A%20B%22%7D", form_of(&callback));
    let ended = browser.post(&server, &form).await;
    assert_eq!(ended.status, 303, "{ended:?}");
    let code = parameter(&ended.location(), "verification_code").unwrap();
    let line = format!("GET {OAUTH}/oauth/access_codes/acme?verification_code={code}");
    let exchanged = server.manage(&line, None).await;
    assert_eq!(exchanged.json()["raw_callback_params"], form);
    let head = stranger(&format!("HEAD {OAUTH}/oauth/callback"));
    let refused = Raw::tcp(authority(&server.api)).await.send(&head).await;
    assert_eq!((refused.status, refused.field("allow")), (405, "GET, POST"));
}

#[tokio::test]
async fn without_tls_a_form_is_led_to_where_the_cookie_comes_along() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    let mut browser = Browser::default();
    let (attributes, callback) = browser.consent(&server, &provider, flow("mine")).await;
    assert!(attributes.ends_with("HttpOnly; SameSite=Lax"), "{attributes}");
    // A browser sends no such cookie with another site's form.
    let led = Browser::default().post(&server, form_of(&callback)).await;
    assert_eq!(led.status, 303, "{led:?}");
    let location = format!("http://{}{}", authority(&server.api), led.location());
    assert_eq!(Browser::default().get(&server, &location).await.status, 400);
    let ended = browser.get(&server, &location).await;
    assert!(ended.status == 200 && ended.text().contains("The connection mine is there"));
}

#[tokio::test]
async fn a_page_that_is_loaded_again_says_the_same_again() {
    let provider = Provider::start().await;
    let (_origin, server) = world(&provider, |world| world).await;
    server.register(&provider).await;
    let mut browser = Browser::default();
    let (_attributes, callback) = browser.consent(&server, &provider, flow("mine")).await;
    // Another browser leaves the flow as it is, however often.
    for _each in 0..2 {
        let elsewhere = Browser::default().get(&server, &callback).await;
        assert_eq!(elsewhere.status, 400, "{elsewhere:?}");
        assert!(elsewhere.text().contains("it still works"), "{}", elsewhere.text());
    }
    for _each in 0..3 {
        let page = browser.get(&server, &callback).await;
        assert_eq!((page.status, page.field("content-type")), (200, "text/html; charset=utf-8"));
        assert!(page.text().contains("The connection mine is there"), "{}", page.text());
    }
    assert_eq!(provider.asked(), 1);
    let elsewhere = Browser::default().get(&server, &callback).await;
    assert!(elsewhere.status == 400 && elsewhere.text().contains("Nothing left to do"));

    provider.set_denial("access_denied", "hunter2");
    let (_attributes, callback) = browser.consent(&server, &provider, flow("other")).await;
    for _each in 0..2 {
        let page = browser.get(&server, &callback).await;
        let text = page.text();
        assert!(text.contains("Not connected") && text.contains("access_denied"), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_reached_is_asked_again_when_the_page_is_loaded_again() {
    let provider = Provider::start().await;
    let origin = origin_accepting(&provider).await;
    let closed = "127.0.0.1:1";
    let world = prepared(&provider, &origin).keeping().pin_to(&format!("{HOST}:443"), closed);
    let mut server = world.run().await;
    server.register(&provider).await;
    let mut browser = Browser::default();
    let (_attributes, callback) = browser.consent(&server, &provider, flow("mine")).await;
    for _each in 0..2 {
        let page = browser.get(&server, &callback).await;
        assert_eq!(page.status, 503, "{page:?}");
        assert!(page.text().contains("load this page again"), "{}", page.text());
    }
    server.reload(|world| world.pin(HOST, &provider.origin)).await;
    let page = browser.get(&server, &callback).await;
    assert!(page.status == 200 && page.text().contains("The connection mine is there"));
    assert_eq!(server.authorized("mine").await["allowed_domain"], json!("api.example.test"));
}
