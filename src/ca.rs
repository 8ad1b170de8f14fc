//! The interception CA, which signs certificates for names inside tunnels (contract §3, "CONNECT").
//!
//! Owns the CA's key and every certificate that it signs; promises that each is for one name, has
//! a key of its own and ends within ninety days, and that no more of them are kept than fit a
//! bound; must never know the traffic of a
//! tunnel.

mod authority;
mod leaf;
mod leaf_cache;
mod rotation;

pub use authority::{CaError, CertificateAuthority};
pub use leaf_cache::LeafCache;
pub use rotation::{CaRotation, ScheduledCa};
