//! An allowed domain that a client offers its connections.

use super::endpoint::{EndpointTemplate, Subdomain};
use crate::model::domain::AllowedDomain;

/// An allowed domain in which `{subdomain}` may stand as the first label.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DomainTemplate(Box<str>);

impl DomainTemplate {
    /// Reads a domain.
    pub fn parse(text: &str) -> Result<Self, String> {
        let template = Self(text.into());
        // Any value of the placeholder is one label, so one example stands for all.
        let example = Subdomain::parse("a").map_err(|rule| rule.to_string())?;
        let filled = text.replace(PLACEHOLDER, example.as_str());
        AllowedDomain::parse(&filled).map_err(|rule| rule.to_string())?;
        // The placeholder has the place that it may have in an endpoint.
        if text.contains('{') {
            let host = text.strip_prefix("*.").unwrap_or(text);
            let url = EndpointTemplate::parse(&format!("https://{host}/"));
            url.map_err(|rule| rule.to_string())?;
        }
        Ok(template)
    }

    /// The text as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Replaces the placeholder; `None` where there is one and no value.
    pub fn resolve(&self, subdomain: Option<&Subdomain>) -> Option<AllowedDomain> {
        let text = match subdomain {
            Some(label) => self.0.replace(PLACEHOLDER, label.as_str()),
            None => self.0.to_string(),
        };
        AllowedDomain::parse(&text).ok()
    }
}

const PLACEHOLDER: &str = "{subdomain}";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_placeholder_is_the_first_label_of_somebodys_domain() {
        let label = Subdomain::parse("acme").unwrap();
        let filled = |text: &str| {
            let domain = DomainTemplate::parse(text).ok()?.resolve(Some(&label))?;
            Some(domain.to_string())
        };
        for (text, domain) in [
            ("api.example.com", "api.example.com"),
            ("*.example.com", "*.example.com"),
            ("{subdomain}.example.com", "acme.example.com"),
            ("*.{subdomain}.example.com", "*.acme.example.com"),
        ] {
            assert_eq!(filled(text).as_deref(), Some(domain), "{text}");
        }
        for text in [
            "",
            "com",
            "{subdomain}.com",
            "x-{subdomain}.example.com",
            "api.{subdomain}.example.com",
            "{tenant}.example.com",
            "https://api.example.com",
        ] {
            assert!(DomainTemplate::parse(text).is_err(), "{text}");
        }
        assert_eq!(DomainTemplate::parse("{subdomain}.example.com").unwrap().resolve(None), None);
    }
}
