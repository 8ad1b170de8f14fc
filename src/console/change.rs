//! Another secret in the place of the one that is kept; and the end of a connection.

use axum::extract::Request;
use maud::{Markup, html};

use super::connection;
use super::create::{credential_members, credentials};
use super::custom::{self, KEEP_OLD_FOR};
use super::fields::{Field, Kind, Need, summary};
use super::form_values::FormValues;
use super::page_context::{PageContext, PageResult, see};
use crate::management::ConnectionView;
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;
use crate::wire::StaticMembers;

/// Replaces the secret, and what goes with it.
pub(super) async fn replace(context: PageContext, request: Request) -> PageResult {
    let kind = connection::kind(&context)?;
    if kind == ConnectionType::Custom {
        return custom::replace(&context, request).await;
    }
    let mut values = context.read(request).await?;
    let request = StaticMembers {
        keep_old_for: values.member_if_any(KEEP_OLD_FOR),
        ..credential_members(kind, &values)
    };
    match context.write_access()?.update(kind, context.place("name"), request).await {
        Ok(()) => Ok(see(&connection::path(&context, "?done=replaced"))),
        Err(refused) => {
            values.blame(refused).map_err(|refused| context.refuse(refused))?;
            let found = connection::find(&context).await?;
            Ok(connection::page(&context, &found, &values).await)
        }
    }
}

/// Deletes the connection, if its name was typed.
pub(super) async fn delete(context: PageContext, request: Request) -> PageResult {
    let mut values = context.read(request).await?;
    let (kind, name) = (connection::kind(&context)?, context.place("name"));
    if values.text(TYPED).trim() != name {
        values.fault(&format!(
            "{TYPED}: must be the connection’s name, so that nothing goes by mistake"
        ));
        let found = connection::find(&context).await?;
        return Ok(connection::page(&context, &found, &values).await);
    }
    let writing = context.write_access()?;
    let deleted = match kind {
        ConnectionType::OAuth => {
            let deleted = writing.delete_authorized(&connection::pointer(&context)).await;
            deleted.map(|_told_by_the_log| ())
        }
        _ => writing.delete(kind, name).await,
    };
    deleted.map_err(|refused| context.refuse(refused))?;
    Ok(see(&context.path("/connections?done=deleted")))
}

/// Tells whether the secret of a connection is one that a form can replace.
pub(super) fn can_replace(shown: &ConnectionView) -> bool {
    !matches!(shown.detail, Detail::AwsSigV4(_))
}

/// The form that replaces the secret.
pub(super) fn replacement(
    context: &PageContext,
    shown: &ConnectionView,
    values: &FormValues,
) -> Markup {
    let kind = shown.detail.kind();
    let replacements = match &shown.detail {
        Detail::Custom(access) => custom::replacements(access),
        _ => Vec::new(),
    };
    let (label, fields) = (kind.secret_label(), fields(shown, &replacements));
    html! {
        section aria-labelledby="replace" {
            h2 #replace { "Replace the " (label) }
            p { "Requests use the new one from the moment it is saved. Those on their way finish with the old one." }
            (summary_of(values, &fields))
            form.stack method="post" action=(connection::path(context, "/secret")) {
                (context.mark())
                @for field in &fields { (field.show(values)) }
                div.actions { button type="submit" { "Replace" } }
            }
        }
    }
}

pub(super) fn deletion(context: &PageContext, values: &FormValues) -> Markup {
    let field = Field::text(TYPED, "Type the connection’s name", "");
    html! {
        section.danger aria-labelledby="delete" {
            h2 #delete { "Delete the connection" }
            p { "Its secret is gone for good, and requests that name it are refused." }
            form.stack method="post" action=(connection::path(context, "/delete")) {
                (context.mark())
                (field.show(values))
                div.actions { button.danger type="submit" { "Delete" } }
            }
        }
    }
}

/// The fields of the form that replaces a secret, of which a custom connection has several.
fn fields<'a>(shown: &'a ConnectionView, replacements: &'a [(String, String)]) -> Vec<Field<'a>> {
    let known = match &shown.detail {
        Detail::ApiKey { header_name } => header_name,
        Detail::BasicAuth { username } => username,
        Detail::BearerToken | Detail::OAuth(_) | Detail::AwsSigV4(_) | Detail::Custom(_) => "",
    };
    let custom = |(name, label): &'a (String, String)| {
        let field = Field::text(name, label, "Left empty, it stays as it is.");
        Field { kind: Kind::Secret, need: Need::Never, ..field }
    };
    let mut fields: Vec<Field<'a>> = if replacements.is_empty() {
        credentials(shown.detail.kind())
    } else {
        replacements.iter().map(custom).collect()
    };
    if let ([text, _secret], []) = (fields.as_mut_slice(), replacements) {
        text.value = known;
    }
    let hint = "Such as 10m, 7d at most. Until then a request whose new secret the origin answers by 401 is sent once more with the old one. Leave it empty to forget the old one at once.";
    let kept = Field::text(KEEP_OLD_FOR, "Keep the old one for", hint);
    fields.push(Field { need: Need::Never, ..kept });
    fields
}

/// The summary belongs to the form that was sent.
fn summary_of(values: &FormValues, fields: &[Field<'_>]) -> Markup {
    if values.faults_of(TYPED).next().is_some() {
        html! {}
    } else {
        summary(values, fields)
    }
}

const TYPED: &str = "typed_name";
