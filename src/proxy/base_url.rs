//! The base-URL form: `/~/NAME/v1`, for SDKs that let one choose a base URL and a key.

mod answer;
mod link;
mod reference;
mod webdav;

use http::Uri;
use http::uri::PathAndQuery;

use super::refusal::{Code, Refusal};
use crate::model::name::{ConnectionName, IntegrationName};

pub(super) use self::answer::ResponseRewrite;
pub(super) use self::reference::split_absolute;
pub(super) use self::webdav::NamedUrls;

/// Returns whether a path is of this form.
pub(super) fn is_one(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// The integration and connection that the path names.
pub(super) fn tags(
    path: &str,
) -> Result<(Option<IntegrationName>, Option<ConnectionName>), Refusal> {
    let wrong = |error| {
        Refusal::new(
            Code::MalformedRequest,
            format!("The base URL is /~/CONNECTION/ or /~/INTEGRATION.CONNECTION/: {error}."),
        )
    };
    let segment = segment(path);
    let (integration, connection) = match segment.split_once('.') {
        Some((integration, connection)) => {
            (Some(IntegrationName::parse(integration).map_err(wrong)?), connection)
        }
        None => (None, segment),
    };
    Ok((integration, Some(ConnectionName::parse(connection).map_err(wrong)?)))
}

/// The target without the prefix.
///
/// # Errors
/// When the rest is no path; the library read it as part of one before.
pub fn strip(uri: &Uri) -> Result<PathAndQuery, http::uri::InvalidUri> {
    below(uri.path_and_query().map_or("/", PathAndQuery::as_str)).parse()
}

/// The part of a target below the prefix, beginning with a slash.
pub(super) fn below(target: &str) -> String {
    let end = target.find(['?', '#']).unwrap_or(target.len());
    let prefix = PREFIX.len() + segment(target.get(..end).unwrap_or_default()).len();
    let base = repeated_base(target, prefix).unwrap_or_default();
    let rest = target.get(base + prefix..).unwrap_or_default();
    if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }
}

/// The length of the base URL's path where it stands twice, one after the other: some clients put
/// it before a path that an answer has led them to, which has it already.
fn repeated_base(target: &str, prefix: usize) -> Option<usize> {
    let (prefix, rest) = target.split_at_checked(prefix)?;
    let base = prefix.len() + rest.find(&format!("{prefix}/"))?;
    let (base, again) = target.split_at_checked(base)?;
    let again = again.strip_prefix(base)?;
    let is_path = !base.contains(['?', '#']) && (again.is_empty() || again.starts_with(['/', '?']));
    is_path.then_some(base.len())
}

/// The part between the prefix and the next slash.
fn segment(path: &str) -> &str {
    let rest = path.strip_prefix(PREFIX).unwrap_or_default();
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

pub(super) const PREFIX: &str = "/~/";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_prefix_is_taken_off_and_the_rest_left_as_it_is() {
        for (target, rest) in [
            ("/~/example/v1/a%2Fb/../c?x=1&y=%20", "/v1/a%2Fb/../c?x=1&y=%20"),
            ("/~/shop.example/v1", "/v1"),
            ("/~/example", "/"),
            ("/~/example/", "/"),
            ("/~/example?x=1", "/?x=1"),
            ("/~/example//v1", "//v1"),
            ("/~/example/~/example/v1", "/v1"),
            ("/~/example/api/v3/~/example/api/v3/v1?x", "/api/v3/v1?x"),
            ("/~/example/api/~/example/v1", "/api/~/example/v1"),
            ("/~/example/~/other/v1", "/~/other/v1"),
            ("/~/example/v1?/~/example/v1", "/v1?/~/example/v1"),
        ] {
            let uri: Uri = target.parse().unwrap();
            assert_eq!(strip(&uri).unwrap().as_str(), rest, "{target}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_of_a_target_is_a_path_and_the_end_of_it(
            name in "[A-Za-z0-9._-]{0,12}",
            rest in "(/[a-z0-9/.%2F~:@-]{0,16})?(\\?[a-z0-9/=&?%:@]{0,16})?",
        ) {
            let target = format!("/~/{name}{rest}");
            let uri: Uri = target.parse().unwrap();
            let left = strip(&uri).unwrap();
            let path = if rest.starts_with('/') { rest } else { format!("/{rest}") };
            prop_assert_eq!(left.as_str(), path);
        }
    }
}
