//! Everything comes under another master key, page by page, while others write.

use keyferry::model::sealed::{Mac, Sealed};
use keyferry::store::{PageRange, RewrappedSecret, RewrittenMac, SealedTable, Store};

use super::home::sealed;
use super::{Home, connection, of_both, token, whole};

of_both!(
    the_first_key_check_stays,
    everything_comes_under_the_new_key_page_by_page,
    what_was_changed_meanwhile_is_left_alone,
);

async fn the_first_key_check_stays(home: Home) {
    let (one, two) = (home.open().await, home.open().await);
    assert_eq!(one.key_check().await.unwrap(), None);
    let (first, second) = (sealed("k1"), sealed("k2"));
    assert_eq!(one.keep_key_check(&first).await.unwrap(), first);
    assert_eq!(two.keep_key_check(&second).await.unwrap(), first);
    let renewed = Sealed { key_id: "k2".into(), wrapped: second.wrapped, ..first.clone() };
    one.rewrap_key_check(&first, &renewed).await.unwrap();
    two.rewrap_key_check(&first, &sealed("k3")).await.unwrap();
    assert_eq!(two.key_check().await.unwrap(), Some(renewed));
}

/// One page; how many were on it.
async fn rewrap_a_page(store: &Store, after: Option<String>) -> (usize, Option<String>) {
    let window = PageRange { after, before: None, limit: 7 };
    let table = SealedTable::Connections;
    let page = store.sealed_under_other_keys(table, "k2", &window).await.unwrap();
    let rewrapped: Vec<_> = page
        .items
        .into_iter()
        .map(|item| {
            let record = item.unwrap();
            let wrapped = sealed("k2").wrapped;
            let (uuid, before, _) = record.parts();
            let after = Sealed { key_id: "k2".into(), wrapped, ..before.clone() };
            RewrappedSecret { uuid, before: before.clone(), after }
        })
        .collect();
    let count = store.rewrap(table, &rewrapped).await.unwrap();
    assert_eq!(count, rewrapped.len() as u64);
    (rewrapped.len(), page.ends.map(|(_, last)| last))
}

async fn rewrap_the_rest(store: &Store) -> usize {
    let (mut count, mut after) = (0, None);
    loop {
        let (more, last) = rewrap_a_page(store, after).await;
        if more == 0 {
            return count;
        }
        (count, after) = (count + more, last);
    }
}

async fn everything_comes_under_the_new_key_page_by_page(home: Home) {
    let store = home.open().await;
    for number in 0..20 {
        store.create_connection(&connection(&format!("c{number:02}"))).await.unwrap();
    }
    let ci = token("ci");
    store.create_token(&ci).await.unwrap();
    let before = store.snapshot().await.unwrap();
    assert_eq!(store.key_usage().await.unwrap(), [("k1".into(), 21)]);
    let (seven, _) = rewrap_a_page(&store, None).await;
    assert_eq!(store.key_usage().await.unwrap(), [("k1".into(), 14), ("k2".into(), 7)]);
    // Here the walk was broken off: it begins again with what is left.
    assert_eq!(seven + rewrap_the_rest(&store).await, 20);
    let page = store.tokens_under_other_keys("k2", &whole()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    let mac = Mac { key_id: "k2".into(), code: [1; 32] };
    let renewed = RewrittenMac { id: ci.id, before: ci.mac, after: mac.clone() };
    assert_eq!(store.renew_macs(&[renewed]).await.unwrap(), 1);
    assert_eq!(store.token(ci.id).await.unwrap().unwrap().mac, mac);
    assert_eq!(store.key_usage().await.unwrap(), [("k2".into(), 21)]);
    let after = store.snapshot().await.unwrap();
    assert_eq!(after.revision, before.revision, "nothing that is in force has changed");
    for (before, after) in before.connections.into_iter().zip(after.connections) {
        let (before, after) = (before.unwrap(), after.unwrap());
        assert_eq!(before.sealed.payload, after.sealed.payload);
    }
}

async fn what_was_changed_meanwhile_is_left_alone(home: Home) {
    let store = home.open().await;
    let old = connection("billing");
    store.create_connection(&old).await.unwrap();
    let mut new = old.clone();
    new.sealed = sealed("k2");
    store.replace_connection(&old, &new).await.unwrap().unwrap();
    let stale = RewrappedSecret { uuid: old.uuid, before: old.sealed.clone(), after: sealed("k3") };
    assert_eq!(store.rewrap(SealedTable::Connections, &[stale]).await.unwrap(), 0);
    let found = store.connection(&old.integration, &old.name).await.unwrap();
    assert_eq!(found.as_ref(), Some(&new));
    let after = Sealed { key_id: "k3".into(), wrapped: sealed("k3").wrapped, ..new.sealed.clone() };
    let rewrapped = RewrappedSecret { uuid: new.uuid, before: new.sealed.clone(), after };
    assert_eq!(store.rewrap(SealedTable::Connections, &[rewrapped]).await.unwrap(), 1);
    let replaced = store.replace_connection(&new, &old).await.unwrap();
    assert!(replaced.is_some(), "a re-wrap is no change to who has read the record before");
}
