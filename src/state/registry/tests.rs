use super::*;
use crate::model::caller::Reach;
use crate::model::domain::AllowedDomain;
use crate::model::record::Detail;
use crate::model::token::{self, Scopes};
use crate::secret::Secret;

fn connection(full_name: &str, domain: &str) -> Connection {
    let (integration, name) = full_name.split_once('.').unwrap();
    Connection::new(
        IntegrationName::parse(integration).unwrap(),
        ConnectionName::parse(name).unwrap(),
        AllowedDomain::parse(domain).unwrap(),
        Detail::BearerToken,
        &Secret::new("s3cr3t"),
    )
    .unwrap()
}

fn caller(name: &str) -> Caller {
    Caller {
        name: name.into(),
        reach: Reach::Every(None),
        scopes: Scopes { proxy: true, ..Scopes::default() },
        expires_at: None,
        rules: crate::model::rules::Rules::default(),
    }
}

fn digest() -> TokenDigest {
    TokenDigest::of(token::generate().unwrap().expose()).unwrap()
}

fn covering(registry: &Registry, integration: &str, host: &str) -> Vec<String> {
    let host = HostName::parse(host).unwrap();
    let found = registry.covering(integration, &host, &caller("any"));
    found.iter().map(|listing| listing.connection.name().to_string()).collect()
}

#[test]
fn a_change_makes_a_new_set_and_leaves_the_old_one() {
    let metrics = Metrics::new();
    let mut before = Registry::default();
    before.insert_connection(connection("acme.one", "api.example.com"), &metrics).unwrap();
    let mut after = before.clone();
    after.insert_connection(connection("acme.two", "*.example.com"), &metrics).unwrap();
    assert_eq!(covering(&before, "acme", "api.example.com"), ["one"]);
    assert_eq!(covering(&after, "acme", "api.example.com"), ["one", "two"]);
    let (integration, name) = ("acme", ConnectionName::parse("one").unwrap());
    after.remove_connection(&IntegrationName::parse(integration).unwrap(), &name);
    assert!(before.lookup("acme", "one").is_some() && after.lookup("acme", "one").is_none());
    assert_eq!(covering(&after, "acme", "api.example.com"), ["two"]);
    assert_eq!((before.connections(), after.connections()), (1, 1));
}

#[test]
fn a_connection_that_changes_is_found_where_it_is_now_and_nowhere_else() {
    let metrics = Metrics::new();
    let mut registry = Registry::default();
    registry.insert_connection(connection("acme.one", "api.example.com"), &metrics).unwrap();
    registry.insert_connection(connection("acme.one", "api.example.org"), &metrics).unwrap();
    assert!(covering(&registry, "acme", "api.example.com").is_empty());
    assert_eq!(covering(&registry, "acme", "api.example.org"), ["one"]);
    assert_eq!(registry.connections(), 1);
}

#[test]
fn what_is_declared_and_what_is_stored_do_not_touch_each_other() {
    let metrics = Metrics::new();
    let declared = [Arc::new(connection("acme.one", "api.example.com"))];
    let registry = Registry::default().declare(&declared, Vec::new(), None, &metrics).unwrap();
    let mut registry = registry;
    assert!(
        registry.insert_connection(connection("acme.one", "evil.example.com"), &metrics).is_err()
    );
    registry.insert_connection(connection("acme.two", "api.example.com"), &metrics).unwrap();
    let both = [Arc::clone(&declared[0]), Arc::new(connection("acme.two", "api.example.com"))];
    let refused = registry.declare(&both, Vec::new(), None, &metrics).unwrap_err();
    assert!(refused.to_string().ends_with("acme.two"), "{refused}");
    registry.remove_connection(declared[0].integration(), declared[0].name());
    assert!(registry.lookup("acme", "one").is_some(), "a declared one is not the store's to take");
    let reloaded = registry.declare(&[], Vec::new(), None, &metrics).unwrap();
    assert!(reloaded.lookup("acme", "one").is_none() && reloaded.lookup("acme", "two").is_some());
    let mut stored = Registry::default();
    stored.insert_connection(connection("acme.one", "evil.example.com"), &metrics).unwrap();
    stored.insert_connection(connection("acme.three", "api.example.com"), &metrics).unwrap();
    let (merged, duplicates) = registry.with_stored(&stored);
    assert!(duplicates.unwrap().to_string().ends_with("acme.one"));
    assert_eq!(covering(&merged, "acme", "api.example.com"), ["one", "three"]);
    assert!(covering(&merged, "acme", "evil.example.com").is_empty());
    let names = |found: Vec<&Arc<Connection>>| found.len();
    assert_eq!(names(registry.declared_in(declared[0].integration())), 1);
}

#[test]
fn callers_come_and_go_with_their_tokens() {
    let metrics = Metrics::new();
    let (declared, stored, id) = (digest(), digest(), Uuid::from_u128(7));
    let operator = vec![(declared, caller("operator"))];
    let mut registry = Registry::default().declare(&[], operator, None, &metrics).unwrap();
    registry.insert_token(stored, id, caller("runner"));
    registry.insert_token(declared, Uuid::from_u128(8), caller("impostor"));
    let name = |registry: &Registry, digest| {
        registry.holder(&digest).map(|holder| holder.caller.name.to_string())
    };
    assert_eq!(name(&registry, declared).as_deref(), Some("operator"));
    assert_eq!(name(&registry, stored).as_deref(), Some("runner"));
    let mut reloaded = registry.declare(&[], Vec::new(), None, &metrics).unwrap();
    assert_eq!((name(&reloaded, declared), reloaded.callers()), (None, 1));
    reloaded.remove_token(id);
    assert_eq!((name(&reloaded, stored), reloaded.callers()), (None, 0));
    // Its name is known still, also where the store was read again meanwhile.
    let former = |registry: &Registry| {
        registry.former_holder(&stored).map(|holder| holder.caller.name.to_string())
    };
    assert_eq!(former(&reloaded).as_deref(), Some("runner"));
    let (read_again, _) = registry.with_stored(&Registry::default());
    assert_eq!(former(&read_again).as_deref(), Some("runner"));
    assert_eq!(former(&registry), None);
    reloaded.insert_token(stored, id, caller("runner"));
    assert_eq!(former(&reloaded), None);
}

#[test]
fn a_limit_is_kept_over_reloads_unless_it_changes() {
    let metrics = Metrics::new();
    let (declared, stored, id) = (digest(), digest(), Uuid::from_u128(7));
    let callers = || vec![(declared, caller("operator"))];
    let mut registry = Registry::default().declare(&[], callers(), Some(1), &metrics).unwrap();
    registry.insert_token(stored, id, caller("runner"));
    let takes = |registry: &Registry, digest| {
        registry.holder(&digest).unwrap().limit.as_ref().unwrap().take().is_ok()
    };
    for digest in [declared, stored] {
        assert!(takes(&registry, digest) && !takes(&registry, digest));
    }
    let same = registry.declare(&[], callers(), Some(1), &metrics).unwrap();
    assert!(!takes(&same, declared) && !takes(&same, stored), "nothing was gained by a reload");
    let more = registry.declare(&[], callers(), Some(2), &metrics).unwrap();
    assert!(takes(&more, declared) && takes(&more, stored));
}
