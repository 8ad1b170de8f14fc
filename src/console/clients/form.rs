//! The form of a new client: of a provider in the catalogue, or of any other.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::picker::OTHER;
use super::profile::{self, Empty, ProfileTexts};
use super::{METHODS, PROFILE, callback, picker};
use crate::console::client_key::{self, KeyValues};
use crate::console::fields::{Field, Kind, Need, summary};
use crate::console::form_values::FormValues;
use crate::console::layout::Tab;
use crate::console::page_context::{PageContext, PageResult, see};
use crate::management::{Catalogue, Refused};
use crate::model::oauth::client::AuthMethod;
use crate::wire::{Member, NewOAuthClient, ParamMap, ProfileMembers, ProviderEntry};

/// The choice of a provider, or the form of a new client of the chosen one.
pub(in crate::console) async fn fields(context: PageContext) -> PageResult {
    let _may = context.write_access()?;
    let chosen = context.query(PROVIDER);
    let entry = Catalogue::built_in().find(chosen);
    if entry.is_none() && chosen != OTHER {
        return Ok(picker::page(&context));
    }
    Ok(shown(&context, entry, &FormValues::default(), StatusCode::OK))
}

/// Makes it.
pub(in crate::console) async fn create(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    // 1. The request, by the entry that was chosen.
    let entry = Catalogue::built_in().find(values.text(PROVIDER));
    let mut request = match entry {
        Some(entry) => of_provider(entry, &values),
        None => of_any(&values),
    };
    let mut members = profile::read(&mut values, Empty::LeftOut);
    members.provider = entry.map(|entry| entry.name.as_str()).into();
    if entry.is_none() {
        members.installation = client_key::installation(&mut values, Member::Absent);
        members.assertion = client_key::assertion(&values, Member::Absent);
    }
    request.put_profile(members);
    // 2. The client is made, or its faults stand beside their fields.
    let writing = context.write_access()?;
    let made = if values.is_faulty() { None } else { Some(writing.create_client(request).await) };
    match made {
        Some(Ok(made)) => {
            let below = format!("/clients/{}?done=client-created", made.record().uuid);
            return Ok(see(&context.path(&below)));
        }
        Some(Err(refused)) => {
            let refused = beside_fields(refused, entry);
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
        }
        None => {}
    }
    Ok(shown(&context, entry, &values, StatusCode::BAD_REQUEST))
}

/// The request for a client of an entry, which decides what was not entered.
fn of_provider(entry: &ProviderEntry, values: &FormValues) -> NewOAuthClient {
    let asked = entry.asks.iter().map(|ask| {
        (ask.name.clone(), values.text(&format!("{ASK}{}", ask.name)).trim().to_owned())
    });
    let provider_values: ParamMap = asked.filter(|(_, value)| !value.is_empty()).collect();
    // Scopes that are as the entry has them are left to it: it may have values to fill in.
    let scopes = values.member("default_scopes");
    let scopes = if scopes == entry.default_scopes { Member::Absent } else { scopes };
    NewOAuthClient {
        name: values.member("name"),
        client_id: values.member("client_id"),
        client_secret: values.secret_if_any("client_secret"),
        auth_url: values.member_if_any("auth_url"),
        token_url: values.member_if_any("token_url"),
        default_scopes: scopes,
        provider_values: provider_values.into(),
        ..NewOAuthClient::default()
    }
}

/// The request for a client of another provider.
fn of_any(values: &FormValues) -> NewOAuthClient {
    NewOAuthClient {
        name: values.member("name"),
        client_id: values.member("client_id"),
        client_secret: values.secret_if_any("client_secret"),
        auth_url: values.member("auth_url"),
        token_url: values.member("token_url"),
        default_scopes: values.member("default_scopes"),
        grant_type: values.member("grant_type"),
        token_endpoint_auth_method: values.member("token_endpoint_auth_method"),
        ..NewOAuthClient::default()
    }
}

