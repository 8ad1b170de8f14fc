//! The members of a token-request profile, read by their rules.

use super::assertion;
use super::catalogue::Catalogue;
use crate::management::fault::About;
use crate::management::member_reader::{MemberReader, Named, named};
use crate::management::placements;
use crate::model::oauth::domain_template::DomainTemplate;
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::params::{ACCESS_TOKEN_PLACEHOLDER, has_placeholder};
use crate::model::oauth::profile::{
    ACCESS_TOKEN, INJECTED_SECRETS, Issuer, JsonPointer, Lifetime, Params, Pkce, Profile,
    RefreshStatuses, ScopeSeparator, TokenRequestFormat,
};
use crate::model::placement::Placement;
use crate::state::ManagementSettings;
use crate::wire::{Member, MemberValue, ParamMap, PlacementMembers, ProfileMembers};

/// Reads the members of a profile: those that are given take the place of those of `before`, and
/// null takes one away.
#[expect(clippy::too_many_lines, reason = "a line or two for each member")]
pub(super) fn read(
    members: ProfileMembers,
    before: &Profile,
    grant_type: GrantType,
    settings: &ManagementSettings,
    reader: &mut MemberReader,
) -> Profile {
    let mut profile = before.clone();
    let fields = &mut Fields { reader, grant_type };
    let endpoint = |text: &str| super::draft::parse_token_url(text, settings);
    // 1. The entry of the catalogue, and further parameters.
    let known = before.provider.clone();
    fields.text(named!(members.provider), &mut profile.provider, |text| {
        // One that a later version has made may be kept.
        let is_kept = known.as_deref() == Some(text);
        if is_kept { parse_provider(text).map_err(str::to_owned) } else { find_provider(text) }
    });
    fields.params(named!(members.auth_params), &mut profile.auth_params, &AUTH_RESERVED);
    fields.params(named!(members.token_params), &mut profile.token_params, &TOKEN_RESERVED);
    fields.params(named!(members.refresh_params), &mut profile.refresh_params, &TOKEN_RESERVED);
    // 2. The requests.
    fields.text(named!(members.refresh_url), &mut profile.refresh_url, endpoint);
    fields.text(named!(members.revocation_url), &mut profile.revocation_url, endpoint);
    fields.default(
        named!(members.token_request_format),
        &mut profile.token_request_format,
        TokenRequestFormat::parse,
    );
    fields.default(named!(members.pkce), &mut profile.pkce, Pkce::parse);
    fields.default(
        named!(members.scope_separator),
        &mut profile.scope_separator,
        ScopeSeparator::parse,
    );
    fields.value(named!(members.scope_on_refresh), |given| {
        profile.scope_on_refresh = given.unwrap_or_default();
        Ok(())
    });
    // 3. The answers.
    fields.text(named!(members.token_path), &mut profile.token_path, JsonPointer::parse);
    let refresh_token_path = &mut profile.refresh_token_path;
    fields.text(named!(members.refresh_token_path), refresh_token_path, JsonPointer::parse);
    fields.text(named!(members.expires_in_path), &mut profile.expires_in_path, JsonPointer::parse);
    fields.text(named!(members.default_lifetime), &mut profile.default_lifetime, Lifetime::parse);
    let refresh_token_lifetime = &mut profile.refresh_token_lifetime;
    fields.text(named!(members.refresh_token_lifetime), refresh_token_lifetime, Lifetime::parse);
    fields.text(named!(members.issuer), &mut profile.issuer, Issuer::parse);
    fields.value(named!(members.dead_grant_codes), |codes| {
        profile.dead_grant_codes = parse_codes(codes.unwrap_or_default())?;
        Ok(())
    });
    // 4. The use of the tokens.
    fields.value(named!(members.refresh_on_status), |statuses| {
        let statuses = statuses.filter(|statuses| !statuses.is_empty());
        let statuses = statuses.map(RefreshStatuses::try_from).transpose()?;
        profile.refresh_on_status = statuses.unwrap_or_default();
        Ok(())
    });
    fields.value(named!(members.inject), |given| {
        profile.inject = parse_injected(given.unwrap_or_default())?;
        Ok(())
    });
    // 5. The client's key.
    fields.value(named!(members.assertion), |given| {
        profile.assertion = assertion::read(given.unwrap_or_default())?;
        Ok(())
    });
    fields.value(named!(members.installation), |given| {
        profile.installation = assertion::read_installation(given.unwrap_or_default())?;
        Ok(())
    });
    fields.value(named!(members.allowed_domains), |given| {
        profile.allowed_domains = parse_domains(&given.unwrap_or_default())?;
        Ok(())
    });
    profile
}

