//! Members of the API's documents that an option takes away.

use std::ffi::OsStr;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

/// Takes the name of a member as the API writes it, or with hyphens, as options have them.
#[derive(Clone)]
pub(super) struct MemberParser(PossibleValuesParser);

impl MemberParser {
    pub(super) fn of<const COUNT: usize>(members: [&'static str; COUNT]) -> Self {
        Self(PossibleValuesParser::new(members))
    }
}

impl TypedValueParser for MemberParser {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &OsStr,
    ) -> Result<String, clap::Error> {
        let member = value.to_string_lossy().replace('-', "_");
        self.0.parse_ref(command, argument, OsStr::new(&member))
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        self.0.possible_values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyphens_count_as_underscores() {
        let (command, parser) = (clap::Command::new("x"), MemberParser::of(["expires_on", "pkce"]));
        let read = |text: &str| parser.parse_ref(&command, None, OsStr::new(text)).ok();
        for text in ["expires-on", "expires_on"] {
            assert_eq!(read(text).as_deref(), Some("expires_on"));
        }
        assert_eq!((read("pkce").as_deref(), read("expires")), (Some("pkce"), None));
    }
}
