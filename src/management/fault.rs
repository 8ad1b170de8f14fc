//! The refusals and faults of the management plane.

use std::fmt;

use crate::error::chain;
use crate::model::named_enum;
use crate::model::sealed::KeyId;
use crate::oauth::TokenFailure;
use crate::random;
use crate::state::KeysError;
use crate::vault::OpenError;

/// One thing that is wrong with what was entered; the title never contains a secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestFault {
    /// The subject of the fault.
    pub about: About,
    /// A sentence that says what is wrong, and where.
    pub title: String,
}

/// The subject of a fault.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum About {
    /// `allowed_domain`
    AllowedDomain,
    /// A secret or a user name.
    Credential,
    /// `header_name`
    HeaderName,
    /// The integration.
    Integration,
    /// A name.
    Name,
    /// Anything else: a field that is missing, unknown or of the wrong type.
    Request,
}

/// A reason why something was not done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The interception CA is the configuration's.
    #[error("the CA is the configuration's")]
    AuthorityConfigured,
    /// Somebody else has changed it in the meantime, again and again.
    #[error("it was changed by somebody else at the same time")]
    Changed,
    /// The configuration declares it.
    #[error("it is declared in the configuration")]
    Declared,
    /// There are things wrong with what was entered, at least one.
    #[error("{} faults", .0.len())]
    Faulty(Vec<RequestFault>),
    /// The request does not make sense, or what it hangs on is over: a token of a flow that is
    /// not known, or not any more.
    #[error("the request is not valid")]
    Malformed,
    /// The token does not reach as far.
    #[error("the token does not reach it")]
    OutOfReach,
    /// It failed in a way that the operator can't fix; it has been logged.
    #[error("it failed")]
    Internal,
    /// The token belongs to another integration.
    #[error("the token belongs to another integration")]
    Mismatch,
    /// The token lacks this scope.
    #[error("the token lacks the scope {0}")]
    MissingScope(Scope),
    /// A secret can't be opened for want of this master key.
    #[error("its master key {0} is missing")]
    KeyMissing(KeyId),
    /// The master keys are not the server's to renew.
    #[error("the master keys come from the environment")]
    KeysFromEnvironment,
    /// The key file lacks master keys that records need; the sentence says which, and what to do.
    #[error("the master keys are needed: {0}")]
    KeysNeeded(String),
    /// The master keys can't be read again; the sentence says why.
    #[error("the master keys can't be read: {0}")]
    KeysUnreadable(String),
    /// There is no such thing.
    #[error("it does not exist")]
    NotFound,
    /// The server keeps nothing.
    #[error("the server has no store")]
    NoStore,
    /// The secret can't be opened.
    #[error("its secret can't be opened")]
    SealBroken,
    /// The name is taken.
    #[error("the name is taken")]
    Taken,
    /// The name is another token's; the sentence says of which.
    #[error("{0}")]
    NameTaken(String),
    /// The provider gives no tokens.
    #[error(transparent)]
    Tokens(#[from] TokenFailure),
    /// The store can't be reached.
    #[error("the store can't be reached")]
    Unavailable,
}

/// The rule that a taken name of a connection or client breaks.
pub const NAME_TAKEN: &str = "is taken in this integration: choose another, or delete what has it";

named_enum! {
    /// A scope that something needs.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum Scope {
        /// `admin`
        Admin = "admin",
        /// `audit`
        Audit = "audit",
        /// `read`
        Read = "read",
        /// `write`
        Write = "write",
    }
}

impl RequestFault {
    pub(super) fn new(about: About, title: impl Into<String>) -> Self {
        Self { about, title: title.into() }
    }
}

impl Refused {
    /// The refusal of a request with one fault.
    pub(super) fn of(about: About, title: impl Into<String>) -> Self {
        Self::Faulty(vec![RequestFault::new(about, title)])
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Without randomness there is neither an id nor a key.
pub(super) fn no_randomness(error: &random::RandomError) -> Refused {
    tracing::error!(error = %chain(error), "a management request failed: the system gives no random bytes");
    Refused::Internal
}

impl From<KeysError> for Refused {
    fn from(error: KeysError) -> Self {
        match error {
            KeysError::Environment => Self::KeysFromEnvironment,
            error @ KeysError::Needed(..) => Self::KeysNeeded(error.to_string()),
            error => Self::KeysUnreadable(chain(&error).to_string()),
        }
    }
}

impl From<OpenError> for Refused {
    fn from(error: OpenError) -> Self {
        error.missing_key().map_or(Self::SealBroken, Self::KeyMissing)
    }
}
