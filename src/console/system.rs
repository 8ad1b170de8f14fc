//! The server: what it is, what it keeps, and whether it is well.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering::Relaxed;

use jiff::SignedDuration;
use maud::{Markup, html};

use super::frame::{Answer, Frame};
use super::outlook;
use super::shell::Tab;
use crate::management::{KeyUse, Scope};
use crate::store::Window;

/// The page.
pub(super) async fn page(frame: Frame) -> Answer {
    let everything = frame.operator.may(Scope::Admin) && frame.operator.reaches_everything();
    let keys = match frame.desk().keys(&frame.operator).await {
        Ok(keys) => keys,
        Err(_) if !everything => Vec::new(),
        Err(refused) => return Err(frame.refuse(refused)),
    };
    let instances = if everything { instances(&frame).await } else { BTreeSet::new() };
    let facts = &frame.hall.rooms.facts;
    let content = html! {
        h1 { "System" }
        (readiness(&frame))
        dl.facts {
            dt { "Version" } dd { (env!("CARGO_PKG_VERSION")) }
            dt { "Started" } dd { (outlook::time(facts.started)) }
            dt { "Proxy" } dd { @for proxy in &facts.proxies { code { (proxy) } " " } }
            dt { "API and console" } dd { code { (frame.desk().public_url()) } }
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
    Ok(frame.page(Tab::System, "System", &content))
}

/// Those that have answered the last requests, and this one.
async fn instances(frame: &Frame) -> BTreeSet<String> {
    let mut seen = BTreeSet::from([frame.hall.rooms.facts.instance.clone()]);
    let window = Window { after: None, before: None, limit: LAST };
    if let Ok(auditing) = frame.desk().auditing(&frame.operator)
        && let Ok(pages) = auditing.list(&window).await
    {
        seen.extend(pages.listing.items.into_iter().map(|(_, entry)| entry.instance));
    }
    seen
}

fn readiness(frame: &Frame) -> Markup {
    let rooms = &frame.hall.rooms;
    let silence = rooms.metrics.store_staleness();
    let silence = SignedDuration::try_from(silence).unwrap_or(SignedDuration::MAX);
    html! {
        p role="status" {
            @if rooms.draining.load(Relaxed) {
                span.state.warn { "shutting down" }
            } @else if silence.is_positive() {
                span.state.bad { "the store does not answer" }
                " It has been silent for " (outlook::span(silence)) ": requests go on with what is known; the operator must bring it back."
            } @else if let Some(reason) = rooms.metrics.store_unwritable() {
                span.state.bad { "the store can’t be written" }
                " The reason: " (reason) ". Requests go on, but nothing is changed and no tokens are refreshed; the operator must act."
            } @else {
                span.state.good { "ready" }
            }
        }
    }
}

fn table(keys: &[KeyUse]) -> Markup {
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

/// How many requests are looked at.
const LAST: u32 = 500;
