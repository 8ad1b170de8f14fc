//! Templates of values that carry secrets: text with `{name}` for a secret, and `{basic:A,B}` for
//! the credentials of the Basic scheme (RFC 7617 §2) of two of them (contract §8).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// A parsed template.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Template(Box<[Piece]>);

#[derive(Clone, Debug, Eq, PartialEq)]
enum Piece {
    Text(Box<str>),
    Secret(Box<str>),
    Basic(Operand, Operand),
}

/// The user or the password of Basic credentials.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Operand {
    /// A text in single quotation marks.
    Text(Box<str>),
    /// The name of a secret.
    Secret(Box<str>),
}

/// A template that breaks a rule. The text states it.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TemplateError {
    /// A placeholder has no end, or a brace no beginning.
    #[error("has a brace that belongs to no placeholder")]
    Brace,
    /// It names something that is not there.
    #[error("has an unknown placeholder")]
    Name,
    /// `{basic:…}` has not two parts.
    #[error("must have two parts in {{basic:A,B}}: names of secrets, or texts in '…'")]
    Basic,
    /// It is empty, too long, or has characters that no field carries.
    #[error("must be 1 to 1024 printable ASCII characters")]
    Text,
}

impl Template {
    /// Parses a template whose placeholders are out of `names`.
    ///
    /// # Errors
    /// [`TemplateError`] states the rule that it breaks.
    pub fn parse(text: &str, names: &[&str]) -> Result<Self, TemplateError> {
        let is_printable = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !(1..=1024).contains(&text.len()) || !is_printable {
            return Err(TemplateError::Text);
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(brace) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at_checked(brace).ok_or(TemplateError::Brace)?;
            let inner = from.strip_prefix('{').ok_or(TemplateError::Brace)?;
            let (placeholder, after) = inner.split_once('}').ok_or(TemplateError::Brace)?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::parse(placeholder, names)?);
            rest = after;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self(pieces.into()))
    }

    /// The names in the placeholders of a text, whether or not it is a template.
    #[must_use]
    pub fn names(text: &str) -> Vec<Box<str>> {
        let inner = text.split('{').skip(1).filter_map(|rest| rest.split_once('}'));
        let operands = inner.flat_map(|(inner, _)| {
            inner.strip_prefix("basic:").unwrap_or(inner).split(',').map(str::trim)
        });
        operands.filter(|name| !name.is_empty()).map(Into::into).collect()
    }

    /// Tells whether it has the secret of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let is_it =
            |operand: &Operand| matches!(operand, Operand::Secret(found) if **found == *name);
        self.0.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Secret(found) => **found == *name,
            Piece::Basic(user, password) => is_it(user) || is_it(password),
        })
    }

    /// Tells whether it has any secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        let is_one = |operand: &Operand| matches!(operand, Operand::Secret(_));
        self.0.iter().any(|piece| match piece {
            Piece::Text(_) => false,
            Piece::Secret(_) => true,
            Piece::Basic(user, password) => is_one(user) || is_one(password),
        })
    }

    /// Tells whether the secret of this name is the user of Basic credentials.
    #[must_use]
    pub fn has_user(&self, name: &str) -> bool {
        self.0.iter().any(|piece| match piece {
            Piece::Basic(Operand::Secret(user), _) => **user == *name,
            _ => false,
        })
    }

    /// Tells whether it has the credentials of the Basic scheme.
    #[must_use]
    pub fn has_basic(&self) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Basic(..)))
    }

    /// The value, with the secrets in it; `None` when `secret_of` does not know one.
    #[must_use]
    pub fn fill<'a>(
        &self,
        secret_of: impl Fn(&str) -> Option<&'a [u8]>,
    ) -> Option<Zeroizing<Vec<u8>>> {
        let mut value = Zeroizing::new(Vec::with_capacity(INITIAL_CAPACITY));
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => value.extend_from_slice(text.as_bytes()),
                Piece::Secret(name) => value.extend_from_slice(secret_of(name)?),
                Piece::Basic(user, password) => {
                    let mut pair = Zeroizing::new(Vec::with_capacity(INITIAL_CAPACITY));
                    pair.extend_from_slice(user.bytes(&secret_of)?);
                    pair.push(b':');
                    pair.extend_from_slice(password.bytes(&secret_of)?);
                    let mut text = Zeroizing::new("Basic ".to_owned());
                    STANDARD.encode_string(&*pair, &mut text);
                    value.extend_from_slice(text.as_bytes());
                }
            }
        }
        Some(value)
    }
}

