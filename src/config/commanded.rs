//! Secrets that commands print: how they are declared, and what is made of them once they are
//! printed.

mod command;

use std::fmt;
use std::hash::BuildHasher as _;
use std::sync::Arc;

use foldhash::fast::FixedState;

pub(super) use self::command::command;
use super::fault::{ConfigFault, SourcePlace};
use super::item::Mark;
use super::{Config, DeclaredToken};
use crate::model::connection::Connection;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::oauth::client::AccountClient;
use crate::model::openid::OpenIdSettings;
use crate::model::options::ConnectionOptions;
use crate::model::record::Detail;
use crate::model::token::TokenDigest;
use crate::model::webhook::WebhookSettings;
use crate::secret::Secret;
use crate::secret::command::SecretCommand;

/// A command at one of the places where the configuration names it.
pub struct CommandUse {
    /// The command.
    pub command: Arc<SecretCommand>,
    place: SourcePlace,
    key: String,
    rule: SecretRule,
}

/// The rule that a secret must follow at its place.
pub(super) type SecretRule = Arc<dyn Fn(&[u8]) -> Result<(), String> + Send + Sync>;

/// A value that is declared with secrets: complete, or once commands have printed them.
pub(super) enum Declared<T> {
    Complete(T),
    Pending(FromCommands<T>),
}

/// A value that is made of what commands print.
pub struct FromCommands<T> {
    uses: Vec<Arc<CommandUse>>,
    make: Make<T>,
}

type Make<T> = Box<dyn Fn(&[Secret]) -> Option<T> + Send + Sync>;

/// A declared value that can be told before its secrets are there.
pub(super) struct Outlined<T> {
    /// The value without what its commands print.
    pub(super) outline: T,
    /// The value with it; `None` where the outline is complete.
    pub(super) completion: Option<FromCommands<T>>,
}

/// A declared connection but for its secret.
#[derive(Clone)]
pub(super) struct ConnectionParts {
    pub(super) integration: IntegrationName,
    pub(super) name: ConnectionName,
    pub(super) allowed_domain: AllowedDomain,
    pub(super) detail: Detail,
    pub(super) options: ConnectionOptions,
}

/// Everything of a configuration that waits for what commands print: by its place in the list, and
/// as it is without it.
#[derive(Debug, Default)]
pub struct Commanded {
    connections: Vec<(usize, Arc<Connection>, FromCommands<Arc<Connection>>)>,
    tokens: Vec<(usize, FromCommands<TokenDigest>)>,
    account_client: Option<FromCommands<AccountClient>>,
    open_id: Option<FromCommands<Arc<OpenIdSettings>>>,
    webhook: Option<FromCommands<Arc<WebhookSettings>>>,
}

impl CommandUse {
    /// Tells whether `secret` can be used at this place.
    ///
    /// # Errors
    /// The rule that it breaks, in words.
    pub fn check(&self, secret: &Secret) -> Result<(), String> {
        (self.rule)(secret.expose()).map_err(|rule| format!("the secret can't be used: {rule}"))
    }

    /// The fault that this place has because of its command.
    pub fn fault(&self, rule: String) -> ConfigFault {
        ConfigFault { place: self.place.clone(), key: self.key.clone(), rule }
    }

    /// The key, as `connections[0].token`.
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl fmt::Debug for CommandUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CommandUse").field(&self.key).field(&self.command).finish()
    }
}

impl<T: 'static> Declared<T> {
    /// Makes another value of this one, now or once it is complete; `None` where it can't be made
    /// now.
    pub(super) fn map<U>(
        self,
        to: impl Fn(T) -> Option<U> + Send + Sync + 'static,
    ) -> Option<Declared<U>> {
        match self {
            Self::Complete(value) => to(value).map(Declared::Complete),
            Self::Pending(made) => Some(Declared::Pending(made.map(to))),
        }
    }
}

