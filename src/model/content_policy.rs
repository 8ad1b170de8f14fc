//! The `Content-Security-Policy` (CSP Level 3) and `Referrer-Policy` of every page that this
//! program serves.

/// The kind of a page, which decides what it may load. No page loads anything from elsewhere, has
/// inline scripts, or may be framed.
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

    /// The value of `Referrer-Policy`. The URL at the end of a sign-in carries a verification code,
    /// and the console's URLs are sent to the console only.
    pub const fn referrer(self) -> &'static str {
        match self {
            Self::Console => "same-origin",
            Self::ApiDescription | Self::Inert => "no-referrer",
        }
    }
}
