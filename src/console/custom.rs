//! Custom connections: several secrets, and the places where each stands.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::connection::{self, PageForm};
use super::create::{CreateForm, action, common, preset_of, preset_words, taken};
use super::fields::{Field, Kind, Need};
use super::form_values::FormValues;
use super::page_context::{PageContext, PageResult, see};
use super::status_view;
use crate::management::Preset;
use crate::model::connection::ConnectionType;
use crate::model::custom::CustomAccess;
use crate::model::placement::{Placement, WrittenPlacement};
use crate::secret::Secret;
use crate::wire::{
    AllowedDomainMembers, CustomMembers, Member, OwnDomainMembers, PlacementMembers, SecretMap,
};

/// The form of a connection that is to be made.
pub(super) fn fields(context: &PageContext, values: &FormValues, status: StatusCode) -> Response {
    // 1. The fields: a name, secrets, and where they are sent.
    let kind = ConnectionType::Custom;
    let preset = preset_of(context, kind);
    let preview = context.path("/domain");
    let [name, _one_domain] = common(&preview);
    let rows = secret_rows(preset);
    let mut places = places();
    if let (Some(hint), [domains, ..]) =
        (preset.and_then(|preset| preset.domain_hint.as_deref()), &mut places)
    {
        domains.hint = hint;
    }
    let mut fields = vec![name];
    fields.extend(rows.iter().flat_map(SecretRow::fields));
    fields.extend(places);
    // 2. The page, which says how a place is written.
    let words = html! {
        @if let Some(preset) = preset { (preset_words(preset)) }
        p {
            "For APIs that want several keys, or a key in the URL. Each secret has a name; a place says where it stands, with its name in braces."
        }
        ul {
            li { code { "DD-API-KEY: {api}" } " sets a header. " code { "Authorization: {basic:user,password}" } " makes Basic credentials of two secrets." }
            li { code { "?key={key}" } " sets a parameter of the query." }
            li { code { "/bot-KEYFERRY=bot{token}" } " replaces the segment " code { "bot-KEYFERRY" } " of the path, which the program writes where the secret belongs." }
        }
        p { "Headers and parameters of these names that a program sends itself are taken out, in any spelling." }
    };
    let form = CreateForm {
        title: preset.map_or_else(|| status_view::kind(kind), |preset| &preset.title),
        action: action(context, kind, preset),
        words,
        fields: &fields,
        before: html! {},
        after: html! {},
        submit: "Save",
    };
    form.show(context, values, status)
}

/// The fields of secrets; those of a well-known API are called as it calls them.
fn secret_rows(preset: Option<&Preset>) -> Vec<SecretRow> {
    let mut rows: Vec<_> = (1..=SECRET_ROWS).map(SecretRow::new).collect();
    let Some(preset) = preset else { return rows };
    let names = preset.secret_names();
    for (row, name) in rows.iter_mut().zip(&names) {
        let [_, label] = &mut row.labels;
        *label = if names.len() == 1 { preset.secret.clone() } else { format!("Secret {name}") };
        row.need = Need::Always;
    }
    rows
}

/// The values that a preset fills in; none without one of this type.
pub(super) fn preset_values(preset: Option<&Preset>) -> FormValues {
    let Some(preset) = preset else { return FormValues::default() };
    let inject = preset.inject.join("\n");
    let domain = preset.allowed_domain.as_deref().unwrap_or_default();
    let names = preset.secret_names();
    let rows: Vec<_> = (1..=SECRET_ROWS).map(SecretRow::new).collect();
    let entered = rows.iter().zip(&names).map(|(row, name)| (row.name.as_str(), name.as_str()));
    let places = [("name", preset.name.as_str()), ("allowed_domains", domain), ("inject", &inject)];
    FormValues::with(&entered.chain(places).collect::<Vec<_>>())
}

/// Makes the connection.
pub(super) async fn create(context: &PageContext, mut values: FormValues) -> PageResult {
    // 1. What is entered, as far as it can be read.
    let request = CustomMembers {
        kind: ConnectionType::Custom.as_str().into(),
        name: values.member("name"),
        allowed_domains: domains(&mut values),
        secrets: secrets(&mut values),
        inject: inject(&mut values),
        ..CustomMembers::default()
    };
    if values.is_faulty() {
        return Ok(fields(context, &values, StatusCode::BAD_REQUEST));
    }
    // 2. The connection, or what is wrong with it.
    match context.write_access()?.create_custom(request).await {
        Ok(made) => {
            let kind = ConnectionType::Custom.as_str();
            let below = format!("/connections/{kind}/{}?done=created", made.name);
            Ok(see(&context.path(&below)))
        }
        Err(refused) => {
            match taken(context, &values, &refused).await {
                Some(fault) => values.fault(&fault),
                None => values.blame(refused).map_err(|refused| context.refuse(refused))?,
            }
            Ok(fields(context, &values, StatusCode::BAD_REQUEST))
        }
    }
}

