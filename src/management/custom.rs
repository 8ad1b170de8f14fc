//! Requests for custom connections, read by their rules.

use super::connections::{ConnectionView, WriteAccess};
use super::draft::parse_time_kept;
use super::draft::{ConnectionChange, ConnectionDraft, NEVER_CHANGES, NewSecret, parse_name};
use super::fault::{About, Refused};
use super::member_reader::{MemberReader, Named, named};
use super::{options, placements};
use crate::model::connection::ConnectionType;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::custom::{CustomAccess, CustomDomain, CustomSecrets, DOMAINS, INJECT, SECRETS};
use crate::model::domain::AllowedDomain;
use crate::model::options::ConnectionOptions;
use crate::model::placement::Placement;
use crate::model::record::{ConnectionRecord, Detail};
use crate::secret::Secret;
use crate::state::ManagementSettings;
use crate::wire::{
    AllowedDomainMembers, CustomMembers, Document, Member, OPTION_MEMBERS, OwnDomainMembers,
    PlacementMembers, REDACTED, SecretMap,
};

impl WriteAccess<'_> {
    /// Makes a custom connection, and returns when it is in force on this instance. Dropped in
    /// between, the connection may have been made or not.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, the name is taken or out of reach, or the store
    /// fails.
    pub async fn create_custom(
        &self,
        request: impl Into<Document<CustomMembers>>,
    ) -> Result<ConnectionView, Refused> {
        let draft = read_draft(request.into(), &self.0.management.settings())?;
        self.keep(draft).await
    }

    /// Changes a custom connection, and returns when that is in force on this instance. Dropped in
    /// between, it may have been changed or not.
    ///
    /// # Errors
    /// [`Refused`]: there is none, it is declared, what is wrong with the request, or the store
    /// fails.
    pub async fn update_custom(
        &self,
        name: &str,
        request: impl Into<Document<CustomMembers>>,
    ) -> Result<(), Refused> {
        let request = request.into();
        self.change(ConnectionType::Custom, name, |before| read_change(before, request.clone()))
            .await
    }
}

/// The members of a request that say which secrets are sent, and where.
struct CustomParts {
    domains: Option<Vec<CustomDomain>>,
    inject: Option<Vec<Placement>>,
    secrets: Option<CustomSecrets>,
}

fn read_draft(
    request: Document<CustomMembers>,
    settings: &ManagementSettings,
) -> Result<ConnectionDraft, Refused> {
    let (mut request, mut reader) = MemberReader::of(request);
    let options = request.take_options();
    // 1. What is missing is told before what is wrong.
    check_type(&mut reader, request.kind, true);
    let name = reader.require(named!(request.name), About::Name, |text| parse_name(text, settings));
    let keep_old_for = reader.take(named!(request.keep_old_for), About::Request, parse_time_kept);
    if keep_old_for.is_some() {
        reader.fault(About::Request, "keep_old_for: goes with secrets that replace others");
    }
    let (domains, secrets) = (named!(request.allowed_domains), named!(request.secrets));
    reader.demand(&domains);
    reader.demand(&secrets);
    let parts = CustomParts::read(domains, named!(request.inject), secrets, &[], &mut reader);
    if reader.value(named!(request.drop_secrets)).is_some_and(|names| !names.is_empty()) {
        reader.fault(About::Request, "drop_secrets: goes with a connection that has others");
    }
    let default = ConnectionOptions::default();
    let options = options::read(options, &default, &mut reader);
    let client_key = named!(request.client_key);
    let client_key = options::read_client_key(client_key, (&default, &options), &mut reader);
    // 2. All of it together.
    let access = parts.domains.zip(parts.secrets.as_ref()).map(|(domains, secrets)| {
        let inject = parts.inject.unwrap_or_default();
        CustomAccess { secrets: secrets.names().map(Into::into).collect(), inject, domains }
    });
    let draft = name.zip(access).zip(parts.secrets).and_then(|((name, access), secrets)| {
        check(&access, &secrets, &mut reader);
        let allowed_domain = access.domains.first()?.domain.clone();
        let detail = Detail::Custom(Box::new(access));
        let secrets = ConnectionSecrets { client_key, ..secrets.pack().into() };
        Some(ConnectionDraft { name, allowed_domain, detail, options, secrets })
    });
    reader.close(draft)
}

