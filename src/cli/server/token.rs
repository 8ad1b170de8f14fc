//! The token by which the server knows whoever runs a command.

use std::convert::Infallible;
use std::path::Path;

use http::HeaderValue;

use crate::app::data_dir::{DataDirError, find_admin_token};
use crate::cli::faulty;
use crate::cli::output::Failure;
use crate::config::{self, Environment, Options};
use crate::model::token::TokenDigest;
use crate::secret::Secret;
use crate::secret::file::SecretFileError;

/// An access token, as the field that shows it.
pub(super) struct AccessToken(HeaderValue);

impl AccessToken {
    /// `None` when it has not the shape of one.
    fn of(token: &Secret) -> Option<Self> {
        TokenDigest::of(token.expose())?;
        let value = Secret::new([b"Bearer ", token.expose()].concat());
        let mut value = HeaderValue::from_maybe_shared(value.into_shared()).ok()?;
        value.set_sensitive(true);
        Some(Self(value))
    }

    /// The value of `Authorization`.
    pub(super) fn field(&self) -> HeaderValue {
        self.0.clone()
    }
}

/// Takes `--token` as it is: what is wrong with it must be said without repeating it.
#[expect(clippy::unnecessary_wraps, reason = "the shape that the argument parser wants")]
pub(super) fn take(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// The command line, then the environment, then what the server keeps in its data directory.
pub(super) fn find(
    argument: Option<&Secret>,
    options: &Options,
    environment: &Environment,
) -> Result<AccessToken, Failure> {
    if let Some(token) = argument {
        return AccessToken::of(token).ok_or_else(|| not_a_token("--token"));
    }
    if let Some(token) = environment.text(TOKEN) {
        return AccessToken::of(&Secret::new(token)).ok_or_else(|| not_a_token(TOKEN));
    }
    let found = config::whereabouts(options, environment).map_err(|faults| faulty(&faults))?;
    of_data_dir(&found.data_dir)
}

fn of_data_dir(data_dir: &Path) -> Result<AccessToken, Failure> {
    match find_admin_token(data_dir) {
        Ok(Some(token)) => AccessToken::of(&token).ok_or_else(|| not_a_token("admin.token")),
        Ok(None) => Err(Failure::Because(format!(
            "there is no access token: set {TOKEN}, or name the server's data directory with \
             --data-dir (there is no admin.token in {})",
            data_dir.display()
        ))),
        Err(DataDirError::File(SecretFileError::Unusable(path, why))) => {
            Err(Failure::Because(format!(
                "the access token in {} can't be read ({why}): be the user that the server runs as, \
             or set {TOKEN}",
                path.display()
            )))
        }
        Err(error) => Err(Failure::of(&error)),
    }
}

fn not_a_token(place: &str) -> Failure {
    Failure::Because(format!(
        "{place} is not an access token, which is kf_ and 43 characters: copy it whole, as \
         `keyferry token create` printed it"
    ))
}

const TOKEN: &str = "KEYFERRY_TOKEN";
