//! Pages of a list: `page[size]`, `page[after]`, `page[before]`, and `meta` (spec §4.1).

use axum::extract::FromRequestParts;
use http::request::Parts;
use utoipa::IntoParams;

use super::error::Error;
use crate::store::PageRange;
use crate::wire::printable_name;

/// The page that is asked for. Parameters of other names are passed over, as clients of ZIS expect;
/// a strict query refuses them: an unknown filter would be taken for one that has found everything.
#[derive(Debug)]
pub(super) struct PageQuery<const STRICT: bool = false>(pub(super) PageRange);

/// A query without parameters.
#[derive(Debug)]
pub(super) struct NoQuery;

/// The parameters, as the description of the API shows them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand, since brackets may be encoded or not")]
pub(super) struct Parameters {
    /// The largest number of items on the page.
    #[param(rename = "page[size]", minimum = 1, maximum = 100, default = 100)]
    size: Option<u32>,
    /// A cursor, as `meta.after`: the items that follow it. With `page[before]` too, those in
    /// between.
    #[param(rename = "page[after]")]
    after: Option<String>,
    /// A cursor, as `meta.before`: the items that lead up to it.
    #[param(rename = "page[before]")]
    before: Option<String>,
}

/// The filters of events, as the description of the API shows them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand, as pages are")]
pub(super) struct EventParameters {
    /// Those that were done then or later (RFC 3339).
    since: Option<String>,
    /// Those that were done before then (RFC 3339).
    until: Option<String>,
    /// Those of this integration.
    integration: Option<String>,
    /// Those about the connection of this name.
    connection: Option<String>,
    /// Those of the operator of this name.
    operator: Option<String>,
    /// Those of this kind, as `connection.update`, or of all kinds of `connection`.
    kind: Option<String>,
}

/// The filters of requests, as the description of the API shows them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand, as pages are")]
pub(super) struct RequestParameters {
    /// Those that arrived then or later (RFC 3339).
    since: Option<String>,
    /// Those that arrived before then (RFC 3339).
    until: Option<String>,
    /// Those of this integration.
    integration: Option<String>,
    /// Those of the connection of this name.
    connection: Option<String>,
    /// Those of the caller of this name.
    caller: Option<String>,
    /// `allow`, `refuse`, or `failed`: refused, or answered with an error.
    decision: Option<String>,
    /// Those that were refused with this code.
    code: Option<String>,
    /// Those with this status, as `404`, or of this class, as `5xx`.
    status: Option<String>,
    /// Those with this method.
    method: Option<String>,
    /// Those whose path at the origin begins so.
    path: Option<String>,
}

/// The filters of counts.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand, as pages are")]
pub(super) struct StatsParameters {
    /// From this time on (RFC 3339); by default an hour before the end, or a day by the hour.
    since: Option<String>,
    /// Up to this time (RFC 3339); by default now.
    until: Option<String>,
    /// Those of this integration.
    integration: Option<String>,
    /// Those of the connection of this name; goes with `integration`, unless the token is for one.
    connection: Option<String>,
    /// Those of the caller of this name.
    caller: Option<String>,
    /// `minute`, which is the default, or `hour`.
    by: Option<String>,
    /// `caller`: the counts of each caller too.
    per: Option<String>,
}

/// The filters of connections by their health.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand, as pages are")]
pub(super) struct HealthParameters {
    /// Those of this integration.
    integration: Option<String>,
    /// The one of this name.
    connection: Option<String>,
    /// Those in this state: `works`, `unused`, `failing`, `authorize`, `broken`, `off`; `attention`
    /// for all in which somebody must act; or `refused` for those whose callers were refused of late.
    state: Option<String>,
}

/// The search and the order of tokens, likewise.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "read by hand, as pages are")]
pub(super) struct TokenParameters {
    /// Those whose name, integration, scope, connection or last use contains this text.
    search: Option<String>,
    /// The order: `name`, `created_at`, `expires_at` or `last_used_at`, descending after `-`;
    /// without it, that of their ids.
    sort: Option<String>,
}

impl<S: Sync, const STRICT: bool> FromRequestParts<S> for PageQuery<STRICT> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        read::<STRICT>(parts.uri.query().unwrap_or_default()).map(Self)
    }
}

impl<S: Sync> FromRequestParts<S> for NoQuery {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Error> {
        let mut pairs = parts.uri.query().unwrap_or_default().split('&');
        match pairs.find(|pair| !pair.is_empty()) {
            None => Ok(Self),
            Some(pair) => {
                let (name, _) = pair.split_once('=').unwrap_or((pair, ""));
                let name = decode(name).unwrap_or_default();
                let name = printable_name(&name, "a parameter");
                Err(Error::invalid(format!("{name}: is unknown; this path takes no parameters")))
            }
        }
    }
}