impl From<&Profile> for ProfileMembers {
    /// Writes a profile; members that have their defaults are left out.
    fn from(profile: &Profile) -> Self {
        // A member that has its default is none.
        let default = Profile::default();
        let params =
            |params: &Params| Some(params.clone()).filter(|params| !params.is_empty()).into();
        let text = |text: Option<&str>| Member::from(text);
        let endpoint =
            |url: &Option<EndpointTemplate>| text(url.as_ref().map(EndpointTemplate::as_str));
        let pointer = |path: &Option<JsonPointer>| text(path.as_ref().map(JsonPointer::as_str));
        let lifetime = |length: Option<Lifetime>| length.map(|length| length.to_string()).into();
        let unless = |is_default: bool, value: &str| text((!is_default).then_some(value));
        let inject: Vec<_> = profile.inject.iter().map(PlacementMembers::from).collect();
        let domains = profile.allowed_domains.iter().map(|domain| domain.as_str().to_owned());
        let domains: Vec<_> = domains.collect();
        let codes: Vec<_> = profile.dead_grant_codes.iter().map(ToString::to_string).collect();
        let statuses = &profile.refresh_on_status;
        Self {
            provider: text(profile.provider.as_deref()),
            auth_params: params(&profile.auth_params),
            token_params: params(&profile.token_params),
            refresh_params: params(&profile.refresh_params),
            refresh_url: endpoint(&profile.refresh_url),
            revocation_url: endpoint(&profile.revocation_url),
            token_request_format: unless(
                profile.token_request_format == default.token_request_format,
                profile.token_request_format.as_str(),
            ),
            pkce: unless(profile.pkce == default.pkce, profile.pkce.as_str()),
            scope_separator: unless(
                profile.scope_separator == default.scope_separator,
                profile.scope_separator.as_str(),
            ),
            scope_on_refresh: profile.scope_on_refresh.then_some(true).into(),
            token_path: pointer(&profile.token_path),
            refresh_token_path: pointer(&profile.refresh_token_path),
            expires_in_path: pointer(&profile.expires_in_path),
            default_lifetime: lifetime(profile.default_lifetime),
            refresh_token_lifetime: lifetime(profile.refresh_token_lifetime),
            issuer: text(profile.issuer.as_ref().map(Issuer::as_str)),
            dead_grant_codes: Some(codes).filter(|codes| !codes.is_empty()).into(),
            refresh_on_status: (!statuses.is_default()).then(|| statuses.clone().into()).into(),
            inject: Some(inject).filter(|inject| !inject.is_empty()).into(),
            assertion: assertion::write(&profile.assertion),
            installation: assertion::write_installation(&profile.installation),
            allowed_domains: Some(domains).filter(|domains| !domains.is_empty()).into(),
        }
    }
}

/// Reads members into the fields of a profile.
struct Fields<'a> {
    reader: &'a mut MemberReader,
    grant_type: GrantType,
}

