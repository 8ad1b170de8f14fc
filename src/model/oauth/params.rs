//! Further parameters of a client's requests, and the placeholders in their values.

use super::endpoint::{DOUBLE_PLACEHOLDER, EndpointError, PLACEHOLDER, Subdomain};
use super::profile::Params;
use crate::secret::Secret;

/// The values of the placeholders.
#[derive(Clone, Copy, Debug)]
pub struct ParamValues<'a> {
    /// The value of `{client_id}`.
    pub client_id: &'a str,
    /// The value of `{subdomain}`.
    pub subdomain: Option<&'a Subdomain>,
    /// The value of `{access_token}`, which only a refresh has.
    pub access_token: Option<&'a Secret>,
}

impl ParamValues<'_> {
    /// Replaces the placeholders in the values of parameters.
    ///
    /// # Errors
    /// [`EndpointError::Missing`] when there is a placeholder for the subdomain and no value.
    pub fn resolve<'p>(&self, params: &'p Params) -> Result<Vec<(&'p str, String)>, EndpointError> {
        if self.subdomain.is_none() && has_placeholder(params, PLACEHOLDER) {
            return Err(EndpointError::Missing);
        }
        Ok(params.iter().map(|(name, value)| (name.as_str(), self.fill(value))).collect())
    }

    /// Replaces the placeholders in one pass, so that a value is never read as a template.
    pub fn fill(&self, template: &str) -> String {
        let access_token =
            self.access_token.and_then(|token| std::str::from_utf8(token.expose()).ok());
        let subdomain = self.subdomain.map(Subdomain::as_str);
        let values = [
            (CLIENT_ID_PLACEHOLDER, Some(self.client_id)),
            (ACCESS_TOKEN_PLACEHOLDER, access_token),
            (DOUBLE_PLACEHOLDER, subdomain),
            (PLACEHOLDER, subdomain),
        ];
        let mut filled = String::with_capacity(template.len());
        let mut rest = template;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            filled.push_str(before);
            let known = values.iter().find(|(placeholder, _)| from.starts_with(placeholder));
            let known = known.and_then(|(placeholder, value)| Some((placeholder.len(), (*value)?)));
            let (length, value) = known.unwrap_or((1, "{"));
            filled.push_str(value);
            rest = from.get(length..).unwrap_or_default();
        }
        filled.push_str(rest);
        filled
    }
}

/// Tells whether a value has this placeholder.
#[must_use]
pub fn has_placeholder(params: &Params, placeholder: &str) -> bool {
    params.values().any(|value| value.contains(placeholder))
}

/// The placeholder of the access token.
pub const ACCESS_TOKEN_PLACEHOLDER: &str = "{access_token}";

/// The placeholder of the provider's id of the client.
const CLIENT_ID_PLACEHOLDER: &str = "{client_id}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_replaced_once() {
        let subdomain = Subdomain::parse("foo").unwrap();
        let values = ParamValues {
            client_id: "{access_token}",
            subdomain: Some(&subdomain),
            access_token: Some(&Secret::new("at")),
        };
        for (template, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("{client_id}", "{access_token}"),
            ("x{subdomain}-{{subdomain}}x", "xfoo-foox"),
            ("{\"a\":\"{access_token}\"}", "{\"a\":\"at\"}"),
            ("{client_id", "{client_id"),
        ] {
            let params = Params::from([("p".to_owned(), template.to_owned())]);
            let expected = Ok(vec![("p", filled.to_owned())]);
            assert_eq!(values.resolve(&params), expected, "{template}");
        }
        let without = ParamValues { subdomain: None, access_token: None, ..values };
        let params = |value: &str| Params::from([("p".to_owned(), value.to_owned())]);
        assert_eq!(without.resolve(&params("{subdomain}")), Err(EndpointError::Missing));
        let kept = params("{access_token}");
        assert_eq!(without.resolve(&kept), Ok(vec![("p", "{access_token}".to_owned())]));
    }
}
