//! Records: kept as they were given, changed only by who knows them, listed page by page.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use keyferry::model::aws::access::AwsAccess;
use keyferry::model::caller::Reach;
use keyferry::model::connection::ConnectionType;
use keyferry::model::custom::CustomAccess;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::IntegrationName;
use keyferry::model::record::{ConnectionRecord, Detail, TokenRecord};
use keyferry::model::token::Scopes;
use keyferry::store::{Error, Page, PageRange, Store, TokenUse};

use super::{Home, connection, name, of_both, token, whole};

of_both!(
    what_is_kept_is_what_was_given,
    a_name_is_unique_across_types_but_not_across_integrations,
    only_who_knows_the_record_replaces_it,
    a_connection_is_deleted_by_its_name_and_type,
    a_live_tokens_name_is_taken_within_its_integration,
    tokens_are_kept_listed_touched_and_deleted,
    exactly_one_of_many_concurrent_creates_wins,
    exactly_one_of_many_concurrent_changes_wins,
    names_are_listed_in_the_order_of_their_bytes,
    a_window_is_cut_at_both_ends,
    pages_show_every_stable_record_once_while_others_come_and_go,
    a_record_that_cant_be_read_spoils_no_other,
);

async fn what_is_kept_is_what_was_given(home: Home) {
    let store = home.open().await;
    let region = Some("eu-west-1".into());
    let access =
        AwsAccess { access_key_id: "AKIDEXAMPLE".into(), region, service: None, assume_role: None };
    let custom = concat!(
        r#"{"secrets":["a"],"inject":[{"in":"query","name":"k","value":"{a}"}],"#,
        r#""domains":[{"domain":"api.example.com"},{"domain":"*.example.org"}]}"#,
    );
    let custom = CustomAccess::decode(custom).unwrap();
    let kinds = [
        ("one", Detail::ApiKey { header_name: "X-Api-\"Key'".into() }, "api.example.com"),
        ("two", Detail::BasicAuth { username: "ann\u{e9} \\ \"x\"".into() }, "*.example.com"),
        ("three", Detail::BearerToken, "xn--bcher-kva.example"),
        ("aws_all", Detail::AwsSigV4(Box::new(access)), "*.amazonaws.com"),
        ("custom", Detail::Custom(Box::new(custom)), "api.example.com"),
    ];
    for (name, detail, domain) in kinds {
        let allowed_domain = Some(AllowedDomain::parse(domain).unwrap());
        let record = ConnectionRecord { detail, allowed_domain, ..connection(name) };
        store.create_connection(&record).await.unwrap();
        let found = store.connection(&record.integration, &record.name).await.unwrap();
        assert_eq!(found, Some(record));
    }
    let acme = IntegrationName::parse("acme").unwrap();
    assert_eq!(store.connection(&acme, &name("four")).await.unwrap(), None);
    store.close().await;
    let again = home.open().await;
    assert_eq!(again.snapshot().await.unwrap().connections.len(), 5);
    again.key_check().await.unwrap();
}

async fn a_name_is_unique_across_types_but_not_across_integrations(home: Home) {
    let store = home.open().await;
    let first = connection("billing");
    let revision = store.create_connection(&first).await.unwrap();
    let twin = ConnectionRecord { detail: Detail::BearerToken, ..connection("billing") };
    assert!(matches!(store.create_connection(&twin).await, Err(Error::Conflict)));
    let capital = connection("Billing");
    assert!(store.create_connection(&capital).await.unwrap() > revision);
    let elsewhere = IntegrationName::parse("other").unwrap();
    let cousin = ConnectionRecord { integration: elsewhere, ..connection("billing") };
    store.create_connection(&cousin).await.unwrap();
    assert_eq!(store.connection(&first.integration, &first.name).await.unwrap(), Some(first));
}

