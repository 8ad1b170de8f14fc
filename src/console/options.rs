//! The options of a connection: shown among its facts, and changed.

use axum::extract::Request;
use maud::{Markup, html};

use super::connection::{self, PageForm};
use super::fields::{Field, Kind, Need, summary};
use super::form_values::FormValues;
use super::page_context::{PageContext, PageResult, see};
use crate::management::{ConnectionRef, Refused, WriteAccess};
use crate::model::connection::ConnectionType;
use crate::model::options::ConnectionOptions;
use crate::model::rules::WrittenRule;
use crate::secret::Secret;
use crate::wire::{
    AwsMembers, CustomMembers, Member, OAuthConnectionChange, OptionMembers, RuleMembers,
    StaticMembers, time,
};

/// Changes the options.
pub(super) async fn change(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let rules = rules(&mut values);
    if let Some(rules) = rules {
        let (options, client_key) = (members(&values, rules), values.secret_if_any(CLIENT_KEY));
        let writing = context.write_access()?;
        let (kind, name) = (connection::kind(&context)?, context.place("name"));
        let changed = put(&writing, kind, name, options, client_key).await;
        match changed {
            Ok(()) => return Ok(see(&connection::path(&context, "?done=replaced"))),
            Err(refused) => values.blame(refused).map_err(|refused| context.refuse(refused))?,
        }
    }
    let found = connection::find(&context).await?;
    Ok(connection::page(&context, &found, Some((PageForm::Options, &values))).await)
}

/// Changes the options of a connection, which each type has its own way for.
pub(super) async fn put(
    writing: &WriteAccess<'_>,
    kind: ConnectionType,
    name: &str,
    options: OptionMembers,
    client_key: Member<Secret>,
) -> Result<(), Refused> {
    match kind {
        ConnectionType::OAuth => {
            let mut request = OAuthConnectionChange { client_key, ..Default::default() };
            request.put_options(options);
            let pointer = ConnectionRef { name: Some(name.to_owned()), uuid: None };
            writing.change_authorized(&pointer, request).await.map(|_shown| ())
        }
        ConnectionType::Custom => {
            let mut request = CustomMembers { client_key, ..Default::default() };
            request.put_options(options);
            writing.update_custom(name, request).await
        }
        ConnectionType::AwsSigV4 => {
            let mut request = AwsMembers { client_key, ..Default::default() };
            request.put_options(options);
            writing.update_aws(name, request).await
        }
        ConnectionType::ApiKey | ConnectionType::BasicAuth | ConnectionType::BearerToken => {
            let mut request = StaticMembers { client_key, ..Default::default() };
            request.put_options(options);
            writing.update(kind, name, request).await
        }
    }
}

/// The rules of the lines of a field; `None` where one is none, which is noted.
pub(super) fn rules(values: &mut FormValues) -> Option<Vec<RuleMembers>> {
    let lines = values.text("rules").lines().map(str::trim).filter(|line| !line.is_empty());
    match lines.map(WrittenRule::parse).collect::<Result<Vec<_>, _>>() {
        Ok(rules) => Some(rules.into_iter().map(RuleMembers::from).collect()),
        Err(rule) => {
            values.fault(&format!("rules: {rule}"));
            None
        }
    }
}

/// A field with rules, one in each line.
pub(super) fn rules_field(value: &str) -> Field<'_> {
    let hint = "One in a line, as: deny /admin/** or: allow GET,POST /v1/**. The first that matches \
                a request decides; with any rule, what none matches is refused. * is one segment, \
                ** any number.";
    Field { kind: Kind::Lines, need: Need::Never, value, ..Field::text("rules", "Rules", hint) }
}

