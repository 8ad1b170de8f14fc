//! The API's description (OpenAPI 3.1): what the handlers say of themselves, and what they have
//! in common.

mod shared;

use std::sync::LazyLock;

use utoipa::openapi::path::{Operation, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi, PathItem, Ref, RefOr,
    ServerBuilder,
};
use utoipa::{PartialSchema as _, ToSchema as _};

use self::shared::{SharedError, in_numbers, in_words};
use super::{oauth, routes};
use crate::model::remedy::FailureRemedy;
use crate::wire::{ErrorBody, NumberedErrors};

pub(super) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        // It is made of maps with texts for keys, which JSON can always say.
        serde_json::to_string(&describe()).unwrap_or_default()
    });
    &DOCUMENT
}

fn describe() -> OpenApi {
    let mut document = routes::description();
    document.info = InfoBuilder::new()
        .title("Keyferry")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(DESCRIPTION))
        .license(Some(
            LicenseBuilder::new().name("Apache-2.0").identifier(Some("Apache-2.0")).build(),
        ))
        .build();
    document.servers = Some(vec![ServerBuilder::new().url("/").build()]);
    let tags =
        TAGS.map(|(name, about)| TagBuilder::new().name(name).description(Some(about)).build());
    document.tags = Some(tags.to_vec());
    // 1. Each operation has what all have.
    let (words, numbers) = (in_words(), in_numbers());
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            if path.starts_with(oauth::PATHS) {
                complete_numbered(operation, path, &numbers);
            } else {
                complete(operation, path, &words);
            }
        }
    }
    // 2. Errors are schemas, and responses that operations refer to.
    let mut components = document.components.take().unwrap_or_default();
    let mut schemas = Vec::new();
    ErrorBody::schemas(&mut schemas);
    NumberedErrors::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.schemas.insert(ErrorBody::name().into_owned(), ErrorBody::schema());
    components.schemas.insert(NumberedErrors::name().into_owned(), NumberedErrors::schema());
    let shared = words.into_iter().chain(numbers).map(|shared| (shared.name, shared.response));
    // 3. The token.
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("kf_…")
        .description(Some("An access token"))
        .build();
    document.components = Some(
        ComponentsBuilder::from(components)
            .responses_from_iter(shared)
            .security_scheme("token", SecurityScheme::Http(bearer))
            .build(),
    );
    document
}

/// Adds what all operations have in common: their errors, and the token that they take.
fn complete(operation: &mut Operation, path: &str, errors: &[SharedError]) {
    let takes_token = path.starts_with("/api/");
    let names_something =
        path.ends_with("{name}") || path.ends_with("{id}") || path.ends_with("{request_id}");
    let has_body = operation.request_body.is_some();
    let has_query =
        operation.parameters.iter().flatten().any(
            |parameter| matches!(parameter, RefOr::T(known) if known.name.starts_with("page")),
        );
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let makes = id.starts_with("create_") || id.starts_with("rotate_");
    let conflicts = makes || id.starts_with("update_");
    let reads_query = [
        "list_keys",
        "show_server",
        "list_providers",
        "show_provider",
        "verify_events",
        "show_request",
        "request_stats",
    ];
    let reads_query = reads_query.contains(&id);
    // An error belongs to an operation by what the operation takes and does.
    for shared in errors {
        let belongs = match shared.status.as_str() {
            "400" => has_body || has_query || reads_query || path.contains("{integration}"),
            "401" | "403" | "429" | "500" | "503" => takes_token,
            "404" => names_something,
            "408" | "413" | "415" => has_body,
            "409" => conflicts,
            "422" => makes,
            _ => true,
        };
        if belongs {
            add(operation, shared);
        }
    }
    finish(operation, path, takes_token);
}

/// The same on OAuth's paths.
fn complete_numbered(operation: &mut Operation, path: &str, errors: &[SharedError]) {
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let takes_token = !OPEN.contains(&id);
    let (asks_account, starts) = (id == "account_token", id == "start_oauth_flow");
    let names_something = path.ends_with("{uuid}")
        || path.ends_with("refresh/{integration}")
        || path.ends_with("connections/{integration}");
    let has_body = operation.request_body.is_some();
    for shared in errors {
        let belongs = match shared.status.as_str() {
            "401" | "403" | "429" => takes_token || asks_account,
            "404" => names_something || starts,
            "408" | "413" | "415" => has_body,
            _ => true,
        };
        if belongs {
            add(operation, shared);
        }
    }
    finish(operation, path, takes_token);
}

fn add(operation: &mut Operation, shared: &SharedError) {
    let reference = Ref::from_response_name(shared.name);
    let known = operation.responses.responses.entry(shared.status.as_str().to_owned());
    known.or_insert_with(|| reference.into());
}

