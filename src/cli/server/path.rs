//! Paths of the API, in which names stand percent-encoded.

use std::fmt::Write as _;

use crate::model::connection::ConnectionType;

/// A path of the API with its query.
#[derive(Clone)]
pub(in crate::cli) struct ApiPath(String);

impl ApiPath {
    /// A path below `/api/services/zis`.
    pub(in crate::cli) fn zis(segments: &[&str]) -> Self {
        Self::below("/api/services/zis", segments)
    }

    /// A path below `/api/keyferry/v1`.
    pub(in crate::cli) fn keyferry(segments: &[&str]) -> Self {
        Self::below("/api/keyferry/v1", segments)
    }

    pub(in crate::cli) fn root(segments: &[&str]) -> Self {
        Self::below("", segments)
    }

    fn below(base: &str, segments: &[&str]) -> Self {
        let mut path = base.to_owned();
        for segment in segments {
            path.push('/');
            encode(segment, &mut path);
        }
        Self(path)
    }

    pub(in crate::cli) fn connection(integration: &str, kind: ConnectionType, name: &str) -> Self {
        match kind {
            ConnectionType::OAuth => Self::zis(&["connections", integration]).with("name", name),
            ConnectionType::ApiKey | ConnectionType::BasicAuth | ConnectionType::BearerToken => {
                Self::zis(&["integrations", integration, "connections", kind.as_str(), name])
            }
            ConnectionType::AwsSigV4 | ConnectionType::Custom => {
                Self::keyferry(&["integrations", integration, "connections", name])
            }
        }
    }

    /// The same path with one more parameter.
    pub(in crate::cli) fn with(&self, name: &str, value: &str) -> Self {
        let mut path = self.0.clone();
        path.push(if path.contains('?') { '&' } else { '?' });
        encode(name, &mut path);
        path.push('=');
        encode(value, &mut path);
        Self(path)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Encodes all but the unreserved characters (RFC 3986 §2.3).
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _infallible = write!(out, "%{byte:02X}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_percent_encoded() {
        let path = ApiPath::zis(&["integrations", "a/b?c", "connections", "é %"]);
        assert_eq!(
            path.as_str(),
            "/api/services/zis/integrations/a%2Fb%3Fc/connections/%C3%A9%20%25"
        );
        let path =
            ApiPath::keyferry(&["tokens"]).with("page[size]", "100").with("page[after]", "a&b");
        assert_eq!(
            path.as_str(),
            "/api/keyferry/v1/tokens?page%5Bsize%5D=100&page%5Bafter%5D=a%26b"
        );
    }
}
