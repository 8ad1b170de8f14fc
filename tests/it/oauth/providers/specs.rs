//! The strictness of each provider, and the client that fits it.

use serde_json::json;

use super::Case;
use crate::support::strict::{Challenge, ID, Returns, Shows, Spec};

/// A provider whose facts are these, and a client with these members.
fn case(spec: Spec, client: serde_json::Value) -> Case {
    Case { spec, client, subdomain: None, refreshes: true }
}

fn given(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
    pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
}

/// Tokens for half an hour, and lifetimes only where they are asked for.
pub(in crate::oauth) fn zendesk() -> Case {
    let spec = zendesk_with(&[("expires_in", "1800"), ("refresh_token_expires_in", "2592000")]);
    let client = json!({
        "auth_url": "https://{subdomain}.zendesk.com/oauth/authorizations/new",
        "token_url": "https://{subdomain}.zendesk.com/oauth/tokens", "default_scopes": "read",
        "token_params": {"expires_in": "1800", "refresh_token_expires_in": "2592000"},
        "refresh_params": {"expires_in": "1800", "refresh_token_expires_in": "2592000"},
    });
    Case { subdomain: Some("acme"), ..case(spec, client) }
}

/// The same where these lives are asked for. A refresh deletes the access token of before
/// (<https://support.zendesk.com/hc/en-us/articles/9182123625370>).
pub(in crate::oauth) fn zendesk_with(lives: &[(&'static str, &str)]) -> Spec {
    Spec {
        authorize: "/oauth/authorizations/new",
        token: "/oauth/tokens",
        needs: given(lives),
        needs_on_refresh: given(lives),
        says: |access, refresh, said| {
            let mut answer =
                json!({"access_token": access, "refresh_token": refresh, "token_type": "bearer"});
            for name in ["expires_in", "refresh_token_expires_in"] {
                if let Some(seconds) = said.get(name).and_then(|value| value.as_str()) {
                    answer[name] = seconds.parse::<u64>().unwrap().into();
                }
            }
            answer
        },
        replaces: true,
        ..Spec::at(&["acme.zendesk.com"])
    }
}

/// A verifier of a client that has a secret is refused as an unknown client.
pub(super) fn linkedin() -> Case {
    let spec = Spec {
        authorize: "/oauth/v2/authorization",
        token: "/oauth/v2/accessToken",
        challenge: Challenge::Refused,
        rotates: false,
        ..Spec::at(&["www.linkedin.com", "api.linkedin.com"])
    };
    let client = json!({
        "auth_url": "https://www.linkedin.com/oauth/v2/authorization",
        "token_url": "https://www.linkedin.com/oauth/v2/accessToken", "pkce": "off",
        "default_lifetime": "60d", "refresh_token_lifetime": "365d",
    });
    case(spec, client)
}

fn slack(user: bool) -> Case {
    let spec = Spec {
        authorize: if user { "/oauth/v2_user/authorize" } else { "/oauth/v2/authorize" },
        token: if user { "/api/oauth.v2.user.access" } else { "/api/oauth.v2.access" },
        asks: given(&[("scope", "chat:write,users:read")]),
        challenge: Challenge::Refused,
        says: if user {
            |access, refresh, _said| {
                json!({"ok": true, "authed_user": {"access_token": access,
                    "refresh_token": refresh, "expires_in": 43200, "token_type": "user"}})
            }
        } else {
            |access, refresh, _said| {
                json!({"ok": true, "access_token": access, "refresh_token": refresh,
                    "expires_in": 43200, "token_type": "bot"})
            }
        },
        dead: (200, json!({"ok": false, "error": "invalid_refresh_token"})),
        ..Spec::at(&["slack.com"])
    };
    let mut client = json!({
        "auth_url": format!("https://slack.com{}", spec.authorize),
        "token_url": format!("https://slack.com{}", spec.token),
        "default_scopes": "chat:write users:read", "scope_separator": ",", "pkce": "off",
    });
    if user {
        client["token_path"] = "/authed_user/access_token".into();
        client["refresh_token_path"] = "/authed_user/refresh_token".into();
        client["expires_in_path"] = "/authed_user/expires_in".into();
    }
    case(spec, client)
}

pub(super) fn slack_bot() -> Case {
    slack(false)
}

pub(super) fn slack_user() -> Case {
    slack(true)
}

/// JSON in, and the client in `Authorization`.
pub(super) fn notion() -> Case {
    let spec = Spec {
        authorize: "/v1/oauth/authorize",
        token: "/v1/oauth/token",
        asks: given(&[("owner", "user")]),
        shows: Shows::Basic,
        takes_json: true,
        says: |access, refresh, _said| {
            json!({"access_token": access, "refresh_token": refresh, "token_type": "bearer",
                "bot_id": "b", "workspace_id": "w"})
        },
        ..Spec::at(&["api.notion.com"])
    };
    let client = json!({
        "auth_url": "https://api.notion.com/v1/oauth/authorize",
        "token_url": "https://api.notion.com/v1/oauth/token",
        "token_endpoint_auth_method": "client_secret_basic", "token_request_format": "json",
        "auth_params": {"owner": "user"},
    });
    case(spec, client)
}

/// The token goes into a field of the shop's own, and ends only where that is asked for.
pub(super) fn shopify_with_expiring_tokens() -> Case {
    let spec = Spec {
        authorize: "/admin/oauth/authorize",
        token: "/admin/oauth/access_token",
        asks: given(&[("scope", "read_products,write_products")]),
        needs: given(&[("expiring", "1")]),
        says: |access, refresh, _said| {
            json!({"access_token": access, "scope": "read_products", "expires_in": 3600,
                "refresh_token": refresh, "refresh_token_expires_in": 2_592_000})
        },
        carries: |token| given(&[("x-shopify-access-token", token), ("authorization", "")]),
        ..Spec::at(&["acme-shop.myshopify.com"])
    };
    let client = json!({
        "auth_url": "https://{subdomain}.myshopify.com/admin/oauth/authorize",
        "token_url": "https://{subdomain}.myshopify.com/admin/oauth/access_token",
        "default_scopes": "read_products write_products", "scope_separator": ",",
        "token_params": {"expiring": "1"},
        "inject": [
            {"in": "header", "name": "X-Shopify-Access-Token", "value": "{access_token}"},
        ],
    });
    Case { subdomain: Some("acme-shop"), ..case(spec, client) }
}

/// Tokens are refreshed at another URL.
pub(super) fn figma() -> Case {
    let spec = Spec {
        authorize: "/oauth",
        token: "/v1/oauth/token",
        refresh: Some("/v1/oauth/refresh"),
        asks: given(&[("scope", "current_user:read,file_content:read")]),
        shows: Shows::Basic,
        challenge: Challenge::Refused,
        rotates: false,
        says: |access, refresh, _said| {
            json!({"access_token": access, "refresh_token": refresh, "expires_in": 7_776_000,
                "user_id_string": "1"})
        },
        ..Spec::at(&["www.figma.com", "api.figma.com"])
    };
    let client = json!({
        "auth_url": "https://www.figma.com/oauth",
        "token_url": "https://api.figma.com/v1/oauth/token",
        "refresh_url": "https://api.figma.com/v1/oauth/refresh",
        "token_endpoint_auth_method": "client_secret_basic", "scope_separator": ",", "pkce": "off",
        "default_scopes": "current_user:read file_content:read",
    });
    case(spec, client)
}

/// The client is called by another name, and the scopes are joined by commas.
pub(super) fn tiktok() -> Case {
    let spec = Spec {
        authorize: "/v2/auth/authorize/",
        token: "/v2/oauth/token/",
        asks: given(&[("client_key", ID), ("scope", "user.info.basic,video.list")]),
        needs: given(&[("client_key", ID)]),
        needs_on_refresh: given(&[("client_key", ID)]),
        challenge: Challenge::Refused,
        ..Spec::at(&["www.tiktok.com", "open.tiktokapis.com"])
    };
    let own = json!({"client_key": "{client_id}"});
    let client = json!({
        "auth_url": "https://www.tiktok.com/v2/auth/authorize/",
        "token_url": "https://open.tiktokapis.com/v2/oauth/token/",
        "auth_params": own, "token_params": own, "refresh_params": own,
        "default_scopes": "user.info.basic video.list", "scope_separator": ",", "pkce": "off",
    });
    case(spec, client)
}

/// Without the scope a refresh is refused (AADSTS90009).
pub(super) fn entra_with_a_custom_api() -> Case {
    let scopes = "api://things/.default offline_access";
    let spec = Spec {
        authorize: "/contoso/oauth2/v2.0/authorize",
        token: "/contoso/oauth2/v2.0/token",
        asks: given(&[("scope", scopes)]),
        needs_on_refresh: given(&[("scope", scopes)]),
        dead: (
            400,
            json!({"error": "interaction_required", "error_codes": [700_082],
                "error_description": "AADSTS700082: The refresh token has expired."}),
        ),
        ..Spec::at(&["login.microsoftonline.com", "things.contoso.example"])
    };
    let client = json!({
        "auth_url": "https://login.microsoftonline.com/contoso/oauth2/v2.0/authorize",
        "token_url": "https://login.microsoftonline.com/contoso/oauth2/v2.0/token",
        "default_scopes": scopes, "scope_on_refresh": true,
    });
    case(spec, client)
}

pub(super) fn auth0_with_an_audience() -> Case {
    let spec = Spec {
        token: "/oauth/token",
        asks: given(&[("audience", "https://api.acme.example/")]),
        issuer: Some("https://acme.eu.auth0.com/".to_owned()),
        dead: (
            403,
            json!({"error": "invalid_grant",
                "error_description": "Unknown or invalid refresh token."}),
        ),
        ..Spec::at(&["acme.eu.auth0.com", "api.acme.example"])
    };
    let client = json!({
        "auth_url": "https://acme.eu.auth0.com/authorize",
        "token_url": "https://acme.eu.auth0.com/oauth/token",
        "auth_params": {"audience": "https://api.acme.example/"},
        "issuer": "https://acme.eu.auth0.com/",
    });
    case(spec, client)
}

pub(super) fn zoom() -> Case {
    let spec = Spec {
        authorize: "/oauth/authorize",
        token: "/oauth/token",
        shows: Shows::Basic,
        dead: (400, json!({"reason": "Invalid Token!", "error": "invalid_request"})),
        ..Spec::at(&["zoom.us", "api.zoom.us"])
    };
    let client = json!({
        "auth_url": "https://zoom.us/oauth/authorize", "token_url": "https://zoom.us/oauth/token",
        "token_endpoint_auth_method": "client_secret_basic", "refresh_token_lifetime": "90d",
    });
    case(spec, client)
}

pub(super) fn zoho_in_europe() -> Case {
    let spec = Spec {
        authorize: "/oauth/v2/auth",
        token: "/oauth/v2/token",
        asks: given(&[
            ("access_type", "offline"),
            ("prompt", "consent"),
            ("scope", "ZohoCRM.modules.READ,ZohoCRM.users.READ"),
        ]),
        rotates: false,
        dead: (200, json!({"error": "invalid_code"})),
        ..Spec::at(&["accounts.zoho.eu", "www.zohoapis.eu"])
    };
    let client = json!({
        "auth_url": "https://accounts.zoho.eu/oauth/v2/auth",
        "token_url": "https://accounts.zoho.eu/oauth/v2/token",
        "auth_params": {"access_type": "offline", "prompt": "consent"}, "scope_separator": ",",
        "default_scopes": "ZohoCRM.modules.READ ZohoCRM.users.READ",
        "dead_grant_codes": ["invalid_code"],
    });
    case(spec, client)
}

pub(super) fn atlassian() -> Case {
    let spec = Spec {
        token: "/oauth/token",
        asks: given(&[("audience", "api.atlassian.com"), ("prompt", "consent")]),
        dead: (
            403,
            json!({"error": "unauthorized_client", "error_description": "refresh_token is invalid"}),
        ),
        ..Spec::at(&["auth.atlassian.com", "api.atlassian.com"])
    };
    let client = json!({
        "auth_url": "https://auth.atlassian.com/authorize",
        "token_url": "https://auth.atlassian.com/oauth/token",
        "auth_params": {"audience": "api.atlassian.com", "prompt": "consent"},
        "refresh_on_status": [401, 403, 404], "dead_grant_codes": ["unauthorized_client"],
    });
    case(spec, client)
}

pub(super) fn hubspot() -> Case {
    let spec = Spec {
        authorize: "/oauth/authorize",
        token: "/oauth/v3/token",
        rotates: false,
        dead: (
            400,
            json!({"status": "BAD_REFRESH_TOKEN", "message": "missing or unknown refresh token"}),
        ),
        ..Spec::at(&["app.hubspot.com", "api.hubapi.com"])
    };
    let client = json!({
        "auth_url": "https://app.hubspot.com/oauth/authorize",
        "token_url": "https://api.hubapi.com/oauth/v3/token",
        "dead_grant_codes": ["BAD_REFRESH_TOKEN", "BAD_HUB"],
    });
    case(spec, client)
}

pub(super) fn xero() -> Case {
    let spec = Spec {
        authorize: "/identity/connect/authorize",
        token: "/connect/token",
        asks: given(&[("scope", "offline_access openid")]),
        ..Spec::at(&["login.xero.com", "identity.xero.com", "api.xero.com"])
    };
    let client = json!({
        "auth_url": "https://login.xero.com/identity/connect/authorize",
        "token_url": "https://identity.xero.com/connect/token",
        "default_scopes": "offline_access openid", "refresh_token_lifetime": "60d",
    });
    case(spec, client)
}

/// An OAuth app: its tokens have no end, and are not refreshed.
pub(in crate::oauth) fn github() -> Case {
    let spec = Spec {
        authorize: "/login/oauth/authorize",
        token: "/login/oauth/access_token",
        says: |access, _refresh, _said| json!({"access_token": access, "scope": "repo,gist", "token_type": "bearer"}),
        ..Spec::at(&["github.com", "api.github.com"])
    };
    let client = json!({
        "auth_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token",
    });
    Case { refreshes: false, ..case(spec, client) }
}

/// A GitHub App's tokens for a user end after eight hours; errors come with 200.
pub(super) fn github_app_for_a_user() -> Case {
    let spec = Spec {
        authorize: "/login/oauth/authorize",
        token: "/login/oauth/access_token",
        says: |access, refresh, _said| {
            json!({"access_token": access, "expires_in": 28_800, "refresh_token": refresh,
                "refresh_token_expires_in": 15_897_600, "scope": "", "token_type": "bearer"})
        },
        dead: (
            200,
            json!({"error": "bad_refresh_token",
                "error_description": "The refresh token passed is incorrect or expired."}),
        ),
        ..Spec::at(&["github.com", "api.github.com"])
    };
    let client = json!({
        "auth_url": "https://github.com/login/oauth/authorize",
        "token_url": "https://github.com/login/oauth/access_token",
    });
    case(spec, client)
}

pub(in crate::oauth) fn google_with_consent() -> Case {
    let spec = Spec {
        authorize: "/o/oauth2/v2/auth",
        asks: given(&[("access_type", "offline"), ("prompt", "consent")]),
        rotates: false,
        dead: (
            400,
            json!({"error": "invalid_grant",
                "error_description": "Token has been expired or revoked."}),
        ),
        ..Spec::at(&["accounts.google.com", "oauth2.googleapis.com", "www.googleapis.com"])
    };
    let client = json!({
        "auth_url": "https://accounts.google.com/o/oauth2/v2/auth",
        "token_url": "https://oauth2.googleapis.com/token",
        "auth_params": {"access_type": "offline", "prompt": "consent"},
        "default_scopes": "openid email",
    });
    case(spec, client)
}

/// A public client, and its id in a second field.
pub(super) fn etsy() -> Case {
    let spec = Spec {
        authorize: "/oauth/connect",
        token: "/v3/public/oauth/token",
        shows: Shows::Nothing,
        carries: |token| given(&[("authorization", &format!("Bearer {token}")), ("x-api-key", ID)]),
        ..Spec::at(&["www.etsy.com", "api.etsy.com"])
    };
    let client = json!({
        "auth_url": "https://www.etsy.com/oauth/connect",
        "token_url": "https://api.etsy.com/v3/public/oauth/token",
        "token_endpoint_auth_method": "none", "default_scopes": "shops_r listings_r",
        "inject": [
            {"in": "header", "name": "Authorization", "value": "Bearer {access_token}"},
            {"in": "header", "name": "x-api-key", "value": "{client_id}"},
        ],
    });
    case(spec, client)
}

/// A parameter in the URLs that must stay there.
pub(super) fn bamboohr() -> Case {
    let spec = Spec {
        authorize: "/authorize.php",
        token: "/token.php",
        asks: given(&[("request", "authorize"), ("scope", "offline_access")]),
        needs: given(&[("request", "token")]),
        needs_on_refresh: given(&[("request", "token")]),
        ..Spec::at(&["acme.bamboohr.com"])
    };
    let client = json!({
        "auth_url": "https://{subdomain}.bamboohr.com/authorize.php?request=authorize",
        "token_url": "https://{subdomain}.bamboohr.com/token.php?request=token",
        "default_scopes": "offline_access",
    });
    Case { subdomain: Some("acme"), ..case(spec, client) }
}

/// The code comes back in a form.
pub(super) fn apple_form_post() -> Case {
    let spec = Spec {
        authorize: "/auth/authorize",
        token: "/auth/token",
        asks: given(&[("response_mode", "form_post"), ("scope", "name email")]),
        returns: Returns::ByForm,
        issuer: Some("https://appleid.apple.com".to_owned()),
        rotates: false,
        ..Spec::at(&["appleid.apple.com"])
    };
    let client = json!({
        "auth_url": "https://appleid.apple.com/auth/authorize",
        "token_url": "https://appleid.apple.com/auth/token",
        "auth_params": {"response_mode": "form_post"}, "default_scopes": "name email",
        "issuer": "https://appleid.apple.com",
    });
    case(spec, client)
}
