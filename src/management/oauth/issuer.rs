//! The issuer that an authorization response names (RFC 9207): it must be the one that was asked,
//! else a code would be handed to another one.

use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::endpoint::{Endpoint, Subdomain};

/// Tells whether an issuer is the provider of a client. The identifier that the client has is
/// compared exactly (RFC 9207 §2.4); without one it is derived from the client's URLs.
pub(super) fn is_issuer(
    issuer: &str,
    client: &ClientRecord,
    subdomain: Option<&Subdomain>,
) -> bool {
    if let Some(known) = &client.profile.issuer {
        return known.as_str() == issuer;
    }
    let urls = client.auth_url.iter().chain([&client.token_url]);
    let mut endpoints = urls.filter_map(|url| url.resolve(subdomain).ok());
    endpoints.any(|endpoint| is_issuer_of(issuer, &endpoint))
}

/// Tells whether an endpoint is below an issuer: at the same origin, and with all segments of the
/// issuer's path in the same order, since a provider of many tenants may name them there.
fn is_issuer_of(issuer: &str, endpoint: &Endpoint) -> bool {
    let Some((scheme, rest)) = issuer.split_once("://") else { return false };
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let authority = authority.to_ascii_lowercase();
    let authority = authority.strip_suffix(":443").unwrap_or(&authority);
    if !scheme.eq_ignore_ascii_case("https") || authority != endpoint.origin().authority() {
        return false;
    }
    let mut segments = endpoint.target().path().split('/');
    let mut wanted = path.split('/').filter(|segment| !segment.is_empty());
    wanted.all(|segment| segments.any(|known| known == segment))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::oauth::client::tests::example;
    use crate::model::oauth::endpoint::EndpointTemplate;
    use crate::model::oauth::profile::Profile;

    fn client(auth_url: &str) -> ClientRecord {
        ClientRecord { auth_url: Some(EndpointTemplate::parse(auth_url).unwrap()), ..example() }
    }

    #[test]
    fn an_issuer_is_at_the_origin_of_the_endpoint_and_of_its_tenant() {
        let entra = "https://login.microsoftonline.com/a-b/oauth2/v2.0/authorize";
        let keycloak = "https://kc.example.com:8443/realms/one/protocol/openid-connect/auth";
        for (auth_url, issuer, expected) in [
            (entra, "https://login.microsoftonline.com/a-b/v2.0", true),
            (entra, "https://LOGIN.microsoftonline.com:443/a-b/v2.0/", true),
            (entra, "https://login.microsoftonline.com", true),
            (entra, "https://login.microsoftonline.com/c-d/v2.0", false),
            (entra, "https://login.microsoftonline.com/v2.0/a-b", false),
            (entra, "https://login.microsoftonline.com.evil.example/a-b/v2.0", false),
            (entra, "https://evil.example/login.microsoftonline.com", false),
            (entra, "http://login.microsoftonline.com/a-b/v2.0", false),
            (entra, "login.microsoftonline.com", false),
            (entra, "", false),
            (keycloak, "https://kc.example.com:8443/realms/one", true),
            (keycloak, "https://kc.example.com:8443/realms/two", false),
            (keycloak, "https://kc.example.com/realms/one", false),
            // The token endpoint counts too.
            (keycloak, "https://id.example.com", true),
        ] {
            assert_eq!(is_issuer(issuer, &client(auth_url), None), expected, "{issuer}");
        }
    }

    #[test]
    fn an_identifier_that_the_client_has_is_compared_exactly() {
        let profile = Profile::decode(r#"{"issuer":"https://sts.example.org/a"}"#).unwrap();
        let client = ClientRecord { profile: Box::new(profile), ..example() };
        for (issuer, expected) in [
            ("https://sts.example.org/a", true),
            ("https://sts.example.org/a/", false),
            ("https://STS.example.org/a", false),
            ("https://id.example.com", false),
        ] {
            assert_eq!(is_issuer(issuer, &client, None), expected, "{issuer}");
        }
    }
}
