//! The interception CAs: a new one, which is made known before it signs.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::Management;
use super::events::{EventDraft, value};
use super::fault::{About, Refused, Scope};
use super::member_reader::{MemberReader, named};
use super::operator::Operator;
use crate::ca::{CaError, CertificateAuthority};
use crate::model::event::EventKind;
use crate::model::record::CaRecord;
use crate::state::{Persistence, seal_authority};
use crate::wire::{CaRotationRequest, Document, NextCa, time};

impl Management {
    /// Makes a CA that will sign once the time in the request has passed, `overlap`, so that those
    /// who are to trust it can be told before; and forgets those that sign no longer.
    ///
    /// # Errors
    /// When the token lacks the scope `admin` or is of one integration, the request is faulty, the
    /// CA is the configuration's, or the store fails.
    pub async fn rotate_ca(
        &self,
        operator: &Operator,
        request: Document<CaRotationRequest>,
    ) -> Result<NextCa, Refused> {
        operator.need(Scope::Admin)?;
        operator.need_everything()?;
        let overlap = read(request)?;
        if self.settings().has_own_authority {
            return Err(Refused::AuthorityConfigured);
        }
        let persistence = self.persistence()?;
        let now = self.clock.now();
        let overlap = SignedDuration::try_from(overlap).unwrap_or(SignedDuration::MAX);
        let signs_from = now.saturating_add(overlap).unwrap_or(Timestamp::MAX);
        let record = make(persistence, now, signs_from)?;
        // It is kept with its event, and published before it signs.
        let signs_from = record.signs_from;
        let made =
            NextCa { certificate: record.certificate.to_string(), signs_from: time(signs_from) };
        let event = EventDraft::new(EventKind::CaRotate, "", &record.id).after(value(&made));
        let noting = self.noting(persistence, operator, event).await?;
        let revision = noting.add_authority(&record, now).await?;
        let operator = &*operator.caller().name;
        tracing::info!(operator, %signs_from, "another interception CA was made");
        self.settle(revision).await;
        Ok(made)
    }
}

fn read(request: Document<CaRotationRequest>) -> Result<Duration, Refused> {
    let (request, mut reader) = MemberReader::of(request);
    let overlap =
        reader.take(
            named!(request.overlap),
            About::Request,
            |text| match humantime::parse_duration(text) {
                Ok(overlap) if overlap <= MAX_OVERLAP => Ok(overlap),
                Ok(_) => Err("must not be longer than 90 days".to_owned()),
                Err(_) => Err("must be a duration, as 7d or 12h".to_owned()),
            },
        );
    reader.close(Some(overlap.unwrap_or(DEFAULT_OVERLAP)))
}

fn make(
    persistence: &Persistence,
    now: Timestamp,
    signs_from: Timestamp,
) -> Result<CaRecord, Refused> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        tracing::error!(error, "an interception CA can't be made");
        Refused::Internal
    };
    let authority = CertificateAuthority::generate(now);
    let authority = authority.map_err(|error: CaError| failed(&error))?;
    let record = seal_authority(&persistence.vault(), &authority, signs_from);
    record.map_err(|error| failed(&error))
}

/// The time for which a new CA is known before it signs, unless the request says otherwise.
const DEFAULT_OVERLAP: Duration = Duration::from_hours(7 * 24);

const MAX_OVERLAP: Duration = Duration::from_hours(90 * 24);