/// Names the fields of the values that an entry asks for in the faults that are about them.
fn beside_fields(refused: Refused, entry: Option<&ProviderEntry>) -> Refused {
    let (Refused::Faulty(mut faults), Some(entry)) = (refused.clone(), entry) else {
        return refused;
    };
    for fault in &mut faults {
        let Some(rest) = fault.title.strip_prefix("provider_values: ") else { continue };
        let named = |name: &str| Some(rest.strip_prefix(name)?.strip_prefix(' ')?.to_owned());
        let about = entry.asks.iter().find_map(|ask| Some((&ask.name, named(&ask.name)?)));
        if let Some((name, rule)) = about {
            fault.title = format!("{ASK}{name}: {rule}");
        }
    }
    Refused::Faulty(faults)
}

fn shown(
    context: &PageContext,
    entry: Option<&ProviderEntry>,
    values: &FormValues,
    status: StatusCode,
) -> Response {
    // 1. The fields: what the entry asks for, and what may differ from it.
    let known = entry.map(|entry| entry.clone().take_profile());
    let texts =
        ProfileTexts::of(&ProfileMembers { provider: Member::Absent, ..known.unwrap_or_default() });
    let asked: Vec<_> = entry.map(Asked::of).unwrap_or_default();
    let fields = match entry {
        Some(entry) => of_entry(entry, &asked),
        None => of_client(),
    };
    let mut more = entry.map(urls).unwrap_or_default();
    more.extend(profile::fields(&texts, false));
    let key = KeyValues::default();
    more.extend(key.fields().into_iter().filter(|_field| entry.is_none()));
    let all: Vec<_> = fields.iter().chain(&more).copied().collect();
    // 2. The page.
    let title = match entry {
        Some(entry) => format!("Create an OAuth client: {}", entry.title),
        None => "Create an OAuth client".to_owned(),
    };
    let markup = html! {
        p.way {
            a href=(context.path("/clients")) { "OAuth clients" } " / "
            a href=(context.path("/clients/new")) { "Provider" }
        }
        h1 { (title) }
        @if let Some(entry) = entry { p { (entry.notes) } }
        (callback(context))
        (summary(values, &all))
        form.stack method="post" action=(context.path("/clients/new")) {
            (context.mark())
            input type="hidden" name=(PROVIDER) value=(entry.map_or("", |entry| entry.name.as_str()));
            @for field in &fields { (field.show(values)) }
            @if let Some(entry) = entry {
                (details("What differs from the catalogue", &more, values))
                (sources(entry))
            } @else {
                (details("Where the provider differs from the standard", &more, values))
            }
            div.actions {
                button type="submit" { "Save" }
                a.button.quiet href=(context.path("/clients")) { "Cancel" }
            }
        }
    };
    context.page_with(status, Tab::Clients, &title, &markup)
}

/// Fields that few need, behind a summary; open where something is wrong with one.
pub(super) fn details(words: &str, fields: &[Field<'_>], values: &FormValues) -> Markup {
    let is_open = fields.iter().any(|field| values.faults_of(field.name).next().is_some());
    html! {
        details open[is_open] {
            summary { (words) }
            input type="hidden" name=(PROFILE) value="yes";
            @for field in fields { (field.show(values)) }
        }
    }
}

fn sources(entry: &ProviderEntry) -> Markup {
    html! {
        details {
            summary { "Where this is known from" }
            ul.plain { @for source in &entry.sources {
                li {
                    a href=(source.url) rel="noreferrer" { (source.url) } " (" (source.date) "): "
                    (source.says)
                }
            } }
        }
    }
}

/// A value that an entry asks for, in the words of its field.
struct Asked<'a> {
    field: String,
    hint: String,
    title: &'a str,
    is_optional: bool,
}

impl<'a> Asked<'a> {
    fn of(entry: &'a ProviderEntry) -> Vec<Self> {
        let asked = entry.asks.iter().map(|ask| {
            let open = " Leave it empty if each connection has its own.";
            let open = if ask.optional { open } else { "" };
            Self {
                field: format!("{ASK}{}", ask.name),
                hint: format!("Such as {}.{open}", ask.example),
                title: &ask.title,
                is_optional: ask.optional,
            }
        });
        asked.collect()
    }
}

