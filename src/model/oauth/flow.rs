//! OAuth flows, from their start to the connection's first tokens (ZIS spec §7.2 to §7.5).

use jiff::Timestamp;
use uuid::Uuid;

use super::client::ClientRecord;
use super::endpoint::Subdomain;
use super::grant::GrantType;
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::packer::{Packer, Unpacker};
use crate::model::sealed::{Context, Sealed};
use crate::model::session::Person;
use crate::model::{named_enum, parsed_by_name};
use crate::secret::Secret;

/// The stored record of a flow, between two of its steps.
#[derive(Clone, Debug)]
pub struct FlowRecord {
    /// The id of the record.
    pub id: Uuid,
    /// The integration that it is for.
    pub integration: IntegrationName,
    /// The client that it is for.
    pub client: Uuid,
    /// The step that it waits for.
    pub step: FlowStep,
    /// The digest of the one-time token that continues it.
    pub digest: [u8; 32],
    /// The time at which it expires.
    pub ends_at: Timestamp,
    /// Its sealed [`FlowPayload`].
    pub sealed: Sealed,
}

named_enum! {
    /// The step that a flow waits for.
    #[derive(Clone, Copy, Debug, Eq, PartialEq)]
    pub enum FlowStep {
        /// A browser with the flow token, to be redirected to the provider.
        Started = "started",
        /// The provider's redirect with the state.
        Redirected = "redirected",
        /// A request with the verification code.
        Granted = "granted",
        /// Nothing: the browser may load the callback's page again.
        Ended = "ended",
    }
}

parsed_by_name!(FlowStep);

/// The parameters with which a flow was started.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlowPlan {
    /// The name of the connection to create or reauthorize; without one it is named by its uuid.
    pub name: Option<ConnectionName>,
    /// The domain to which its tokens may be sent.
    pub allowed_domain: Option<AllowedDomain>,
    /// The grant type.
    pub grant_type: GrantType,
    /// The scopes to request, separated by spaces.
    pub scopes: Box<str>,
    /// The value of the placeholder in the client's URLs.
    pub subdomain: Option<Subdomain>,
    /// Requests offline access, where the provider has a parameter for it.
    pub offline: bool,
    /// The URL to which the browser is redirected at the end.
    pub redirect_to: Option<Box<str>>,
    /// The operator who has started it.
    pub created_by: Box<str>,
    /// The stored token that has started it, which must be in force until the flow has ended.
    /// `None` for a declared token, because other instances may have other ones.
    pub begun_with: Option<Uuid>,
    /// The person who has started it, if it was one. Their groups must have the rights until the
    /// flow has ended.
    pub person: Option<Box<Person>>,
}

/// The data that a flow carries from step to step.
#[derive(Clone, Debug)]
pub struct FlowPayload {
    /// The parameters.
    pub plan: FlowPlan,
    /// The code verifier (RFC 7636 §4.1); `None` before the redirect to the provider.
    pub verifier: Option<Secret>,
    /// The digest of the cookie of the browser that was redirected.
    pub browser: Option<[u8; 32]>,
    /// The connection; `None` before it has tokens.
    pub connection: Option<Uuid>,
    /// The parameters of the provider's redirect.
    pub callback_params: Option<Secret>,
    /// The reason why there is no connection, of a flow that has ended so.
    pub failure: Option<Box<str>>,
    /// The origins of the client's endpoints as the flow began ([`ClientRecord::origins`]); `None`
    /// of a flow that an earlier version has begun.
    pub origins: Option<Box<str>>,
}

impl FlowRecord {
    /// The context for which its payload is sealed.
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
    /// The payload of a new flow.
    #[must_use]
    pub fn new(plan: FlowPlan) -> Self {
        Self {
            plan,
            verifier: None,
            browser: None,
            connection: None,
            callback_params: None,
            failure: None,
            origins: None,
        }
    }

    /// Tells whether the client's endpoints are at other origins than when the flow began.
    #[must_use]
    pub fn has_moved(&self, client: &ClientRecord) -> bool {
        let now = || client.origins(self.plan.subdomain.as_ref());
        self.origins.as_deref().is_some_and(|then| now().as_deref() != Some(then))
    }

