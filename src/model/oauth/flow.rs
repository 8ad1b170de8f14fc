//! A flow: from the wish for a connection to its first tokens (ZIS spec §7.2 to §7.5).

use jiff::Timestamp;
use uuid::Uuid;

use super::endpoint::Subdomain;
use super::grant::GrantType;
use super::packer::{Packer, Unpacker};
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::sealed::{Context, Sealed};
use crate::secret::Secret;

/// A flow as it is kept between two of its steps.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// Which flow it is.
    pub id: Uuid,
    /// The integration that it is for.
    pub integration: IntegrationName,
    /// The client that it is for.
    pub client: Uuid,
    /// What it waits for.
    pub step: FlowStep,
    /// The digest of the token that takes it on, once.
    pub digest: [u8; 32],
    /// When it ends by itself.
    pub ends_at: Timestamp,
    /// Its [`FlowPayload`].
    pub sealed: Sealed,
}

/// What a flow waits for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlowStep {
    /// Somebody with the flow token, to be led to the provider.
    Started,
    /// The provider's answer, with the state.
    Redirected,
    /// Somebody with the verification code.
    Granted,
}

/// What is wanted of a flow.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowPlan {
    /// The connection that is to be made or authorised again; without a name it is called by its
    /// uuid.
    pub name: Option<ConnectionName>,
    /// Where its tokens may be sent.
    pub allowed_domain: Option<AllowedDomain>,
    /// How the grant is given.
    pub grant_type: GrantType,
    /// The scopes to ask for, space-separated.
    pub scopes: Box<str>,
    /// What stands in the place of the placeholder in the client's URLs.
    pub subdomain: Option<Subdomain>,
    /// Whether the provider is asked for access while its user is away.
    pub offline: bool,
    /// Where the browser is sent at the end.
    pub redirect_to: Option<Box<str>>,
    /// Who began it.
    pub created_by: Box<str>,
    /// With which access token of the store, which must be in force until the flow has ended. `None`
    /// of one that only the configuration knows: other instances may have others.
    pub begun_with: Option<Uuid>,
}

/// What a flow carries from step to step.
#[derive(Clone, Debug)]
pub struct FlowPayload {
    /// What is wanted.
    pub plan: FlowPlan,
    /// The code verifier (RFC 7636 §4.1), once the browser was led to the provider.
    pub verifier: Option<Secret>,
    /// The digest of what the browser that was led there can show.
    pub browser: Option<[u8; 32]>,
    /// The connection, once it has its tokens.
    pub connection: Option<Uuid>,
    /// What the provider has sent the browser back with.
    pub callback_params: Option<Secret>,
}

impl FlowStep {
    /// Reads the name of a step.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let all = [Self::Started, Self::Redirected, Self::Granted];
        all.into_iter().find(|step| step.as_str() == text)
    }

    /// The name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Redirected => "redirected",
            Self::Granted => "granted",
        }
    }
}

impl FlowRecord {
    /// What its content is sealed for.
    #[must_use]
    pub fn context(&self) -> Context<'_> {
        Context::Flow {
            id: self.id,
            integration: &self.integration,
            client: self.client,
            step: self.step.as_str(),
        }
    }
}

impl FlowPayload {
    /// What a flow begins with.
    #[must_use]
    pub fn new(plan: FlowPlan) -> Self {
        Self { plan, verifier: None, browser: None, connection: None, callback_params: None }
    }

    /// All of it as one secret.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let plan = &self.plan;
        let domain = plan.allowed_domain.as_ref().map(ToString::to_string);
        Packer::new(KIND)
            .maybe(plan.name.as_ref().map(|name| name.as_str().as_bytes()))
            .maybe(domain.as_ref().map(String::as_bytes))
            .text(plan.grant_type.as_str().as_bytes())
            .text(plan.scopes.as_bytes())
            .maybe(plan.subdomain.as_ref().map(|label| label.as_str().as_bytes()))
            .number(i64::from(plan.offline))
            .maybe(plan.redirect_to.as_ref().map(|url| url.as_bytes()))
            .text(plan.created_by.as_bytes())
            .maybe(plan.begun_with.as_ref().map(|id| id.as_bytes().as_slice()))
            .maybe(self.verifier.as_ref().map(Secret::expose))
            .maybe(self.browser.as_ref().map(<[u8; 32]>::as_slice))
            .maybe(self.connection.as_ref().map(|uuid| uuid.as_bytes().as_slice()))
            .maybe(self.callback_params.as_ref().map(Secret::expose))
            .finish()
    }

    /// What was packed. `None` when it is something else.
    #[must_use]
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let mut unpacking = Unpacker::new(KIND, packed)?;
        let plan = FlowPlan {
            name: unpacking.maybe_utf8()?.map(ConnectionName::parse).transpose().ok()?,
            allowed_domain: unpacking.maybe_utf8()?.map(AllowedDomain::parse).transpose().ok()?,
            grant_type: GrantType::parse(unpacking.utf8()?).ok()?,
            scopes: unpacking.utf8()?.into(),
            subdomain: unpacking.maybe_utf8()?.map(Subdomain::parse).transpose().ok()?,
            offline: unpacking.number()? != 0,
            redirect_to: unpacking.maybe_utf8()?.map(Into::into),
            created_by: unpacking.utf8()?.into(),
            begun_with: unpacking.maybe()?.map(Uuid::from_slice).transpose().ok()?,
        };
        let content = Self {
            plan,
            verifier: unpacking.maybe()?.map(Secret::new),
            browser: unpacking.maybe()?.map(<[u8; 32]>::try_from).transpose().ok()?,
            connection: unpacking.maybe()?.map(Uuid::from_slice).transpose().ok()?,
            callback_params: unpacking.maybe()?.map(Secret::new),
        };
        unpacking.is_done().then_some(content)
    }
}

/// What marks a packed flow, and the version of how it is.
const KIND: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_comes_out_as_it_went_in() {
        let plan = FlowPlan {
            name: Some(ConnectionName::parse("my_connection").unwrap()),
            allowed_domain: Some(AllowedDomain::parse("*.example.com").unwrap()),
            grant_type: GrantType::AuthorizationCode,
            scopes: "read write".into(),
            subdomain: Some(Subdomain::parse("foobar").unwrap()),
            offline: true,
            redirect_to: Some("https://client.int/callback".into()),
            created_by: "admin".into(),
            begun_with: Some(Uuid::from_bytes([9; 16])),
        };
        let begun = FlowPayload::new(plan);
        let led = FlowPayload {
            verifier: Some(Secret::new("verifier")),
            browser: Some([7; 32]),
            connection: Some(Uuid::from_bytes([8; 16])),
            callback_params: Some(Secret::new("code=a&state=b")),
            ..begun.clone()
        };
        for content in [begun, led] {
            let packed = content.pack();
            let unpacked = FlowPayload::unpack(&packed).unwrap();
            assert_eq!(unpacked.plan, content.plan);
            assert_eq!(unpacked.pack().expose(), packed.expose());
        }
        assert!(FlowPayload::unpack(&Secret::new("\x03")).is_none());
    }
}
