//! Provider tokens as they are stored (RFC 6749 §5.1).

use jiff::Timestamp;

use crate::model::packer::{Packer, Unpacker};
use crate::secret::Secret;

/// The provider tokens of one connection.
#[derive(Clone, Debug)]
pub struct TokenSet {
    /// The access token, which is sent to the origin.
    pub access_token: Secret,
    /// The refresh token, which requests the next access token.
    pub refresh_token: Option<Secret>,
    /// The body of the token endpoint's answer, unchanged.
    pub response_body: Secret,
    /// The provider's `token_type`, which is shown and not used otherwise.
    pub token_type: Box<str>,
    /// The granted scope, cut to 255 characters.
    pub scope: Box<str>,
    /// The origin at which the client refreshed tokens when these came: the refresh token is sent
    /// to no other.
    pub issuer: Box<str>,
    /// The time at which the tokens were requested.
    pub issued_at: Timestamp,
    /// The time at which the access token expires; `None` when the provider has not said.
    pub expires_at: Option<Timestamp>,
}

impl TokenSet {
    /// Encodes the tokens as one secret.
    #[must_use]
    pub fn pack(&self) -> Secret {
        let end = self.expires_at.map(Timestamp::as_microsecond);
        Packer::new(KIND)
            .text(self.access_token.expose())
            .optional_text(self.refresh_token.as_ref().map(Secret::expose))
            .text(self.response_body.expose())
            .text(self.token_type.as_bytes())
            .text(self.scope.as_bytes())
            .text(self.issuer.as_bytes())
            .number(self.issued_at.as_microsecond())
            .number(i64::from(end.is_some()))
            .number(end.unwrap_or_default())
            .finish()
    }

    /// Tells whether the access token itself is exchanged for the next, so that it is both.
    #[must_use]
    pub fn is_access_token_exchanged(&self) -> bool {
        let refresh_token = self.refresh_token.as_ref();
        refresh_token.is_some_and(|token| token.expose() == self.access_token.expose())
    }

    /// Decodes tokens; `None` for anything else.
    #[must_use]
    pub fn unpack(packed: &Secret) -> Option<Self> {
        let mut unpacking = Unpacker::new(KIND, packed)?;
        let tokens = Self {
            access_token: Secret::new(unpacking.text()?),
            refresh_token: unpacking.optional_text()?.map(Secret::new),
            response_body: Secret::new(unpacking.text()?),
            token_type: unpacking.utf8()?.into(),
            scope: unpacking.utf8()?.into(),
            issuer: unpacking.utf8()?.into(),
            issued_at: Timestamp::from_microsecond(unpacking.number()?).ok()?,
            expires_at: match (unpacking.number()?, unpacking.number()?) {
                (0, _) => None,
                (_, end) => Some(Timestamp::from_microsecond(end).ok()?),
            },
        };
        unpacking.is_done().then_some(tokens)
    }
}

/// The kind and version of encoded tokens.
const KIND: u8 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_out_as_they_went_in() {
        for (refresh_token, end) in [(None, None), (Some("r"), Some(1_900_000_000))] {
            let tokens = TokenSet {
                access_token: Secret::new("a"),
                refresh_token: refresh_token.map(Secret::new),
                response_body: Secret::new("{}"),
                token_type: "bearer".into(),
                scope: "read write".into(),
                issuer: "https://id.example.com".into(),
                issued_at: Timestamp::from_second(1_800_000_000).unwrap(),
                expires_at: end.map(|end| Timestamp::from_second(end).unwrap()),
            };
            let packed = tokens.pack();
            let unpacked = TokenSet::unpack(&packed).unwrap();
            assert_eq!(unpacked.pack().expose(), packed.expose());
            assert_eq!(unpacked.expires_at, tokens.expires_at);
            let shown = format!("{tokens:?}");
            assert!(!shown.contains('a') || shown.contains("*****"), "{shown}");
        }
        assert!(TokenSet::unpack(&Secret::new("a token of another kind")).is_none());
    }

    #[test]
    fn tokens_of_before_open_as_they_were_packed() {
        let text = |text: &str| [&(text.len() as u64).to_be_bytes()[..], text.as_bytes()].concat();
        let number = |number: i64| number.to_be_bytes().to_vec();
        let packed = [
            vec![1],
            text("a"),
            [number(1), text("r")].concat(),
            text("{}"),
            text("bearer"),
            text("read"),
            text("https://id.example.com"),
            number(1_800_000_000_000_000),
            number(1),
            number(1_900_000_000_000_000),
        ];
        let packed = Secret::new(packed.concat());
        let tokens = TokenSet::unpack(&packed).unwrap();
        assert_eq!(tokens.refresh_token.as_ref().unwrap().expose(), b"r");
        assert_eq!(tokens.expires_at, Timestamp::from_second(1_900_000_000).ok());
        assert_eq!(tokens.pack().expose(), packed.expose());
    }
}
