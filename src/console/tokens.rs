//! Access tokens: made, shown once, revoked.

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use maud::{Markup, html};

use super::fields::{Field, Kind, Need, summary};
use super::form_values::FormValues;
use super::layout::Tab;
use super::options;
use super::page_context::{PageContext, PageError, PageResult, see};
use super::status_view;
use crate::management::{CreatedToken, TOKEN_ORDERS, TokenAdmin, TokenQuery};
use crate::model::record::TokenRecord;
use crate::store::PageRange;
use crate::wire::{NewToken, RuleMembers};

pub(super) async fn list(context: PageContext) -> PageResult {
    page(&context, &FormValues::default(), None, StatusCode::OK).await
}

/// Makes one, and shows it this once.
pub(super) async fn create(context: PageContext, form: Request) -> PageResult {
    let mut values = context.read(form).await?;
    let Some(rules) = options::rules(&mut values) else {
        return page(&context, &values, None, StatusCode::BAD_REQUEST).await;
    };
    let request = request(&values, rules, context.management().now());
    match token_admin(&context)?.create(request).await {
        Ok(granted) => {
            page(&context, &FormValues::default(), Some(&granted), StatusCode::CREATED).await
        }
        Err(refused) => {
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
            page(&context, &values, None, StatusCode::BAD_REQUEST).await
        }
    }
}

pub(super) async fn revoke(context: PageContext, request: Request) -> PageResult {
    context.read(request).await?;
    let revoked = token_admin(&context)?.revoke(context.place("id")).await;
    revoked.map_err(|refused| context.refuse(refused))?;
    Ok(see(&context.path("/tokens?done=revoked")))
}

fn token_admin(context: &PageContext) -> Result<TokenAdmin<'_>, PageError> {
    context.management().token_admin(&context.operator).map_err(|refused| context.refuse(refused))
}

/// The token that was asked for.
fn request(values: &FormValues, rules: Vec<RuleMembers>, now: Timestamp) -> NewToken {
    let names = values.text("connections").split([' ', ',', '\n', '\r', '\t']);
    let names: Vec<_> = names.filter(|name| !name.is_empty()).map(str::to_owned).collect();
    NewToken {
        name: values.member("name"),
        integration: values.member("integration"),
        scopes: values.all("scopes").map(str::to_owned).collect::<Vec<_>>().into(),
        connections: Some(names).filter(|names| !names.is_empty()).into(),
        expires_at: match values.text("expires_at").parse::<u16>() {
            Ok(days) => {
                let end = now.saturating_add(SignedDuration::from_hours(24 * i64::from(days)));
                end.unwrap_or(Timestamp::MAX).to_string().into()
            }
            // Another value is for management to judge, and makes no token without end.
            Err(_) => values.member_if_any("expires_at"),
        },
        rules: Some(rules).filter(|rules| !rules.is_empty()).into(),
    }
}

async fn page(
    context: &PageContext,
    values: &FormValues,
    granted: Option<&CreatedToken>,
    status: StatusCode,
) -> Result<Response, PageError> {
    let after = Some(context.query("after")).filter(|id| !id.is_empty()).map(str::to_owned);
    let window = PageRange { after, before: None, limit: PER_PAGE };
    // One page of tokens, and the form of a new one below it.
    let query = TokenQuery {
        search: context.query("q").trim().to_owned(),
        sort: context.query("sort").to_owned(),
    };
    let listing = token_admin(context)?.find_all(&query, &window).await;
    let listing = listing.map_err(|refused| context.refuse(refused))?;
    let last = listing.items.last().map(|token| token.id);
    let markup = html! {
        h1 { "Access tokens" }
        @if let Some(granted) = granted { (shown_once(granted)) }
        (search(context, &query))
        @if listing.items.is_empty() && !query.search.is_empty() {
            p.empty { "No token has that in its name, scopes or connections. " a href=(context.path("/tokens")) { "Show all" } }
        } @else if listing.items.is_empty() {
            p.empty { "No token is kept here. The one in admin.token, and those that the configuration declares, are not among them." }
        } @else {
            (table(context, &query, &listing.items))
            @if let (true, Some(last)) = (listing.has_more, last) {
                nav.pages aria-label="Pages" {
                    a.button.quiet href=(at(context, &query, &query.sort, Some(&last.to_string()))) { "Next" }
                }
            }
        }
        (creation(context, values))
    };
    Ok(context.page_with(status, Tab::Tokens, "Access tokens", &markup))
}