impl<T: Clone + Send + Sync + 'static> Declared<T> {
    /// Both values, once both are complete.
    pub(super) fn zip<U: Clone + Send + Sync + 'static>(
        self,
        other: Declared<U>,
    ) -> Declared<(T, U)> {
        if let (Self::Complete(one), Declared::Complete(other)) = (&self, &other) {
            return Declared::Complete((one.clone(), other.clone()));
        }
        let (one, other) = (self.pending(), other.pending());
        let from_first = one.uses.len();
        let uses = one.uses.into_iter().chain(other.uses).collect();
        let make = move |secrets: &[Secret]| {
            let (first, rest) = secrets.split_at_checked(from_first)?;
            Some(((one.make)(first)?, (other.make)(rest)?))
        };
        Declared::Pending(FromCommands { uses, make: Box::new(make) })
    }

    /// The value as one that waits for commands, for none if it is complete.
    fn pending(self) -> FromCommands<T> {
        match self {
            Self::Complete(value) => {
                FromCommands { uses: Vec::new(), make: Box::new(move |_none| Some(value.clone())) }
            }
            Self::Pending(made) => made,
        }
    }
}

impl Declared<Option<Secret>> {
    /// A secret that need not be declared.
    pub(super) fn optional(secret: Option<Declared<Secret>>) -> Self {
        match secret {
            Some(Declared::Complete(secret)) => Self::Complete(Some(secret)),
            Some(Declared::Pending(secret)) => {
                Self::Pending(secret.map(|secret| Some(Some(secret))))
            }
            None => Self::Complete(None),
        }
    }
}

impl Declared<Secret> {
    /// The secret that `command` prints, which must follow `rule` where `mark` names it.
    pub(super) fn printed_by(command: SecretCommand, rule: SecretRule, mark: &Mark<'_>) -> Self {
        let (place, key) = (mark.place.clone(), mark.key.clone());
        let named = CommandUse { command: Arc::new(command), place, key, rule };
        let make = Box::new(|secrets: &[Secret]| secrets.first().cloned());
        Self::Pending(FromCommands { uses: vec![Arc::new(named)], make })
    }
}

impl<T: 'static> FromCommands<T> {
    /// Makes another value of this one, once its secrets are there.
    pub(super) fn map<U>(
        self,
        to: impl Fn(T) -> Option<U> + Send + Sync + 'static,
    ) -> FromCommands<U> {
        let Self { uses, make } = self;
        FromCommands { uses, make: Box::new(move |secrets| make(secrets).and_then(&to)) }
    }

    /// A number that other commands don't have.
    pub(super) fn fingerprint(&self) -> u64 {
        let commands: Vec<_> = self.uses.iter().map(|named| &named.command).collect();
        FixedState::default().hash_one(commands)
    }

    /// The value made of the secrets that `secret_of` knows; `None` unless it knows all.
    fn make(&self, secret_of: &dyn Fn(&SecretCommand) -> Option<Secret>) -> Option<T> {
        let secrets = self.uses.iter().map(|named| secret_of(&named.command));
        (self.make)(&secrets.collect::<Option<Vec<_>>>()?)
    }
}

impl<T> fmt::Debug for FromCommands<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.uses.fmt(f)
    }
}

impl Commanded {
    /// Takes note of the declared connections that wait for commands, and gives all as they are
    /// without them.
    pub(super) fn connections(
        &mut self,
        declared: Vec<Outlined<Arc<Connection>>>,
    ) -> Vec<Arc<Connection>> {
        let numbered = declared.into_iter().enumerate();
        let outlines = numbered.map(|(index, Outlined { outline, completion })| {
            let pending = completion.map(|made| (index, Arc::clone(&outline), made));
            self.connections.extend(pending);
            outline
        });
        outlines.collect()
    }

    /// Takes note of a declared token whose secret a command prints, by its place in the list.
    pub(super) fn token(&mut self, index: usize, digest: FromCommands<TokenDigest>) {
        self.tokens.push((index, digest));
    }

    /// Gives the account's own client, or takes note that it waits for a command.
    pub(super) fn account_client(
        &mut self,
        client: Option<Declared<AccountClient>>,
    ) -> Option<AccountClient> {
        match client? {
            Declared::Complete(client) => Some(client),
            Declared::Pending(made) => {
                self.account_client = Some(made);
                None
            }
        }
    }

    /// Gives the OpenID provider, or takes note that it waits for a command.
    pub(super) fn open_id(
        &mut self,
        settings: Declared<Arc<OpenIdSettings>>,
    ) -> Option<Arc<OpenIdSettings>> {
        match settings {
            Declared::Complete(settings) => Some(settings),
            Declared::Pending(made) => {
                self.open_id = Some(made);
                None
            }
        }
    }

