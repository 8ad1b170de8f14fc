//! What an operator has entered: fields by name, taken out one by one, so that what is left is
//! unknown. Every fault is collected, none ends the reading.

use std::fmt::Display;

use super::fault::{About, Fault, Refused};
use crate::model::field::SecretError;
use crate::secret::Secret;

/// The fields as they were entered.
#[derive(Debug, Default)]
pub struct Form {
    fields: Vec<(String, Entry)>,
    asked: Vec<&'static str>,
    faults: Vec<Fault>,
}

/// The value of one field.
#[derive(Debug)]
pub enum Entry {
    /// Nothing.
    Blank,
    /// Yes or no.
    Flag(bool),
    /// A list of texts.
    List(Vec<String>),
    /// What no field holds; the words say what it is.
    Other(&'static str),
    /// A text, which may be a secret.
    Text(Secret),
}

impl Form {
    /// The form with these fields, in the order in which they were entered; to enter one twice is
    /// a fault.
    #[must_use]
    pub fn new(entered: Vec<(String, Entry)>) -> Self {
        let mut form = Self::default();
        if entered.len() > MAX_MEMBERS {
            form.fault(About::Request, &format!("there are more than {MAX_MEMBERS} fields"));
        }
        for (name, entry) in entered.into_iter().take(MAX_MEMBERS) {
            if form.fields.iter().any(|(known, _)| *known == name) {
                form.fault(About::Request, &format!("{}: is given twice", printable(&name)));
            } else {
                form.fields.push((name, entry));
            }
        }
        form
    }

    /// Whether `field` has been entered.
    pub(super) fn has(&self, field: &str) -> bool {
        self.fields.iter().any(|(name, entry)| name == field && !matches!(entry, Entry::Blank))
    }

    /// Whether `field` has been entered as an empty text.
    pub(super) fn is_empty(&self, field: &str) -> bool {
        let empty = |entry: &Entry| matches!(entry, Entry::Text(text) if text.is_empty());
        self.fields.iter().any(|(name, entry)| name == field && empty(entry))
    }

    /// Whether anything was wrong so far.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Notes something that is wrong.
    pub(super) fn fault(&mut self, about: About, title: &str) {
        self.faults.push(Fault::new(about, title));
    }

    /// A text that must be there, as `parse` reads it.
    pub(super) fn require<T, E: Display>(
        &mut self,
        field: &'static str,
        about: About,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        self.demand(field);
        self.take(field, about, parse)
    }

    /// A text that may be there, as `parse` reads it. `None` too when it is faulty.
    pub(super) fn take<T, E: Display>(
        &mut self,
        field: &'static str,
        about: About,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let secret = self.text(field)?;
        let Ok(text) = std::str::from_utf8(secret.expose()) else {
            self.fault(About::Request, &format!("{field}: is not UTF-8"));
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.fault(about, &format!("{field}: {rule}"));
                None
            }
        }
    }

    /// A text that may be there, as `parse` reads it; an empty one counts as none.
    pub(super) fn take_filled<T, E: Display>(
        &mut self,
        field: &'static str,
        about: About,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        if self.is_empty(field)
            && let Some((_, entry)) = self.fields.iter_mut().find(|(name, _)| name == field)
        {
            *entry = Entry::Blank;
        }
        self.take(field, about, parse)
    }

    /// Yes or no, which may be there. `None` too when it is faulty.
    pub(super) fn take_flag(&mut self, field: &'static str) -> Option<bool> {
        match self.entry(field)? {
            Entry::Flag(flag) => Some(flag),
            entry => {
                self.unfit(field, &entry, "true or false");
                None
            }
        }
    }

    /// A secret that may be there. `None` too when it is faulty.
    pub(super) fn take_secret(
        &mut self,
        field: &'static str,
        check: fn(&[u8]) -> Result<(), SecretError>,
    ) -> Option<Secret> {
        let secret = self.text(field)?;
        if secret.expose() == REDACTED.as_bytes() {
            let title = format!("{field}: {REDACTED} stands for a secret; enter the secret itself");
            self.fault(About::Credential, &title);
            return None;
        }
        match check(secret.expose()) {
            Ok(()) => Some(secret),
            Err(rule) => {
                self.fault(About::Credential, &format!("{field}: {rule}"));
                None
            }
        }
    }

    /// A list of texts that may be there. `None` too when it is faulty.
    pub(super) fn list(&mut self, field: &'static str) -> Option<Vec<String>> {
        match self.entry(field)? {
            Entry::List(texts) => Some(texts),
            entry => {
                self.unfit(field, &entry, "a list of texts");
                None
            }
        }
    }

    /// Takes out what the server alone sets and has shown: whoever sends back what they were shown
    /// asks for no change of it.
    pub(super) fn pass_over(&mut self, read_only: &[&str]) {
        self.fields.retain(|(name, _)| !read_only.contains(&name.as_str()));
    }

    /// Tells whether what stands for a hidden secret was entered.
    pub(super) fn is_redacted(&self, field: &str) -> bool {
        let hidden = |entry: &Entry| matches!(entry, Entry::Text(text) if text.expose() == REDACTED.as_bytes());
        self.fields.iter().any(|(name, entry)| name == field && hidden(entry))
    }

    /// Takes out the secret where what stands for it is sent back along with one of the members
    /// that show that the whole record is: it stays as it is then. Alone it is taken for a mistake.
    pub(super) fn keep_redacted(&mut self, secret: &str, along_with: &[&str]) {
        if self.is_redacted(secret) && along_with.iter().any(|field| self.has(field)) {
            self.pass_over(&[secret]);
        }
    }

