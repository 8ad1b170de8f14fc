//! Somebody at the console with a browser: a cookie, and the mark of its forms.

use super::ask::{Ask, stranger};
use super::raw::{Answer, Raw};
use super::world::{Running, authority};

/// Somebody who has signed in.
pub(crate) struct Visitor {
    address: String,
    /// As the browser sends it.
    pub(crate) cookie: String,
    /// What each form of theirs shows.
    pub(crate) mark: String,
}

impl Running {
    /// Shows a token at the sign-in page.
    pub(crate) async fn try_to_sign_in(&self, token: &str) -> Answer {
        let ask = form("POST /console/sign-in", &[("token", token), ("next", "")]);
        Raw::tcp(authority(&self.api)).await.send(&ask).await
    }

    /// Signs in with a token, and looks at a page of `acme`.
    pub(crate) async fn sign_in(&self, token: &str) -> Visitor {
        let answer = self.try_to_sign_in(token).await;
        assert_eq!(answer.status, 303, "{answer:?}");
        let cookie = answer.field("set-cookie").split(';').next().unwrap().to_owned();
        self.visitor(cookie).await
    }

    /// Somebody with this cookie, who looks at a page of `acme`.
    pub(crate) async fn visitor(&self, cookie: String) -> Visitor {
        let address = authority(&self.api).to_owned();
        let mut visitor = Visitor { address, cookie, mark: String::new() };
        let page = visitor.get("/console/i/acme/system").await.text();
        let mark = page.split_once("name=\"mark\" value=\"").unwrap().1;
        visitor.mark.push_str(mark.split('"').next().unwrap());
        visitor
    }
}

impl Visitor {
    /// The same browser at another server.
    pub(crate) fn at(&self, server: &Running) -> Self {
        let address = authority(&server.api).to_owned();
        Self { address, cookie: self.cookie.clone(), mark: self.mark.clone() }
    }

    /// Looks at a page.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(stranger(&format!("GET {path}"))).await
    }

    /// Sends a form of one of the pages.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Answer {
        let fields = [fields, &[("mark", &self.mark)]].concat();
        self.send(form(&format!("POST {path}"), &fields)).await
    }

    /// Sends a request as it is, with the cookie.
    pub(crate) async fn send(&self, ask: Ask) -> Answer {
        Raw::tcp(&self.address).await.send(&ask.field("Cookie", &self.cookie)).await
    }
}

/// A form as a browser sends it.
pub(crate) fn form(line: &str, fields: &[(&str, &str)]) -> Ask {
    let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
    stranger(line).field("Content-Type", "application/x-www-form-urlencoded").body(body)
}