/// Replaces secrets of a connection.
pub(super) async fn replace(context: &PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let found = connection::find(context).await?;
    let mut given = SecretMap::default();
    for name in connection::secret_names(&found) {
        let entered = values.text(&field_of(&name));
        if !entered.is_empty() {
            given.0.insert(name, Secret::new(entered));
        }
    }
    let request = CustomMembers {
        secrets: Member::Given(given),
        keep_old_for: values.member_if_any(KEEP_OLD_FOR),
        ..CustomMembers::default()
    };
    let changed = context.write_access()?.update_custom(context.place("name"), request).await;
    match changed {
        Ok(()) => Ok(see(&connection::path(context, "?done=replaced"))),
        Err(refused) => {
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
            Ok(connection::page(context, &found, Some((PageForm::Secret, &values))).await)
        }
    }
}

/// The fields of the form that replaces secrets: their names, and the secrets.
pub(super) fn replacements(access: &CustomAccess) -> Vec<(String, String)> {
    access.secrets.iter().map(|name| (field_of(name), format!("New secret {name}"))).collect()
}

/// The secrets of a connection, and the places where each domain has them.
pub(super) fn facts(access: &CustomAccess) -> Markup {
    html! {
        @for name in &access.secrets {
            dt { "Secret " code { (name) } } dd { (connection::hidden()) }
        }
        @if !access.inject.is_empty() {
            dt { "Places" } dd { (written(&access.inject)) }
        }
        @for domain in access.domains.iter().filter(|domain| !domain.inject.is_empty()) {
            dt { "Places at " code { (domain.domain) } } dd { (written(&domain.inject)) }
        }
    }
}

fn written(placements: &[Placement]) -> Markup {
    html! {
        ul.plain { @for placement in placements {
            li { code { (WrittenPlacement::from(placement)) } }
        } }
    }
}

/// The names of the two fields of a secret.
struct SecretRow {
    name: String,
    secret: String,
    labels: [String; 2],
    need: Need,
}

impl SecretRow {
    fn new(number: usize) -> Self {
        Self {
            name: format!("secret_name_{number}"),
            secret: format!("secret_{number}"),
            labels: [format!("Name of secret {number}"), format!("Secret {number}")],
            need: if number == 1 { Need::Always } else { Need::Never },
        }
    }

    fn fields(&self) -> [Field<'_>; 2] {
        let [name, secret] = &self.labels;
        let name = Field { need: self.need, ..Field::text(&self.name, name, NAME_HINT) };
        let secret = Field::text(&self.secret, secret, SECRET_HINT);
        [name, Field { need: self.need, kind: Kind::Secret, ..secret }]
    }
}

/// The fields that say where secrets are sent.
fn places() -> [Field<'static>; 3] {
    let lines = |field: Field<'static>| Field { kind: Kind::Lines, ..field };
    let domains = Field::text("allowed_domains", "Allowed domains", DOMAINS_HINT);
    let inject = Field::text("inject", "Places", INJECT_HINT);
    let own = Field::text(OWN_PLACES, "Places at one domain", OWN_HINT);
    let (inject, own) =
        (Field { need: Need::Depends, ..inject }, Field { need: Need::Never, ..own });
    [
        lines(Field { placeholder: "api.example.com", ..domains }),
        lines(Field { placeholder: "X-Api-Key: {key}", ..inject }),
        lines(Field { placeholder: "*.example.org ?key={key}", ..own }),
    ]
}

fn filled_lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// The domains, each with the places that are its own.
fn domains(values: &mut FormValues) -> Member<Vec<AllowedDomainMembers>> {
    // 1. The places at single domains.
    let named = filled_lines(values.text("allowed_domains"));
    let mut own: Vec<(String, PlacementMembers)> = Vec::new();
    for line in filled_lines(values.text(OWN_PLACES)) {
        let read = line.split_once(' ').map(|(domain, place)| {
            (domain.to_owned(), WrittenPlacement::read_line(place).map(PlacementMembers::from))
        });
        match read {
            Some((domain, Ok(place))) if named.contains(&domain) => own.push((domain, place)),
            Some((_, Err(rule))) => values.fault(&format!("{OWN_PLACES}: {rule}")),
            _ => values.fault(&format!(
                "{OWN_PLACES}: each line must be one of the allowed domains, a space and a place"
            )),
        }
    }
    // 2. Each domain, with those that it has.
    let domains = named.into_iter().map(|domain| {
        let places = own.iter().filter(|(of, _)| *of == domain);
        let inject: Vec<_> = places.map(|(_, place)| place.clone()).collect();
        if inject.is_empty() {
            AllowedDomainMembers::Name(domain)
        } else {
            AllowedDomainMembers::Own(OwnDomainMembers { domain, inject })
        }
    });
    Member::Given(domains.collect())
}

