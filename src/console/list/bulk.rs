//! Several connections at once: switched off, switched on or deleted, once that was confirmed.

use std::borrow::Cow;

use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use maud::{Markup, html};

use super::order;
use crate::console::errors;
use crate::console::fields::{Field, Kind, Need};
use crate::console::form_values::FormValues;
use crate::console::layout::Tab;
use crate::console::options::put;
use crate::console::page_context::{PageContext, PageResult, see};
use crate::console::status_view;
use crate::management::{ConnectionRef, ConnectionStatus, Refused, StatusFilter, WriteAccess};
use crate::model::connection::ConnectionType;
use crate::wire::{Member, OptionMembers};

/// The change that all selected connections get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum BulkAction {
    /// They are switched on.
    Enable,
    /// They are switched off.
    Disable,
    /// They are deleted.
    Delete,
}

/// The connections that were changed, and those that were not, with the reason.
#[derive(Default)]
struct BulkOutcome {
    changed: Vec<String>,
    /// Those that were so already.
    unchanged: Vec<String>,
    failed: Vec<(String, Cow<'static, str>)>,
}

impl BulkAction {
    const ALL: [Self; 3] = [Self::Disable, Self::Enable, Self::Delete];

    /// Its word in the form.
    const fn as_str(self) -> &'static str {
        match self {
            Self::Enable => "enable",
            Self::Disable => "disable",
            Self::Delete => "delete",
        }
    }

    /// The button that asks for it.
    const fn button(self) -> &'static str {
        match self {
            Self::Enable => "Enable",
            Self::Disable => "Disable",
            Self::Delete => "Delete",
        }
    }

    /// The consequence, for those who are to confirm it.
    const fn consequence(self) -> &'static str {
        match self {
            Self::Enable => "Requests that use them are let through again.",
            Self::Disable => {
                "Every request that uses them is refused, and their secrets are kept, until they are enabled again."
            }
            Self::Delete => {
                "Their secrets are gone for good, and requests that name them are refused. Where a provider has a way to be told, it is asked to revoke their tokens."
            }
        }
    }

    /// The state in which they are then.
    const fn done(self) -> &'static str {
        match self {
            Self::Enable => "enabled",
            Self::Disable => "disabled",
            Self::Delete => "deleted",
        }
    }
}

/// The check box that selects a connection for the form below the list.
pub(super) fn pick(item: &ConnectionStatus) -> Markup {
    html! {
        input type="checkbox" name=(CONNECTION) value=(item.name) form=(FORM)
            aria-label=(format!("Select {}", item.name));
    }
}

/// The form for the connections that are selected.
pub(super) fn form(context: &PageContext, search: &StatusFilter<'_>) -> Markup {
    html! {
        form.actions.bulk id=(FORM) method="post" action=(context.path("/connections/bulk")) aria-label="Selected connections" {
            (context.mark())
            input type="hidden" name=(AT) value=(order::query(search, search.order, None));
            span.hint { "All that are selected:" }
            @for action in BulkAction::ALL {
                @let class = if action == BulkAction::Delete { "danger" } else { "quiet" };
                button class=(class) type="submit" name=(ACT) value=(action.as_str()) { (action.button()) "…" }
            }
        }
    }
}

/// Does to the selected connections what is asked for, if that was confirmed.
pub(in crate::console) async fn act(context: PageContext, request: Request) -> PageResult {
    // 1. The connections, by name.
    let mut values = context.read(request).await?;
    let writing = context.write_access()?;
    let action = BulkAction::ALL.into_iter().find(|action| action.as_str() == values.text(ACT));
    let action = action.ok_or_else(|| context.tell(&errors::MALFORMED))?;
    let mut names: Vec<_> = values.all(CONNECTION).map(str::to_owned).collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() || names.len() > MAX_SELECTED {
        return Ok(nothing_selected(&context, &values));
    }
    // 2. Somebody confirms it, who has read their names. What is deleted is gone.
    let is_sure = values.text(SURE) == "yes";
    let is_counted = values.text(COUNT).trim() == names.len().to_string();
    if !is_sure || (action == BulkAction::Delete && !is_counted) {
        if is_sure {
            let number = names.len();
            values.fault(&format!("{COUNT}: must be {number}, so that nothing goes by mistake"));
        }
        return Ok(confirmation(&context, action, &names, &values));
    }
    // 3. Each of them by itself, so that one that fails keeps no other.
    let mut outcome = BulkOutcome::default();
    for name in names {
        match change(&context, &writing, action, &name).await {
            Ok(true) => outcome.changed.push(name),
            Ok(false) => outcome.unchanged.push(name),
            Err(refused) => outcome.failed.push((name, context.words(refused))),
        }
    }
    if outcome.failed.is_empty() {
        let back = back(&context, &values);
        return Ok(see(&format!("{back}&done=all-{}", action.done())));
    }
    Ok(told(&context, action, &outcome, &values))
}

