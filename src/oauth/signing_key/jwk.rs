//! Private keys as JWKs (RFC 7517, RFC 7518 §6, RFC 8037 §2).

use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{KeyFault, KeyKind, SigningKey, is_size};

/// Reads a JWK.
pub(super) fn read(jwk: &Value) -> Result<SigningKey, KeyFault> {
    // 1. A private key has d; a key of no other kind than these has it.
    let member = |name: &str| jwk.get(name).and_then(Value::as_str);
    if ["RSA", "EC", "OKP"].map(Some).contains(&member("kty")) && jwk.get("d").is_none() {
        return Err(KeyFault::Public);
    }
    let number = |name: &str| {
        let text = member(name).ok_or(KeyFault::Damaged)?;
        let content = URL_SAFE_NO_PAD.decode(text.trim_end_matches('='));
        content.map(Zeroizing::new).map_err(|_where| KeyFault::Damaged)
    };
    // 2. The numbers of its kind.
    let kind = match (member("kty"), member("crv")) {
        (Some("RSA"), _) => {
            if ["p", "q", "dp", "dq", "qi"].iter().any(|name| jwk.get(name).is_none()) {
                return Err(KeyFault::RsaPrimes);
            }
            let components = KeyPairComponents {
                public_key: PublicKeyComponents { n: number("n")?, e: number("e")? },
                d: number("d")?,
                p: number("p")?,
                q: number("q")?,
                dP: number("dp")?,
                dQ: number("dq")?,
                qInv: number("qi")?,
            };
            KeyKind::Rsa(Box::new(rsa(&components)?))
        }
        (Some("EC"), Some("P-256")) => {
            let [d, x, y] = [number("d")?, number("x")?, number("y")?];
            KeyKind::P256(Box::new(ec(&ECDSA_P256_SHA256_FIXED_SIGNING, 32, [&d, &x, &y])?))
        }
        (Some("EC"), Some("P-384")) => {
            let [d, x, y] = [number("d")?, number("x")?, number("y")?];
            KeyKind::P384(Box::new(ec(&ECDSA_P384_SHA384_FIXED_SIGNING, 48, [&d, &x, &y])?))
        }
        (Some("OKP"), Some("Ed25519")) => {
            let key = Ed25519KeyPair::from_seed_and_public_key(&number("d")?, &number("x")?);
            KeyKind::Ed25519(Box::new(key.map_err(|_why| KeyFault::Damaged)?))
        }
        _ => return Err(KeyFault::Unsupported),
    };
    Ok(SigningKey(kind))
}

fn rsa(components: &KeyPairComponents<Zeroizing<Vec<u8>>>) -> Result<RsaKeyPair, KeyFault> {
    let key = RsaKeyPair::from_components(components);
    key.map_err(|why| if is_size(&why) { KeyFault::RsaSize } else { KeyFault::Damaged })
}

/// Reads d, x and y, which have `length` bytes each.
fn ec(
    algorithm: &'static EcdsaSigningAlgorithm,
    length: usize,
    [d, x, y]: [&[u8]; 3],
) -> Result<EcdsaKeyPair, KeyFault> {
    if [d, x, y].iter().any(|number| number.len() != length) {
        return Err(KeyFault::Damaged);
    }
    // The point in its uncompressed form (SEC 1 §2.3.3).
    let point = [&[4], x, y].concat();
    let key = EcdsaKeyPair::from_private_key_and_public_key(algorithm, d, &point);
    key.map_err(|_why| KeyFault::Damaged)
}
