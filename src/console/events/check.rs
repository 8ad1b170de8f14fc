//! The check of the chain of events: whether one was removed, moved or edited in the database.

use maud::{Markup, html};

use super::reader;
use crate::console::layout::Tab;
use crate::console::page_context::{PageContext, PageResult};
use crate::management::Refused;
use crate::wire::EventCheckAnswer;

/// The page that tells what a look at the whole chain finds.
pub(in crate::console) async fn page(context: PageContext) -> PageResult {
    let reader = reader(&context).map_err(|refused| context.refuse(refused))?;
    let head = context.query("head").trim();
    let checked = reader.verify(Some(head).filter(|head| !head.is_empty())).await;
    // A head that can't be read is told beside the field.
    let (found, fault) = match checked {
        Ok(found) => (Some(found), None),
        Err(Refused::Faulty(faults)) => (None, Some(crate::console::errors::sentence(&faults))),
        Err(refused) => return Err(context.refuse(refused)),
    };
    let markup = html! {
        p.way { a href=(context.path("/events")) { "Events" } }
        h1 { "Chain of events" }
        @if let Some(found) = &found { (shown(found)) }
        form.filters method="get" action=(context.path("/events/check")) {
            div {
                label for="head" { "Head of an earlier check" }
                input #head name="head" value=(head) placeholder="NUMBER:HASH" spellcheck="false" autocapitalize="none";
            }
            button type="submit" { "Check again" }
        }
        @if let Some(fault) = &fault { p.fault role="alert" { (fault) } }
        p.hint {
            "Each event is bound to the one before by its hash, and signed under the master key. Keep the head elsewhere: with it, a later check also finds that the newest events were removed."
        }
    };
    Ok(context.page(Tab::Events, "Chain of events", &markup))
}

fn shown(found: &EventCheckAnswer) -> Markup {
    html! {
        @if found.intact {
            p role="status" { strong { (found.events) " events checked: nothing was removed, moved or edited." } }
        } @else {
            div.fault-box role="alert" {
                p { strong { "The chain is not intact. Compare the database with a backup, and see who can write to it." } }
                ul { @for fault in &found.faults { li {
                    @if !fault.id.is_empty() { "Event " (fault.id) ": " } (fault.fault)
                } } }
            }
        }
        dl.facts { dt { "Head" } dd.copy { code { (found.head) } } }
    }
}
