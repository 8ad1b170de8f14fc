//! A request's body, read into its type.

use std::borrow::Cow;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequestParts, Path, Request};
use bytes::{Buf as _, Bytes};
use http::request::Parts;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use zeroize::{Zeroize as _, Zeroizing};

use super::error::Error;
use crate::model::connection::ConnectionType;
use crate::wire::{self, AwsMembers, CustomMembers, Document};

/// A request for a connection of a type beyond ZIS.
#[derive(Debug)]
pub(super) enum TypedDocument {
    /// One to AWS.
    AwsSigV4(Box<Document<AwsMembers>>),
    /// A custom one.
    Custom(Box<Document<CustomMembers>>),
}

/// The names in a path. What can't be decoded leads nowhere.
#[derive(Debug)]
pub(super) struct PathParam<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParam<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Error> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        path.map(|Path(names)| Self(names)).map_err(|_rejection| Error::not_found())
    }
}

/// Reads a request. The body is wiped once it is read.
pub(super) async fn read<T: wire::Request>(request: Request) -> Result<Document<T>, Error> {
    parse(&whole(request).await?, None)
}

/// Reads a request for a connection of a type beyond ZIS, by the type that it names. Without one, or
/// with another, it is read as a custom one, whose rules tell what is wrong.
pub(super) async fn read_typed(request: Request) -> Result<TypedDocument, Error> {
    /// The type alone, whatever else there is.
    #[derive(Deserialize)]
    struct NamedType<'a> {
        #[serde(rename = "type", borrow)]
        kind: Cow<'a, str>,
    }
    let bytes = whole(request).await?;
    let named = serde_json::from_slice::<NamedType<'_>>(&bytes);
    let is_aws = named.is_ok_and(|named| named.kind == ConnectionType::AwsSigV4.as_str());
    if is_aws {
        return parse(&bytes, None).map(|aws| TypedDocument::AwsSigV4(Box::new(aws)));
    }
    parse(&bytes, None).map(|custom| TypedDocument::Custom(Box::new(custom)))
}

/// Reads a request that has only these of its type's members.
pub(super) async fn read_some<T: wire::Request>(
    request: Request,
    members: &[&str],
) -> Result<Document<T>, Error> {
    parse(&whole(request).await?, Some(members))
}

/// Reads a form, as a browser sends it from another site's page.
pub(super) async fn read_form(request: Request) -> Result<Zeroizing<Vec<u8>>, Error> {
    if !is_of_type(request.headers(), "application/x-www-form-urlencoded") {
        return Err(Error::not_form());
    }
    within_time(request).await
}

fn parse<T: wire::Request>(bytes: &[u8], members: Option<&[&str]>) -> Result<Document<T>, Error> {
    wire::read(bytes, members).map_err(|malformed| Error::invalid(malformed.to_string()))
}

async fn whole(request: Request) -> Result<Zeroizing<Vec<u8>>, Error> {
    if !is_of_type(request.headers(), "application/json") {
        return Err(Error::not_json());
    }
    within_time(request).await
}

async fn within_time(request: Request) -> Result<Zeroizing<Vec<u8>>, Error> {
    let body = tokio::time::timeout(BODY_TIMEOUT, collect(request.into_body())).await;
    body.map_err(|_elapsed| Error::body_too_slow())?
}

/// Tells whether the body is of this media type, with any parameters; UTF-8 is the only charset of
/// JSON (RFC 8259 §8.1).
fn is_of_type(headers: &HeaderMap, wanted: &str) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next());
    kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case(wanted))
}

async fn collect(mut body: Body) -> Result<Zeroizing<Vec<u8>>, Error> {
    let announced = body.size_hint().exact().and_then(|size| usize::try_from(size).ok());
    // Of one size from the start: a buffer that grows leaves copies behind.
    let mut whole =
        Zeroizing::new(Vec::with_capacity(announced.unwrap_or(MAX_BODY_LEN).min(MAX_BODY_LEN)));
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_broken| Error::invalid("the body has not arrived whole"))?;
        let Ok(data) = frame.into_data() else { continue };
        let fits = whole.len() + data.remaining() <= MAX_BODY_LEN;
        if fits {
            whole.extend_from_slice(&data);
        }
        wipe(data);
        if !fits {
            return Err(Error::body_too_large());
        }
    }
    Ok(whole)
}

/// Only where nobody else holds the bytes any more can they be wiped.
fn wipe(data: Bytes) {
    if let Ok(mut own) = data.try_into_mut() {
        own.zeroize();
    }
}

/// The largest body, in bytes.
const MAX_BODY_LEN: usize = 65_536;
/// The time within which a body must arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;
    use futures_util::stream;
    use http::StatusCode;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_come_is_not_waited_for_beyond_half_a_minute() {
        let begun = tokio::time::Instant::now();
        let request = Request::builder().header(header::CONTENT_TYPE, "application/json");
        let never = stream::pending::<Result<Bytes, std::io::Error>>();
        let error = whole(request.body(Body::from_stream(never)).unwrap()).await.unwrap_err();
        assert_eq!(error.into_response().status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(begun.elapsed().as_secs(), BODY_TIMEOUT.as_secs());
    }
}
