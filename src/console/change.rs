//! Another secret in the place of the one that is kept; and the end of a connection.

use axum::extract::Request;
use maud::{Markup, html};

use super::connection;
use super::create::credentials;
use super::fields::{Field, summary};
use super::filled::Filled;
use super::frame::{Answer, Frame, see};
use crate::management::Shown;
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;

/// Replaces the secret, and what goes with it.
pub(super) async fn replace(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let kind = connection::kind(&frame)?;
    let fields = credentials(kind);
    let names: Vec<_> = fields.iter().map(|field| field.name).collect();
    let form = filled.form_of_filled(&names);
    match frame.writing()?.update(kind, frame.place("name"), form).await {
        Ok(()) => Ok(see(&connection::path(&frame, "?done=replaced"))),
        Err(refused) => {
            filled.blame(refused).map_err(|refused| connection::trouble(&frame, refused))?;
            let found = connection::find(&frame).await?;
            Ok(connection::page(&frame, &found, &filled))
        }
    }
}

/// Deletes the connection, if its name was typed.
pub(super) async fn delete(frame: Frame, request: Request) -> Answer {
    let mut filled = frame.read(request).await?;
    let (kind, name) = (connection::kind(&frame)?, frame.place("name"));
    if filled.text(TYPED).trim() != name {
        filled.fault(&format!(
            "{TYPED}: must be the connection’s name, so that nothing goes by mistake"
        ));
        let found = connection::find(&frame).await?;
        return Ok(connection::page(&frame, &found, &filled));
    }
    let writing = frame.writing()?;
    let deleted = match kind {
        ConnectionType::OAuth => writing.delete_authorized(&connection::pointer(&frame)).await,
        _ => writing.delete(kind, name).await,
    };
    deleted.map_err(|refused| frame.refuse(refused))?;
    Ok(see(&frame.path("/connections?done=deleted")))
}

/// The form that replaces the secret.
pub(super) fn replacement(frame: &Frame, shown: &Shown, filled: &Filled) -> Markup {
    let kind = shown.detail.kind();
    let (label, fields) = (kind.secret_label(), fields(shown));
    html! {
        section aria-labelledby="replace" {
            h2 #replace { "Replace the " (label) }
            p { "Requests use the new one from the moment it is saved. Those on their way finish with the old one." }
            (summary_of(filled, &fields))
            form.stack method="post" action=(connection::path(frame, "/secret")) {
                (frame.mark())
                @for field in &fields { (field.show(filled)) }
                div.actions { button type="submit" { "Replace" } }
            }
        }
    }
}

/// The form that deletes it.
pub(super) fn deletion(frame: &Frame, filled: &Filled) -> Markup {
    let field = Field { name: TYPED, label: "Type the connection’s name", ..Field::default() };
    html! {
        section.danger aria-labelledby="delete" {
            h2 #delete { "Delete the connection" }
            p { "Its secret is gone for good, and requests that name it are refused." }
            form.stack method="post" action=(connection::path(frame, "/delete")) {
                (frame.mark())
                (field.show(filled))
                div.actions { button.danger type="submit" { "Delete" } }
            }
        }
    }
}

fn fields(shown: &Shown) -> Vec<Field<'_>> {
    let known = match &shown.detail {
        Detail::ApiKey { header_name } => header_name,
        Detail::BasicAuth { username } => username,
        Detail::BearerToken | Detail::OAuth(_) => "",
    };
    let mut fields: Vec<Field<'_>> = credentials(shown.detail.kind());
    if let [text, _secret] = fields.as_mut_slice() {
        text.value = known;
    }
    fields
}

/// The summary belongs to the form that was sent.
fn summary_of(filled: &Filled, fields: &[Field<'_>]) -> Markup {
    if filled.faults_of(TYPED).next().is_some() {
        html! {}
    } else {
        summary(filled, fields)
    }
}

/// The name, typed.
const TYPED: &str = "typed_name";