fn members(values: &FormValues, rules: Vec<RuleMembers>) -> OptionMembers {
    let is_yes = |field: &str| Member::Given(values.text(field) == YES);
    OptionMembers {
        enabled: is_yes("enabled"),
        description: values.text("description").into(),
        expires_on: match values.text("expires_on") {
            "" => Member::Null,
            day => day.into(),
        },
        rules: Member::Given(rules),
        read_only: is_yes("read_only"),
        mask_echo: is_yes("mask_echo"),
        client_certificate: match values.text("client_certificate").trim() {
            "" => Member::Null,
            certificate => certificate.into(),
        },
    }
}

/// The facts about the options that are set.
pub(super) fn facts(options: &ConnectionOptions) -> Markup {
    html! {
        @if options.disabled { dt { "Switched off" } dd { "every request is refused" } }
        @if let Some(description) = &options.description { dt { "Description" } dd { (description) } }
        @if let Some(day) = options.expires_on { dt { "Secret expires on" } dd { (day.to_string()) } }
        @if options.read_only { dt { "Read only" } dd { "GET, HEAD and OPTIONS alone" } }
        @if !options.rules.is_empty() {
            dt { "Rules" }
            dd { ol.plain { @for rule in options.rules.written() { li { code { (rule.to_string()) } } } } }
        }
        @if let Some(end) = options.not_after() {
            dt { "Client certificate" } dd { "expires on " (time(end)) }
        }
        @if options.mask_echo { dt { "Echoes" } dd { "masked in text bodies, too" } }
    }
}

/// The form that changes them.
pub(super) fn section(
    context: &PageContext,
    options: &ConnectionOptions,
    values: &FormValues,
) -> Markup {
    // 1. The values, as they are entered.
    let rules: Vec<_> = options.rules.written().iter().map(ToString::to_string).collect();
    let rules = rules.join("\n");
    let day = options.expires_on.map(|day| day.to_string()).unwrap_or_default();
    let certificate = options.client_certificate.as_deref().unwrap_or_default();
    let choice = |is: bool| if is { YES } else { NO };
    // 2. The fields.
    let text = |name, label, hint, value| Field {
        need: Need::Never,
        value,
        ..Field::text(name, label, hint)
    };
    let one = |name, label, hint, value| Field {
        kind: Kind::One(&YES_OR_NO),
        value,
        ..Field::text(name, label, hint)
    };
    let fields = [
        one("enabled", "Enabled", "No refuses every request.", choice(!options.disabled)),
        one("read_only", "Read only", "GET, HEAD and OPTIONS alone.", choice(options.read_only)),
        rules_field(&rules),
        text("expires_on", "Secret expires on", "A day, as 2030-01-31: shown and warned of.", &day),
        text("description", "Description", "", options.description.as_deref().unwrap_or_default()),
        one(
            "mask_echo",
            "Mask echoes",
            "Where the API repeats the credential in a text body, it is masked there too.",
            choice(options.mask_echo),
        ),
        Field {
            kind: Kind::Lines,
            ..text("client_certificate", "Client certificate", CERTIFICATE_HINT, certificate)
        },
        Field { kind: Kind::SecretLines, ..text(CLIENT_KEY, "Its key", CLIENT_KEY_HINT, "") },
    ];
    // 3. The form, with the faults of a change that was refused.
    html! {
        section aria-labelledby="options" {
            h2 #options { "What it may be used for" }
            (summary(values, &fields))
            form.stack method="post" action=(connection::path(context, "/options")) {
                (context.mark())
                @for field in &fields { (field.show(values)) }
                div.actions { button type="submit" { "Change" } }
            }
        }
    }
}

const CLIENT_KEY: &str = "client_key";
const CERTIFICATE_HINT: &str = "For APIs that want one in TLS: PEM, with its chain behind it. Empty \
                                for none.";
const CLIENT_KEY_HINT: &str = "PEM, without a passphrase. It goes with a new certificate; left \
                               empty, the key stays.";
const YES: &str = "yes";
const NO: &str = "no";
const YES_OR_NO: [(&str, &str); 2] = [(YES, "yes"), (NO, "no")];
