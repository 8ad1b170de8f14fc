//! The fields of a connection that are neither secret nor columns of their own, as JSON.

use jiff::Timestamp;
use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::Error;
use super::row::Columns;
use crate::model::aws::access::AwsAccess;
use crate::model::connection::ConnectionType;
use crate::model::custom::CustomAccess;
use crate::model::oauth::endpoint::Subdomain;
use crate::model::oauth::grant::{Grant, GrantType, Lapse, LapseReason};
use crate::model::oauth::life::GrantLife;
use crate::model::oauth::profile::RefreshStatuses;
use crate::model::oauth::refusal::ProviderCode;
use crate::model::record::Detail;

pub(super) fn read(columns: Columns<'_>) -> Result<Detail, Error> {
    let kind = columns.parsed("type", ConnectionType::parse)?;
    // 1. Types that have an encoding of their own.
    if kind == ConnectionType::OAuth {
        let client = columns.parsed("client", Uuid::parse_str)?;
        let grant = columns.parsed("detail", |text| read_grant(client, text).ok_or(()))?;
        return Ok(Detail::OAuth(Box::new(grant)));
    }
    if kind == ConnectionType::AwsSigV4 {
        let access = columns.parsed("detail", |text| AwsAccess::decode(text).ok_or(()))?;
        return Ok(Detail::AwsSigV4(Box::new(access)));
    }
    if kind == ConnectionType::Custom {
        let access = columns.parsed("detail", |text| CustomAccess::decode(text).ok_or(()))?;
        return Ok(Detail::Custom(Box::new(access)));
    }
    // 2. Types with a text beside the secret, or none.
    columns.parsed("detail", |text| {
        let detail = parse_object(text).ok_or(())?;
        let text = |key: &str| detail.get(key).and_then(Json::as_str).map(Into::into).ok_or(());
        Ok::<_, ()>(match kind {
            ConnectionType::ApiKey => Detail::ApiKey { header_name: text(HEADER_NAME)? },
            ConnectionType::BasicAuth => Detail::BasicAuth { username: text(USERNAME)? },
            ConnectionType::BearerToken
            | ConnectionType::OAuth
            | ConnectionType::AwsSigV4
            | ConnectionType::Custom => Detail::BearerToken,
        })
    })
}

pub(super) fn write(detail: &Detail) -> String {
    let of = |key: &str, text: &str| Json::Object(Map::from_iter([(key.into(), text.into())]));
    let detail = match detail {
        Detail::ApiKey { header_name } => of(HEADER_NAME, header_name),
        Detail::BasicAuth { username } => of(USERNAME, username),
        Detail::BearerToken => Json::Object(Map::new()),
        Detail::OAuth(grant) => write_grant(grant),
        Detail::AwsSigV4(access) => return access.encode(),
        Detail::Custom(access) => return access.encode(),
    };
    detail.to_string()
}

fn read_grant(client: Uuid, text: &str) -> Option<Grant> {
    let detail = parse_object(text)?;
    let text = |key: &str| detail.get(key).and_then(Json::as_str);
    let number = |key: &str| detail.get(key).and_then(Json::as_i64);
    let time = |key: &str| Timestamp::from_microsecond(number(key)?).ok();
    // 1. What only some grants have.
    let lapse = match text(LAPSED_BY) {
        Some(reason) => {
            let code = text(LAPSED_CODE).and_then(ProviderCode::parse);
            Some(Lapse { since: time(LAPSED_AT)?, reason: LapseReason::parse(reason).ok()?, code })
        }
        None => None,
    };
    let life = time(REFRESH_TOKEN_SINCE).zip(time(REFRESH_TOKEN_UNTIL));
    // 2. What all have.
    Some(Grant {
        client,
        subdomain: text(SUBDOMAIN).map(Subdomain::parse).transpose().ok()?,
        grant_type: GrantType::parse(text(GRANT_TYPE)?).ok()?,
        created_by: text(CREATED_BY)?.into(),
        scopes: text(SCOPES)?.into(),
        authorized_at: time(AUTHORIZED_AT)?,
        generation: number(GENERATION)?,
        refresh_token_life: life.map(|(began, ends)| GrantLife { began, ends }),
        lapse,
        injection: detail.get(INJECTION).cloned().map(serde_json::from_value).transpose().ok()?,
        refresh_on_status: match detail.get(REFRESH_ON_STATUS) {
            Some(statuses) => serde_json::from_value(statuses.clone()).ok()?,
            None => RefreshStatuses::default(),
        },
    })
}

fn write_grant(grant: &Grant) -> Json {
    // 1. What all have.
    let mut detail = Map::from_iter([
        (GRANT_TYPE.into(), grant.grant_type.as_str().into()),
        (CREATED_BY.into(), (&*grant.created_by).into()),
        (SCOPES.into(), (&*grant.scopes).into()),
        (AUTHORIZED_AT.into(), grant.authorized_at.as_microsecond().into()),
        (GENERATION.into(), grant.generation.into()),
    ]);
    // 2. What only some have.
    if let Some(subdomain) = &grant.subdomain {
        detail.insert(SUBDOMAIN.into(), subdomain.as_str().into());
    }
    if let Some(life) = &grant.refresh_token_life {
        detail.insert(REFRESH_TOKEN_SINCE.into(), life.began.as_microsecond().into());
        detail.insert(REFRESH_TOKEN_UNTIL.into(), life.ends.as_microsecond().into());
    }
    if let Some(lapse) = &grant.lapse {
        detail.insert(LAPSED_AT.into(), lapse.since.as_microsecond().into());
        detail.insert(LAPSED_BY.into(), lapse.reason.as_str().into());
        if let Some(code) = lapse.code {
            detail.insert(LAPSED_CODE.into(), code.as_str().into());
        }
    }
    if let Some(injection) = grant.injection.as_ref().and_then(|it| serde_json::to_value(it).ok()) {
        detail.insert(INJECTION.into(), injection);
    }
    if !grant.refresh_on_status.is_default() {
        let statuses: Vec<u16> = grant.refresh_on_status.clone().into();
        detail.insert(REFRESH_ON_STATUS.into(), statuses.into());
    }
    Json::Object(detail)
}

fn parse_object(text: &str) -> Option<Map<String, Json>> {
    serde_json::from_str(text).ok()
}

const HEADER_NAME: &str = "header_name";
const USERNAME: &str = "username";
const SUBDOMAIN: &str = "subdomain";
const GRANT_TYPE: &str = "grant_type";
const CREATED_BY: &str = "created_by";
const SCOPES: &str = "scopes";
const AUTHORIZED_AT: &str = "authorized_at";
const GENERATION: &str = "generation";
const INJECTION: &str = "injection";
const REFRESH_ON_STATUS: &str = "refresh_on_status";
const REFRESH_TOKEN_SINCE: &str = "refresh_token_since";
const REFRESH_TOKEN_UNTIL: &str = "refresh_token_until";
const LAPSED_AT: &str = "lapsed_at";
const LAPSED_BY: &str = "lapsed_by";
const LAPSED_CODE: &str = "lapsed_code";
