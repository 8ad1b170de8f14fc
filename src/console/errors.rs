//! Refusals in words for people at a browser: the cause, and the one who must act.

use std::borrow::Cow;

use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, header};
use maud::{Markup, html};

use super::{layout, status_view};
use crate::error::capitalized;
use crate::management::{Refused, RequestFault};
use crate::oauth::TokenFailure;
use crate::rate_limit::RateExceeded;

/// A page that says what has happened, and who must do what.
#[derive(Clone, Debug)]
pub(super) struct ErrorPage {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) words: Cow<'static, str>,
}

impl ErrorPage {
    const fn new(status: StatusCode, title: &'static str, words: &'static str) -> Self {
        Self { status, title, words: Cow::Borrowed(words) }
    }

    /// Explains a refusal of management.
    pub(super) fn of(refused: Refused) -> Self {
        match refused {
            Refused::AuthorityConfigured | Refused::KeysFromEnvironment => Self::new(
                StatusCode::CONFLICT,
                "The configuration has the say",
                "The operator of the server changes this where it is configured.",
            ),
            Refused::Changed => Self::new(
                StatusCode::CONFLICT,
                "Somebody else was faster",
                "It was changed at the same time. Look at it again, and repeat what you wanted.",
            ),
            Refused::Declared => Self::new(
                StatusCode::FORBIDDEN,
                "It is declared in the configuration",
                "The operator of the server changes or deletes it in the configuration file.",
            ),
            Refused::Faulty(faults) => Self {
                status: StatusCode::BAD_REQUEST,
                title: "Something is wrong with the request",
                words: sentence(&faults).into(),
            },
            Refused::KeysNeeded(why) | Refused::KeysUnreadable(why) => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                title: "The master keys can’t be read",
                words: format!("The operator of the server must fix this: {why}").into(),
            },
            Refused::KeyMissing(id) | Refused::Tokens(TokenFailure::KeyMissing(id)) => Self {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                title: "A master key is missing",
                words: status_view::key_missing(id).into(),
            },
            Refused::Tokens(failure) => Self {
                status: StatusCode::BAD_GATEWAY,
                title: "The provider gave no tokens",
                words: format!(
                    "{}. If it says so again, look at the OAuth client, or authorize the connection again.",
                    capitalized(&failure.to_string())
                )
                .into(),
            },
            Refused::MissingScope(scope) => Self::missing_scope(scope.as_str()),
            other => Self::plain(&other),
        }
    }

    /// Explains a refusal of management to a person, whose rights are those of groups.
    pub(super) fn of_person(refused: Refused) -> Self {
        let (title, words) = match refused {
            Refused::MissingScope(scope) => (
                "You may not do this",
                format!("None of your groups gives you the scope {scope}. {ASK_FOR_GROUPS}"),
            ),
            Refused::Mismatch | Refused::OutOfReach => (
                "You don’t reach that far",
                format!(
                    "Your groups give you other integrations, or some connections only. {ASK_FOR_GROUPS}"
                ),
            ),
            other => return Self::of(other),
        };
        Self { status: StatusCode::FORBIDDEN, title, words: words.into() }
    }

    /// The page for somebody whose token lacks a scope.
    pub(super) fn missing_scope(scope: &str) -> Self {
        let words = format!(
            "It lacks the scope {scope}. The one who created it can create a token with that scope for you: sign out, and sign in with that one."
        );
        Self {
            status: StatusCode::FORBIDDEN,
            title: "Your token may not do this",
            words: words.into(),
        }
    }

    fn plain(refused: &Refused) -> Self {
        match refused {
            Refused::Malformed => Self::new(
                StatusCode::BAD_REQUEST,
                "This is over",
                "What the request refers to is unknown or has expired. Begin again.",
            ),
            Refused::Mismatch | Refused::OutOfReach => Self::new(
                StatusCode::FORBIDDEN,
                "Your token does not reach that far",
                "It is for another integration, or for some connections only. The one who created it can create one for you that reaches further: sign out, and sign in with that one.",
            ),
            Refused::NoStore => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "This server keeps nothing",
                "The operator of the server sets store.url to a database, as sqlite:keyferry.db, and restarts it.",
            ),
            Refused::NotFound => Self::new(
                StatusCode::NOT_FOUND,
                "There is nothing here",
                "It does not exist, or is out of your reach.",
            ),
            Refused::SealBroken => Self::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "The secret can’t be opened",
                "Its record was changed by hand. Delete the connection and create it again.",
            ),
            Refused::Taken | Refused::NameTaken(_) => Self::new(
                StatusCode::CONFLICT,
                "The name is taken",
                "It is taken in this integration: choose another, or delete what has it.",
            ),
            Refused::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "The store can’t be used",
                "It can’t be reached, or can’t be written. Try again in a moment. If it stays so, the operator of the server must bring it back.",
            ),
            // Those with words of their own are told above.
            Refused::AuthorityConfigured
            | Refused::Changed
            | Refused::Declared
            | Refused::Faulty(_)
            | Refused::Internal
            | Refused::KeyMissing(_)
            | Refused::KeysFromEnvironment
            | Refused::KeysNeeded(_)
            | Refused::KeysUnreadable(_)
            | Refused::MissingScope(_)
            | Refused::Tokens(_) => Self::failed(),
        }
    }

    /// A failure that the operator can do nothing about.
    const fn failed() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "It failed",
            "The server’s log says why; its operator must look there.",
        )
    }

    /// The page for somebody who has not signed in.
    pub(super) fn bare(&self) -> Response {
        let page = layout::bare(self.title, &self.as_markup(Some(("/console", "To the console"))));
        (self.status, layout::html(&page)).into_response()
    }

    /// The page as a page's content, with a way on: an address, and where it leads.
    pub(super) fn as_markup(&self, way_on: Option<(&str, &str)>) -> Markup {
        html! {
            h1 { (self.title) }
            p { (self.words) }
            @if let Some((path, words)) = way_on { p { a.button href=(path) { (words) } } }
        }
    }
}