fn inject(values: &mut FormValues) -> Member<Vec<PlacementMembers>> {
    let lines = filled_lines(values.text("inject"));
    let places = lines.iter().map(|line| WrittenPlacement::read_line(line));
    match places.map(|place| place.map(PlacementMembers::from)).collect::<Result<Vec<_>, _>>() {
        Ok(places) if places.is_empty() => Member::Absent,
        Ok(places) => Member::Given(places),
        Err(rule) => {
            values.fault(&format!("inject: {rule}"));
            Member::Absent
        }
    }
}

fn secrets(values: &mut FormValues) -> Member<SecretMap> {
    let mut secrets = SecretMap::default();
    for row in (1..=SECRET_ROWS).map(SecretRow::new) {
        let name = values.text(&row.name).trim().to_owned();
        let secret = Secret::new(values.text(&row.secret));
        match (name.is_empty(), secret.is_empty()) {
            (true, true) => {}
            (false, false) if secrets.0.contains_key(&name) => {
                values.fault(&format!("{}: is the name of another secret", row.name));
            }
            (false, false) => drop(secrets.0.insert(name, secret)),
            (true, false) => values.fault(&format!("{}: is missing", row.name)),
            (false, true) => values.fault(&format!("{}: is missing", row.secret)),
        }
    }
    Member::Given(secrets)
}

fn field_of(name: &str) -> String {
    format!("secret-{name}")
}

/// The secrets that the form has room for; the API takes eight.
const SECRET_ROWS: usize = 4;

const OWN_PLACES: &str = "own_places";
pub(super) const KEEP_OLD_FOR: &str = "keep_old_for";

const NAME_HINT: &str = "Letters, digits, _ and -, as places name it in braces.";
const SECRET_HINT: &str = "It is sealed when it is saved, and never shown again.";
const DOMAINS_HINT: &str = "One on each line: a host, or *. and a domain, for it and all subdomains. They change only when every secret is entered again.";
const INJECT_HINT: &str = "One on each line, for every domain that has no places of its own.";
const OWN_HINT: &str =
    "One on each line: an allowed domain, a space, and a place that counts there instead.";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_form_becomes_a_request() {
        let mut values = FormValues::with(&[
            ("secret_name_1", "a"),
            ("secret_1", "A"),
            ("secret_name_3", "b"),
            ("secret_3", " B "),
            ("allowed_domains", "api.example.com\r\n\r\n *.example.org "),
            ("inject", "X-A: {a}\r\n?b={b}"),
            ("own_places", "*.example.org /KEYFERRY={b}"),
        ]);
        let request = CustomMembers {
            allowed_domains: domains(&mut values),
            secrets: secrets(&mut values),
            inject: inject(&mut values),
            ..CustomMembers::default()
        };
        assert!(!values.is_faulty(), "{values:?}");
        assert_eq!(
            serde_json::to_value(&request).unwrap(),
            json!({
                "allowed_domains": ["api.example.com", {"domain": "*.example.org",
                    "inject": [{"in": "path", "placeholder": "KEYFERRY", "value": "{b}"}]}],
                "secrets": {"a": "A", "b": " B "},
                "inject": [{"in": "header", "name": "X-A", "value": "{a}"},
                    {"in": "query", "name": "b", "value": "{b}"}],
            })
        );
    }

    #[test]
    fn what_is_wrong_is_told_at_its_field() {
        let mut values = FormValues::with(&[
            ("secret_name_1", "a"),
            ("secret_2", "B"),
            ("secret_name_3", "c"),
            ("secret_3", "C"),
            ("secret_name_4", "c"),
            ("secret_4", "C"),
            ("allowed_domains", "api.example.com"),
            ("inject", "X-A"),
            ("own_places", "b.example.com X-A: {a}\napi.example.com X"),
        ]);
        let _request = (domains(&mut values), secrets(&mut values), inject(&mut values));
        for (field, faults) in [
            ("secret_1", 1),
            ("secret_name_2", 1),
            ("secret_name_4", 1),
            ("inject", 1),
            ("own_places", 2),
        ] {
            assert_eq!(values.faults_of(field).count(), faults, "{field}");
        }
    }
}
