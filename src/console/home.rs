//! The way in: to an integration, or to the choice of one.

use axum::extract::State;
use axum::response::Response;
use maud::html;

use super::layout::Tab;
use super::page_context::{PageContext, PageResult, see};
use super::request::{self, is_request_id};
use super::{ConsoleState, activity, attention, errors};
use crate::management::{Refused, Scope};
use crate::model::name::IntegrationName;

pub(super) async fn root() -> Response {
    see("/console")
}

/// To the integration that is meant, where only one can be.
pub(super) async fn enter(context: PageContext) -> Response {
    let own = context.management().integrations_of(&context.session.known);
    let has_choice = own.len() > 1;
    let known = if has_choice { own } else { context.management().integrations(&context.operator) };
    let bound = context.operator.bound_to().filter(|_| !has_choice);
    let only = if let [only] = known.as_slice() { Some(only) } else { None };
    if let Some(one) = bound.or(only) {
        return see(&format!("/console/i/{one}/connections"));
    }
    choose(&context, &known).await
}

/// The choice of an integration, below the connections of all that need somebody.
async fn choose(context: &PageContext, known: &[IntegrationName]) -> Response {
    let needing = attention::everywhere(context).await;
    let markup = html! {
        h1 { "Choose an integration" }
        (needing)
        p {
            "An integration is a name that connections belong to. It need not be made: it is there with its first connection."
        }
        (ask(""))
        @if !known.is_empty() {
            h2 { "Known here" }
            ul.plain { @for name in known {
                li { a href=(format!("/console/i/{name}/connections")) { (name.as_str()) } }
            } }
        }
    };
    context.page(Tab::None, "Choose an integration", &markup)
}

/// To the integration that was entered, or to the request whose id was.
pub(super) async fn go(context: PageContext) -> PageResult {
    let entered = context.query("integration").trim();
    let known = context.integrations();
    let is_known = known.iter().any(|name| name.as_str() == entered);
    if is_request_id(entered) && !is_known && context.operator.may(Scope::Audit) {
        return request(&context, entered, known.first()).await;
    }
    if let Ok(name) = IntegrationName::parse(entered) {
        return Ok(see(&format!("/console/i/{name}/connections")));
    }
    if entered.is_empty() {
        return Ok(choose(&context, &known).await);
    }
    let markup = html! {
        h1 { "Choose an integration" }
        p.fault role="alert" { "That can’t be the name of an integration: 1 to 64 of a-z, 0-9, _ and -." }
        (ask(entered))
    };
    Ok(context.page(Tab::None, "Choose an integration", &markup))
}

/// To the page of a request, within its integration; where that is not known, within any.
async fn request(context: &PageContext, id: &str, any: Option<&IntegrationName>) -> PageResult {
    let found = activity::reader(context)?.show(id).await;
    match found {
        Ok(view) => {
            let its = IntegrationName::parse(&view.entry.integration).ok();
            let within = its.as_ref().or(any).ok_or(Refused::NotFound);
            let within = within.map_err(|refused| context.refuse(refused))?;
            Ok(see(&format!("/console/i/{within}/requests/{id}")))
        }
        Err(Refused::NotFound) => Ok(request::unknown(context, id)),
        Err(refused) => Err(context.refuse(refused)),
    }
}

/// A path below `/console` that leads nowhere.
pub(super) async fn nowhere(State(_hall): State<ConsoleState>) -> Response {
    errors::NOWHERE.bare()
}

fn ask(entered: &str) -> maud::Markup {
    html! {
        form.row method="get" action="/console/go" {
            label for="choose" { "Integration" }
            input #choose name="integration" value=(entered) required maxlength="64" autofocus
                placeholder="my_integration" spellcheck="false" autocapitalize="none";
            button type="submit" { "Open" }
        }
        p.hint { "The id of a request, as 1f45d091-7, leads to that request." }
    }
}
