//! Custom connections on the command line: their places, and their secrets by name.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::health::NeedingConnections;
use super::options::rows;
use super::state::EnteredState;
use super::{Rows, declared};
use crate::cli::output::CliError;
use crate::cli::secret::{self, SecretArgs, SecretWays};
use crate::clock::Clock;
use crate::management::Preset;
use crate::model::connection::ConnectionType;
use crate::model::credential::Template;
use crate::model::placement::WrittenPlacement;
use crate::secret::Secret;
use crate::wire::{
    AllowedDomainMembers, CustomConnection, CustomMembers, Member, OwnDomainMembers,
    PlacementMembers, SecretMap, TypedConnection,
};

#[derive(Clone, clap::Args)]
#[command(next_help_heading = "Custom connections")]
pub(super) struct CustomArgs {
    /// Place of a secret: 'X-Api-Key: {key}' for a header, '?key={key}' for a parameter of the
    /// query, '/KEYFERRY=bot{token}' for a segment of the path, {basic:A,B} for Basic; may be
    /// repeated
    #[arg(long, value_name = "PLACE", value_parser = WrittenPlacement::read_line)]
    inject: Vec<WrittenPlacement>,
    /// Place of a secret at one of the allowed domains alone; may be repeated
    #[arg(long, num_args = 2, value_names = ["DOMAIN", "PLACE"])]
    inject_at: Vec<String>,
    /// File that holds the secret of this name; others are asked for; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_named_file)]
    secret_file_of: Vec<(String, PathBuf)>,
    /// Secret that goes when other places are given, as none of them has it; may be repeated
    #[arg(long = "drop-secret", value_name = "NAME")]
    dropped: Vec<String>,
}

