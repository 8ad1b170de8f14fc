//! The MACs of events and of the ends of their chain: HMAC-SHA-256.

use aws_lc_rs::hmac;

use super::Vault;
use super::context::Encoding;
use crate::model::event::{ChainEnds, EventClaims, EventSigner, MacOutcome};
use crate::model::sealed::Mac;

impl EventSigner for Vault {
    fn sign_event(&self, claims: EventClaims) -> Mac {
        let first = self.keyring.first();
        let mut code = [0; 32];
        code.copy_from_slice(hmac::sign(&first.mac, &encode(&first.id, claims)).as_ref());
        Mac { key_id: first.id.clone(), code }
    }

    fn check_event(&self, claims: EventClaims, mac: &Mac) -> MacOutcome {
        let Some(key) = self.keyring.lookup(&mac.key_id) else { return MacOutcome::KeyMissing };
        match hmac::verify(&key.mac, &encode(&key.id, claims), &mac.code) {
            Ok(()) => MacOutcome::Genuine,
            Err(_) => MacOutcome::Forged,
        }
    }
}

fn encode(key_id: &str, claims: EventClaims) -> Vec<u8> {
    match claims {
        EventClaims::Event(hash) => {
            Encoding::new("keyferry event").text(key_id).bytes(hash.as_bytes()).finish()
        }
        EventClaims::Chain(ChainEnds { cut, last }) => Encoding::new("keyferry event chain")
            .text(key_id)
            .number(cut.0)
            .bytes(cut.1.as_bytes())
            .number(last.0)
            .bytes(last.1.as_bytes())
            .finish(),
    }
}