/// Adds the patterns of parameters, and the token.
fn finish(operation: &mut Operation, path: &str, takes_token: bool) {
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(pattern) = pattern(&parameter.name, path)
        {
            let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
            parameter.schema = Some(text.into());
        }
    }
    if SHOWING_TOKENS.iter().any(|shown| path.contains(shown)) {
        let text = ObjectBuilder::new().schema_type(Type::String);
        let field = ParameterBuilder::new()
            .name("X-Keyferry-Redact-Tokens")
            .parameter_in(ParameterIn::Header)
            .description(Some(
                "`true`: provider tokens are masked in the answer, whatever the token's scope",
            ))
            .schema(Some(text));
        operation.parameters.get_or_insert_default().push(field.build().into());
    }
    let none: [&str; 0] = [];
    let requirement = SecurityRequirement::new("token", none);
    operation.security = Some(if takes_token { vec![requirement] } else { Vec::new() });
}

/// Parts of the paths at which provider tokens may be shown.
const SHOWING_TOKENS: [&str; 5] = [
    "/connections/all",
    "/zis/connections/{integration}",
    "/oauth/access_codes/",
    "/connections/refresh/",
    "/oauth/tokens/",
];

/// The pattern of a parameter, where not every text will do.
fn pattern(parameter: &str, path: &str) -> Option<&'static str> {
    let finds_requests = path.ends_with("/requests");
    let is_filtered = ["/requests", "/stats", "/health"].iter().any(|end| path.ends_with(end));
    match parameter {
        // An empty filter selects all.
        "integration" if is_filtered || path.ends_with("/events") => Some("^([a-z0-9_-]{1,64})?$"),
        "integration" => Some("^[a-z0-9_-]{1,64}$"),
        "page[after]" | "page[before]" if path.ends_with("/audit") || finds_requests => {
            Some("^([0-9]{1,18}-[0-9]{1,9})?$")
        }
        "page[after]" | "page[before]" if path.ends_with("/events") => Some("^[0-9]{0,18}$"),
        "since" | "until" => Some(TIME_PATTERN),
        // The order of tokens, descending after a hyphen.
        "sort" => Some("^(-?(name|created_at|expires_at|last_used_at))?$"),
        "kind" => Some(KIND_PATTERN),
        "head" => Some("^[0-9]{1,18}:[0-9a-fA-F]{64}$"),
        "connection" | "operator" if path.ends_with("/events") => Some("^[^\\x00]*$"),
        "connection" if path.ends_with("/stats") => Some("^([A-Za-z0-9_-]{3,64})?$"),
        "connection" | "caller" | "method" if is_filtered => Some("^[^\\x00]*$"),
        "path" if finds_requests => Some("^(/[^\\x00]*)?$"),
        "status" if finds_requests => Some("^([1-5]xx|[0-9]{1,3})?$"),
        "decision" => Some("^(allow|refuse|failed)?$"),
        "code" if finds_requests => Some(&CODE_PATTERN),
        "by" => Some("^(minute|hour)?$"),
        "per" => Some("^(caller)?$"),
        "state" if is_filtered => {
            Some("^(attention|refused|works|unused|failing|authorize|broken|off)?$")
        }
        "search" if path.ends_with("/tokens") => Some("^[^\\x00]*$"),
        "page[after]" | "page[before]" => Some("^[^\\x00]*$"),
        _ => None,
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, patch, delete, .. } = item;
    [get, post, patch, delete].into_iter().flatten()
}

/// Times of RFC 3339 in UTC, on days that every month has.
const TIME_PATTERN: &str = "^([0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])\
    T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,6})?Z)?$";

/// The kinds of events, and the words with which they begin.
const KIND_PATTERN: &str = "^((ca|client|connection|flow|key|session|token)|(ca|key)\\.rotate|\
    client\\.(create|delete|update)|connection\\.(create|delete|refresh|reveal|update)|\
    flow\\.(callback|exchange|redirect|start)|session\\.sign_(in|out)|token\\.(create|revoke))?$";

/// The codes of refusals.
static CODE_PATTERN: LazyLock<String> =
    LazyLock::new(|| format!("^({})?$", FailureRemedy::codes().collect::<Vec<_>>().join("|")));

/// Operations on OAuth's paths that take no token.
const OPEN: [&str; 4] =
    ["account_token", "oauth_callback", "posted_oauth_callback", "start_oauth_redirect"];

const DESCRIPTION: &str = "Manages what the proxy injects: connections, the access tokens of \
those who use them, and the master keys under which secrets are sealed.\n\nEvery request under \
`/api` needs `Authorization: Bearer` and an access token with the scope that goes with the \
method: `read` for GET, `write` for what changes something; `audit` for requests, counts and \
events; `admin` for tokens, keys and all of these. An integration's token opens that integration alone.\n\nBodies are JSON objects of at most 64 KiB; \
unknown members and members that are there twice are refused, and one answer lists everything \
that is wrong. Secrets go in and never come out: answers show `*****`. Every answer has an \
`X-Request-Id`, the one that the request came with or a new one.";

const TAGS: [(&str, &str); 9] = [
    ("connections", "Stored credentials, each for one domain"),
    ("oauth", "OAuth clients, flows, and the connections that come of them"),
    ("tokens", "Access tokens"),
    ("keys", "Master keys"),
    ("ca", "The interception CA"),
    ("explain", "What the proxy would do"),
    ("audit", "What the proxy has done"),
    ("events", "What operators did"),
    ("server", "The server itself; no token is needed"),
];
