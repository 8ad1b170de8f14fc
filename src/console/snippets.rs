//! Snippets to copy, by which programs use a connection.

use maud::{Markup, html};

use super::page_context::PageContext;
use crate::management::Scope;

/// All ways, below each other.
pub(super) fn section(context: &PageContext, domain: Option<&str>, has_others: bool) -> Markup {
    let proxy = context.state.services.facts.proxies.iter().find(|url| url.starts_with("http"));
    let proxy = proxy.map_or("http://127.0.0.1:8080", String::as_str);
    // A wildcard's own name stands for one of its hosts.
    let host = domain.unwrap_or("api.example.com");
    let host = host.strip_prefix("*.").unwrap_or(host);
    let is_wild = has_others || domain.is_some_and(|domain| domain.starts_with("*."));
    let api = context.state.services.management.public_url();
    let authority = proxy.split_once("://").map_or(proxy, |(_, rest)| rest);
    // Each template has its places filled with this connection's values.
    let values = |template: &str| {
        template
            .replace("<proxy>", proxy)
            .replace("<api>", &api)
            .replace("<authority>", authority)
            .replace("<integration>", context.integration())
            .replace("<connection>", context.place("name"))
            .replace("<host>", host)
            .replace("<curl-host>", if is_wild { WILD_CURL } else { "" })
            .replace("<python-host>", if is_wild { WILD_PYTHON } else { "" })
            .replace("<node-host>", if is_wild { WILD_NODE } else { "" })
            .replace("<go-host>", if is_wild { WILD_GO } else { "" })
            .replace("<HOST>", host)
    };
    html! {
        section aria-labelledby="use" {
            h2 #use { "Use it" }
            p {
                "Programs hold an access token with the scope " code { "proxy" } ", never the credential. In these snippets it is "
                code { "$CALLER_TOKEN" } "."
            }
            (source_of_tokens(context))
            @if is_wild {
                p.hint {
                    "This connection is for many hosts: by base URL, the request says which one in the field "
                    code { "X-Zis-Host" } "."
                }
            }
            @for (name, words, template) in SNIPPETS {
                details {
                    summary { (name) }
                    p { (words) }
                    pre tabindex="0" data-copy { code { (values(template)) } }
                }
            }
            p { a href="/ca.pem" download="keyferry-ca.pem" { "Download the CA certificate" } " for programs that use https_proxy by themselves." }
        }
    }
}

/// Says where programs get a caller token, by a link for those who may make one.
fn source_of_tokens(context: &PageContext) -> Markup {
    html! {
        p {
            @if context.operator.may(Scope::Admin) {
                "They get one on the page " a href=(context.path("/tokens")) { "Tokens" } ", or from "
                code { "keyferry token create" } "."
            } @else {
                "They get one from an operator with the scope " code { "admin" } "."
            }
        }
    }
}

const WILD_CURL: &str = r#"-H "X-Zis-Host: <HOST>" "#;
const WILD_PYTHON: &str = r#", "X-Zis-Host": "<HOST>""#;
const WILD_NODE: &str = r#", "x-zis-host": "<HOST>""#;
const WILD_GO: &str = "\nrequest.Header.Set(\"X-Zis-Host\", \"<HOST>\")";

/// The name, the purpose and the text of each snippet.
const SNIPPETS: [(&str, &str, &str); 8] = [
    (
        "curl",
        "By base URL: what follows it is the path at the allowed domain.",
        r#"curl -H "Authorization: Bearer $CALLER_TOKEN" <curl-host><proxy>/~/<connection>/v1/items"#,
    ),
    (
        "keyferry run",
        "Any program, as it is: it is given a token that ends with it, and its requests go through the proxy.",
        r"KEYFERRY_URL=<api> KEYFERRY_INTEGRATION=<integration> keyferry run --connection <connection> -- \
  curl https://<host>/v1/items",
    ),
    (
        "Environment variables",
        "For programs that read https_proxy. They must trust the CA, which can be downloaded below.",
        r"export https_proxy=http://<integration>.<connection>:$CALLER_TOKEN@<authority>
export SSL_CERT_FILE=$PWD/keyferry-ca.pem
export REQUESTS_CA_BUNDLE=$SSL_CERT_FILE NODE_EXTRA_CA_CERTS=$SSL_CERT_FILE
curl --cacert $SSL_CERT_FILE https://<host>/v1/items",
    ),
    (
        "Python",
        "With requests.",
        r#"import os
import requests

answer = requests.get(
    "<proxy>/~/<connection>/v1/items",
    headers={"Authorization": f"Bearer {os.environ['CALLER_TOKEN']}"<python-host>},
)
answer.raise_for_status()
print(answer.json())"#,
    ),
    (
        "Node",
        "With fetch.",
        r#"const answer = await fetch("<proxy>/~/<connection>/v1/items", {
  headers: { authorization: `Bearer ${process.env.CALLER_TOKEN}`<node-host> },
});
if (!answer.ok) throw new Error(`${answer.status} ${await answer.text()}`);
console.log(await answer.json());"#,
    ),
    (
        "Go",
        "With net/http.",
        r#"request, err := http.NewRequest("GET", "<proxy>/~/<connection>/v1/items", nil)
if err != nil {
	log.Fatal(err)
}
request.Header.Set("Authorization", "Bearer "+os.Getenv("CALLER_TOKEN"))<go-host>
answer, err := http.DefaultClient.Do(request)"#,
    ),
    (
        "An SDK’s base URL",
        "Give the SDK this base URL, and the access token where it wants the API key.",
        r"<proxy>/~/<connection>",
    ),
    (
        "A ZIS action",
        "In a bundle of Zendesk Integration Services: the action names the connection.",
        r#"{
  "type": "ZIS::Action::Http",
  "properties": {
    "name": "get_items",
    "definition": {
      "method": "GET",
      "url": "https://<host>/v1/items",
      "connectionName": "<connection>"
    }
  }
}"#,
    ),
];