/// Reads the whole request. What can't change may be repeated, as it is.
fn read_change(
    record: &ConnectionRecord,
    request: Document<CustomMembers>,
) -> Result<ConnectionChange, Refused> {
    let Detail::Custom(before) = &record.detail else { return Err(Refused::NotFound) };
    let (mut request, mut reader) = MemberReader::of(request);
    let options = request.take_options();
    let changes_something = options.are_given() || is_any_given(&request);
    // 1. What can't change, and hidden secrets that come back with the whole record.
    if request.name.is_given() || reader.is_sent_back() {
        leave_out_hidden(&mut request);
    }
    reader.refuse_nulls(|name| OPTION_MEMBERS.contains(&name));
    check_type(&mut reader, request.kind, false);
    reader.repeated(named!(request.name), record.name.as_str());
    // 2. What changes.
    let (known, domains) = (before.secret_names(), named!(request.allowed_domains));
    let (inject, secrets) = (named!(request.inject), named!(request.secrets));
    let parts = CustomParts::read(domains, inject, secrets, &known, &mut reader);
    let options = options::read(options, &record.options, &mut reader);
    let both = (&*record.options, &options);
    let client_key = options::read_client_key(named!(request.client_key), both, &mut reader);
    let keep_old_for = reader.take(named!(request.keep_old_for), About::Request, parse_time_kept);
    // 3. The connection as it becomes.
    let dropped = reader.value(named!(request.drop_secrets)).unwrap_or_default();
    let (after, given) = parts.over(before, &dropped, &mut reader);
    let (is_replaced, goes_elsewhere) = (!given.is_empty(), after.sends_otherwise(before));
    if goes_elsewhere && options.client_certificate.is_some() && client_key.is_none() {
        reader.fault(About::Credential, CLIENT_KEY_TOO);
    }
    let forgets = keep_old_for.is_some_and(|time| time.is_zero());
    if keep_old_for.is_some() && !forgets && (goes_elsewhere || !is_replaced) {
        reader.fault(About::Request, SECRETS_ALONE);
    }
    if !changes_something && !forgets {
        reader.fault(About::Request, "nothing is to change: give secrets, or an option");
    }
    let allowed_domain = after.domains.first().map(|domain| domain.domain.clone());
    reader.close(Some(ConnectionChange {
        allowed_domain,
        detail: Detail::Custom(Box::new(after)),
        options,
        secret: is_replaced.then_some(NewSecret::Custom(given)),
        keep_old_for,
        client_key,
    }))
}

/// Tells whether a member of a change is given that is no option.
fn is_any_given(request: &CustomMembers) -> bool {
    request.allowed_domains.is_given()
        || request.secrets.is_given()
        || request.inject.is_given()
        || request.client_key.is_given()
}

/// Leaves out what stands for hidden secrets: they stay as they are.
fn leave_out_hidden(request: &mut CustomMembers) {
    if let Member::Given(SecretMap(given)) = &mut request.secrets {
        given.retain(|_, secret| secret.expose() != REDACTED.as_bytes());
    }
    if request.client_key.is_redacted() {
        request.client_key = Member::Absent;
    }
}

/// Tells whether a place of a connection has the secret of this name.
fn needs(access: &CustomAccess, name: &str) -> bool {
    let parsed = access.placements().filter_map(|placement| placement.parse_with_any().ok());
    parsed.into_iter().any(|placement| placement.template().has(name))
}

impl CustomParts {
    /// Reads the members. Names of secrets are those that are given, or `known` ones.
    fn read(
        domains: Named<Vec<AllowedDomainMembers>>,
        inject: Named<Vec<PlacementMembers>>,
        secrets: Named<SecretMap>,
        known: &[&str],
        reader: &mut MemberReader,
    ) -> Self {
        // 1. The secrets.
        let secrets = reader.value(secrets).map(|SecretMap(given)| {
            let mut secrets = CustomSecrets::default();
            for (name, secret) in given {
                if secret.is_empty() || secret.expose() == REDACTED.as_bytes() {
                    let title = format!("{SECRETS}: {name} must be the secret itself");
                    reader.fault(About::Credential, &title);
                }
                secrets.insert(&name, secret);
            }
            secrets
        });
        // 2. The places, of which one may leave out the only secret.
        let given: Vec<_> = secrets.iter().flat_map(CustomSecrets::names).collect();
        let only = match (given.as_slice(), known) {
            ([only], _) | ([], [only]) => Some(*only),
            _ => None,
        };
        let inject = reader.value(inject).and_then(|given| {
            let read = placements::written(given, only);
            read.map_err(|rule| reader.fault(About::Request, &format!("{INJECT}: {rule}"))).ok()
        });
        let domains = reader.value(domains).and_then(|given| read_domains(given, only, reader));
        Self { domains, inject, secrets }
    }
}

