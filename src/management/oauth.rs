//! OAuth at the desk: clients, flows, and the connections that come of them (ZIS spec §7).

mod account;
mod callback;
mod clients;
mod connections;
mod draft;
mod exchange;
mod grant;
mod own_account;
mod pass;
mod redirect;
mod start;
mod target;

pub use self::account::AccountAnswer;
pub use self::callback::Ending;
pub use self::clients::ClientShown;
pub use self::connections::{Authorized, Pointer};
pub use self::exchange::Exchanged;
pub use self::redirect::{Keepsake, Redirection, Visitor};
pub use self::start::Started;

/// The path of the API to which providers send the browser back, below `public_url`.
pub(super) const CALLBACK: &str = "/api/services/zis/connections/oauth/callback";
