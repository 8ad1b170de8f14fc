//! The context of a page: its reader, the integration, and the frame around it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{FromRequestParts, RawPathParams, Request};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, StatusCode, header};
use maud::{Markup, html};

use super::errors::{self, ErrorPage};
use super::form_values::{FormValues, RejectedForm};
use super::layout::{self, Tab};
use super::session::Session;
use super::sign_in::{Cookie, cookie_of};
use super::{ConsoleState, sign_in};
use crate::listener::ConnState;
use crate::management::{
    ClientAddr, Management, Operator, ReadAccess, Refused, Scope, WriteAccess,
};
use crate::model::name::IntegrationName;

/// Somebody who has signed in, and what they look at.
pub(super) struct PageContext {
    pub(super) state: ConsoleState,
    pub(super) operator: Operator,
    pub(super) session: Session,
    /// The values of the path's parameters.
    places: HashMap<String, String>,
    query: Vec<(String, String)>,
}

/// The answer of a handler.
pub(super) type PageResult = Result<Response, PageError>;

/// An answer that says why something was not done.
#[derive(Debug)]
pub(super) struct PageError(Box<Response>);

impl FromRequestParts<ConsoleState> for PageContext {
    type Rejection = PageError;

    async fn from_request_parts(
        parts: &mut Parts,
        state: &ConsoleState,
    ) -> Result<Self, PageError> {
        // 1. The session, which what a page asks for by itself does not keep from ending.
        let management = &state.services.management;
        let cookie = cookie_of(&parts.headers, Cookie::Session, state.services.is_secure);
        let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
        let signed_out = |parts: &Parts| PageError::from(sign_in::first(parts, &target));
        let Some(cookie) = cookie else { return Err(signed_out(parts)) };
        let known = management.session(&cookie, !is_fetched(parts)).await;
        let Some(known) = known else { return Err(signed_out(parts)) };
        // 2. The integration, which the pages' links and forms have.
        let places = RawPathParams::from_request_parts(parts, state).await;
        let places = places.map_err(|rejection| PageError::from(rejection.into_response()))?;
        let places: HashMap<_, _> =
            places.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let integration = places.get("integration").map(String::as_str);
        // 3. The operator. A token that was revoked ends its sessions at once.
        let Some(operator) = management.admit_session(&known, integration) else {
            management.forget_session(&cookie).await;
            return Err(signed_out(parts));
        };
        let source = parts.extensions.get::<ClientAddr>().copied();
        let operator = operator.at(source.unwrap_or(ClientAddr(None)));
        let principal = known.principal();
        if let Some(presence) = parts.extensions.get::<Arc<ConnState>>() {
            // Beyond its share the conn ends with this answer.
            let _answered_all_the_same = presence.mark_authenticated(Some(principal));
        }
        let per_minute = management.settings().requests_per_minute;
        if let Err(exceeded) = state.services.rate_limits.count_request(&principal, per_minute) {
            return Err(PageError::from(errors::too_many(exceeded)));
        }
        if integration.is_some_and(|name| IntegrationName::parse(name).is_err()) {
            return Err(PageError::from(errors::NOWHERE.bare()));
        }
        let session = Session::of(known, &cookie);
        let query = parts.uri.query().unwrap_or_default();
        Ok(Self {
            state: state.clone(),
            operator,
            session,
            places,
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
        })
    }
}

impl PageContext {
    pub(super) fn management(&self) -> &Arc<Management> {
        &self.state.services.management
    }

    /// The integrations that can be looked at: those of a person who has several, or those that are
    /// known to have connections.
    pub(super) fn integrations(&self) -> Vec<IntegrationName> {
        let own = self.management().integrations_of(&self.session.known);
        if own.len() > 1 { own } else { self.management().integrations(&self.operator) }
    }

    /// The integration in the path, as it was written.
    pub(super) fn integration(&self) -> &str {
        self.place("integration")
    }

    /// The value of a path parameter; empty where there is none.
    pub(super) fn place(&self, name: &str) -> &str {
        self.places.get(name).map_or("", String::as_str)
    }

    /// The value of a parameter; nothing where there is none.
    pub(super) fn query(&self, name: &str) -> &str {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    }

    /// A path within the integration.
    pub(super) fn path(&self, below: &str) -> String {
        format!("/console/i/{}{below}", self.integration())
    }