impl CustomParts {
    /// The connection with these parts in the place of its own, and the secrets that replace
    /// others. Where secrets go elsewhere, all of them must be entered, and those named that go
    /// nowhere any more.
    fn over(
        self,
        before: &CustomAccess,
        dropped: &[String],
        reader: &mut MemberReader,
    ) -> (CustomAccess, CustomSecrets) {
        // 1. What is not given stays.
        let given = self.secrets.unwrap_or_default();
        let mut after = CustomAccess {
            secrets: before.secrets.clone(),
            inject: self.inject.unwrap_or_else(|| before.inject.clone()),
            domains: self.domains.unwrap_or_else(|| before.domains.clone()),
        };
        // 2. The secrets that it needs.
        let known = before.secret_names();
        if after.sends_otherwise(before) {
            after.secrets = given.names().map(Into::into).collect();
            let is_kept = |name: &&str| needs(&after, name) && given.get(name).is_none();
            if given.is_empty() || known.iter().any(is_kept) {
                reader.fault(About::Credential, EVERY_SECRET);
            }
            let goes = |name: &&str| !needs(&after, name) && given.get(name).is_none();
            let going: Vec<_> = known.into_iter().filter(goes).collect();
            check_dropped(&going, dropped, reader);
        } else if !dropped.is_empty() {
            reader.fault(About::Request, "drop_secrets: goes with allowed_domains or inject");
        } else if let Some(name) = given.names().find(|name| !known.contains(name)) {
            let title = format!("{SECRETS}: has {name}, which no template of inject has");
            reader.fault(About::Credential, &title);
        }
        if !reader.is_faulty() {
            check(&after, &given, reader);
        }
        (after, given)
    }
}

/// Checks that the secrets that go with a change are those that its request names, so that none is
/// forgotten without a word.
fn check_dropped(going: &[&str], named: &[String], reader: &mut MemberReader) {
    let unnamed: Vec<_> =
        going.iter().copied().filter(|name| !named.iter().any(|known| known == name)).collect();
    if !unnamed.is_empty() {
        let list = unnamed.join(", ");
        let title = format!(
            "drop_secrets: must name {list}, which no template of inject has any more, and which \
             would be forgotten"
        );
        reader.fault(About::Request, &title);
    }
    if let Some(name) = named.iter().find(|name| !going.contains(&name.as_str())) {
        let title = format!("drop_secrets: has {name}, which is no secret that goes");
        reader.fault(About::Request, &title);
    }
}

fn read_domains(
    given: Vec<AllowedDomainMembers>,
    only_secret: Option<&str>,
    reader: &mut MemberReader,
) -> Option<Vec<CustomDomain>> {
    let mut domains = Vec::with_capacity(given.len());
    let mut is_whole = true;
    // Each fault is told, not the first alone.
    for (number, given) in given.into_iter().enumerate() {
        let (text, inject) = match given {
            AllowedDomainMembers::Name(text) => (text, Vec::new()),
            AllowedDomainMembers::Own(OwnDomainMembers { domain, inject }) => (domain, inject),
        };
        let domain = AllowedDomain::parse(&text).map_err(|rule| {
            let title = format!("{DOMAINS}: [{number}]: {rule}");
            reader.fault(About::AllowedDomain, &title);
        });
        let inject = placements::written(inject, only_secret).map_err(|rule| {
            reader.fault(About::Request, &format!("{DOMAINS}: [{number}].inject{rule}"));
        });
        match (domain, inject) {
            (Ok(domain), Ok(inject)) => domains.push(CustomDomain { domain, inject }),
            _ => is_whole = false,
        }
    }
    is_whole.then_some(domains)
}

/// Checks a connection as a whole, and each of the secrets that are given by its places.
fn check(access: &CustomAccess, secrets: &CustomSecrets, reader: &mut MemberReader) {
    if let Err(fault) = access.check() {
        let about = if fault.member == DOMAINS { About::AllowedDomain } else { About::Request };
        reader.fault(about, &format!("{}: {}", fault.member, fault.rule));
        return;
    }
    let of = |name: &str| secrets.get(name).cloned().unwrap_or_else(|| Secret::new(""));
    let names: Vec<_> = secrets.names().map(str::to_owned).collect();
    for name in names {
        if let Err(rule) = access.check_value(&name, &of(&name)) {
            reader.fault(About::Credential, &format!("{SECRETS}: {name}: {rule}"));
        }
    }
}

fn check_type(reader: &mut MemberReader, kind: Member<String>, is_needed: bool) {
    let kind = ("type", kind);
    if is_needed {
        reader.demand(&kind);
    }
    let _custom = reader.take(kind, About::Request, |text| match ConnectionType::parse(text) {
        Ok(ConnectionType::Custom) => Ok(()),
        Ok(_) if !is_needed => Err(NEVER_CHANGES.to_owned()),
        Ok(_) => {
            Err("must be custom or aws_sigv4 here; the types of ZIS have paths of their own".into())
        }
        Err(rule) => Err(rule),
    });
}

const CLIENT_KEY_TOO: &str = "client_key: must be entered again too where allowed_domains or inject \
                              changes";

const SECRETS_ALONE: &str = "keep_old_for: goes with secrets that replace others, and nothing else of \
                             the connection";

const EVERY_SECRET: &str = "secrets: must all be entered again where allowed_domains or inject \
                            changes, so that nobody sends those of others elsewhere";