    /// Notes every field that is there with nothing in it: where fields are changed, that could
    /// mean to keep what is there or to empty it.
    pub(super) fn refuse_blanks(&mut self) {
        for (name, entry) in std::mem::take(&mut self.fields) {
            if matches!(entry, Entry::Blank) {
                let name = printable(&name);
                self.fault(About::Request, &format!("{name}: is null; leave out what stays"));
            } else {
                self.fields.push((name, entry));
            }
        }
    }

    /// Notes that `field` is missing, if it is.
    pub(super) fn demand(&mut self, field: &'static str) {
        if !self.has(field) {
            self.fault(About::Request, &format!("{field}: is missing"));
        }
    }

    /// Gives what was read of the form, if all of it was and nothing was wrong or left over.
    pub(super) fn close<T>(mut self, read: Option<T>) -> Result<T, Refused> {
        for (name, _) in std::mem::take(&mut self.fields) {
            let known = self.asked.join(", ");
            let title = format!("{}: is unknown; there are {known}", printable(&name));
            self.fault(About::Request, &title);
        }
        match read {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Refused::Faulty(self.faults)),
        }
    }

    fn text(&mut self, field: &'static str) -> Option<Secret> {
        match self.entry(field)? {
            Entry::Text(text) if text.is_empty() => {
                self.fault(About::Request, &format!("{field}: is empty"));
                None
            }
            Entry::Text(text) => Some(text),
            entry => {
                self.unfit(field, &entry, "a text");
                None
            }
        }
    }

    fn entry(&mut self, field: &'static str) -> Option<Entry> {
        if !self.asked.contains(&field) {
            self.asked.push(field);
        }
        let at = self.fields.iter().position(|(name, _)| name == field)?;
        match self.fields.remove(at).1 {
            Entry::Blank => None,
            entry => Some(entry),
        }
    }

    fn unfit(&mut self, field: &str, entry: &Entry, wanted: &str) {
        let found = match entry {
            Entry::Blank => "nothing",
            Entry::Flag(_) => "true or false",
            Entry::List(_) => "a list",
            Entry::Other(words) => words,
            Entry::Text(_) => "a text",
        };
        self.fault(About::Request, &format!("{field}: must be {wanted}, not {found}"));
    }
}

/// More than any form has; every fault of so many can be told.
const MAX_MEMBERS: usize = 32;

/// What stands for a secret in every answer.
pub const REDACTED: &str = "*****";

/// A stranger's name for something, fit to be shown: short, and nothing but what names are made
/// of; else the words for what it is.
#[must_use]
pub fn printable_name<'a>(name: &'a str, else_words: &'a str) -> &'a str {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.[]".contains(&byte);
    let fits = (1..=40).contains(&name.len()) && name.bytes().all(plain);
    if fits { name } else { else_words }
}

fn printable(name: &str) -> &str {
    printable_name(name, "a field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::field::check_secret;

    fn text(value: &str) -> Entry {
        Entry::Text(Secret::new(value))
    }

    fn form(entered: Vec<(&str, Entry)>) -> Form {
        Form::new(entered.into_iter().map(|(name, entry)| (name.to_owned(), entry)).collect())
    }

    fn titles(refused: Refused) -> Vec<String> {
        let Refused::Faulty(faults) = refused else { panic!("{refused:?}") };
        faults.into_iter().map(|fault| fault.title).collect()
    }

    #[test]
    fn every_fault_is_listed() {
        let mut form = form(vec![
            ("name", text("")),
            ("token", Entry::Other("a number")),
            ("extra", Entry::Blank),
            ("extra", text("x")),
            ("héé", text("x")),
        ]);
        let name = form.require("name", About::Name, |text| Ok::<_, String>(text.to_owned()));
        let token = form.take_secret("token", check_secret);
        let domain = form.require("allowed_domain", About::AllowedDomain, str::parse::<u8>);
        let read = name.zip(token).zip(domain);
        assert_eq!(
            titles(form.close(read).unwrap_err()),
            [
                "extra: is given twice",
                "name: is empty",
                "token: must be a text, not a number",
                "allowed_domain: is missing",
                "extra: is unknown; there are name, token, allowed_domain",
                "a field: is unknown; there are name, token, allowed_domain",
            ]
        );
    }

    #[test]
    fn no_fault_shows_what_was_entered() {
        let mut form = form(vec![("token", text("hun\nter2"))]);
        let read = form.take_secret("token", check_secret);
        let refused = form.close(read).unwrap_err();
        assert!(!format!("{refused:?}").contains("hun"), "{refused:?}");
    }

    #[test]
    fn the_mark_of_a_hidden_secret_is_no_secret() {
        let mut form = form(vec![("token", text(REDACTED))]);
        let read = form.take_secret("token", check_secret);
        assert!(form.close(read).is_err());
    }

    #[test]
    fn a_list_is_a_list_and_null_is_nothing() {
        let list = Entry::List(vec!["a".to_owned()]);
        let mut form = form(vec![("scopes", list), ("connections", Entry::Blank)]);
        assert_eq!(form.list("scopes"), Some(vec!["a".to_owned()]));
        assert_eq!(form.list("connections"), None);
        assert_eq!(form.close(Some(())), Ok(()));
    }
}
