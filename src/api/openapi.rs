//! The API's description (OpenAPI 3.1): what the handlers say of themselves, and what they have
//! in common.

use std::sync::LazyLock;

use serde_json::{Value, json};
use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::Type;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{
    ComponentsBuilder, ContentBuilder, InfoBuilder, LicenseBuilder, ObjectBuilder, OpenApi,
    PathItem, Ref, RefOr, Response, ResponseBuilder, ServerBuilder,
};

use super::error::Errors;
use super::routes;

/// The description as JSON.
pub(super) fn document() -> &'static str {
    static DOCUMENT: LazyLock<String> = LazyLock::new(|| {
        // It is made of maps with texts for keys, which JSON can always say.
        serde_json::to_string(&describe()).unwrap_or_default()
    });
    &DOCUMENT
}

/// An error that several operations have in common.
struct Shared {
    name: &'static str,
    status: &'static str,
    when: &'static str,
    code: &'static str,
    title: &'static str,
    field: Option<(&'static str, &'static str)>,
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
    for (path, item) in &mut document.paths.paths {
        for operation in operations(item) {
            complete(operation, path);
        }
    }
    let mut components = document.components.take().unwrap_or_default();
    let mut schemas = Vec::new();
    Errors::schemas(&mut schemas);
    components.schemas.extend(schemas);
    components.schemas.insert(Errors::name().into_owned(), Errors::schema());
    let shared = SHARED.iter().map(|shared| (shared.name, shared.response()));
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

/// What goes without saying in each handler: its errors, and who may use it.
fn complete(operation: &mut Operation, path: &str) {
    let takes_token = path.starts_with("/api/");
    let names_something = path.ends_with("{name}") || path.ends_with("{id}");
    let has_body = operation.request_body.is_some();
    let has_query =
        operation.parameters.iter().flatten().any(
            |parameter| matches!(parameter, RefOr::T(known) if known.name.starts_with("page")),
        );
    let id = operation.operation_id.as_deref().unwrap_or_default();
    let makes = id.starts_with("create_") || id.starts_with("rotate_");
    let conflicts = makes && id != "create_token" || id.starts_with("update_");
    for shared in SHARED {
        let belongs = match shared.status {
            "400" => has_body || has_query || path.contains("{integration}"),
            "401" | "403" | "429" | "500" | "503" => takes_token,
            "404" => names_something,
            "408" | "413" | "415" => has_body,
            "409" => conflicts,
            "422" => makes,
            _ => true,
        };
        if belongs {
            let reference = Ref::from_response_name(shared.name);
            let known = operation.responses.responses.entry(shared.status.to_owned());
            known.or_insert_with(|| reference.into());
        }
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        if let RefOr::T(parameter) = parameter
            && let Some(pattern) = pattern(&parameter.name, path)
        {
            let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
            parameter.schema = Some(text.into());
        }
    }
    let none: [&str; 0] = [];
    let requirement = SecurityRequirement::new("token", none);
    operation.security = Some(if takes_token { vec![requirement] } else { Vec::new() });
}

/// What a parameter's text must look like, where not every text will do.
fn pattern(parameter: &str, path: &str) -> Option<&'static str> {
    match parameter {
        "integration" => Some("^[a-z0-9_-]{1,64}$"),
        "page[after]" | "page[before]" if path.ends_with("/audit") => {
            Some("^([0-9]{1,18}-[0-9]{1,9})?$")
        }
        "page[after]" | "page[before]" => Some("^[^\\x00]*$"),
        _ => None,
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    let PathItem { get, post, patch, delete, .. } = item;
    [get, post, patch, delete].into_iter().flatten()
}

impl Shared {
    fn response(&self) -> Response {
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(Errors::name())))
            .example(Some(self.example()))
            .build();
        let response =
            ResponseBuilder::new().description(self.when).content("application/json", content);
        match self.field {
            Some((name, about)) => {
                let header = HeaderBuilder::new()
                    .schema(Some(String::schema()))
                    .description(Some(about))
                    .build();
                response.header(name, header).build()
            }
            None => response.build(),
        }
    }

    fn example(&self) -> Value {
        json!({"errors": [{"code": self.code, "title": self.title}]})
    }
}

