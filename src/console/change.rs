//! Another secret in the place of the one that is kept; and the end of a connection.

use axum::extract::Request;
use maud::{Markup, html};

use super::aws::{self, AwsValues};
use super::connection::{self, PageForm};
use super::create::{credential_members, credentials};
use super::custom::{self, KEEP_OLD_FOR};
use super::fields::{Field, Kind, Need, summary};
use super::form_values::FormValues;
use super::page_context::{PageContext, PageResult, see};
use crate::management::ConnectionView;
use crate::model::connection::ConnectionType;
use crate::model::record::Detail;
use crate::wire::{CustomMembers, Member, StaticMembers};

/// Replaces the secret, and what goes with it.
pub(super) async fn replace(context: PageContext, request: Request) -> PageResult {
    let kind = connection::kind(&context)?;
    match kind {
        ConnectionType::Custom => return custom::replace(&context, request).await,
        ConnectionType::AwsSigV4 => return aws::replace(&context, request).await,
        _ => {}
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
            Ok(connection::page(&context, &found, Some((PageForm::Secret, &values))).await)
        }
    }
}

/// Forgets the secret that was replaced, before its time is over.
pub(super) async fn forget(context: PageContext, request: Request) -> PageResult {
    context.read(request).await?;
    let (kind, name) = (connection::kind(&context)?, context.place("name"));
    let (writing, keep_old_for) = (context.write_access()?, Member::from(FORGOTTEN_AT_ONCE));
    let forgotten = if kind == ConnectionType::Custom {
        writing.update_custom(name, CustomMembers { keep_old_for, ..Default::default() }).await
    } else {
        writing.update(kind, name, StaticMembers { keep_old_for, ..Default::default() }).await
    };
    forgotten.map_err(|refused| context.refuse(refused))?;
    Ok(see(&connection::path(&context, "?done=forgotten")))
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
        return Ok(connection::page(&context, &found, Some((PageForm::Deletion, &values))).await);
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

/// The form that replaces the secret, or what a connection has of several.
pub(super) fn replacement(
    context: &PageContext,
    shown: &ConnectionView,
    values: &FormValues,
) -> Markup {
    let label = shown.detail.kind().secret_label();
    // 1. The fields; what goes with a secret begins as it is.
    let (custom, of_aws);
    let fields = match &shown.detail {
        Detail::Custom(access) => {
            custom = custom::replacements(access);
            custom.iter().map(replaced).chain([time_kept()]).collect()
        }
        Detail::AwsSigV4(access) => {
            of_aws = AwsValues::of(access);
            of_aws.fields().to_vec()
        }
        detail => fields(detail),
    };
    // 2. The form, and a way to forget what was replaced.
    html! {
        section aria-labelledby="replace" {
            h2 #replace { "Replace the " (label) }
            p { "Requests use the new one from the moment it is saved. Those on their way finish with the old one." }
            @if let Detail::AwsSigV4(_) = &shown.detail { p { (OF_AWS) } }
            (summary(values, &fields))
            form.stack method="post" action=(connection::path(context, "/secret")) {
                (context.mark())
                @for field in &fields { (field.show(values)) }
                div.actions { button type="submit" { "Replace" } }
            }
            @if shown.old_secret_until.is_some() {
                form method="post" action=(connection::path(context, "/forget")) {
                    (context.mark())
                    p { "The old one is still kept for requests that the origin answers by 401. If it has leaked, forget it, and have it revoked at the API." }
                    div.actions { button.quiet type="submit" { "Forget the old one now" } }
                }
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

/// The fields of a type with one secret.
fn fields(detail: &Detail) -> Vec<Field<'_>> {
    let known = match detail {
        Detail::ApiKey { header_name } => header_name,
        Detail::BasicAuth { username } => username,
        Detail::BearerToken | Detail::OAuth(_) | Detail::AwsSigV4(_) | Detail::Custom(_) => "",
    };
    let mut fields = credentials(detail.kind());
    if let [text, _secret] = fields.as_mut_slice() {
        text.value = known;
    }
    fields.push(time_kept());
    fields
}

/// The field of one of several secrets: its name, and its label.
fn replaced((name, label): &(String, String)) -> Field<'_> {
    let field = Field::text(name, label, "Left empty, it stays as it is.");
    Field { kind: Kind::Secret, need: Need::Never, ..field }
}

fn time_kept() -> Field<'static> {
    let hint = "Such as 10m, 7d at most. Until then a request whose new secret the origin answers by 401 is sent once more with the old one. Leave it empty to forget the old one at once.";
    let field = Field::text(KEEP_OLD_FOR, "Keep the old one for", hint);
    Field { need: Need::Never, ..field }
}

const OF_AWS: &str = "The key is entered again with whatever else changes, so that nobody has it sign for something else. AWS takes two keys of a user at once: delete the old one there afterwards.";

const TYPED: &str = "typed_name";

/// The time for which an old secret is kept that is forgotten at once.
const FORGOTTEN_AT_ONCE: &str = "0s";
