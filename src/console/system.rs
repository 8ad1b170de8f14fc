//! The server: what it is, what it keeps, and whether it is well.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use jiff::SignedDuration;
use maud::{Markup, html};

use super::layout::Tab;
use super::page_context::{PageContext, PageResult};
use super::status_view;
use crate::management::Scope;
use crate::store::PageRange;
use crate::wire::KeyView;

pub(super) async fn page(context: PageContext) -> PageResult {
    // The keys and instances are for operators of everything.
    let everything = context.operator.may(Scope::Admin) && context.operator.reaches_everything();
    let keys = match context.management().keys(&context.operator).await {
        Ok(keys) => keys,
        Err(_) if !everything => Vec::new(),
        Err(refused) => return Err(context.refuse(refused)),
    };
    let instances = if everything { instances(&context).await } else { BTreeSet::new() };
    let facts = &context.state.services.facts;
    let markup = html! {
        h1 { "System" }
        (readiness(&context))
        dl.facts {
            dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
            dt { "StartedFlow" } dd { (status_view::time(facts.started)) }
            dt { "Proxy" } dd { @for proxy in &facts.proxies { code { (proxy) } " " } }
            dt { "API and console" } dd { code { (context.management().public_url()) } }
            @if everything {
                dt { "Store" } dd { code { (facts.store) } }
                dt { "Instance" } dd { code { (facts.instance) } }
                dt { "Instances seen lately" }
                dd { @for instance in &instances { code { (instance) } " " } }
            }
        }
        @if !keys.is_empty() { (table(&keys)) }
        section aria-labelledby="more" {
            h2 #more { "More" }
            ul.plain {
                li { a href="/ca.pem" download="keyferry-ca.pem" { "The CA certificate" } ", for programs that use the proxy by https_proxy" }
                li { a href="/docs" { "The API’s description" } }
                li { a href="/metrics" { "The figures, for Prometheus" } }
            }
        }
    };
    Ok(context.page(Tab::System, "System", &markup))
}

/// Those that have answered the last requests, and this one.
async fn instances(context: &PageContext) -> BTreeSet<String> {
    let mut seen = BTreeSet::from([context.state.services.facts.instance.clone()]);
    let window = PageRange { after: None, before: None, limit: LAST };
    if let Ok(reader) = context.management().audit_reader(&context.operator)
        && let Ok(pages) = reader.list(&window).await
    {
        seen.extend(pages.listing.items.into_iter().map(|(_, entry)| entry.instance));
    }
    seen
}

fn readiness(context: &PageContext) -> Markup {
    let services = &context.state.services;
    let silence = services.metrics.store_staleness();
    let silence = SignedDuration::try_from(silence).unwrap_or(SignedDuration::MAX);
    html! {
        p role="status" {
            @if services.draining.load(Relaxed) {
                span.state.warn { "shutting down" }
            } @else if silence.is_positive() {
                span.state.bad { "the store does not answer" }
                " It has been silent for " (status_view::span(silence)) ": requests go on with what is known; the operator must bring it back."
            } @else if let Some(reason) = services.metrics.store_unwritable() {
                span.state.bad { "the store can’t be written" }
                " The reason: " (reason) ". Requests go on, but nothing is changed and no tokens are refreshed; the operator must act."
            } @else {
                span.state.good { "ready" }
            }
        }
    }
}

fn table(keys: &[KeyView]) -> Markup {
    html! {
        section aria-labelledby="keys" {
            h2 #keys { "Master keys" }
            table.rows {
                caption.unseen { "Master keys" }
                thead { tr {
                    th scope="col" { "Id" } th scope="col" { "State" } th.number scope="col" { "Records" }
                } }
                tbody { @for key in keys { tr {
                    th scope="row" { code { (key.id) } }
                    td {
                        @if !key.present && key.in_file == Some(true) { span.state.idle { "in the key file, not used yet" } }
                        @else if !key.present { span.state.bad { "missing" } }
                        @else if key.in_file == Some(false) && key.records > 0 { span.state.bad { "not in the key file any more" } }
                        @else if key.active { span.state.good { "in use: seals what is new" } }
                        @else { span.state.idle { "kept: opens what is old" } }
                    }
                    td.number { (key.records) }
                } } }
            }
        }
    }
}

/// The number of requests that are looked at.
const LAST: u32 = 500;