async fn only_who_knows_the_record_replaces_it(home: Home) {
    let store = home.open().await;
    let before = connection("billing");
    let created = store.create_connection(&before).await.unwrap();
    let after = ConnectionRecord {
        detail: Detail::ApiKey { header_name: "X-New".into() },
        sealed: connection("billing").sealed,
        updated_at: Timestamp::from_microsecond(1_800_000_001_000_000).unwrap(),
        ..before.clone()
    };
    let replaced = store.replace_connection(&before, &after).await.unwrap().unwrap();
    assert!(replaced > created);
    assert_eq!(store.replace_connection(&before, &after).await.unwrap(), None);
    let found = store.connection(&before.integration, &before.name).await.unwrap();
    assert_eq!(found.as_ref(), Some(&after));
    let stranger = connection("nobody");
    assert_eq!(store.replace_connection(&stranger, &stranger).await.unwrap(), None);
    assert_eq!(store.snapshot().await.unwrap().revision, replaced, "what was not done counts not");
}

async fn a_connection_is_deleted_by_its_name_and_type(home: Home) {
    let store = home.open().await;
    let record = connection("billing");
    store.create_connection(&record).await.unwrap();
    let delete = async |kind| {
        store.delete_connection(&record.integration, &record.name, kind).await.unwrap()
    };
    assert_eq!(delete(ConnectionType::BearerToken).await, None);
    assert!(delete(ConnectionType::ApiKey).await.is_some());
    assert_eq!(delete(ConnectionType::ApiKey).await, None);
    assert_eq!(store.connection(&record.integration, &record.name).await.unwrap(), None);
    store.create_connection(&connection("billing")).await.unwrap();
}

async fn a_live_tokens_name_is_taken_within_its_integration(home: Home) {
    let store = home.open().await;
    let named = || token("ci");
    let first = named();
    // Of many that ask at once, one is served.
    let rivals: Vec<_> = (0..16).map(|_| named()).collect();
    let rivals = rivals.iter().chain([&first]).map(|record| store.create_token(record));
    let made: Vec<_> = futures_util::future::join_all(rivals).await;
    let (made, refused): (Vec<_>, Vec<_>) = made.into_iter().partition(Result::is_ok);
    assert_eq!((made.len(), refused.len()), (1, 16));
    assert!(refused.iter().all(|refused| matches!(refused, Err(Error::Conflict))), "{refused:?}");
    let revision = store.snapshot().await.unwrap().revision;
    assert!(store.create_token(&named()).await.is_err());
    assert_eq!(store.snapshot().await.unwrap().revision, revision, "nothing is left of it");
    for integration in ["other", "*"] {
        let elsewhere = TokenRecord { reach: reach(integration), ..named() };
        store.create_token(&elsewhere).await.unwrap();
    }
    let end = named().expires_at.unwrap();
    let after = TokenRecord { created_at: end, expires_at: None, ..named() };
    store.create_token(&after).await.unwrap();
    let later = TokenRecord { created_at: Timestamp::MAX, ..named() };
    assert!(matches!(store.create_token(&later).await, Err(Error::Conflict)));
    store.delete_token(after.id).await.unwrap();
    store.create_token(&later).await.unwrap();
}

fn reach(integration: &str) -> Reach {
    Reach::parse::<&str>(integration, None).unwrap()
}

