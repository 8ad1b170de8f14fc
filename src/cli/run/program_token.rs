//! The caller token that the program shows: made for it, and revoked when it has ended.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::cli::output::{self, ApiFault, CliError};
use crate::cli::server::{ApiClient, ApiPath};
use crate::clock::Clock;
use crate::model::token::TokenDigest;
use crate::random;
use crate::secret::Secret;
use crate::wire::{CreatedTokenAnswer, NewToken};

/// A token, and how it is taken back.
pub(super) struct ProgramToken {
    secret: Option<Secret>,
    /// Its id, if it was made for the program.
    id: Option<String>,
    /// Its name, if it was made for the program.
    name: Option<String>,
}

impl ProgramToken {
    /// The token of a program that needs none.
    pub(super) fn unneeded() -> Self {
        Self { secret: None, id: None, name: None }
    }

    pub(super) fn of_file(path: &Path) -> Result<Self, CliError> {
        let unfit = |why: &str| {
            let path = path.display();
            CliError::Message(format!("no access token can be read from {path}: {why}"))
        };
        let file = File::open(path).map_err(|why| unfit(&why.to_string()))?;
        let token =
            Secret::read(file, MAX_TOKEN_FILE_BYTES).map_err(|why| unfit(&why.to_string()))?;
        match TokenDigest::of(token.expose()) {
            Some(_) => Ok(Self { secret: Some(token), id: None, name: None }),
            None => Err(unfit("it holds something else")),
        }
    }

    /// A new one, which can do no more than the program needs, and ends by itself.
    pub(super) fn make(
        api: &ApiClient<'_>,
        integration: &str,
        connection: Option<&str>,
        ttl: Duration,
    ) -> Result<Self, CliError> {
        // It ends by itself, should it not be revoked.
        let ttl = SignedDuration::try_from(ttl).unwrap_or(SignedDuration::MAX);
        let end = Clock::system().now().saturating_add(ttl).unwrap_or(Timestamp::MAX);
        // Programs run side by side, and no two live tokens have one name.
        let number = random::bytes::<8>()?;
        let name = format!("{NAME_PREFIX}{:016x}", u64::from_be_bytes(number));
        // It may use the data plane alone, and of that no more than the program is to use.
        let request = NewToken {
            name: name.as_str().into(),
            integration: integration.into(),
            scopes: vec!["proxy".to_owned()].into(),
            connections: connection.map(|name| vec![name.to_owned()]).into(),
            expires_at: end.to_string().into(),
            ..NewToken::default()
        };
        let CreatedTokenAnswer { token, .. } =
            api.post(&tokens(&[]), &request).map_err(advise)?.read()?;
        Ok(Self { secret: Some(token.secret), id: Some(token.token.id), name: Some(name) })
    }

    /// Its name, if it was made for the program.
    pub(super) fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    pub(super) fn secret(&self) -> Option<&Secret> {
        self.secret.as_ref()
    }

    /// Takes the token back. The program has ended, so that this is no reason to fail.
    pub(super) fn end(self, api: &ApiClient<'_>) {
        let Some(id) = self.id else { return };
        if api.delete(&tokens(&[&id])).is_err() {
            output::note(&format!(
                "keyferry: the program's token could not be revoked: do it with `keyferry token \
                 revoke {id}`, or wait until it ends"
            ));
        }
    }
}

fn tokens(rest: &[&str]) -> ApiPath {
    let segments: Vec<_> = ["tokens"].iter().chain(rest).copied().collect();
    ApiPath::keyferry(&segments)
}

/// Says what else can be done where no token can be made.
fn advise(error: CliError) -> CliError {
    match error {
        CliError::Api(mut faults) => {
            let message = "no token can be made for the program: name a file that has one with \
                           --caller-token-file";
            faults.push(ApiFault { code: None, message: message.to_owned() });
            CliError::Api(faults)
        }
        other => other,
    }
}

/// The prefix of the names of tokens that are made for programs.
const NAME_PREFIX: &str = "run-";

/// More than any token has.
const MAX_TOKEN_FILE_BYTES: usize = 128;