pub(super) fn too_many(exceeded: RateExceeded) -> Response {
    let seconds = exceeded.0.as_secs() + 1;
    let markup = html! {
        h1 { "Too many requests" }
        p { "Wait " (seconds) " seconds, then load the page again." }
        p { a.button href="" { "Load it again" } }
    };
    let page = layout::html(&layout::bare("Too many requests", &markup));
    let retry = [(header::RETRY_AFTER, seconds.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, retry, page).into_response()
}

/// The faults of a request as sentences.
pub(super) fn sentence(faults: &[RequestFault]) -> String {
    let titles: Vec<_> = faults.iter().map(|fault| capitalized(&fault.title)).collect();
    format!("{}.", titles.join(". "))
}

/// A form that comes from elsewhere.
pub(super) const FOREIGN: ErrorPage = ErrorPage::new(
    StatusCode::FORBIDDEN,
    "Nothing was done",
    "The form did not come from a page of this session. Go back, load the page again, and send it once more.",
);

/// A sign-in that another page would begin, such as by an image.
pub(super) const LOADED_INTO_A_PAGE: ErrorPage = ErrorPage::new(
    StatusCode::FORBIDDEN,
    "No sign-in was begun",
    "Another page has loaded the way to sign in, which begins one only when a browser goes there itself.",
);

/// A request to be sent by a person, in whose name none is.
pub(super) const PERSON_SENDS_NOTHING: ErrorPage = ErrorPage::new(
    StatusCode::FORBIDDEN,
    "It was not sent",
    "Requests are sent in the name of an access token, and you have signed in as a person. Sign in with a token that has the scopes read and proxy.",
);

/// A form that is none.
pub(super) const MALFORMED: ErrorPage = ErrorPage::new(
    StatusCode::BAD_REQUEST,
    "Nothing was done",
    "The form could not be read. Go back, load the page again, and send it once more.",
);

/// A path that leads nowhere.
pub(super) const NOWHERE: ErrorPage = ErrorPage::new(
    StatusCode::NOT_FOUND,
    "There is nothing here",
    "The address leads nowhere, or what was there is gone.",
);

const ASK_FOR_GROUPS: &str = "The operator of the server says in its configuration, at oidc.groups, what each group may do; who administers the groups can put you into another one.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::management::Scope;

    #[test]
    fn a_person_is_told_of_groups_and_not_of_a_token() {
        for refused in
            [|| Refused::MissingScope(Scope::Write), || Refused::OutOfReach, || Refused::Mismatch]
        {
            let (person, holder) = (ErrorPage::of_person(refused()), ErrorPage::of(refused()));
            let all = |page: &ErrorPage| format!("{} {}", page.title, page.words);
            assert!(all(&person).contains("groups") && !all(&person).contains("token"));
            assert!(all(&holder).contains("token") && !all(&holder).contains("groups"));
            assert_eq!(person.status, holder.status);
        }
        assert_eq!(ErrorPage::of_person(Refused::NotFound).status, StatusCode::NOT_FOUND);
    }
}
