//! The fields of forms: a label, what it is for, what is wrong with it.

use maud::{Markup, html};

use super::form_values::FormValues;
use crate::error::capitalized;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Field<'a> {
    /// As management calls it.
    pub(super) name: &'a str,
    pub(super) label: &'a str,
    pub(super) hint: &'a str,
    pub(super) kind: Kind<'a>,
    /// The value where nothing was filled in.
    pub(super) value: &'a str,
    /// A value that counts where none is filled in.
    pub(super) placeholder: &'a str,
    pub(super) need: Need,
}

/// Says when a field must be filled in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) enum Need {
    #[default]
    Always,
    Never,
    /// Required or not, as the server says.
    Depends,
    /// Required where this is chosen.
    With(&'static str),
}

/// The way in which a field is filled in.
#[derive(Clone, Copy, Debug, Default)]
pub(super) enum Kind<'a> {
    /// With a host name, or `*.` and one, which is previewed below this path.
    Domain(&'a str),
    /// With one of these: what is sent, and what is shown.
    One(&'a [(&'a str, &'a str)]),
    /// With a text on each line.
    Lines,
    /// With a secret, which is never shown again.
    Secret,
    /// With a secret of several lines, which is never shown again.
    SecretLines,
    /// With a line of text.
    #[default]
    Text,
}

impl<'a> Field<'a> {
    /// A line of text that must be filled in.
    pub(super) fn text(name: &'a str, label: &'a str, hint: &'a str) -> Self {
        Self { name, label, hint, ..Self::default() }
    }

    pub(super) fn show(&self, values: &FormValues) -> Markup {
        let (id, faults) = (format!("f-{}", self.name), self.faults(values));
        let hint = (!self.hint.is_empty()).then(|| format!("{id}-hint"));
        let wrong = (!faults.is_empty()).then(|| format!("{id}-fault"));
        let described = [hint.clone(), wrong.clone()].into_iter().flatten().collect::<Vec<_>>();
        let described = (!described.is_empty()).then(|| described.join(" "));
        html! {
            div.field {
                label for=(id) {
                    (self.label)
                    @match self.need {
                        Need::Always | Need::Depends => {}
                        Need::Never => { span.optional { " (optional)" } }
                        Need::With(choice) => { span.optional { " (with " (choice) ")" } }
                    }
                }
                (self.input(&id, values, described.as_deref(), wrong.is_some()))
                @if let Some(wrong) = &wrong {
                    p.fault id=(wrong) { @for fault in &faults { (fault) ". " } }
                }
                @if let Some(hint) = &hint { p.hint id=(hint) { (self.hint) } }
                @if let Kind::Domain(_) = self.kind { div.preview id=(format!("{id}-preview")) aria-live="polite" {} }
            }
        }
    }

    fn faults(&self, values: &FormValues) -> Vec<String> {
        values.faults_of(self.name).map(capitalized).collect()
    }

    fn input(&self, id: &str, values: &FormValues, described: Option<&str>, wrong: bool) -> Markup {
        // What was entered, or else what the form begins with; a secret never comes back, nor a
        // key that was entered for its certificate.
        let value = match values.text_or(self.name, self.value) {
            entered if entered.contains("PRIVATE KEY-----") => "",
            entered => entered,
        };
        let placeholder = (!self.placeholder.is_empty()).then_some(self.placeholder);
        let (required, invalid) = (self.need == Need::Always, wrong.then_some("true"));
        match self.kind {
            Kind::One(choices) => html! {
                select id=(id) name=(self.name) aria-describedby=[described] aria-invalid=[invalid] {
                    @for (sent, shown) in choices {
                        option value=(sent) selected[*sent == value] { (shown) }
                    }
                }
            },
            Kind::Secret => html! {
                input id=(id) name=(self.name) type="password" required[required]
                    autocomplete="new-password" spellcheck="false"
                    aria-describedby=[described] aria-invalid=[invalid];
            },
            Kind::Domain(preview) => html! {
                input id=(id) name=(self.name) value=(value) required[required] autocomplete="off"
                    spellcheck="false" autocapitalize="none" placeholder="api.example.com"
                    data-preview=(preview) data-into=(format!("{id}-preview"))
                    aria-describedby=[described] aria-invalid=[invalid];
            },
            Kind::Lines => html! {
                textarea id=(id) name=(self.name) rows="2" required[required] autocomplete="off"
                    spellcheck="false" autocapitalize="none" placeholder=[placeholder]
                    aria-describedby=[described] aria-invalid=[invalid] {
                    // A line feed right after the tag is not of the text (HTML §13.1.2.5).
                    "\n" (value)
                }
            },
            Kind::SecretLines => html! {
                textarea.secret id=(id) name=(self.name) rows="2" required[required]
                    autocomplete="off" spellcheck="false" autocapitalize="none"
                    aria-describedby=[described] aria-invalid=[invalid] {}
            },
            Kind::Text => html! {
                input id=(id) name=(self.name) value=(value) required[required] autocomplete="off"
                    spellcheck="false" autocapitalize="none" placeholder=[placeholder]
                    aria-describedby=[described] aria-invalid=[invalid];
            },
        }
    }
}

/// Lists the faults of a form that belong to none of its fields.
pub(super) fn summary(values: &FormValues, fields: &[Field<'_>]) -> Markup {
    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
    let others: Vec<_> = values.other_faults(&names).map(capitalized).collect();
    html! {
        @if values.is_faulty() {
            div.fault-box role="alert" {
                p { "Nothing was saved. Look at the fields that are marked." }
                @if !others.is_empty() { ul { @for fault in &others { li { (fault) "." } } } }
            }
        }
    }
}