const DESCRIPTION: &str = "Manages what the proxy injects: connections, the access tokens of \
those who use them, and the master keys under which secrets are sealed.\n\nEvery request under \
`/api` needs `Authorization: Bearer` and an access token with the scope that goes with the \
method: `read` for GET, `write` for what changes something; `admin` for tokens, keys and the audit trail. An \
integration's token opens that integration alone.\n\nBodies are JSON objects of at most 64 KiB; \
unknown members and members that are there twice are refused, and one answer lists everything \
that is wrong. Secrets go in and never come out: answers show `*****`. Every answer has an \
`X-Request-Id`, the one that the request came with or a new one.";

const TAGS: [(&str, &str); 7] = [
    ("connections", "Stored credentials, each for one domain"),
    ("tokens", "Access tokens"),
    ("keys", "Master keys"),
    ("ca", "The interception CA"),
    ("explain", "What the proxy would do"),
    ("audit", "What the proxy has done"),
    ("server", "The server itself; no token is needed"),
];

const RETRY_AFTER: (&str, &str) = ("Retry-After", "Seconds to wait");

const SHARED: &[Shared] = &[
    Shared {
        name: "Invalid",
        status: "400",
        when: "The request is wrong; every fault is listed",
        code: "InvalidIntegration",
        title: "Specified integration is not valid",
        field: None,
    },
    Shared {
        name: "Unauthorized",
        status: "401",
        when: "There is no token, it is not known here, or it is of another integration",
        code: "InvalidCredentials",
        title: "Token length is invalid",
        field: Some(("WWW-Authenticate", "Bearer")),
    },
    Shared {
        name: "Forbidden",
        status: "403",
        when: "The token lacks the scope, or the connection is declared in the configuration",
        code: "Forbidden",
        title: "Cannot access this resource. Missing scope write",
        field: None,
    },
    Shared {
        name: "NotFound",
        status: "404",
        when: "There is no such thing within the token's reach",
        code: "NotFound",
        title: "Connection does not exist",
        field: None,
    },
    Shared {
        name: "BodyTimeout",
        status: "408",
        when: "The body took longer than half a minute",
        code: "BodyTimeout",
        title: "The request body took too long",
        field: None,
    },
    Shared {
        name: "Conflict",
        status: "409",
        when: "The name is taken, or somebody else changed the same thing at the same time",
        code: "Conflict",
        title: "Resource conflict",
        field: None,
    },
    Shared {
        name: "BodyTooLarge",
        status: "413",
        when: "The body is larger than 64 KiB",
        code: "BodyTooLarge",
        title: "A request body is at most 65536 bytes",
        field: None,
    },
    Shared {
        name: "UnsupportedMediaType",
        status: "415",
        when: "The body is not said to be JSON",
        code: "UnsupportedMediaType",
        title: "The request body must be JSON: Content-Type: application/json",
        field: None,
    },
    Shared {
        name: "MisdirectedRequest",
        status: "421",
        when: "The Host field is none of the API's names",
        code: "MisdirectedRequest",
        title: "The Host field is none of the API's names; the operator can add it to api.allowed_hosts",
        field: None,
    },
    Shared {
        name: "StoreNeeded",
        status: "422",
        when: "The server has no store",
        code: "StoreNeeded",
        title: "This server keeps nothing: the operator sets store.url in the configuration to a database, as sqlite:keyferry.db, and starts it anew",
        field: None,
    },
    Shared {
        name: "TooManyRequests",
        status: "429",
        when: "The token has made too many requests, or the address too many in vain",
        code: "TooManyRequests",
        title: "Too many requests",
        field: Some(RETRY_AFTER),
    },
    Shared {
        name: "Failed",
        status: "500",
        when: "It failed, and the server's log says why",
        code: "SealBroken",
        title: "The secret that is kept can't be opened: enter it again",
        field: None,
    },
    Shared {
        name: "StoreUnavailable",
        status: "503",
        when: "The store can't be reached",
        code: "StoreUnavailable",
        title: "The store can't be reached; try again",
        field: Some(RETRY_AFTER),
    },
];
