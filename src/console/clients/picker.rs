//! The choice of a provider, of which a client is made.

use axum::response::Response;
use maud::{Markup, html};

use crate::console::layout::Tab;
use crate::console::page_context::PageContext;
use crate::management::Catalogue;
use crate::wire::{ProviderEntry, ProviderSummary};

/// The page on which a provider is looked for; a script filters the list while somebody types.
pub(super) fn page(context: &PageContext) -> Response {
    let (catalogue, text) = (Catalogue::built_in(), context.query("search").trim());
    let found: Vec<_> = catalogue.search(text).collect();
    let is_whole = found.len() == catalogue.entries().len();
    let count = if is_whole {
        format!("{} providers", found.len())
    } else {
        format!("{} of {}", found.len(), catalogue.entries().len())
    };
    let path = context.path("/clients/new");
    // The whole list is filtered by a script, if there is one; a search by the server.
    let markup = html! {
        p.way { a href=(context.path("/clients")) { "OAuth clients" } }
        h1 { "Create an OAuth client" }
        p { "Which provider is it for? For those listed here the URLs, and everything else in which they are peculiar, are known." }
        p { a.button.quiet href=(format!("{path}?provider={OTHER}")) { "Another provider" } }
        form.filters method="get" action=(path) role="search" aria-label="Providers" {
            div {
                label for="search" { "Name or domain" }
                input #search type="search" name="search" value=(text) spellcheck="false"
                    autocapitalize="none" data-filter=[is_whole.then_some("providers")];
            }
            button type="submit" { "Search" }
        }
        p.count #providers-count role="status" { (count) }
        @if found.is_empty() {
            p.empty { "No provider is like that. Choose “Another provider”, and enter its URLs." }
        }
        ul.choices #providers { @for entry in found { (choice(&path, entry)) } }
    };
    context.page(Tab::Clients, "Create an OAuth client", &markup)
}

fn choice(path: &str, entry: &ProviderEntry) -> Markup {
    let ProviderSummary { name, title, allowed_domains, .. } = entry.into();
    let domains = allowed_domains.join(", ");
    let words = format!("{name} {title} {domains}").to_lowercase();
    html! {
        li data-words=(words) { a href=(format!("{path}?provider={name}")) {
            strong { (title) } span { (domains) }
        } }
    }
}

/// The choice of none of them.
pub(super) const OTHER: &str = "other";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_provider_has_the_name_of_the_choice_of_none() {
        assert!(Catalogue::built_in().find(OTHER).is_none());
    }
}
