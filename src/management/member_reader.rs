//! The reading of a request's members by their rules, one after another. Every fault is collected,
//! none ends the reading.

use std::fmt::Display;

use super::fault::{About, Refused, RequestFault};
use crate::model::field::SecretError;
use crate::secret::Secret;
use crate::wire::{Document, Member, MemberValue, REDACTED, Shape, printable_name};

/// Reads members, and collects what is wrong.
#[derive(Debug)]
pub(super) struct MemberReader {
    shape: Shape,
    /// The names of the members that were read.
    read: Vec<&'static str>,
    faults: Vec<RequestFault>,
}

pub(super) type Named<T> = (&'static str, Member<T>);

/// A member of a request with its name: `named!(request.member)`.
macro_rules! named {
    ($request:ident . $member:ident) => {
        (stringify!($member), $request.$member)
    };
}
pub(super) use named;

/// A value that is a text.
pub(super) trait Text: MemberValue {
    fn bytes(&self) -> &[u8];
}

impl Text for String {
    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Text for Secret {
    fn bytes(&self) -> &[u8] {
        self.expose()
    }
}

impl MemberReader {
    /// The members of a request, and what reads them.
    pub(super) fn of<T>(request: Document<T>) -> (T, Self) {
        let Document { members, shape } = request;
        let mut reader = Self { shape, read: Vec::new(), faults: Vec::new() };
        if let Some(most) = reader.shape.more_than {
            reader.fault(About::Request, &format!("there are more than {most} fields"));
        }
        for name in std::mem::take(&mut reader.shape.repeated) {
            reader.fault(About::Request, &format!("{}: is given twice", printable(&name)));
        }
        (members, reader)
    }

    /// Tells whether anything was wrong so far.
    pub(super) fn is_faulty(&self) -> bool {
        !self.faults.is_empty()
    }

    /// Tells whether the request has in it what only an answer says, so that it is one sent back.
    pub(super) fn is_sent_back(&self) -> bool {
        self.shape.has_read_only
    }

    /// Notes something that is wrong.
    pub(super) fn fault(&mut self, about: About, title: &str) {
        self.faults.push(RequestFault::new(about, title));
    }

    /// Notes that a member is missing, if it is.
    pub(super) fn demand<T>(&mut self, (name, member): &Named<T>) {
        if !member.is_given() {
            self.fault(About::Request, &format!("{name}: is missing"));
        }
    }

    /// Notes every member that is null: where something is changed, that could mean to keep what is
    /// there or to empty it. Members that `may_be` may.
    pub(super) fn refuse_nulls(&mut self, may_be: impl Fn(&str) -> bool) {
        for name in std::mem::take(&mut self.shape.null) {
            self.shape.unknown.retain(|unknown| *unknown != name);
            if !may_be(&name) {
                let name = printable(&name);
                self.fault(About::Request, &format!("{name}: is null; leave out what stays"));
            }
        }
    }

    /// Reads a text that must be there.
    pub(super) fn require<T: Text, V, E: Display>(
        &mut self,
        named: Named<T>,
        about: About,
        parse: impl FnOnce(&str) -> Result<V, E>,
    ) -> Option<V> {
        self.demand(&named);
        self.take(named, about, parse)
    }

    /// Reads a text that may be there. `None` too when it is faulty.
    pub(super) fn take<T: Text, V, E: Display>(
        &mut self,
        named: Named<T>,
        about: About,
        parse: impl FnOnce(&str) -> Result<V, E>,
    ) -> Option<V> {
        let name = named.0;
        let text = self.text(named)?;
        let Ok(text) = std::str::from_utf8(text.bytes()) else {
            self.fault(About::Request, &format!("{name}: is not UTF-8"));
            return None;
        };
        match parse(text) {
            Ok(value) => Some(value),
            Err(rule) => {
                self.fault(about, &format!("{name}: {rule}"));
                None
            }
        }
    }

    /// Reads a text that may be there; an empty one counts as none.
    pub(super) fn take_filled<T: Text, V, E: Display>(
        &mut self,
        (name, member): Named<T>,
        about: About,
        parse: impl FnOnce(&str) -> Result<V, E>,
    ) -> Option<V> {
        let member = if is_empty(&member) { Member::Absent } else { member };
        self.take((name, member), about, parse)
    }

    /// Reads what never changes and may be said again, as it is.
    pub(super) fn repeated(&mut self, named: Named<String>, known: &str) {
        let is_same = |text: &str| if text == known { Ok(()) } else { Err("never changes") };
        let _same = self.take(named, About::Request, is_same);
    }

    /// Reads a secret that may be there. `None` too when it is faulty.
    pub(super) fn take_secret(
        &mut self,
        named: Named<Secret>,
        check: fn(&[u8]) -> Result<(), SecretError>,
    ) -> Option<Secret> {
        let name = named.0;
        let secret = self.text(named)?;
        if secret.expose() == REDACTED.as_bytes() {
            let title = format!("{name}: {REDACTED} stands for a secret; enter the secret itself");
            self.fault(About::Credential, &title);
            return None;
        }
        match check(secret.expose()) {
            Ok(()) => Some(secret),
            Err(rule) => {
                self.fault(About::Credential, &format!("{name}: {rule}"));
                None
            }
        }
    }

    /// Reads a member of another type that may be there. `None` too when it is faulty.
    pub(super) fn value<T: MemberValue>(&mut self, (name, member): Named<T>) -> Option<T> {
        if !self.read.contains(&name) {
            self.read.push(name);
        }
        match member {
            Member::Absent | Member::Null => None,
            Member::Given(value) => Some(value),
            Member::Unfit(found) => {
                let wanted = T::TYPE;
                self.fault(About::Request, &format!("{name}: must be {wanted}, not {found}"));
                None
            }
        }
    }

    /// Gives what was read of the request, if all of it was and nothing was wrong or left over.
    pub(super) fn close<T>(mut self, read: Option<T>) -> Result<T, Refused> {
        let known = self.read.join(", ");
        for name in std::mem::take(&mut self.shape.unknown) {
            let title = format!("{}: is unknown; there are {known}", printable(&name));
            self.fault(About::Request, &title);
        }
        match read {
            Some(value) if self.faults.is_empty() => Ok(value),
            _ => Err(Refused::Faulty(self.faults)),
        }
    }

    fn text<T: Text>(&mut self, named: Named<T>) -> Option<T> {
        let name = named.0;
        let text = self.value(named)?;
        if text.bytes().is_empty() {
            self.fault(About::Request, &format!("{name}: is empty"));
            return None;
        }
        Some(text)
    }
}

pub(super) fn is_empty<T: Text>(member: &Member<T>) -> bool {
    matches!(member, Member::Given(text) if text.bytes().is_empty())
}

fn printable(name: &str) -> &str {
    printable_name(name, "a field")
}