    /// The right to see the integration's connections.
    pub(super) fn read_access(&self) -> Result<ReadAccess<'_>, PageError> {
        self.management()
            .read_access(&self.operator, self.integration())
            .map_err(|why| self.refuse(why))
    }

    /// The right to change the integration's connections.
    pub(super) fn write_access(&self) -> Result<WriteAccess<'_>, PageError> {
        self.management()
            .write_access(&self.operator, self.integration())
            .map_err(|why| self.refuse(why))
    }

    /// Tells whether the operator may change connections of the integration.
    pub(super) fn may_write(&self) -> bool {
        self.management().write_access(&self.operator, self.integration()).is_ok()
    }

    /// Tells whether the operator may change what is all of the integration's.
    pub(super) fn may_write_all(&self) -> bool {
        let integration = IntegrationName::parse(self.integration());
        self.may_write() && integration.is_ok_and(|name| self.operator.reaches_all_of(&name))
    }

    /// Tells whether the operator is shown the way to requests that are tried.
    pub(super) fn shows_trial(&self) -> bool {
        let is_shown = self.operator.may_send() || !self.operator.is_auditor();
        self.operator.may(Scope::Read) && is_shown
    }

    /// Reads the form that a page of this session has sent.
    pub(super) async fn read(&self, request: Request) -> Result<FormValues, PageError> {
        let public_url = self.management().public_url();
        FormValues::read(request, &self.session, &public_url).await.map_err(|unfit| {
            self.tell(&match unfit {
                RejectedForm::Foreign => errors::FOREIGN,
                RejectedForm::Malformed => errors::MALFORMED,
            })
        })
    }

    /// The hidden field that each form of this session has.
    pub(super) fn mark(&self) -> Markup {
        html! { input type="hidden" name=(super::form_values::MARK) value=(self.session.mark); }
    }

    pub(super) fn page(&self, tab: Tab, title: &str, markup: &Markup) -> Response {
        self.page_with(StatusCode::OK, tab, title, markup)
    }

    /// A whole page with a status of its own.
    pub(super) fn page_with(
        &self,
        status: StatusCode,
        tab: Tab,
        title: &str,
        markup: &Markup,
    ) -> Response {
        (status, layout::html(&layout::around(self, tab, title, markup))).into_response()
    }

    /// A page that says why something was not done.
    pub(super) fn refuse(&self, refused: Refused) -> PageError {
        self.tell(&self.explained(refused))
    }

    /// The reason why something was not done, in a sentence.
    pub(super) fn words(&self, refused: Refused) -> Cow<'static, str> {
        self.explained(refused).words
    }

    /// A refusal, explained to the one who looks.
    fn explained(&self, refused: Refused) -> ErrorPage {
        match self.operator.person() {
            Some(_) => ErrorPage::of_person(refused),
            None => ErrorPage::of(refused),
        }
    }

    /// A page that tells a page of failure.
    pub(super) fn tell(&self, page: &ErrorPage) -> PageError {
        let way_on = self.way_on(page.status);
        let way_on = way_on.as_ref().map(|(path, words)| (path.as_str(), *words));
        let markup = page.as_markup(way_on);
        PageError::from(self.page_with(page.status, Tab::None, page.title, &markup))
    }

    /// The page at which somebody goes on who was refused something, as far as they may open one.
    fn way_on(&self, status: StatusCode) -> Option<(String, &'static str)> {
        let may = |scope| self.operator.may(scope);
        // An integration that is out of reach has no page to go on at.
        if status == StatusCode::FORBIDDEN || self.integration().is_empty() {
            return Some(("/console".to_owned(), "To the console"));
        }
        if status.is_server_error() && !self.operator.is_auditor() {
            return Some((self.path("/system"), "System"));
        }
        if may(Scope::Read) || may(Scope::Audit) {
            return Some((self.path("/connections"), "Connections"));
        }
        may(Scope::Admin).then(|| (self.path("/tokens"), "Tokens"))
    }
}

impl From<Response> for PageError {
    fn from(response: Response) -> Self {
        Self(Box::new(response))
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        *self.0
    }
}

/// Somewhere else, to be asked for with GET.
pub(super) fn see(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(header::LOCATION, path)]).into_response()
}

/// Tells whether a page's script asks, and nobody looks at the answer as a page. The script says so
/// itself: browsers do only where there is TLS, or no network.
pub(super) fn is_fetched(parts: &Parts) -> bool {
    parts.method == Method::GET && parts.headers.contains_key("x-keyferry-fragment")
}
