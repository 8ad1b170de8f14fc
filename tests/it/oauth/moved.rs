//! Clients that somebody moves to hosts of their own: who may write, and does not know the secret.

use serde_json::{Value, json};

use crate::support::authorized::{OAUTH, parameter, target, world};
use crate::support::origin::Origin;
use crate::support::provider::{CLIENT_SECRET, OTHER_HOST, Provider};
use crate::support::raw::Answer;
use crate::support::world::Running;

/// A server with a client of the provider, and a host of somebody who may write.
struct Scene {
    server: Running,
    provider: Provider,
    thief: Provider,
    /// The thief's own token.
    token: String,
    /// The line that changes the client.
    line: String,
    _origin: Origin,
}

impl Scene {
    async fn new() -> Self {
        let (provider, thief) = (Provider::start().await, Provider::named(OTHER_HOST).await);
        let more = |world: crate::support::world::World| world.pin(OTHER_HOST, &thief.origin);
        let (origin, server) = world(&provider, more).await;
        let client = server.register(&provider).await;
        let (_id, token) = server.keep_token("thief", &["read", "write"]).await;
        let line = format!("PATCH {OAUTH}/oauth/clients/acme/{client}");
        Self { server, provider, thief, token, line, _origin: origin }
    }

    /// Changes the client as the thief.
    async fn steal(&self, change: Value) {
        let changed = self.server.manage_by(&self.token, &self.line, Some(change)).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }

    /// Changes the client as its operator.
    async fn change(&self, change: Value) -> Answer {
        self.server.manage(&self.line, Some(change)).await
    }

    /// The same, which must be done.
    async fn changed(&self, change: Value) {
        let changed = self.change(change).await;
        assert_eq!(changed.status, 200, "{changed:?}");
    }

    /// The provider's own URLs, and its secret.
    fn right(&self) -> Value {
        let [auth_url, token_url] = ["/authorize", "/token"].map(|path| self.provider.url(path));
        json!({"client_secret": CLIENT_SECRET, "auth_url": auth_url, "token_url": token_url})
    }

    /// The reasons why the right secret is not taken alone.
    async fn refused(&self) -> String {
        let refused = self.change(json!({"client_secret": CLIENT_SECRET})).await;
        assert_eq!(refused.status, 422, "{refused:?}");
        refused.text()
    }
}

#[tokio::test]
async fn a_code_is_not_sent_to_where_a_client_was_moved_meanwhile() {
    let scene = Scene::new().await;
    let Scene { server, provider, thief, .. } = &scene;
    for (member, path) in
        [("token_url", "/token"), ("refresh_url", "/refresh"), ("auth_url", "/authorize")]
    {
        let redirect_url = server.start_flow(Running::flow("mine")).await;
        let later_url = server.start_flow(Running::flow("mine")).await;
        let callback = server.consent(provider, &redirect_url).await;
        let mut planted = scene.right();
        (planted[member], planted["client_secret"]) = (thief.url(path).into(), "made up".into());
        scene.steal(planted).await;
        let ended = server.stroll(target(&callback)).await;
        assert_eq!(ended.status, 303, "{member}: {ended:?}");
        let end = ended.location();
        assert_eq!(parameter(&end, "error").as_deref(), Some("invalid_request"), "{member}");
        let words = parameter(&end, "error_description").unwrap();
        assert!(words.contains("Begin the flow again"), "{member}: {words}");
        // Nor does a browser go where the flow was not begun for.
        let led = server.stroll(target(&later_url)).await;
        assert_eq!((led.status, led.location()), (400, String::new()), "{member}: {led:?}");
        let mut right = scene.right();
        right["refresh_url"] = Value::Null;
        scene.changed(right).await;
    }
    assert_eq!((thief.asked(), provider.asked()), (0, 0));
    // Another path of the same host is as good as before.
    let redirect_url = server.start_flow(Running::flow("mine")).await;
    let callback = server.consent(provider, &redirect_url).await;
    let url = provider.url("/token?v=2");
    scene.changed(json!({"client_secret": CLIENT_SECRET, "token_url": url})).await;
    let end = server.stroll(target(&callback)).await.location();
    assert!(parameter(&end, "verification_code").is_some(), "{end}");
}

#[tokio::test]
async fn a_planted_url_does_not_get_the_right_secret() {
    let scene = Scene::new().await;
    let Scene { server, provider, thief, .. } = &scene;
    let planted = thief.url("/token");
    // In one step, or in two, in which the second enters the secret of the first again.
    let url = json!({
        "token_url": planted, "client_secret": "made up", "auth_url": provider.url("/authorize"),
    });
    let secret = json!({
        "token_url": provider.url("/token"), "client_secret": "made up",
        "auth_url": provider.url("/authorize"),
    });
    let (one_step, two_steps) = (vec![url.clone()], vec![secret, url.clone(), url]);
    for steps in [one_step, two_steps] {
        for step in steps {
            scene.steal(step).await;
        }
        let reason = scene.refused().await;
        assert!(reason.contains(&planted) && reason.contains("by thief"), "{reason}");
        // Who looks sees where the secret would go, and sets it right.
        scene.changed(scene.right()).await;
        scene.changed(json!({"client_secret": CLIENT_SECRET})).await;
    }
    // Every URL to which the secret would go is asked for.
    let mut urls = scene.right();
    urls["refresh_url"] = thief.url("/refresh").into();
    urls["revocation_url"] = thief.url("/revoke").into();
    urls["client_secret"] = "made up".into();
    scene.steal(urls).await;
    let reason = scene.refused().await.to_lowercase();
    for member in ["auth url", "token url", "refresh url", "revocation url"] {
        assert!(reason.contains(member), "{member}: {reason}");
    }
    // None of it was ever used.
    let mut own = Running::flow("own");
    own["grant_type"] = "client_credentials".into();
    let begun = server.start_flow(own).await;
    server.manage(&format!("GET {}", target(&begun)), None).await;
    assert_eq!(thief.asked(), 0);
}

#[tokio::test]
async fn a_url_that_another_operator_has_moved_is_taken_when_it_is_named() {
    let scene = Scene::new().await;
    let moved = scene.provider.url("/refresh");
    scene.steal(json!({"token_url": moved, "client_secret": "another"})).await;
    scene.refused().await;
    let auth_url = scene.provider.url("/authorize");
    let named = json!({"client_secret": "a third", "token_url": moved, "auth_url": auth_url});
    scene.changed(named).await;
    // Once it was named, it is no other operator's any more.
    scene.changed(json!({"client_secret": CLIENT_SECRET})).await;
    // Who has moved it need not name it.
    scene.steal(scene.right()).await;
    scene.steal(json!({"client_secret": "x"})).await;
    scene.steal(json!({"client_secret": "y"})).await;
    scene.refused().await;
}