/// The only page that a new token is ever on.
fn shown_once(granted: &CreatedToken) -> Markup {
    let secret = String::from_utf8_lossy(granted.secret.expose());
    html! {
        div.notice role="status" data-once {
            p { strong { (granted.record.name) } " is made. Copy it now: it is not shown again." }
            p.copy { code { (secret) } }
            @for warning in &granted.warnings { p { "Warning: " (warning) "." } }
        }
    }
}

/// The address of the list with this order, after the token with this id.
fn at(context: &PageContext, query: &TokenQuery, sort: &str, after: Option<&str>) -> String {
    let mut pairs = form_urlencoded::Serializer::new(String::new());
    let given = [("q", &*query.search), ("sort", sort), ("after", after.unwrap_or_default())];
    pairs.extend_pairs(given.into_iter().filter(|(_, value)| !value.is_empty()));
    format!("{}?{}", context.path("/tokens"), pairs.finish())
}

fn search(context: &PageContext, query: &TokenQuery) -> Markup {
    html! {
        form.filters method="get" action=(context.path("/tokens")) role="search" aria-label="Access tokens" {
            label for="q" { "Search" }
            input #q name="q" type="search" value=(query.search) autocomplete="off" spellcheck="false"
                placeholder="name, scope or connection";
            @if !query.sort.is_empty() { input type="hidden" name="sort" value=(query.sort); }
            button.quiet type="submit" { "Search" }
        }
    }
}

/// The head of a column by which the list is sorted: upwards first, then downwards.
fn sorted(context: &PageContext, query: &TokenQuery, member: &str, title: &str) -> Markup {
    let is_up = query.sort == member;
    let next = if is_up { format!("-{member}") } else { member.to_owned() };
    let mark = match query.sort.strip_prefix('-') {
        Some(name) if name == member => " ↓",
        _ if is_up => " ↑",
        _ => "",
    };
    html! { a href=(at(context, query, &next, None)) { (title) } (mark) }
}

/// The value of `aria-sort` at that head.
fn direction(query: &TokenQuery, member: &str) -> Option<&'static str> {
    match query.sort.strip_prefix('-') {
        Some(name) if name == member => Some("descending"),
        None if query.sort == member => Some("ascending"),
        _ => None,
    }
}

fn table(context: &PageContext, query: &TokenQuery, tokens: &[TokenRecord]) -> Markup {
    let [name, created, ends, used] = TOKEN_ORDERS;
    html! {
        table.rows {
            caption.unseen { "Access tokens" }
            thead { tr {
                th scope="col" aria-sort=[direction(query, name)] { (sorted(context, query, name, "Name")) }
                th scope="col" { "Scopes" }
                th.medium scope="col" { "Reaches" }
                th.medium scope="col" aria-sort=[direction(query, ends)] { (sorted(context, query, ends, "Ends")) }
                th.wide scope="col" aria-sort=[direction(query, created)] { (sorted(context, query, created, "Created")) }
                th.wide scope="col" aria-sort=[direction(query, used)] { (sorted(context, query, used, "Last used")) }
                th scope="col" { span.unseen { "Revoke" } }
            } }
            tbody { @for token in tokens { (row(context, token)) } }
        }
    }
}

