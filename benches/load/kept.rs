//! A store of many connections, for Keyferry to start with.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use jiff::Timestamp;
use keyferry::model::{
    domain::AllowedDomain,
    name::{ConnectionName, IntegrationName},
    record::{ConnectionRecord, Detail, new_id},
    sealed::{Context, Sealed},
};
use keyferry::secret::Secret;
use keyferry::store::Store;
use keyferry::vault::{Keyring, Vault};

use crate::{
    identity::HOST,
    request::{CONNECTIONS, connection, secret},
};

/// Fills the store in `directory` with `many` connections, those that are asked for among them,
/// unless that was done before.
///
/// # Errors
/// When the store can't be written.
pub(crate) fn fill(directory: &Path, many: usize) -> io::Result<()> {
    let key = directory.join("master.key");
    if key.is_file() {
        return Ok(());
    }
    let keyring = Keyring::generate().map_err(io::Error::other)?;
    let text = keyring.to_text();
    let filling = async {
        let store = Store::open_sqlite(&directory.join("keyferry.db")).await;
        let (store, vault) = (store.map_err(io::Error::other)?, Vault::new(keyring));
        let mark = vault.seal(&Context::KeyCheck, &Secret::new("keyferry"));
        let mark = mark.map_err(io::Error::other)?;
        store.keep_key_check(&mark).await.map_err(io::Error::other)?;
        for number in 0..many {
            let record = record(&vault, number)?;
            store.create_connection(&record).await.map_err(io::Error::other)?;
        }
        store.close().await;
        Ok(())
    };
    let filled: io::Result<()> =
        tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(filling);
    filled?;
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&key)?;
    file.write_all(text.expose())
}

fn record(vault: &Vault, number: usize) -> io::Result<ConnectionRecord> {
    let domain =
        if number < CONNECTIONS { HOST.to_owned() } else { format!("api{number}.example.com") };
    let mut record = ConnectionRecord {
        options: std::sync::Arc::default(),
        uuid: new_id().map_err(io::Error::other)?,
        integration: IntegrationName::parse("bench").map_err(io::Error::other)?,
        name: ConnectionName::parse(&connection(number)).map_err(io::Error::other)?,
        allowed_domain: Some(AllowedDomain::parse(&domain).map_err(io::Error::other)?),
        detail: Detail::BearerToken,
        sealed: Sealed::default(),
        created_at: Timestamp::UNIX_EPOCH,
        updated_at: Timestamp::UNIX_EPOCH,
    };
    let sealed = vault.seal(&record.context(), &Secret::new(secret(number)));
    record.sealed = sealed.map_err(io::Error::other)?;
    Ok(record)
}