/// The fields of a client of an entry.
fn of_entry<'a>(entry: &'a ProviderEntry, asked: &'a [Asked<'a>]) -> Vec<Field<'a>> {
    let is_public =
        entry.token_endpoint_auth_method.filled().unwrap_or_default() == AuthMethod::None.as_str();
    let mut fields = of_client();
    fields.retain(|field| OF_ENTRY.contains(&field.name));
    for field in &mut fields {
        match field.name {
            "name" => field.value = &entry.name,
            // A service account's file says it.
            "client_id" => field.need = if entry.has_key() { Need::Depends } else { Need::Always },
            "client_secret" if is_public => field.need = Need::Never,
            "client_secret" if entry.has_key() => field.label = "Private key",
            "client_secret" => field.hint = "It is sealed when it is saved, and never shown again.",
            "default_scopes" => field.value = entry.default_scopes.filled().unwrap_or_default(),
            _ => {}
        }
    }
    let asks = asked.iter().map(|asked| Field {
        name: &asked.field,
        label: asked.title,
        hint: &asked.hint,
        need: if asked.is_optional { Need::Never } else { Need::Always },
        ..Field::default()
    });
    fields.splice(1..1, asks);
    fields
}

/// The URLs of an entry, in the place of which others may be entered.
fn urls(entry: &ProviderEntry) -> Vec<Field<'_>> {
    let mut fields = of_client();
    fields.retain(|field| ["auth_url", "token_url"].contains(&field.name));
    for field in &mut fields {
        field.need = Need::Never;
        let url = if field.name == "auth_url" { &entry.auth_url } else { &entry.token_url };
        field.placeholder = url.filled().unwrap_or_default();
    }
    fields
}

/// The fields of a client of any provider.
#[expect(clippy::too_many_lines, reason = "a few lines for each field")]
pub(super) fn of_client() -> Vec<Field<'static>> {
    let field = |name, label, hint| Field { name, label, hint, ..Field::default() };
    vec![
        field("name", "Name", "3 to 64 of A-Z, a-z, 0-9, _ and -. You can’t change it later."),
        Field {
            name: "grant_type",
            label: "Grant type",
            kind: Kind::One(&[
                ("authorization_code", "Authorization code: somebody signs in and says yes"),
                ("client_credentials", "Client credentials: the client asks for itself"),
                ("jwt_bearer", "Signed assertion: a service account, or a user acted for"),
                ("github_app", "GitHub App: the tokens of an installation"),
            ]),
            ..Field::default()
        },
        Field {
            need: Need::Depends,
            ..field(
                "client_id",
                "Client ID",
                "What the provider calls the client. A service account’s file says it.",
            )
        },
        Field {
            kind: Kind::Secret,
            need: Need::Depends,
            ..field("client_secret", "Client secret", SECRET_HINT)
        },
        Field {
            need: Need::With("authorization code"),
            ..field(
                "auth_url",
                "Authorization URL",
                "Where somebody is asked. {subdomain} may stand in its host.",
            )
        },
        Field {
            need: Need::Depends,
            ..field(
                "token_url",
                "Token URL",
                "Where tokens are asked for. A service account’s file and an installation ID say it.",
            )
        },
        Field {
            need: Need::Never,
            ..field(
                "default_scopes",
                "Default scopes",
                "Separated by spaces; asked for unless a connection names others.",
            )
        },
        Field {
            name: "token_endpoint_auth_method",
            label: "How the secret is sent",
            kind: Kind::One(&METHODS),
            ..Field::default()
        },
    ]
}

const SECRET_HINT: &str = "A private key (PEM or JWK) and the JSON file of a service account are \
                           pasted whole. It is sealed when it is saved, and never shown again.";

/// The fields of a client that no entry decides.
const OF_ENTRY: [&str; 4] = ["name", "client_id", "client_secret", "default_scopes"];

/// The field that names the entry.
const PROVIDER: &str = "provider";

/// The prefix of the fields whose values an entry asks for.
const ASK: &str = "ask_";
