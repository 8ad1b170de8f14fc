//! The one source of randomness.
//!
//! Owns the call to the system's generator, promises unpredictable bytes or an error, and must
//! never know their use.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};

/// The system could not give random bytes; nothing that needs them may go on.
#[derive(Debug, thiserror::Error)]
#[error("the system's random number generator failed")]
pub struct RandomError(());

/// `N` unpredictable bytes.
///
/// # Errors
/// [`RandomError`] when the system's generator does.
pub fn bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_silent| RandomError(()))?;
    Ok(bytes)
}
