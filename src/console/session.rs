//! The session of a page's reader: as management knows it, and the mark of its forms.

use std::fmt;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context as DigestContext, SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::management::ConsoleSession;

/// A session of somebody who has signed in.
#[derive(Clone)]
pub(super) struct Session {
    pub(super) known: ConsoleSession,
    /// The mark that each form must show, so that it is known to be one of ours.
    pub(super) mark: String,
}

impl Session {
    /// The session that this cookie shows.
    pub(super) fn of(known: ConsoleSession, cookie: &str) -> Self {
        Self { known, mark: mark_of(cookie) }
    }

    /// Tells whether a form shows the mark.
    pub(super) fn knows(&self, mark: &str) -> bool {
        verify_slices_are_equal(self.mark.as_bytes(), mark.as_bytes()).is_ok()
    }
}

/// The mark is made of the cookie, which nobody else has and which it does not tell: so every
/// instance knows it, and it is kept nowhere.
fn mark_of(cookie: &str) -> String {
    let mut context = DigestContext::new(&SHA256);
    context.update(b"keyferry form mark");
    context.update(cookie.as_bytes());
    URL_SAFE_NO_PAD.encode(context.finish())
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_of_one_cookie_and_does_not_contain_it() {
        let (one, other) = (mark_of("a-cookie"), mark_of("another"));
        assert_eq!(one, mark_of("a-cookie"));
        assert!(one != other && one.len() == 43 && !one.contains("a-cookie"));
    }
}