async fn tokens_are_kept_listed_touched_and_deleted(home: Home) {
    let store = home.open().await;
    let bound = token("ci");
    let free = TokenRecord {
        reach: Reach::parse("*", Some(&["acme.billing"])).unwrap(),
        scopes: Scopes::parse(["read", "write", "proxy", "admin"]).unwrap(),
        expires_at: None,
        ..token("ci \u{1f511} \"two\"")
    };
    for record in [&bound, &free] {
        store.create_token(record).await.unwrap();
        assert_eq!(store.token(record.id).await.unwrap().as_ref(), Some(record));
    }
    let same_digest = TokenRecord { id: token("x").id, ..bound.clone() };
    assert!(matches!(store.create_token(&same_digest).await, Err(Error::Conflict)));
    let revision = store.snapshot().await.unwrap().revision;
    let time = |number: i64| Timestamp::from_microsecond(1_850_000_000_000_000 + number).unwrap();
    let used = |id, at, connection: Option<&str>| TokenUse {
        id,
        time: time(at),
        connection: connection.map(str::to_owned),
    };
    let both = [used(free.id, 5, None), used(bound.id, 9, Some("acme.mine"))];
    store.touch_tokens(&both).await.unwrap();
    let late = [used(bound.id, 7, Some("acme.other")), used(same_digest.id, 7, None)];
    store.touch_tokens(&late).await.unwrap();
    let kept = store.token(bound.id).await.unwrap().unwrap();
    assert_eq!(kept.last_used_for.as_deref(), Some("acme.mine"));
    assert_eq!(store.token(bound.id).await.unwrap().unwrap().last_used_at, Some(time(9)));
    assert_eq!(store.snapshot().await.unwrap().revision, revision);
    let mut expected = [bound.id, free.id];
    expected.sort();
    let page = store.tokens(&whole()).await.unwrap();
    assert_eq!(
        page.items.iter().map(|item| item.as_ref().unwrap().id).collect::<Vec<_>>(),
        expected
    );
    assert!(store.delete_token(bound.id).await.unwrap().unwrap() > revision);
    assert_eq!(store.delete_token(bound.id).await.unwrap(), None);
    assert_eq!(store.token(bound.id).await.unwrap(), None);
}

async fn exactly_one_of_many_concurrent_creates_wins(home: Home) {
    let (one, two) = (Arc::new(home.open().await), Arc::new(home.open().await));
    let creates = (0..20).map(|number| {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &two });
        tokio::spawn(async move { store.create_connection(&connection("billing")).await })
    });
    let mut won = 0;
    for create in creates.collect::<Vec<_>>() {
        match create.await.unwrap() {
            Ok(_revision) => won += 1,
            Err(error) => assert!(matches!(error, Error::Conflict), "{error:?}"),
        }
    }
    assert_eq!(won, 1);
    assert_eq!(one.snapshot().await.unwrap().connections.len(), 1);
}

async fn exactly_one_of_many_concurrent_changes_wins(home: Home) {
    let (one, two) = (Arc::new(home.open().await), Arc::new(home.open().await));
    let before = connection("billing");
    one.create_connection(&before).await.unwrap();
    let changes = (0..20).map(|number| {
        let store = Arc::clone(if number % 2 == 0 { &one } else { &two });
        let (before, sealed) = (before.clone(), connection("xxx").sealed);
        let after = ConnectionRecord { sealed, ..before.clone() };
        tokio::spawn(async move { store.replace_connection(&before, &after).await.unwrap() })
    });
    let mut won = 0;
    for change in changes.collect::<Vec<_>>() {
        won += i32::from(change.await.unwrap().is_some());
    }
    assert_eq!(won, 1);
}

async fn names_are_listed_in_the_order_of_their_bytes(home: Home) {
    let store = home.open().await;
    for name in ["abc", "Abc", "a-b", "a_b", "ab1", "ABC", "a1b", "zzz", "-zz", "_zz"] {
        store.create_connection(&connection(name)).await.unwrap();
    }
    let expected = ["-zz", "ABC", "Abc", "_zz", "a-b", "a1b", "a_b", "ab1", "abc", "zzz"].map(name);
    assert_eq!(listed(&page(&store, &whole()).await), expected);
}