impl Fields<'_> {
    /// Reads a text; null and an empty one take the field away.
    fn text<V, E: std::fmt::Display>(
        &mut self,
        named: Named<String>,
        field: &mut Option<V>,
        parse: impl FnOnce(&str) -> Result<V, E>,
    ) {
        let is_absent = named.1.is_absent();
        let given = self.reader.take_filled(named, About::Request, parse);
        if !is_absent {
            *field = given;
        }
    }

    /// Reads a text; null and an empty one stand for the default.
    fn default<V: Default, E: std::fmt::Display>(
        &mut self,
        named: Named<String>,
        field: &mut V,
        parse: impl FnOnce(&str) -> Result<V, E>,
    ) {
        let mut given = None;
        let is_absent = named.1.is_absent();
        self.text(named, &mut given, parse);
        if !is_absent {
            *field = given.unwrap_or_default();
        }
    }

    /// Reads a value of another type; `set` has `None` for null.
    fn value<T: MemberValue>(
        &mut self,
        named: Named<T>,
        set: impl FnOnce(Option<T>) -> Result<(), String>,
    ) {
        let name = named.0;
        let is_absent = named.1.is_absent();
        let is_unfit = matches!(named.1, Member::Unfit(_));
        let given = self.reader.value(named);
        if !is_absent
            && !is_unfit
            && let Err(rule) = set(given)
        {
            self.reader.fault(About::Request, &format!("{name}: {rule}"));
        }
    }

    /// Reads parameters; the protocol's own are refused.
    fn params(&mut self, named: Named<ParamMap>, field: &mut Params, reserved: &[&str]) {
        // A provider's own name for client credentials is a parameter (Zoom).
        let is_own = self.grant_type == GrantType::ClientCredentials && named.0 == "token_params";
        let is_refresh = named.0 == "refresh_params";
        self.value(named, |params| {
            let params = params.unwrap_or_default();
            // So is that for the exchange of one access token for the next (Facebook).
            let has_token = has_placeholder(&params, ACCESS_TOKEN_PLACEHOLDER);
            let may_name_grant = is_own || (is_refresh && has_token);
            if has_token && !is_refresh {
                return Err(format!(
                    "{ACCESS_TOKEN_PLACEHOLDER} is known only where tokens are refreshed"
                ));
            }
            if params.len() > MAX_PARAMS {
                return Err(format!("has more than {MAX_PARAMS} parameters"));
            }
            for (name, value) in &params {
                let plain = |byte: u8| byte.is_ascii_graphic() && !b"=&\"\\".contains(&byte);
                if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
                    return Err("has a name that is not 1 to 64 printable characters".to_owned());
                }
                if value.len() > 4096 || value.chars().any(char::is_control) {
                    return Err(format!(
                        "the value of {name} is longer than 4096 bytes, or has a control character"
                    ));
                }
                if reserved.contains(&name.as_str()) && !(may_name_grant && name == "grant_type") {
                    return Err(format!(
                        "{name} is a parameter of the protocol, which is set here"
                    ));
                }
            }
            *field = params;
            Ok(())
        });
    }
}

/// Reads the name of an entry that the catalogue has.
fn find_provider(text: &str) -> Result<Box<str>, String> {
    let name = parse_provider(text)?;
    let catalogue = Catalogue::built_in();
    if catalogue.find(&name).is_some() {
        return Ok(name);
    }
    let hint = catalogue.similar(&name).map(|known| format!("; {known} is")).unwrap_or_default();
    Err(format!("is not in the catalogue{hint}: leave it out, and give the provider's URLs"))
}

/// Reads the name of an entry.
pub(super) fn parse_provider(text: &str) -> Result<Box<str>, &'static str> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        Ok(text.into())
    } else {
        Err("must be the name of an entry: 1 to 64 of a-z, 0-9 and _")
    }
}

fn parse_codes(codes: Vec<String>) -> Result<Vec<Box<str>>, String> {
    let fits =
        |code: &String| (1..=128).contains(&code.len()) && !code.chars().any(char::is_control);
    if codes.len() > 32 || !codes.iter().all(fits) {
        return Err("must be at most 32 codes of 1 to 128 printable characters".to_owned());
    }
    Ok(codes.into_iter().map(Into::into).collect())
}

fn parse_injected(given: Vec<PlacementMembers>) -> Result<Vec<Placement>, String> {
    let inject = placements::read(given, &INJECTED_SECRETS, Some(ACCESS_TOKEN))?;
    let parsed = inject.iter().filter_map(|placement| placement.parse(&INJECTED_SECRETS).ok());
    let has_token = parsed.into_iter().any(|it| it.template().has(ACCESS_TOKEN));
    if !inject.is_empty() && !has_token {
        return Err(format!("must be at most 8 places, one of them with {{{ACCESS_TOKEN}}}"));
    }
    Ok(inject)
}

fn parse_domains(given: &[String]) -> Result<Vec<DomainTemplate>, String> {
    if given.len() > MAX_DOMAINS {
        return Err(format!("has more than {MAX_DOMAINS} domains"));
    }
    let numbered = given.iter().enumerate();
    let parse = |(number, text): (usize, &String)| {
        DomainTemplate::parse(text).map_err(|rule| format!("[{number}]: {rule}"))
    };
    numbered.map(parse).collect()
}

/// Parameters of the authorization request that are set here (RFC 6749 §4.1.1, RFC 7636 §4.3).
const AUTH_RESERVED: [&str; 7] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "redirect_uri",
    "response_type",
    "scope",
    "state",
];

/// Parameters of token requests that are set here (RFC 6749 §4.1.3, §6; RFC 7521 §4.2).
const TOKEN_RESERVED: [&str; 11] = [
    "assertion",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "code_verifier",
    "grant_type",
    "redirect_uri",
    "refresh_token",
    "scope",
];

const MAX_PARAMS: usize = 16;

const MAX_DOMAINS: usize = 10;
