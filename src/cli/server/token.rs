//! The operator's access token, by which the server knows who runs a command.

use std::convert::Infallible;
use std::path::Path;

use http::HeaderValue;

use crate::app::data_dir::{DataDirError, find_admin_token};
use crate::cli::context::CliContext;
use crate::cli::output::CliError;
use crate::model::token::TokenDigest;
use crate::secret::Secret;
use crate::secret::file::SecretFileError;

/// An access token, as the field that shows it.
pub(super) struct AccessToken {
    field: HeaderValue,
    /// The place where it was found.
    pub(super) source: TokenSource,
}

/// The places where an access token is looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TokenSource {
    Argument,
    Variable,
    File,
}

impl AccessToken {
    fn new(token: &Secret, source: TokenSource) -> Result<Self, CliError> {
        let field = Self::field_of(token).ok_or_else(|| not_a_token(source))?;
        Ok(Self { field, source })
    }

    /// `None` when it has not the shape of a token.
    fn field_of(token: &Secret) -> Option<HeaderValue> {
        TokenDigest::of(token.expose())?;
        let value = Secret::new([b"Bearer ", token.expose()].concat());
        let mut value = HeaderValue::from_maybe_shared(value.into_shared()).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The value of `Authorization`.
    pub(super) fn field(&self) -> HeaderValue {
        self.field.clone()
    }
}

/// Takes `--token` as it is: what is wrong with it must be said without repeating it.
#[expect(clippy::unnecessary_wraps, reason = "the shape that the argument parser wants")]
pub(super) fn take(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret::new(text))
}

/// Finds the token on the command line, else in the environment, else in the server's data
/// directory.
pub(super) fn find(
    argument: Option<&Secret>,
    context: &CliContext,
) -> Result<AccessToken, CliError> {
    if let Some(token) = argument {
        return AccessToken::new(token, TokenSource::Argument);
    }
    if let Some(token) = context.environment.text(TOKEN) {
        return AccessToken::new(&Secret::new(token), TokenSource::Variable);
    }
    of_data_dir(&context.whereabouts()?.data_dir)
}

fn of_data_dir(data_dir: &Path) -> Result<AccessToken, CliError> {
    match find_admin_token(data_dir) {
        Ok(Some(token)) => AccessToken::new(&token, TokenSource::File),
        Ok(None) => Err(CliError::Message(format!(
            "there is no access token: set {TOKEN}, or name the server's data directory with \
             --data-dir (there is no admin.token in {})",
            data_dir.display()
        ))),
        Err(DataDirError::File(SecretFileError::Unusable(path, why))) => {
            Err(CliError::Message(format!(
                "the access token in {} can't be read ({why}): be the user that the server runs \
                 as, or set {TOKEN}",
                path.display()
            )))
        }
        Err(error) => Err(error.into()),
    }
}

fn not_a_token(source: TokenSource) -> CliError {
    let place = match source {
        TokenSource::Argument => "--token",
        TokenSource::Variable => TOKEN,
        TokenSource::File => "admin.token",
    };
    CliError::Message(format!(
        "{place} is not an access token, which is kf_ and 43 characters: copy it whole, as \
         `keyferry token create` printed it"
    ))
}

const TOKEN: &str = "KEYFERRY_TOKEN";
