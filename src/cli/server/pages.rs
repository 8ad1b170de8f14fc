//! Lists that come in pages, read to their end and put together.

use serde_json::{Map, Value, json};

use super::answer::ApiAnswer;
use super::path::ApiPath;
use crate::cli::output::CliError;

/// Reads the whole list as one answer in JSON: the one page as it came, or all pages as if they
/// had been one.
pub(super) fn follow(
    path: &ApiPath,
    get: impl Fn(&ApiPath) -> Result<ApiAnswer, CliError>,
) -> Result<ApiAnswer, CliError> {
    let path = path.with("page[size]", PAGE_SIZE);
    let first = get(&path)?;
    let mut page: Value = first.read()?;
    let Some(mut cursor) = next(&page) else { return Ok(first) };
    let mut whole = Map::new();
    add(&mut whole, page);
    loop {
        page = get(&path.with("page[after]", &cursor))?.read()?;
        let next = next(&page);
        add(&mut whole, page);
        match next {
            Some(next) if next == cursor => return Err(endless()),
            Some(next) => cursor = next,
            None => {
                let body = Value::Object(whole).to_string().into_bytes().into();
                return Ok(ApiAnswer { body, ..first });
            }
        }
    }
}

/// The cursor of the next page, if there is one.
fn next(page: &Value) -> Option<String> {
    let meta = page.get("meta")?;
    let has_more = meta.get("has_more")?.as_bool()?;
    let after = meta.get("after")?.as_str()?;
    (has_more && !after.is_empty()).then(|| after.to_owned())
}

/// Adds a page: lists grow by what it has of them; of the cursors, the first and the last remain.
fn add(whole: &mut Map<String, Value>, page: Value) {
    let Value::Object(page) = page else { return };
    for (name, value) in page {
        match (whole.get_mut(&name), value) {
            (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
            (Some(meta), Value::Object(last)) if name == "meta" => {
                let before = meta.get("before").cloned().unwrap_or_default();
                let after = last.get("after").cloned().unwrap_or_default();
                *meta = json!({ "before": before, "after": after, "has_more": false });
            }
            (None, value) => drop(whole.insert(name, value)),
            (Some(_), _) => {}
        }
    }
}

fn endless() -> CliError {
    CliError::Message(
        "the server gives the same page again and again: see whether --url names a Keyferry server"
            .to_owned(),
    )
}

const PAGE_SIZE: &str = "100";

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;
    use std::cell::RefCell;

    fn follow(pages: &[&str]) -> (Result<String, ()>, Vec<String>) {
        let asked = RefCell::new(Vec::new());
        let get = |path: &ApiPath| {
            let number = asked.borrow().len().min(pages.len() - 1);
            asked.borrow_mut().push(path.as_str().to_owned());
            let body = pages[number].as_bytes().to_vec().into();
            Ok(ApiAnswer { status: StatusCode::OK, retry_after: None, is_of_proxy: false, body })
        };
        let whole = super::follow(&ApiPath::keyferry(&["tokens"]), get);
        let whole = whole.and_then(|answer| answer.text().map(str::to_owned)).map_err(drop);
        (whole, asked.into_inner())
    }

    #[test]
    fn one_page_is_printed_as_it_came() {
        let page = r#"{ "tokens": [1], "meta": {"has_more":false,"after":"a","before":"a"} }"#;
        let (whole, asked) = follow(&[page]);
        assert_eq!(whole.unwrap(), page);
        assert_eq!(asked, ["/api/keyferry/v1/tokens?page%5Bsize%5D=100"]);
    }

    #[test]
    fn pages_become_one() {
        let (whole, asked) = follow(&[
            r#"{"x":[1],"y":[],"meta":{"has_more":true,"after":"b","before":"a"}}"#,
            r#"{"x":[2],"y":[3],"meta":{"has_more":true,"after":"d","before":"c"}}"#,
            r#"{"x":[],"y":[4],"meta":{"has_more":false,"after":"e","before":"e"}}"#,
        ]);
        assert_eq!(
            whole.unwrap(),
            r#"{"meta":{"after":"e","before":"a","has_more":false},"x":[1,2],"y":[3,4]}"#
        );
        assert_eq!(asked.len(), 3);
        assert!(asked[2].ends_with("&page%5Bafter%5D=d"), "{asked:?}");
    }

    #[test]
    fn pages_that_do_not_end_are_left() {
        let (whole, asked) = follow(&[r#"{"x":[1],"meta":{"has_more":true,"after":"b"}}"#]);
        assert!(whole.is_err() && asked.len() == 2);
    }
}
