//! Secrets are planted in a store, and looked for in everything that it has written.

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keyferry::model::record::{ConnectionRecord, TokenRecord};
use keyferry::model::sealed::Context;
use keyferry::model::token::{self, TokenDigest};
use keyferry::secret::Secret;
use keyferry::store::Store;
use keyferry::vault::{Keyring, Vault};

use super::{Home, connection, of_both};
use crate::support::soon;

of_both!(nothing_that_is_written_contains_a_secret);

const PLANTED: [&str; 2] = ["canary-Zq8v-first-secret", "canary-Zq8v-other-secret"];

async fn nothing_that_is_written_contains_a_secret(home: Home) {
    let vault = Vault::new(Keyring::generate().unwrap());
    let access_token = token::generate().unwrap();
    // It stays open, so that what it keeps beside its file is there too.
    let _store = soon(fill(&home, &vault, &access_token)).await;
    let mut written = Vec::new();
    match &home {
        Home::Postgres(server) => {
            read_all(server.directory(), &mut written);
            written.push(server.dump());
        }
        Home::Sqlite(directory) => read_all(directory.path(), &mut written),
    }
    let key = vault.keyring().to_text();
    let key = key.expose().trim_ascii().split(|byte| *byte == b':').nth(1).unwrap().to_vec();
    let mut secrets = vec![access_token.expose().to_vec(), STANDARD.decode(&key).unwrap(), key];
    for planted in PLANTED {
        let hex = planted.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
        secrets.extend([planted.into(), STANDARD.encode(planted).into(), hex.into()]);
    }
    let in_clear =
        |needle: &[u8]| written.iter().any(|text| memchr::memmem::find(text, needle).is_some());
    assert!(in_clear(b"billing") && in_clear(b"*.example.com"), "the search finds what is there");
    for secret in secrets {
        assert!(!in_clear(&secret), "{}", String::from_utf8_lossy(&secret));
    }
}

async fn fill(home: &Home, vault: &Vault, access_token: &Secret) -> Store {
    let store = home.open().await;
    let [first, other] = PLANTED.map(Secret::new);
    let seal = |record: &ConnectionRecord, secret| {
        let sealed = vault.seal(&record.context(), secret).unwrap();
        ConnectionRecord { sealed, ..record.clone() }
    };
    let before = seal(&connection("billing"), &first);
    store.create_connection(&before).await.unwrap();
    store.replace_connection(&before, &seal(&before, &other)).await.unwrap().unwrap();
    let gone = seal(&connection("gone"), &first);
    store.create_connection(&gone).await.unwrap();
    store.delete_connection(&gone.integration, &gone.name, gone.kind()).await.unwrap().unwrap();
    let digest = TokenDigest::of(access_token.expose()).unwrap();
    let mut record = TokenRecord { digest, ..super::token("ci") };
    record.mac = vault.mac(&record.claims());
    store.create_token(&record).await.unwrap();
    store.keep_key_check(&vault.seal(&Context::KeyCheck, &Secret::new("")).unwrap()).await.unwrap();
    let kept = store.connection(&before.integration, &before.name).await.unwrap().unwrap();
    assert_eq!(vault.open(&kept.context(), &kept.sealed).unwrap().expose(), other.expose());
    store
}

fn read_all(directory: &Path, written: &mut Vec<Vec<u8>>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_all(&path, written);
        } else if path.is_file() {
            written.push(fs::read(path).unwrap());
        }
    }
}
