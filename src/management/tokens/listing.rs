//! Lists of caller tokens: searched and sorted.

use std::cmp::Ordering;

use super::TokenAdmin;
use crate::management::fault::{About, Refused};
use crate::management::listing::{ListPage, cut};
use crate::model::name_rule;
use crate::model::record::TokenRecord;
use crate::store::PageRange;

/// Selects tokens, and says in which order they are wanted.
#[derive(Clone, Debug, Default)]
pub struct TokenQuery {
    /// A text that the name, a scope, a connection or the last use contains, in whatever case;
    /// empty for all tokens.
    pub search: String,
    /// One of [`TOKEN_ORDERS`], descending after `-`; empty for the order of their ids.
    pub sort: String,
}

/// The members by which tokens are sorted.
pub const TOKEN_ORDERS: [&str; 4] = ["name", "created_at", "expires_at", "last_used_at"];

impl TokenAdmin<'_> {
    /// The tokens that the query selects, in its order, within the window, whose keys are ids.
    ///
    /// All tokens of the store are read for it, as they are at each start.
    ///
    /// # Errors
    /// The order is not known, or the store fails.
    pub async fn find_all(
        &self,
        query: &TokenQuery,
        window: &PageRange,
    ) -> Result<ListPage<TokenRecord>, Refused> {
        // 1. All that there are, in the order of their ids.
        let order = parse_order(&query.sort)?;
        if query.search.is_empty() && order.is_none() {
            return self.list(window).await;
        }
        let (mut all, mut rest) = (Vec::new(), EVERYTHING);
        loop {
            let ListPage { items, has_more } = self.list(&rest).await?;
            rest.after = items.last().map(|token| token.id.to_string());
            all.extend(items);
            if !has_more {
                break;
            }
        }
        // 2. Those that are wanted, as they are wanted.
        let wanted = query.search.to_lowercase();
        all.retain(|token| wanted.is_empty() || matches(token, &wanted));
        if let Some((member, is_descending)) = order {
            all.sort_by(|one, other| {
                let order = compare(member, one, other);
                if is_descending { order.reverse() } else { order }
            });
        }
        // 3. The window: between two tokens of that order.
        let place = |id: &Option<String>| {
            let id = id.as_ref()?;
            all.iter().position(|token| token.id.to_string() == *id)
        };
        let from = place(&window.after).map_or(0, |at| at + 1);
        let to = place(&window.before).unwrap_or(all.len());
        let within = all.into_iter().take(to).skip(from).collect();
        Ok(cut(within, window, false))
    }
}

fn parse_order(text: &str) -> Result<Option<(&'static str, bool)>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    let (name, is_descending) = text.strip_prefix('-').map_or((text, false), |name| (name, true));
    let member = TOKEN_ORDERS.into_iter().find(|known| *known == name);
    let member = member.ok_or_else(|| {
        let title = format!("sort: {}, or one of them after -", name_rule(&TOKEN_ORDERS));
        Refused::of(About::Request, title)
    });
    Ok(Some((member?, is_descending)))
}

fn matches(token: &TokenRecord, wanted: &str) -> bool {
    let connections = token.reach.connections().unwrap_or_default();
    let contains = |text: &str| text.to_lowercase().contains(wanted);
    contains(&token.name)
        || contains(token.reach.integration())
        || token.scopes.names().any(contains)
        || connections.iter().any(|name| contains(name))
        || token.last_used_for.as_deref().is_some_and(contains)
}

/// Compares two tokens: one that never expires comes last, and one that was never used first.
fn compare(member: &str, one: &TokenRecord, other: &TokenRecord) -> Ordering {
    let last = jiff::Timestamp::MAX;
    match member {
        "name" => one.name.to_lowercase().cmp(&other.name.to_lowercase()),
        "created_at" => one.created_at.cmp(&other.created_at),
        "expires_at" => one.expires_at.unwrap_or(last).cmp(&other.expires_at.unwrap_or(last)),
        _ => one.last_used_at.cmp(&other.last_used_at),
    }
}

const EVERYTHING: PageRange = PageRange { after: None, before: None, limit: AT_ONCE };

/// The number of tokens that are read at once.
const AT_ONCE: u32 = 1000;
