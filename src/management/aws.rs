//! Requests for connections to AWS, read by their rules.

use super::connections::{ConnectionView, WriteAccess};
use super::draft::{ConnectionChange, ConnectionDraft, NEVER_CHANGES, NewSecret, parse_name};
use super::fault::{About, Refused};
use super::member_reader::{MemberReader, Named, named};
use super::options;
use crate::model::aws::access::{AwsAccess, AwsSecrets, check_access_key_id, check_scope_name};
use crate::model::aws::endpoint::SigningScope;
use crate::model::aws::role::{
    AssumeRole, check_external_id, check_role_arn, parse_session_length,
};
use crate::model::connection::ConnectionType;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::domain::AllowedDomain;
use crate::model::field::check_secret;
use crate::model::options::ConnectionOptions;
use crate::model::record::{ConnectionRecord, Detail};
use crate::state::ManagementSettings;
use crate::wire::{AssumeRoleMembers, AwsMembers, Document, Member, OPTION_MEMBERS};

impl WriteAccess<'_> {
    /// Makes a connection to AWS, and returns when it is in force on this instance. Dropped in
    /// between, the connection may have been made or not.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, the name is taken or out of reach, or the store
    /// fails.
    pub async fn create_aws(
        &self,
        request: impl Into<Document<AwsMembers>>,
    ) -> Result<ConnectionView, Refused> {
        let draft = read_draft(request.into(), &self.0.management.settings())?;
        self.keep(draft).await
    }

    /// Changes a connection to AWS, and returns when that is in force on this instance. Dropped in
    /// between, it may have been changed or not.
    ///
    /// # Errors
    /// [`Refused`]: there is none, it is declared, what is wrong with the request, or the store
    /// fails.
    pub async fn update_aws(
        &self,
        name: &str,
        request: impl Into<Document<AwsMembers>>,
    ) -> Result<(), Refused> {
        let request = request.into();
        let read = |before: &ConnectionRecord| read_change(before, request.clone());
        self.change(ConnectionType::AwsSigV4, name, read).await
    }

    /// The type of the connection of this name, of those beyond ZIS: where it is none of them, that
    /// is told by whatever is done with it as a custom one.
    ///
    /// # Errors
    /// [`Refused`] when the store fails.
    pub async fn type_beyond_zis(&self, name: &str) -> Result<ConnectionType, Refused> {
        let name = self.0.name(name)?;
        let kind = match self.0.declared(&name) {
            Some(declared) => declared.kind(),
            None => match self.0.record(&name).await {
                Ok(record) => record.kind(),
                Err(Refused::NotFound) => ConnectionType::Custom,
                Err(other) => return Err(other),
            },
        };
        let is_aws = kind == ConnectionType::AwsSigV4;
        Ok(if is_aws { kind } else { ConnectionType::Custom })
    }
}

/// The parts of a request: the keys, the region and service that they sign for, and their role.
struct AwsParts {
    access_key_id: Option<Box<str>>,
    region: Option<Box<str>>,
    service: Option<Box<str>>,
    assume_role: Option<AssumeRole>,
    secrets: Option<AwsSecrets>,
}

fn read_draft(
    request: Document<AwsMembers>,
    settings: &ManagementSettings,
) -> Result<ConnectionDraft, Refused> {
    let (mut request, mut reader) = MemberReader::of(request);
    let options = request.take_options();
    // 1. What is missing is told before what is wrong.
    check_type(&mut reader, std::mem::take(&mut request.kind), true);
    let name = ("name", std::mem::take(&mut request.name));
    let name = reader.require(name, About::Name, |text| parse_name(text, settings));
    let domain = ("allowed_domain", std::mem::take(&mut request.allowed_domain));
    let domain = reader.require(domain, About::AllowedDomain, AllowedDomain::parse);
    if !request.access_key_id.is_given() {
        reader.fault(About::Request, "access_key_id: is missing");
    }
    if !request.secret_access_key.is_given() {
        reader.fault(About::Request, "secret_access_key: is missing");
    }
    let client_key = std::mem::take(&mut request.client_key);
    let parts = AwsParts::read(request, &mut reader);
    let default = ConnectionOptions::default();
    let options = options::read(options, &default, &mut reader);
    let client_key = ("client_key", client_key);
    let client_key = options::read_client_key(client_key, (&default, &options), &mut reader);
    // 2. All of it together.
    let AwsParts { access_key_id, region, service, assume_role, secrets } = parts;
    let access = access_key_id.map(|access_key_id| AwsAccess {
        access_key_id,
        region,
        service,
        assume_role,
    });
    if let Some(access) = &access {
        check_role(access, &mut reader);
        check_scope(access, domain.as_ref(), &mut reader);
    }
    let read = name.zip(domain).zip(access).zip(secrets);
    let read = read.map(|(((name, allowed_domain), access), secrets)| ConnectionDraft {
        name,
        allowed_domain,
        detail: Detail::AwsSigV4(Box::new(access)),
        options,
        secrets: ConnectionSecrets { client_key, ..secrets.pack().into() },
    });
    reader.close(read)
}

