//! Well-known APIs that take keys, as presets of connections: data that is compiled in and read at
//! its first use.

use std::sync::LazyLock;

use serde::Deserialize;

use crate::model::connection::ConnectionType;
use crate::model::credential::Template;
use crate::model::placement::WrittenPlacement;

/// A preset: the members that every connection to a well-known API has, and hints for the rest.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// The name by which it is chosen.
    pub name: String,
    /// The name that people read.
    pub title: String,
    #[serde(rename = "type")]
    kind: String,
    /// The hosts that the secret may be sent to, where all have the same.
    pub allowed_domain: Option<String>,
    /// The allowed domain to give, where each has its own.
    pub domain_hint: Option<String>,
    /// The header that carries the key.
    pub header_name: Option<String>,
    /// The user name to give, or the id of the access key.
    pub username_hint: Option<String>,
    /// The places of the secrets, in lines as the command line has them.
    #[serde(default)]
    pub inject: Vec<String>,
    /// The API's name for the secret.
    pub secret: String,
    /// A remark for people.
    pub notes: Option<String>,
    /// The page that says so.
    pub docs: String,
    /// The day on which that was read.
    pub date: String,
}

#[derive(Deserialize)]
struct PresetList {
    presets: Vec<Preset>,
}

impl Preset {
    /// All presets, in the order of their names.
    pub fn all() -> &'static [Self] {
        static ALL: LazyLock<Vec<Preset>> = LazyLock::new(read);
        &ALL
    }

    /// The preset of this name.
    pub fn find(name: &str) -> Option<&'static Self> {
        Self::all().iter().find(|preset| preset.name == name)
    }

    /// The places of the secrets.
    pub fn placements(&self) -> Vec<WrittenPlacement> {
        // A test holds that each line can be read.
        self.inject.iter().filter_map(|line| WrittenPlacement::read_line(line).ok()).collect()
    }

    /// The names of the secrets that stand at these places.
    pub fn secret_names(&self) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for value in self.placements().iter().filter_map(|place| place.value.as_deref()) {
            names.extend(Template::names(value).into_iter().map(String::from));
        }
        names
    }

    /// The type of its connections.
    pub fn kind(&self) -> ConnectionType {
        // A test holds that each type is known.
        ConnectionType::parse(&self.kind).unwrap_or(ConnectionType::BearerToken)
    }
}

fn read() -> Vec<Preset> {
    match toml::from_str::<PresetList>(DATA) {
        Ok(list) => list.presets,
        Err(error) => {
            tracing::error!(error = error.message(), "the presets of connections can't be read");
            Vec::new()
        }
    }
}

const DATA: &str = include_str!("../../catalogue/keys.toml");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::domain::AllowedDomain;
    use crate::model::field::CredentialField;

    #[test]
    fn every_preset_fits_the_rules_of_a_connection_of_its_type() {
        let all = toml::from_str::<PresetList>(DATA).unwrap().presets;
        assert!(all.is_sorted_by(|one, next| one.name < next.name), "by name, each once");
        for preset in &all {
            let name = &preset.name;
            let kind = ConnectionType::parse(&preset.kind).unwrap();
            assert_ne!(kind, ConnectionType::OAuth, "{name}");
            assert_eq!(kind == ConnectionType::ApiKey, preset.header_name.is_some(), "{name}");
            let has_user = [ConnectionType::BasicAuth, ConnectionType::AwsSigV4].contains(&kind);
            assert_eq!(has_user, preset.username_hint.is_some(), "{name}");
            assert_eq!(kind == ConnectionType::Custom, !preset.inject.is_empty(), "{name}");
            assert_eq!(preset.placements().len(), preset.inject.len(), "{name}");
            assert_ne!(preset.allowed_domain.is_some(), preset.domain_hint.is_some(), "{name}");
            if let Some(domain) = &preset.allowed_domain {
                assert_eq!(AllowedDomain::parse(domain).unwrap().to_string(), *domain, "{name}");
            }
            if let Some(header) = &preset.header_name {
                assert!(CredentialField::parse(header).is_ok(), "{name}");
            }
            assert!(preset.docs.starts_with("https://"), "{name}");
            assert!(preset.date.parse::<jiff::civil::Date>().is_ok(), "{name}");
        }
        assert_eq!(Preset::find("shopify").unwrap().kind(), ConnectionType::ApiKey);
        assert!(Preset::find("absent").is_none());
    }
}