impl Piece {
    fn parse(placeholder: &str, names: &[&str]) -> Result<Self, TemplateError> {
        let Some(pair) = placeholder.strip_prefix("basic:") else {
            let is_known = names.contains(&placeholder);
            return is_known.then(|| Self::Secret(placeholder.into())).ok_or(TemplateError::Name);
        };
        let (user, password) = pair.split_once(',').ok_or(TemplateError::Basic)?;
        let (user, password) = (Operand::parse(user, names)?, Operand::parse(password, names)?);
        // A colon would end the user's name (RFC 7617 §2).
        match &user {
            Operand::Text(text) if text.contains(':') => Err(TemplateError::Basic),
            _ => Ok(Self::Basic(user, password)),
        }
    }
}

impl Operand {
    fn parse(text: &str, names: &[&str]) -> Result<Self, TemplateError> {
        let quoted = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
        match quoted {
            Some(literal) if !literal.contains('\'') => Ok(Self::Text(literal.into())),
            None if names.contains(&text) => Ok(Self::Secret(text.into())),
            _ => Err(TemplateError::Basic),
        }
    }

    fn bytes<'a, 's: 'a>(
        &'a self,
        secret_of: &impl Fn(&str) -> Option<&'s [u8]>,
    ) -> Option<&'a [u8]> {
        match self {
            Self::Text(text) => Some(text.as_bytes()),
            Self::Secret(name) => secret_of(name),
        }
    }
}

/// Enough for most values, so that no copy of a secret is left behind by growth.
const INITIAL_CAPACITY: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(text: &str) -> Result<String, TemplateError> {
        let template = Template::parse(text, &["access_token", "client_id"])?;
        let secret_of = |name: &str| match name {
            "access_token" => Some(b"t0k3n".as_slice()),
            _ => Some(b"client".as_slice()),
        };
        Ok(String::from_utf8(template.fill(secret_of).unwrap().to_vec()).unwrap())
    }

    #[test]
    fn secrets_take_the_place_of_their_names() {
        for (text, value) in [
            ("{access_token}", "t0k3n"),
            ("token {access_token}", "token t0k3n"),
            ("{client_id}:{access_token}.", "client:t0k3n."),
            ("{basic:'x-access-token',access_token}", "Basic eC1hY2Nlc3MtdG9rZW46dDBrM24="),
            ("{basic:client_id,access_token}", "Basic Y2xpZW50OnQwazNu"),
            ("{basic:access_token,''}", "Basic dDBrM246"),
        ] {
            assert_eq!(filled(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused() {
        use TemplateError as E;
        for (text, rule) in [
            ("", E::Text),
            ("a\nb", E::Text),
            ("é", E::Text),
            ("{access_token", E::Brace),
            ("access_token}", E::Brace),
            ("{}", E::Name),
            ("{secret}", E::Name),
            ("{{access_token}}", E::Name),
            ("{basic:access_token}", E::Basic),
            ("{basic:a:b,access_token}", E::Basic),
            ("{basic:'a:b',access_token}", E::Basic),
            ("{basic:'a,access_token}", E::Basic),
        ] {
            assert_eq!(filled(text), Err(rule), "{text}");
        }
    }

    proptest! {
        #[test]
        fn text_without_braces_stays_as_it_is(text in "[ -z|~]{1,60}") {
            prop_assert_eq!(filled(&text), Ok(text));
        }

        #[test]
        fn a_template_has_a_secret_only_where_it_names_it(text in "[a{}:,'_]{0,20}|\\{?access_token\\}?") {
            if let Ok(value) = filled(&text) {
                prop_assert_eq!(value.contains("t0k3n"), text.contains("{access_token}"));
            }
        }
    }
}