/// Reads the whole request. What can't change may be repeated, as it is. What decides what a
/// signature counts for changes only where the key is entered again.
fn read_change(
    record: &ConnectionRecord,
    request: Document<AwsMembers>,
) -> Result<ConnectionChange, Refused> {
    let Detail::AwsSigV4(before) = &record.detail else { return Err(Refused::NotFound) };
    let (mut request, mut reader) = MemberReader::of(request);
    let options = request.take_options();
    let changes_something = options.are_given() || is_any_given(&request);
    // 1. What can't change, and hidden secrets that come back with the whole record.
    if request.name.is_given() || reader.is_sent_back() {
        leave_out_hidden(&mut request);
    }
    let taken_away = ["region", "service", "assume_role", "session_token"];
    reader.refuse_nulls(|name| OPTION_MEMBERS.contains(&name) || taken_away.contains(&name));
    check_type(&mut reader, std::mem::take(&mut request.kind), false);
    reader.repeated(("name", std::mem::take(&mut request.name)), record.name.as_str());
    let domain = ("allowed_domain", std::mem::take(&mut request.allowed_domain));
    let _same = reader.take(domain, About::Request, |text| {
        let same =
            AllowedDomain::read_kept(text).is_ok_and(|given| Some(given) == record.allowed_domain);
        if same { Ok(()) } else { Err(NEVER_CHANGES) }
    });
    // 2. What changes.
    let client_key = std::mem::take(&mut request.client_key);
    let mut after = (**before).clone();
    take_away(&request, &mut after);
    let parts = AwsParts::read(request, &mut reader);
    let options = options::read(options, &record.options, &mut reader);
    let both = (&*record.options, &options);
    let client_key = options::read_client_key(("client_key", client_key), both, &mut reader);
    // 3. The connection as it becomes.
    after.access_key_id = parts.access_key_id.unwrap_or(after.access_key_id);
    after.region = parts.region.or(after.region);
    after.service = parts.service.or(after.service);
    after.assume_role = parts.assume_role.or(after.assume_role);
    check_role(&after, &mut reader);
    if (&after.region, &after.service) != (&before.region, &before.service) {
        check_scope(&after, record.allowed_domain.as_ref(), &mut reader);
    }
    if after != **before && parts.secrets.is_none() {
        reader.fault(About::Credential, KEY_TOO);
    }
    if !changes_something {
        let title = "nothing is to change: give secret_access_key, or an option";
        reader.fault(About::Request, title);
    }
    reader.close(Some(ConnectionChange {
        allowed_domain: record.allowed_domain.clone(),
        detail: Detail::AwsSigV4(Box::new(after)),
        options,
        secret: parts.secrets.map(NewSecret::Aws),
        keep_old_for: None,
        client_key,
    }))
}

/// Tells whether a member of a change is given that is no option.
fn is_any_given(request: &AwsMembers) -> bool {
    let is_null = matches!(request.region, Member::Null)
        || matches!(request.service, Member::Null)
        || matches!(request.assume_role, Member::Null);
    is_null
        || request.access_key_id.is_given()
        || request.secret_access_key.is_given()
        || request.session_token.is_given()
        || request.region.is_given()
        || request.service.is_given()
        || request.assume_role.is_given()
        || request.client_key.is_given()
}

