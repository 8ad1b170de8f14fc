//! Revocation: a provider is told that tokens are of no use any more (RFC 7009).

use std::future::ready;

use super::assertion::Assertions;
use super::failure::TokenFailure;
use super::provider::Provider;
use super::request::EncodedRequest;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::{Subdomain, TokenEndpoint};
use crate::model::oauth::tokens::TokenSet;

/// Tokens of a client that are to be revoked.
#[derive(Clone, Copy, Debug)]
pub struct RevocationRequest<'a> {
    /// The client, with its credentials.
    pub client: &'a ClientRecord,
    /// The text for `{subdomain}` in the client's URLs.
    pub subdomain: Option<&'a Subdomain>,
    /// The tokens.
    pub tokens: &'a TokenSet,
}

/// The reason why a provider has not revoked tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RevocationFailure {
    /// It was not asked.
    #[error("the revocation endpoint was not asked: {0}")]
    NotAsked(&'static str),
    /// It was asked, and has not answered.
    #[error("the revocation endpoint gave no answer that counts: {0}")]
    Unanswered(&'static str),
    /// It has answered with this status.
    #[error("the revocation endpoint answered with status {0}")]
    Refused(u16),
}

impl Provider {
    /// Has the provider revoke tokens: the refresh token, and with it the grant, then the access
    /// token, which some providers let live on. Nothing is asked of a client without a revocation
    /// endpoint.
    ///
    /// # Errors
    /// [`RevocationFailure`] of the first token.
    pub async fn revoke(&self, request: RevocationRequest<'_>) -> Result<(), RevocationFailure> {
        let RevocationRequest { client, subdomain, tokens } = request;
        // 1. The endpoint, and the client's credentials.
        let endpoint = TokenEndpoint::of_revocation(client, subdomain);
        let Some(endpoint) = endpoint else { return Ok(()) };
        let endpoint = endpoint.map_err(|_rule| RevocationFailure::NotAsked(NO_URL))?;
        let secret = self.client_secret(client).await;
        let secret = secret.map_err(|_sealed| RevocationFailure::NotAsked(SEALED))?;
        let url = client.profile.revocation_url.as_ref().and_then(|url| url.fill(subdomain).ok());
        let assertions = Assertions::of_client(
            client,
            subdomain,
            &secret,
            &url.unwrap_or_default(),
            self.clock.now(),
        );
        let assertions = assertions.map_err(|_key| RevocationFailure::NotAsked(SEALED))?;
        // 2. One token after another.
        let refresh_token = tokens.refresh_token.as_ref().map(|token| ("refresh_token", token));
        let mut revoked = Ok(());
        for (number, (hint, token)) in
            refresh_token.into_iter().chain([("access_token", &tokens.access_token)]).enumerate()
        {
            let content = EncodedRequest::of_revocation(client, &secret, token, hint, &assertions);
            let content = content.map_err(|_sealed| RevocationFailure::NotAsked(SEALED))?;
            let answer = self.exchange(endpoint.clone(), content, ready(Ok(()))).await;
            let outcome = match answer {
                Ok(answer) if answer.status.is_success() => Ok(()),
                Ok(answer) => Err(RevocationFailure::Refused(answer.status.as_u16())),
                Err(failure) => Err(failed(failure)),
            };
            if number == 0 {
                revoked = outcome;
            }
        }
        revoked
    }
}

fn failed(failure: TokenFailure) -> RevocationFailure {
    match failure {
        TokenFailure::NotSent(words) | TokenFailure::Unfit(words) => {
            RevocationFailure::NotAsked(words)
        }
        TokenFailure::Unanswered(words) => RevocationFailure::Unanswered(words),
        TokenFailure::Port => {
            RevocationFailure::NotAsked("its port is not one of proxy.allowed_ports")
        }
        _ => RevocationFailure::Unanswered("it was not reached"),
    }
}

const NO_URL: &str = "its URL needs a subdomain that the connection does not have";
const SEALED: &str = "the client's secret can't be opened";