fn row(context: &PageContext, token: &TokenRecord) -> Markup {
    let listed = token.reach.connections();
    let scopes: Vec<_> = token.scopes.names().collect();
    let ended = token.expires_at.is_some_and(|end| end <= context.management().now());
    // On a narrow screen the less important cells are left out.
    html! {
        tr {
            th scope="row" {
                (token.name)
                div.narrow { "created " (status_view::time(token.created_at)) }
            }
            td { (scopes.join(", ")) }
            td.medium {
                (match token.reach.integration() { "*" => "all integrations", one => one })
                @if let Some(names) = &listed { ": " (names.join(", ")) }
                @for rule in token.rules.written() { div { code { (rule.to_string()) } } }
            }
            td.medium {
                @if let Some(end) = token.expires_at { (status_view::time(end)) @if ended { " " span.state.idle { "ended" } } } @else { "never" }
            }
            td.wide { (status_view::time(token.created_at)) }
            td.wide {
                @if let Some(at) = token.last_used_at { (status_view::time(at)) } @else { span.none { "–" } }
                @if let Some(connection) = &token.last_used_for { div { "for " (connection) } }
            }
            td.act {
                form method="post" action=(context.path(&format!("/tokens/{}/revoke", token.id))) {
                    (context.mark())
                    button.quiet.danger type="submit" data-sure="Revoke for good?" aria-label=(format!("Revoke {}", token.name)) { "Revoke" }
                }
            }
        }
    }
}

fn creation(context: &PageContext, values: &FormValues) -> Markup {
    // A token of one integration can create only tokens of the same.
    let own = context.operator.bound_to().map_or_else(|| context.integration(), |own| own.as_str());
    let listed =
        "Names, separated by spaces; under * as integration.name. Without any it reaches all.";
    let fields = [
        Field::text("name", "Name", "Who or what uses it; Activity and the log show it."),
        Field { value: own, ..Field::text("integration", "Integration", "One, or * for all.") },
        Field { need: Need::Never, ..Field::text("connections", "Only these connections", listed) },
        Field { kind: Kind::One(&LIFETIMES), ..Field::text("expires_at", "Ends", "") },
        options::rules_field(""),
    ];
    html! {
        section aria-labelledby="create" {
            h2 #create { "Create a token" }
            (summary(values, &[fields.as_slice(), &[Field::text("scopes", "", "")]].concat()))
            form.stack method="post" action=(context.path("/tokens")) {
                (context.mark())
                @for field in fields.get(..2).unwrap_or_default() { (field.show(values)) }
                (scopes(values))
                @for field in fields.get(2..).unwrap_or_default() { (field.show(values)) }
                div.actions { button type="submit" { "Create" } }
            }
        }
    }
}

fn scopes(values: &FormValues) -> Markup {
    let known = [
        ("proxy", "send requests through the proxy"),
        ("read", "see connections"),
        ("write", "create, change and delete connections"),
        ("audit", "see what requests did and who changed what, and nothing else"),
        ("admin", "everything, tokens included"),
    ];
    let faults: Vec<_> = values.faults_of("scopes").map(str::to_owned).collect();
    let none = values.text("name").is_empty();
    html! {
        fieldset {
            legend { "Scopes" }
            @for fault in &faults { p.fault { (crate::error::capitalized(fault)) "." } }
            @for (scope, words) in known {
                @let checked = values.all("scopes").any(|chosen| chosen == scope) || (none && scope == "proxy");
                div.check {
                    input id=(format!("scope-{scope}")) type="checkbox" name="scopes" value=(scope) checked[checked];
                    label for=(format!("scope-{scope}")) { code { (scope) } " – " (words) }
                }
            }
        }
    }
}

/// In days.
const LIFETIMES: [(&str, &str); 6] = [
    ("", "never"),
    ("1", "in a day"),
    ("7", "in a week"),
    ("30", "in 30 days"),
    ("90", "in 90 days"),
    ("365", "in a year"),
];
const PER_PAGE: u32 = 100;