/// Leaves out what stands for hidden secrets: they stay as they are.
fn leave_out_hidden(request: &mut AwsMembers) {
    for hidden in
        [&mut request.secret_access_key, &mut request.session_token, &mut request.client_key]
    {
        if hidden.is_redacted() {
            *hidden = Member::Absent;
        }
    }
}

/// Takes away what is null.
fn take_away(request: &AwsMembers, access: &mut AwsAccess) {
    if matches!(request.region, Member::Null) {
        access.region = None;
    }
    if matches!(request.service, Member::Null) {
        access.service = None;
    }
    if matches!(request.assume_role, Member::Null) {
        access.assume_role = None;
    }
}

impl AwsParts {
    fn read(request: AwsMembers, reader: &mut MemberReader) -> Self {
        let scope = |text: &str| check_scope_name(text).map(|()| Box::<str>::from(text));
        let key_id = |text: &str| check_access_key_id(text).map(|()| Box::<str>::from(text));
        let access_key_id = reader.take(named!(request.access_key_id), About::Credential, key_id);
        let has_secret = request.secret_access_key.is_given();
        let secret = reader.take_secret(named!(request.secret_access_key), check_secret);
        let has_token = request.session_token.is_given();
        let token = reader.take_secret(named!(request.session_token), check_secret);
        if has_token && !has_secret {
            reader.fault(About::Credential, "session_token: goes with secret_access_key");
        }
        Self {
            access_key_id,
            region: reader.take(named!(request.region), About::Request, scope),
            service: reader.take(named!(request.service), About::Request, scope),
            assume_role: read_role(named!(request.assume_role), reader),
            secrets: secret.map(|secret| AwsSecrets::new(secret, token)),
        }
    }
}

fn read_role(named: Named<AssumeRoleMembers>, reader: &mut MemberReader) -> Option<AssumeRole> {
    let AssumeRoleMembers { role_arn, external_id, duration } = reader.value(named)?;
    let mut faults = Vec::new();
    faults.extend(check_role_arn(&role_arn).err().map(|rule| ("role_arn", rule)));
    let id = external_id.as_deref().map_or(Ok(()), check_external_id);
    faults.extend(id.err().map(|rule| ("external_id", rule)));
    let length = duration.as_deref().map(parse_session_length).transpose();
    faults.extend(length.err().map(|rule| ("duration", rule)));
    for (member, rule) in &faults {
        reader.fault(About::Request, &format!("assume_role: {member}: {rule}"));
    }
    let external_id = external_id.map(Into::into);
    let role =
        AssumeRole { role_arn: role_arn.into(), external_id, duration: length.ok().flatten() };
    faults.is_empty().then_some(role)
}

/// Checks that the role is in the same part of AWS as the connection's region.
fn check_role(access: &AwsAccess, reader: &mut MemberReader) {
    let Some(role) = &access.assume_role else { return };
    if let Err(rule) = role.check_region(access.region.as_deref()) {
        reader.fault(About::Request, &format!("assume_role: role_arn: {rule}"));
    }
}

/// Notes that no request could be signed: neither the connection nor a host says for what.
fn check_scope(access: &AwsAccess, domain: Option<&AllowedDomain>, reader: &mut MemberReader) {
    let says_both = access.region.is_some() && access.service.is_some();
    let Some(domain) = domain.map(ToString::to_string).filter(|_| !says_both) else { return };
    if !SigningScope::may_be_named_within(&domain) {
        let names = match (&access.region, &access.service) {
            (None, None) => "region: is missing, and service",
            (None, Some(_)) => "region: is missing",
            _ => "service: is missing",
        };
        let title = format!("{names}: the name of the host does not say what is signed for");
        reader.fault(About::Request, &title);
    }
}

fn check_type(reader: &mut MemberReader, kind: Member<String>, is_needed: bool) {
    let kind = ("type", kind);
    if is_needed {
        reader.demand(&kind);
    }
    let _aws = reader.take(kind, About::Request, |text| match ConnectionType::parse(text) {
        Ok(ConnectionType::AwsSigV4) => Ok(()),
        Ok(_) => Err(NEVER_CHANGES.to_owned()),
        Err(rule) => Err(rule),
    });
}

const KEY_TOO: &str = "secret_access_key: must be entered again where access_key_id, region, service \
                       or assume_role changes, so that nobody has it sign for something else";