impl CustomArgs {
    /// The options, and whether each is given.
    pub(super) fn given(&self) -> [(&'static str, bool); 4] {
        [
            ("--inject", !self.inject.is_empty()),
            ("--inject-at", !self.inject_at.is_empty()),
            ("--secret-file-of", !self.secret_file_of.is_empty()),
            ("--drop-secret", !self.dropped.is_empty()),
        ]
    }

    /// The same with the places of a preset, where no others are given.
    pub(super) fn or_preset(&self, preset: Option<&Preset>) -> Self {
        let mut filled = self.clone();
        if let (false, Some(preset)) = (self.places(), preset) {
            filled.inject = preset.placements();
        }
        filled
    }

    fn places(&self) -> bool {
        !self.inject.is_empty() || !self.inject_at.is_empty()
    }

    /// The members of a connection that is to be made.
    pub(super) fn members(
        &self,
        domains: &[String],
        secret: &SecretArgs,
    ) -> Result<CustomMembers, CliError> {
        let mut members = CustomMembers {
            kind: ConnectionType::Custom.as_str().into(),
            allowed_domains: Member::Given(self.domains(domains)?),
            secrets: Member::Given(SecretMap(self.secrets(&self.names(), secret)?)),
            ..CustomMembers::default()
        };
        if !self.inject.is_empty() {
            members.inject = Member::Given(self.shared_places());
        }
        Ok(members)
    }

    /// The members of a change to the connection that is shown.
    pub(super) fn change(
        &self,
        shown: &CustomConnection,
        domains: &[String],
        secret: &SecretArgs,
        has_other: bool,
    ) -> Result<CustomMembers, CliError> {
        let mut members = CustomMembers::default();
        // 1. Other places or domains, which need every secret.
        if !self.inject.is_empty() {
            members.inject = Member::Given(self.shared_places());
        }
        if !domains.is_empty() {
            members.allowed_domains = Member::Given(self.domains(domains)?);
        } else if !self.inject_at.is_empty() {
            return Err(CliError::Usage(
                "--inject-at goes with every --allowed-domain: name all of them".to_owned(),
            ));
        }
        members.drop_secrets = Some(self.dropped.clone()).filter(|it| !it.is_empty()).into();
        // 2. The secrets: those that are named, or all where nothing else is.
        let known: Vec<_> = shown.secrets.0.iter().cloned().collect();
        let names = match () {
            () if self.places() => self.names(),
            () if !domains.is_empty() => known,
            () if !self.secret_file_of.is_empty() => {
                self.secret_file_of.iter().map(|(name, _)| name.clone()).collect()
            }
            () if secret.is_named() || !has_other => known,
            () => Vec::new(),
        };
        if !names.is_empty() {
            members.secrets = Member::Given(SecretMap(self.secrets(&names, secret)?));
        }
        Ok(members)
    }

    fn shared_places(&self) -> Vec<PlacementMembers> {
        self.inject.iter().cloned().map(PlacementMembers::from).collect()
    }

    /// The domains, each with the places that are its own.
    fn domains(&self, named: &[String]) -> Result<Vec<AllowedDomainMembers>, CliError> {
        let mut own: BTreeMap<&str, Vec<PlacementMembers>> = BTreeMap::new();
        for pair in self.inject_at.chunks_exact(2) {
            let [domain, line] = pair else { continue };
            let place = WrittenPlacement::read_line(line);
            let place = place.map_err(|rule| CliError::Usage(format!("--inject-at: {rule}")))?;
            if !named.contains(domain) {
                return Err(CliError::Usage(format!(
                    "--inject-at names {domain}, which is no --allowed-domain"
                )));
            }
            own.entry(domain).or_default().push(place.into());
        }
        let domains = named.iter().map(|domain| match own.remove(domain.as_str()) {
            Some(inject) => {
                AllowedDomainMembers::Own(OwnDomainMembers { domain: domain.clone(), inject })
            }
            None => AllowedDomainMembers::Name(domain.clone()),
        });
        Ok(domains.collect())
    }

    /// The names of the secrets that the places have.
    fn names(&self) -> Vec<String> {
        let lines = self.inject_at.chunks_exact(2).filter_map(|pair| pair.get(1));
        let own = lines.filter_map(|line| WrittenPlacement::read_line(line).ok());
        let places: Vec<_> = self.inject.iter().cloned().chain(own).collect();
        let mut names: Vec<String> = Vec::new();
        for value in places.iter().filter_map(|place| place.value.as_deref()) {
            for name in Template::names(value).into_iter().map(String::from) {
                // Texts within Basic's credentials are no names.
                if !name.starts_with('\'') && !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if names.is_empty() { vec![ONLY_SECRET.to_owned()] } else { names }
    }

    /// Reads the secrets of these names.
    fn secrets(
        &self,
        names: &[String],
        secret: &SecretArgs,
    ) -> Result<BTreeMap<String, Secret>, CliError> {
        // 1. Those of files.
        let mut secrets = BTreeMap::new();
        for (name, path) in &self.secret_file_of {
            if !names.contains(name) {
                return Err(CliError::Usage(format!(
                    "--secret-file-of names {name}, and the secrets are {}",
                    names.join(", ")
                )));
            }
            secrets.insert(name.clone(), secret::from_file(path)?);
        }
        // 2. The rest, of which one alone may come by another way.
        let left: Vec<_> = names.iter().filter(|name| !secrets.contains_key(*name)).collect();
        if secret.is_named() && left.len() != 1 {
            return Err(CliError::Usage(
                "--secret-stdin and --secret-file are for one secret: give the others by \
                 --secret-file-of NAME=FILE"
                    .to_owned(),
            ));
        }
        let ways = if left.len() > 1 { SecretWays::ByName } else { SecretWays::One };
        for name in left {
            secrets.insert(name.clone(), secret.read_by(&format!("secret {name}"), ways)?);
        }
        Ok(secrets)
    }
}

/// Describes a custom connection.
pub(super) fn described(it: CustomConnection) -> Rows {
    let secrets: Vec<_> = it.secrets.0.iter().map(|name| format!("{name} *****")).collect();
    [
        ("name", it.name),
        ("type", ConnectionType::Custom.to_string()),
        ("allowed domains", domain_names(&it.allowed_domains)),
        ("secrets", secrets.join(", ")),
        ("places", lines(&it.inject)),
    ]
    .into_iter()
    .chain(own_places(&it.allowed_domains).map(|text| ("places at", text)))
    .chain([
        ("created at", it.created_at),
        ("updated at", it.updated_at),
        ("old secrets until", it.old_secret_until.unwrap_or_default()),
        ("certificate until", it.not_after.unwrap_or_default()),
        ("declared", declared(it.declared)),
        ("unusable because", it.defect.unwrap_or_default()),
    ])
    .chain(rows(&it.options))
    .collect()
}

/// The columns of a connection of a type beyond ZIS in a list, and why it can't be used.
pub(super) fn listed(
    it: TypedConnection,
    needing: &NeedingConnections,
) -> Option<([String; 6], Option<String>)> {
    let now = Clock::system().now();
    let row =
        |name: String, kind: ConnectionType, domain, state: EnteredState<'_>, updated, declared| {
            let state = state.words(needing.of(&name), now);
            [name, kind.to_string(), domain, state, updated, declared]
        };
    match it {
        TypedConnection::Custom(it) => {
            let (domains, kind) = (domain_names(&it.allowed_domains), ConnectionType::Custom);
            let not_after = it.not_after.as_deref();
            let state = EnteredState::of(&it.options, it.defect.as_deref(), not_after);
            let declared = declared(it.declared);
            let row = row(it.name, kind, domains, state, it.updated_at, declared);
            Some((row, it.defect))
        }
        TypedConnection::AwsSigV4(it) => {
            let (domain, kind) = (it.allowed_domain, ConnectionType::AwsSigV4);
            let not_after = it.not_after.as_deref();
            let state = EnteredState::of(&it.options, it.defect.as_deref(), not_after);
            let declared = declared(it.declared);
            let row = row(it.name, kind, domain, state, it.updated_at, declared);
            Some((row, it.defect))
        }
        _ => None,
    }
}

fn domain_names(domains: &[AllowedDomainMembers]) -> String {
    let names = domains.iter().map(|domain| match domain {
        AllowedDomainMembers::Name(name) => name.as_str(),
        AllowedDomainMembers::Own(own) => own.domain.as_str(),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn own_places(domains: &[AllowedDomainMembers]) -> impl Iterator<Item = String> {
    domains.iter().filter_map(|domain| match domain {
        AllowedDomainMembers::Name(_) => None,
        AllowedDomainMembers::Own(own) => Some(format!("{}: {}", own.domain, lines(&own.inject))),
    })
}

fn lines(places: &[PlacementMembers]) -> String {
    let lines = places.iter().map(|place| WrittenPlacement::from(place.clone()).to_string());
    lines.collect::<Vec<_>>().join("; ")
}

fn parse_named_file(text: &str) -> Result<(String, PathBuf), &'static str> {
    let (name, path) = text.split_once('=').ok_or("must be the name of a secret, = and a file")?;
    Ok((name.to_owned(), Path::new(path).to_owned()))
}

/// The name of the only secret, where no place has one.
const ONLY_SECRET: &str = "secret";