/// Changes a connection, which is one event; `false` where it is so already.
async fn change(
    context: &PageContext,
    writing: &WriteAccess<'_>,
    action: BulkAction,
    name: &str,
) -> Result<bool, Refused> {
    let reading = context.management().read_access(&context.operator, context.integration())?;
    let status = reading.status_of(name).await.ok_or(Refused::NotFound)?;
    let is_disabled = status.options.disabled;
    match (action, status.kind) {
        (BulkAction::Delete, ConnectionType::OAuth) => {
            let pointer = ConnectionRef { name: Some(name.to_owned()), uuid: None };
            writing.delete_authorized(&pointer).await.map(|_told_by_the_log| true)
        }
        (BulkAction::Delete, kind) => writing.delete(kind, name).await.map(|()| true),
        (BulkAction::Enable, _) if !is_disabled => Ok(false),
        (BulkAction::Disable, _) if is_disabled => Ok(false),
        (_, kind) => {
            let enabled = Member::Given(action == BulkAction::Enable);
            let options = OptionMembers { enabled, ..OptionMembers::default() };
            put(writing, kind, name, options, Member::Absent).await.map(|()| true)
        }
    }
}

/// The list from which the form was sent.
fn back(context: &PageContext, values: &FormValues) -> String {
    // It goes into an address of ours, in which nothing but these parameters counts.
    let given = form_urlencoded::parse(values.text(AT).as_bytes());
    let known = given.filter(|(name, _)| KEPT.contains(&&**name));
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(known).finish();
    format!("{}?{query}", context.path("/connections"))
}

fn nothing_selected(context: &PageContext, values: &FormValues) -> Response {
    let markup = html! {
        h1 { "Nothing was done" }
        p { "Select from 1 to " (MAX_SELECTED) " connections in the list, by the boxes before their names." }
        p { a.button href=(back(context, values)) { "To the list" } }
    };
    context.page_with(StatusCode::BAD_REQUEST, Tab::Connections, "Nothing was done", &markup)
}

/// The page on which somebody confirms it.
fn confirmation(
    context: &PageContext,
    action: BulkAction,
    names: &[String],
    values: &FormValues,
) -> Response {
    // 1. The field that must be filled in where something is deleted.
    let counted = counted(names.len());
    let title = format!("{} {counted}?", action.button());
    let hint = "What is deleted does not come back.";
    let count = Field {
        kind: Kind::Text,
        need: Need::Always,
        ..Field::text(COUNT, "Type the number of connections", hint)
    };
    let fields = [count];
    let is_deletion = action == BulkAction::Delete;
    // 2. The names, and the form that does it.
    let markup = html! {
        h1 { (title) }
        p { (action.consequence()) }
        ul.plain.names { @for name in names { li { (status_view::breakable(name)) } } }
        form.stack method="post" action=(context.path("/connections/bulk")) {
            (context.mark())
            input type="hidden" name=(AT) value=(values.text(AT));
            input type="hidden" name=(ACT) value=(action.as_str());
            input type="hidden" name=(SURE) value="yes";
            @for name in names { input type="hidden" name=(CONNECTION) value=(name); }
            @if is_deletion { @for field in &fields { (field.show(values)) } }
            div.actions {
                button class=[is_deletion.then_some("danger")] type="submit" { (action.button()) " " (counted) }
                a href=(back(context, values)) { "Cancel" }
            }
        }
    };
    let status = if values.is_faulty() { StatusCode::BAD_REQUEST } else { StatusCode::OK };
    context.page_with(status, Tab::Connections, "Are you sure?", &markup)
}

/// The page that says which connections were not changed, and why.
fn told(
    context: &PageContext,
    action: BulkAction,
    outcome: &BulkOutcome,
    values: &FormValues,
) -> Response {
    let BulkOutcome { changed, unchanged, failed } = outcome;
    let done = action.done();
    let list = |names: &[String]| {
        html! { ul.plain.names { @for name in names { li { (status_view::breakable(name)) } } } }
    };
    let markup = html! {
        h1 { (counted(failed.len())) " not " (done) }
        div.fault-box role="alert" {
            ul.plain { @for (name, why) in failed { li { strong { (status_view::breakable(name)) } ": " (why) } } }
        }
        @if !changed.is_empty() { h2 { (counted(changed.len())) " " (done) } (list(changed)) }
        @if !unchanged.is_empty() { h2 { (counted(unchanged.len())) " " (done) " already" } (list(unchanged)) }
        p.actions { a.button href=(back(context, values)) { "To the list" } }
    };
    context.page(Tab::Connections, "Connections", &markup)
}

/// `1 connection`, `2 connections`.
fn counted(number: usize) -> String {
    format!("{number} connection{}", if number == 1 { "" } else { "s" })
}

/// The form's id, by which the boxes in the list belong to it.
const FORM: &str = "bulk";
const CONNECTION: &str = "connection";
const ACT: &str = "act";
const SURE: &str = "sure";
const COUNT: &str = "count";

/// The parameter with the query of the list from which the form was sent.
const AT: &str = "at";

/// The parameters of that query that are kept.
const KEPT: [&str; 4] = ["q", "type", "state", "sort"];

/// The largest number of connections that are changed at once: as many as a page has.
const MAX_SELECTED: usize = super::PER_PAGE as usize;