    /// Gives the webhook, or takes note that it waits for a command.
    pub(super) fn webhook(
        &mut self,
        settings: Declared<Arc<WebhookSettings>>,
    ) -> Option<Arc<WebhookSettings>> {
        match settings {
            Declared::Complete(settings) => Some(settings),
            Declared::Pending(made) => {
                self.webhook = Some(made);
                None
            }
        }
    }

    /// Tells whether the webhook waits for a command.
    pub(super) fn has_webhook(&self) -> bool {
        self.webhook.is_some()
    }

    /// Tells whether the OpenID provider waits for a command.
    pub(super) fn has_open_id(&self) -> bool {
        self.open_id.is_some()
    }

    /// Every place that names a command.
    pub fn uses(&self) -> impl Iterator<Item = &Arc<CommandUse>> {
        let connections = self.connections.iter().flat_map(|(_, _, made)| &made.uses);
        let tokens = self.tokens.iter().flat_map(|(_, made)| &made.uses);
        let client = self.account_client.iter().flat_map(|made| &made.uses);
        let open_id = self.open_id.iter().flat_map(|made| &made.uses);
        let webhook = self.webhook.iter().flat_map(|made| &made.uses);
        connections.chain(tokens).chain(client).chain(open_id).chain(webhook)
    }
}

impl Config {
    /// Puts in what is made of the secrets that `secret_of` knows; what lacks one is as without.
    ///
    /// # Errors
    /// The places of tokens whose secret is another token's too; those have none then.
    pub fn complete(
        &mut self,
        secret_of: &dyn Fn(&SecretCommand) -> Option<Secret>,
    ) -> Result<(), Vec<ConfigFault>> {
        let Self { commanded, connections, tokens, management, .. } = self;
        // 1. Connections: each is as it was without a secret, where one is missing.
        for (index, outline, made) in &commanded.connections {
            let now = made.make(secret_of).unwrap_or_else(|| Arc::clone(outline));
            if let Some(place) = connections.get_mut(*index) {
                *place = now;
            }
        }
        // 2. Tokens, no two of which have one secret.
        let mut faults = Vec::new();
        for (index, made) in &commanded.tokens {
            let digest = made.make(secret_of);
            let is_taken = |(other, token): (usize, &DeclaredToken)| {
                other != *index && digest.is_some() && token.digest == digest
            };
            let twice = tokens.iter().enumerate().any(is_taken);
            if twice {
                let rule = || "another token has the same secret".to_owned();
                faults.extend(made.uses.iter().map(|named| named.fault(rule())));
            }
            if let Some(token) = tokens.get_mut(*index) {
                token.digest = digest.filter(|_digest| !twice);
            }
        }
        // 3. The account's own client.
        if let Some(made) = &commanded.account_client {
            management.account_client = made.make(secret_of);
        }
        // 4. The OpenID provider.
        if let Some(made) = &commanded.open_id {
            management.open_id = made.make(secret_of);
        }
        // 5. The webhook.
        if let Some(made) = &commanded.webhook {
            management.webhook = made.make(secret_of);
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

/// The connection with these parts and this secret, which was checked at its place, or will be, so
/// that a field can carry it.
pub(super) fn outlined(
    parts: ConnectionParts,
    secret: Declared<ConnectionSecrets>,
) -> Option<Outlined<Arc<Connection>>> {
    match secret {
        Declared::Complete(secret) => {
            let outline = Arc::new(parts.with_secrets(&secret)?);
            Some(Outlined { outline, completion: None })
        }
        Declared::Pending(secret) => {
            let commands = secret.fingerprint();
            let outline = Arc::new(parts.clone().without_secret(commands));
            let completion = secret.map(move |secret| {
                let connection = parts.clone().with_secrets(&secret)?;
                Some(Arc::new(connection.with_commands(commands)))
            });
            Some(Outlined { outline, completion: Some(completion) })
        }
    }
}

impl ConnectionParts {
    fn with_secrets(self, secrets: &ConnectionSecrets) -> Option<Connection> {
        let Self { integration, name, allowed_domain, detail, options } = self;
        let identity = options.identity(secrets).ok()?.map(Arc::new);
        let secret = &secrets.secret;
        let connection = Connection::new(integration, name, allowed_domain, detail, secret);
        Some(connection.ok()?.with_options(options).with_identity(identity))
    }

    fn without_secret(self, commands: u64) -> Connection {
        let Self { integration, name, allowed_domain, detail, options } = self;
        let connection = Connection::without_secret(integration, name, allowed_domain, detail);
        connection.with_commands(commands).with_options(options)
    }
}