    /// Encodes the payload as one secret.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let plan = &self.plan;
        let domain = plan.allowed_domain.as_ref().map(ToString::to_string);
        let person = plan.person.as_ref().and_then(|person| serde_json::to_vec(person).ok());
        let packer = Packer::new(if person.is_some() { KIND_OF_PERSON } else { KIND })
            .optional_text(plan.name.as_ref().map(|name| name.as_str().as_bytes()))
            .optional_text(domain.as_ref().map(String::as_bytes))
            .text(plan.grant_type.as_str().as_bytes())
            .text(plan.scopes.as_bytes())
            .optional_text(plan.subdomain.as_ref().map(|label| label.as_str().as_bytes()))
            .number(i64::from(plan.offline))
            .optional_text(plan.redirect_to.as_ref().map(|url| url.as_bytes()))
            .text(plan.created_by.as_bytes())
            .optional_text(plan.begun_with.as_ref().map(|id| id.as_bytes().as_slice()))
            .optional_text(self.verifier.as_ref().map(Secret::expose))
            .optional_text(self.browser.as_ref().map(<[u8; 32]>::as_slice))
            .optional_text(self.connection.as_ref().map(|uuid| uuid.as_bytes().as_slice()))
            .optional_text(self.callback_params.as_ref().map(Secret::expose))
            .optional_text(self.failure.as_ref().map(|words| words.as_bytes()))
            .optional_text(self.origins.as_ref().map(|origins| origins.as_bytes()));
        match person {
            Some(person) => packer.text(&person).finish(),
            None => packer.finish(),
        }
    }

    /// Decodes a payload, which an earlier version may have encoded; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let kinds = [KIND, KIND_OF_PERSON, KIND_WITHOUT_ORIGINS, KIND_FAILED_WITHOUT_ORIGINS];
        let open = |kind| Some((kind, Unpacker::new(kind, packed)?));
        let (kind, mut unpacking) = kinds.into_iter().find_map(open)?;
        // Fields come in the order of `pack`; a rule that has changed since makes the flow invalid.
        let plan = FlowPlan {
            name: unpacking.optional_utf8()?.map(ConnectionName::parse).transpose().ok()?,
            allowed_domain: unpacking
                .optional_utf8()?
                .map(AllowedDomain::parse)
                .transpose()
                .ok()?,
            grant_type: GrantType::parse(unpacking.utf8()?).ok()?,
            scopes: unpacking.utf8()?.into(),
            subdomain: unpacking.optional_utf8()?.map(Subdomain::parse).transpose().ok()?,
            offline: unpacking.number()? != 0,
            redirect_to: unpacking.optional_utf8()?.map(Into::into),
            created_by: unpacking.utf8()?.into(),
            begun_with: unpacking.optional_text()?.map(Uuid::from_slice).transpose().ok()?,
            person: None,
        };
        let mut content = Self {
            plan,
            verifier: unpacking.optional_text()?.map(Secret::new),
            browser: unpacking.optional_text()?.map(<[u8; 32]>::try_from).transpose().ok()?,
            connection: unpacking.optional_text()?.map(Uuid::from_slice).transpose().ok()?,
            callback_params: unpacking.optional_text()?.map(Secret::new),
            failure: match kind {
                KIND | KIND_OF_PERSON => unpacking.optional_utf8()?.map(Into::into),
                KIND_FAILED_WITHOUT_ORIGINS => Some(unpacking.utf8()?.into()),
                _ => None,
            },
            origins: match kind {
                KIND | KIND_OF_PERSON => unpacking.optional_utf8()?.map(Into::into),
                _ => None,
            },
        };
        if kind == KIND_OF_PERSON {
            content.plan.person = Some(serde_json::from_slice(unpacking.text()?).ok()?);
        }
        unpacking.is_done().then_some(content)
    }
}

/// The kind and version of an encoded payload.
const KIND: u8 = 5;

/// The same with the person who has started it.
const KIND_OF_PERSON: u8 = 6;

/// The same before there were origins in it.
const KIND_WITHOUT_ORIGINS: u8 = 3;

/// Likewise, of a flow that had failed.
const KIND_FAILED_WITHOUT_ORIGINS: u8 = 4;

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
            person: None,
        };
        let begun = FlowPayload::new(plan);
        let led = FlowPayload {
            verifier: Some(Secret::new("verifier")),
            browser: Some([7; 32]),
            connection: Some(Uuid::from_bytes([8; 16])),
            callback_params: Some(Secret::new("code=a&state=b")),
            ..begun.clone()
        };
        let pinned = FlowPayload { origins: Some("https://id.int".into()), ..led.clone() };
        let failed = FlowPayload { failure: Some("It said no.".into()), ..led.clone() };
        let person = Person {
            issuer: "https://id.example.com".into(),
            client_id: "keyferry".into(),
            subject: "1".into(),
            email: None,
            groups: vec!["operators".into()],
        };
        let mut of_person = pinned.clone();
        of_person.plan.person = Some(Box::new(person));
        for content in [begun, led, pinned, failed, of_person] {
            let packed = content.pack();
            let unpacked = FlowPayload::unpack(&packed).unwrap();
            assert_eq!((&unpacked.plan, &unpacked.failure), (&content.plan, &content.failure));
            assert_eq!(unpacked.origins, content.origins);
            assert_eq!(unpacked.pack().expose(), packed.expose());
        }
        assert!(FlowPayload::unpack(&Secret::new("\x03")).is_none());
    }

    #[test]
    fn a_flow_that_an_earlier_version_has_begun_comes_out() {
        let old = |kind| {
            Packer::new(kind)
                .optional_text(Some(b"my_connection"))
                .optional_text(None)
                .text(b"authorization_code")
                .text(b"read")
                .optional_text(None)
                .number(0)
                .optional_text(None)
                .text(b"admin")
                .optional_text(None)
                .optional_text(Some(b"verifier"))
                .optional_text(None)
                .optional_text(None)
                .optional_text(None)
        };
        let waiting = FlowPayload::unpack(&old(KIND_WITHOUT_ORIGINS).finish()).unwrap();
        assert_eq!(waiting.verifier.as_ref().map(Secret::expose), Some(&b"verifier"[..]));
        assert_eq!((&waiting.failure, &waiting.origins), (&None, &None));
        assert!(!waiting.has_moved(&crate::model::oauth::client::tests::example()));
        let failed = old(KIND_FAILED_WITHOUT_ORIGINS).text(b"It said no.").finish();
        let failed = FlowPayload::unpack(&failed).unwrap();
        assert_eq!((failed.failure.as_deref(), failed.origins), (Some("It said no."), None));
    }
}
