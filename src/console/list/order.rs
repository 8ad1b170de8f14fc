//! The order of the list of connections: the heads of its columns, and the field that asks for it.

use maud::{Markup, html};

use crate::console::page_context::PageContext;
use crate::management::{StatusFilter, StatusKey, StatusOrder};
use crate::model::connection::ConnectionType;

/// The address of the list in this order, with what is looked for, at a place of it.
pub(super) fn at(
    context: &PageContext,
    search: &StatusFilter<'_>,
    order: StatusOrder,
    place: Option<(&str, &str)>,
) -> String {
    let query = query(search, order, place);
    format!("{}?{query}", context.path("/connections"))
}

/// The query of that address.
pub(super) fn query(
    search: &StatusFilter<'_>,
    order: StatusOrder,
    place: Option<(&str, &str)>,
) -> String {
    let sort = if order == StatusOrder::default() { String::new() } else { written(order) };
    let pairs = [
        ("q", search.text),
        ("type", search.kind.map_or("", ConnectionType::as_str)),
        ("state", search.state.unwrap_or_default()),
        ("sort", &sort),
    ];
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(pairs.into_iter().filter(|(_, value)| !value.is_empty()).chain(place));
    query.finish()
}

/// The heads of the columns. Most lead to the list in their order, or in the opposite one.
pub(super) fn heads(context: &PageContext, search: &StatusFilter<'_>) -> Markup {
    let head = |class: &'static str, key, title: &'static str| {
        let order = search.order;
        let direction = (order.key == key).then_some(direction(order));
        let next = if order.key == key {
            StatusOrder { is_descending: !order.is_descending, ..order }
        } else {
            first(key)
        };
        let mark = match direction {
            Some("descending") => " ↓",
            Some(_) => " ↑",
            None => "",
        };
        html! {
            th scope="col" class=(class) aria-sort=[direction] {
                a href=(at(context, search, next, None)) { (title) } (mark)
            }
        }
    };
    html! {
        thead { tr {
            @if context.may_write() { th.pick scope="col" { span.unseen { "Selected" } } }
            (head("name", StatusKey::Name, "Name"))
            th.wide scope="col" { "Type" }
            th.wide scope="col" { "Allowed domain" }
            (head("", StatusKey::State, "State"))
            (head("medium", StatusKey::Used, "Last used"))
            (head("wide", StatusKey::Error, "Last error"))
            (head("widest number", StatusKey::Failed, "Failed"))
            (head("medium number", StatusKey::Requests, "Today"))
        } }
    }
}

/// The field that asks for an order, also where there is no room for the columns.
pub(super) fn order_field(order: StatusOrder) -> Markup {
    let usual = StatusKey::ALL.map(first);
    // The one that is looked at stays the one, be it the opposite of a usual one.
    let own = Some(order).filter(|order| !usual.contains(order));
    html! {
        div {
            label for="sort" { "Sort by" }
            select #sort name="sort" {
                @for one in usual.into_iter().chain(own) {
                    option value=(written(one)) selected[one == order] { (words(one)) }
                }
            }
        }
    }
}

/// The order by this fact in which people look for something first.
fn first(key: StatusKey) -> StatusOrder {
    let is_descending = !matches!(key, StatusKey::Name | StatusKey::State);
    StatusOrder { key, is_descending }
}

fn direction(order: StatusOrder) -> &'static str {
    if order.is_descending { "descending" } else { "ascending" }
}

fn written(order: StatusOrder) -> String {
    let hyphen = if order.is_descending { "-" } else { "" };
    format!("{hyphen}{}", order.key.as_str())
}

fn words(order: StatusOrder) -> &'static str {
    match (order.key, order.is_descending) {
        (StatusKey::Name, false) => "name",
        (StatusKey::Name, true) => "name, backwards",
        (StatusKey::State, false) => "state, most urgent first",
        (StatusKey::State, true) => "state, least urgent first",
        (StatusKey::Used, true) => "last used, newest first",
        (StatusKey::Used, false) => "last used, oldest first",
        (StatusKey::Error, true) => "last error, newest first",
        (StatusKey::Error, false) => "last error, oldest first",
        (StatusKey::Failed, true) => "share that failed, largest first",
        (StatusKey::Failed, false) => "share that failed, smallest first",
        (StatusKey::Requests, true) => "requests today, most first",
        (StatusKey::Requests, false) => "requests today, fewest first",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_is_written_as_it_is_read() {
        for key in StatusKey::ALL {
            for is_descending in [false, true] {
                let order = StatusOrder { key, is_descending };
                assert_eq!(StatusOrder::parse(&written(order)), Some(order));
            }
        }
    }
}
