//! The `Content-Security-Policy` of every page that this program serves (CSP Level 3), and how much
//! of a page's URL its links tell.

/// A page, by what it may load and do: nothing from elsewhere, nothing inline, in nobody's frame.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ContentPolicy {
    /// A page of the console: forms, scripts and pictures of its own.
    Console,
    /// The API's description: scripts of its own, no form.
    ApiDescription,
    /// A page on which nothing can be done, such as the end of a sign-in.
    Inert,
}

impl ContentPolicy {
    /// The value of `Content-Security-Policy`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Console => {
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
                 connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
            }
            Self::ApiDescription => {
                "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            }
            Self::Inert => {
                "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
            }
        }
    }

    /// The value of `Referrer-Policy`: the URL of a sign-in's end has in it what nobody else may
    /// learn, and the console's are told to the console alone.
    #[must_use]
    pub const fn referrer(self) -> &'static str {
        match self {
            Self::Console => "same-origin",
            Self::ApiDescription | Self::Inert => "no-referrer",
        }
    }
}