async fn a_window_is_cut_at_both_ends(home: Home) {
    let store = home.open().await;
    for number in 0..10 {
        store.create_connection(&connection(&format!("c{number:02}"))).await.unwrap();
    }
    let end = |number: Option<&str>| number.map(|number| format!("c{number}"));
    for (after, before, limit, expected, has_more) in [
        (None, None, 3, vec!["00", "01", "02"], true),
        (Some("02"), None, 3, vec!["03", "04", "05"], true),
        (Some("06"), None, 3, vec!["07", "08", "09"], false),
        (Some("09"), None, 3, vec![], false),
        (Some("025"), None, 2, vec!["03", "04"], true),
        (None, Some("05"), 3, vec!["02", "03", "04"], true),
        (None, Some("03"), 3, vec!["00", "01", "02"], false),
        (None, Some("00"), 3, vec![], false),
        (Some("02"), Some("08"), 3, vec!["03", "04", "05"], true),
        (Some("02"), Some("05"), 3, vec!["03", "04"], false),
        (Some("05"), Some("02"), 3, vec![], false),
    ] {
        let window = PageRange { after: end(after), before: end(before), limit };
        let page = page(&store, &window).await;
        let expected: Vec<_> = expected.iter().map(|number| name(&format!("c{number}"))).collect();
        assert_eq!((listed(&page), page.has_more), (expected.clone(), has_more), "{window:?}");
        let ends =
            expected.first().map(ToString::to_string).zip(expected.last().map(ToString::to_string));
        assert_eq!(page.ends, ends);
    }
}

async fn pages_show_every_stable_record_once_while_others_come_and_go(home: Home) {
    let store = Arc::new(home.open().await);
    for number in 0..40 {
        store.create_connection(&connection(&format!("s{number:03}"))).await.unwrap();
    }
    let other = Arc::clone(&store);
    let coming_and_going = tokio::spawn(async move {
        for number in 0..60 {
            let record = connection(&format!("s{:03}-x{number}", number * 7 % 40));
            other.create_connection(&record).await.unwrap();
            let (integration, kind) = (&record.integration, record.kind());
            other.delete_connection(integration, &record.name, kind).await.unwrap();
        }
    });
    let mut rounds = 0;
    while rounds == 0 || !coming_and_going.is_finished() {
        let (mut seen, mut after) = (BTreeSet::new(), None);
        loop {
            let page = page(&store, &PageRange { after, before: None, limit: 7 }).await;
            for name in listed(&page) {
                assert!(seen.insert(name.clone()), "{name} twice");
            }
            after = page.ends.map(|(_, last)| last);
            if !page.has_more {
                break;
            }
        }
        assert_eq!(seen.iter().filter(|name| name.as_str().len() == 4).count(), 40);
        rounds += 1;
    }
    coming_and_going.await.unwrap();
}

async fn a_record_that_cant_be_read_spoils_no_other(home: Home) {
    let store = home.open().await;
    for name in ["one", "two", "three"] {
        store.create_connection(&connection(name)).await.unwrap();
    }
    let kept = token("ci");
    store.create_token(&kept).await.unwrap();
    home.by_hand("UPDATE connections SET allowed_domain = '*.' WHERE name = 'two'").await;
    home.by_hand("UPDATE tokens SET scopes = 'root'").await;
    let page = page(&store, &whole()).await;
    let [Ok(_), Ok(_), Err(error)] = page.items.as_slice() else { panic!("{page:?}") };
    assert_eq!(
        error.to_string(),
        "the column allowed_domain of connections has an invalid value: restore the record from a backup"
    );
    assert_eq!(page.ends, Some(("one".into(), "two".into())));
    let acme = IntegrationName::parse("acme").unwrap();
    let read = store.connection(&acme, &name("two")).await;
    assert!(matches!(read, Err(Error::Inconsistent { column: "allowed_domain", .. })));
    assert!(matches!(
        store.token(kept.id).await,
        Err(Error::Inconsistent { column: "scopes", .. })
    ));
    let snapshot = store.snapshot().await.unwrap();
    assert_eq!(snapshot.connections.iter().filter(|item| item.is_err()).count(), 1);
    let deleted = store.delete_connection(&acme, &name("two"), ConnectionType::ApiKey).await;
    assert!(deleted.unwrap().is_some());
}

async fn page(store: &Store, window: &PageRange) -> Page<ConnectionRecord> {
    let acme = IntegrationName::parse("acme").unwrap();
    store.connections(&acme, window).await.unwrap()
}

fn listed(page: &Page<ConnectionRecord>) -> Vec<keyferry::model::name::ConnectionName> {
    page.items.iter().map(|item| item.as_ref().unwrap().name.clone()).collect()
}
