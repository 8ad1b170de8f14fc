//! Encodes contexts as bytes, so that no two contexts have the same encoding.

use super::envelope::FORMAT;
use crate::model::oauth::endpoint::Subdomain;
use crate::model::oauth::grant::Injection;
use crate::model::oauth::profile::Profile;
use crate::model::options::ConnectionOptions;
use crate::model::placement::Place;
use crate::model::record::Detail;
use crate::model::sealed::Context;

/// An encoding in which each text follows its length, so that it can be read in one way only.
pub(super) struct Encoding(Vec<u8>);

impl Encoding {
    /// Begins with the purpose, so that an encoding for one purpose is never valid for another.
    pub(super) fn new(purpose: &str) -> Self {
        Self(Vec::with_capacity(256)).text(purpose).number(i64::from(FORMAT))
    }

    #[must_use]
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    #[must_use]
    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(&(bytes.len() as u64).to_be_bytes());
        self.0.extend_from_slice(bytes);
        self
    }

    #[must_use]
    pub(super) fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds an optional text. An absent text differs from an empty one.
    #[must_use]
    pub(super) fn optional_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.number(1).text(text),
            None => self.number(0),
        }
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// The associated data of a payload.
pub(super) fn of_payload(context: &Context<'_>) -> Vec<u8> {
    Encoding::new("keyferry payload").with_context(context).finish()
}

/// The associated data of a wrapped data key.
pub(super) fn of_wrap(context: &Context<'_>, key_id: &str) -> Vec<u8> {
    Encoding::new("keyferry wrap").text(key_id).with_context(context).finish()
}

/// The header's name and the user name, which are in every connection's context.
fn text_beside_secret(detail: &Detail) -> (Option<&str>, Option<&str>) {
    match detail {
        Detail::ApiKey { header_name } => (Some(header_name), None),
        Detail::BasicAuth { username } => (None, Some(username)),
        Detail::BearerToken | Detail::OAuth(_) | Detail::AwsSigV4(_) | Detail::Custom(_) => {
            (None, None)
        }
    }
}

impl Encoding {
    /// Adds the fields that decide where an OAuth connection's refresh token is sent. Nothing for
    /// other types.
    fn with_grant(self, detail: &Detail) -> Self {
        let Detail::OAuth(grant) = detail else { return self };
        self.bytes(grant.client.as_bytes())
            .optional_text(grant.subdomain.as_ref().map(Subdomain::as_str))
            .text(grant.grant_type.as_str())
            .with_injection(grant.injection.as_deref())
    }

    /// Adds the key's id, the region and the service of a connection that signs; the names of the
    /// secrets, the places and the domains of a custom one.
    fn with_access(self, detail: &Detail) -> Self {
        match detail {
            Detail::AwsSigV4(access) => self.text(&access.encode()),
            Detail::Custom(access) => self.text(&access.encode()),
            _ => self,
        }
    }

    /// Adds the places that carry the tokens, where these are not in `Authorization: Bearer`. Fields
    /// alone are encoded as they were before there were other places.
    fn with_injection(self, injection: Option<&Injection>) -> Self {
        let Some(Injection { placements, client_id }) = injection else { return self };
        let has_fields_alone = placements.iter().all(|it| it.place == Place::Header);
        let purpose = if has_fields_alone { "injection" } else { "placements" };
        placements.iter().fold(self.text(purpose).text(client_id), |context, placement| {
            let context =
                if has_fields_alone { context } else { context.text(placement.place.as_str()) };
            context.text(&placement.name).text(&placement.value)
        })
    }

    /// Adds a client's profile. A client from before there were profiles has the default one.
    fn with_profile(self, profile: &Profile) -> Self {
        match profile.encode() {
            Some(profile) => self.text(&profile),
            None => self,
        }
    }

    /// Adds a connection's options. One from before there were options has the default ones. No
    /// text that follows can be taken for them: a client's uuid has another length.
    fn with_options(self, options: &ConnectionOptions) -> Self {
        match options.encode() {
            Some(options) => self.text("options").text(&options),
            None => self,
        }
    }

    fn with_context(self, context: &Context<'_>) -> Self {
        match context {
            Context::Connection { uuid, integration, name, allowed_domain, detail, options } => {
                let (header_name, username) = text_beside_secret(detail);
                // A missing domain is encoded as an empty text, which no domain is.
                let allowed_domain = allowed_domain.map(ToString::to_string).unwrap_or_default();
                self.text("connection")
                    .bytes(uuid.as_bytes())
                    .text(integration.as_str())
                    .text(name.as_str())
                    .text(detail.kind().as_str())
                    .text(&allowed_domain)
                    .optional_text(header_name)
                    .optional_text(username)
                    .with_options(options)
                    .with_grant(detail)
                    .with_access(detail)
            }
            Context::Authority { id, certificate, signs_from } => self
                .text("authority")
                .bytes(id.as_bytes())
                .text(certificate)
                .number(signs_from.as_microsecond()),
            Context::Client {
                uuid,
                integration,
                client_id,
                auth_url,
                token_url,
                auth_method,
                profile,
            } => self
                .text("client")
                .bytes(uuid.as_bytes())
                .text(integration.as_str())
                .text(client_id)
                .optional_text(*auth_url)
                .text(token_url)
                .text(auth_method.as_str())
                .with_profile(profile),
            Context::Flow { id, integration, client, step } => self
                .text("flow")
                .bytes(id.as_bytes())
                .text(integration.as_str())
                .bytes(client.as_bytes())
                .text(step),
            Context::KeyCheck => self.text("key check"),
        }
    }
}