fn read<const STRICT: bool>(query: &str) -> Result<PageRange, Error> {
    read_filtered::<STRICT, 0>(query, []).map(|(range, [])| range)
}

/// Reads the page that is asked for, and the values of filters of these names, which are empty where
/// they are not given.
pub(super) fn read_filtered<const STRICT: bool, const N: usize>(
    query: &str,
    names: [&'static str; N],
) -> Result<(PageRange, [String; N]), Error> {
    let (mut size, mut after, mut before) = (None, None, None);
    let mut filters = [const { None }; N];
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let wrong = |rule: &str| Error::invalid(format!("the query: {rule}"));
        let name = decode(name).ok_or_else(|| wrong("a name is not UTF-8"))?;
        let target = match &*name {
            "page[size]" => &mut size,
            "page[after]" => &mut after,
            "page[before]" => &mut before,
            _ => match names.iter().zip(&mut filters).find(|(known, _)| **known == name) {
                Some((_, filter)) => filter,
                None if STRICT || name.starts_with("page") => {
                    let name = printable_name(&name, "a parameter");
                    let known = ["page[size]", "page[after]", "page[before]"];
                    let known: Vec<_> = known.into_iter().chain(names).collect();
                    let known = known.join(", ");
                    return Err(Error::invalid(format!("{name}: is unknown; there are {known}")));
                }
                None => continue,
            },
        };
        let value = decode(value).ok_or_else(|| wrong("a value is not UTF-8"))?;
        if target.replace(value).is_some() {
            return Err(wrong("a parameter is given twice"));
        }
    }
    let texts = [&after, &before].into_iter().chain(&filters).flatten();
    if texts.into_iter().any(|text: &String| text.contains('\0')) {
        return Err(Error::invalid("the query: no cursor or filter has a NUL in it"));
    }
    let limit = size.map_or(Ok(MAX_PAGE_SIZE), |size| parse_size(&size))?;
    // Clients of some languages send a cursor that they do not have as an empty one.
    let given = |cursor: Option<String>| cursor.filter(|cursor| !cursor.is_empty());
    let range = PageRange { after: given(after), before: given(before), limit };
    Ok((range, filters.map(Option::unwrap_or_default)))
}

/// Reads the values of filters of these names, of a query that has no page.
pub(super) fn read_filters<const N: usize>(
    query: &str,
    names: [&'static str; N],
) -> Result<[String; N], Error> {
    let names_page = |pair: &str| decode(pair).is_some_and(|pair| pair.starts_with("page["));
    if query.split('&').any(names_page) {
        let known = names.join(", ");
        return Err(Error::invalid(format!("the query: there are no pages; there are {known}")));
    }
    read_filtered::<true, N>(query, names).map(|(_page, filters)| filters)
}

fn parse_size(text: &str) -> Result<u32, Error> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let size = text.parse().ok().filter(|size| digits && (1..=MAX_PAGE_SIZE).contains(size));
    size.ok_or_else(|| Error::invalid("page[size]: must be a whole number from 1 to 100"))
}

/// Undoes the percent-encoding of a query's name or value, where `+` is a space.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let mut digit = || char::from(rest.next()?).to_digit(16);
                u8::try_from(digit()? << 4 | digit()?).ok()?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

const MAX_PAGE_SIZE: u32 = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(query: &str) -> (Option<String>, Option<String>, u32) {
        let PageRange { after, before, limit } = read::<false>(query).unwrap();
        (after, before, limit)
    }

    #[test]
    fn brackets_may_be_encoded_or_not() {
        let expected = (Some("a_b".to_owned()), None, 7);
        assert_eq!(window("page[size]=7&page[after]=a_b"), expected);
        assert_eq!(window("page%5Bsize%5D=7&page%5bafter%5D=a%5fb&x=y"), expected);
        assert_eq!(window(""), (None, None, 100));
        assert_eq!(window("page[before]=&page[after]="), (None, None, 100));
    }

    #[test]
    fn what_is_no_page_is_refused() {
        for query in [
            "page[size]=0",
            "page[size]=101",
            "page[size]=",
            "page[size]=+5",
            "page[size]=1.0",
            "page[size]=99999999999999999999999",
            "page[size]=5&page[size]=5",
            "page[limit]=5",
            "page=2",
            "page[after]=%zz",
            "page[after]=%f",
            "page[after]=%ff",
            "page[after]=a%00b",
        ] {
            assert!(read::<false>(query).is_err(), "{query}");
        }
    }
}
