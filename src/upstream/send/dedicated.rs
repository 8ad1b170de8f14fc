//! Sends departures that need an HTTP/1.1 conn of their own.

use super::Upstream;
use super::waiting::await_response;
use crate::upstream::UpstreamRules;
use crate::upstream::departure::{Departure, FinalCheck};
use crate::upstream::dial::dial;
use crate::upstream::error::Error;
use crate::upstream::gauges::OpenConn;
use crate::upstream::http1::Http1Conn;
use crate::upstream::reply::Reply;
use crate::upstream::tls::ConnPurpose;

/// A conn for one departure, of which nothing was written yet.
#[derive(Debug)]
pub struct DedicatedConn {
    conn: Box<Http1Conn>,
    departure: Departure,
}

impl Upstream {
    /// Opens a conn for one departure, and writes nothing yet. Cancel-safe.
    ///
    /// # Errors
    /// [`Error`] says why no conn was opened. The departure was not sent.
    pub async fn open_dedicated(
        &self,
        rules: &UpstreamRules,
        departure: Departure,
    ) -> Result<DedicatedConn, Error> {
        let (asker, origin) = (Some(departure.integration()), departure.origin());
        let identity = departure.identity().map(AsRef::as_ref);
        let tls = rules.tls.config(departure.integration(), ConnPurpose::Http1Only, identity);
        let dialed = dial(rules, &self.gauges, asker, origin, &tls).await;
        let (io, _times) = dialed.map_err(|error| explain(error, &departure))?;
        Ok(DedicatedConn { conn: Http1Conn::new(io, OpenConn::new(&self.gauges)), departure })
    }

    /// Sends a departure on the conn that was opened for it. Not cancel-safe.
    pub async fn send_on(
        &self,
        rules: &UpstreamRules,
        opened: DedicatedConn,
    ) -> Result<Reply, Error> {
        self.send_watched(rules, opened, None).await
    }

    async fn send_watched(
        &self,
        rules: &UpstreamRules,
        opened: DedicatedConn,
        watched: Option<&dyn FinalCheck>,
    ) -> Result<Reply, Error> {
        let DedicatedConn { mut conn, mut departure } = opened;
        let request = departure.as_http1();
        let progress = request.body().progress();
        let exchange = conn.exchange(request, watched);
        let limit = rules.settings.response_timeout;
        let head = await_response(limit, progress.as_deref(), exchange).await?;
        let head = head.map_err(|error| explain(error, &departure))?;
        Ok(self.make_reply(conn, head, departure, None))
    }

    /// Opens a conn for a departure, checks it once more and sends it.
    pub(super) async fn send_dedicated(
        &self,
        rules: &UpstreamRules,
        departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Reply, Error> {
        let mut opened = self.open_dedicated(rules, departure).await?;
        check.check(&mut opened.departure).map_err(Error::Withdrawn)?;
        self.send_watched(rules, opened, Some(check)).await
    }

    /// The same for a departure that HTTP/2 can't carry.
    pub(super) async fn send_over_http1(
        &self,
        rules: &UpstreamRules,
        departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Reply, Error> {
        let mut opened =
            self.open_dedicated(rules, departure).await.map_err(|error| match error {
                Error::TlsFailed(why) => Error::TargetNotCarried(why),
                error => error,
            })?;
        check.check(&mut opened.departure).map_err(Error::Withdrawn)?;
        self.send_watched(rules, opened, Some(check)).await
    }
}

/// The error of a conn, which may have presented a client certificate.
fn explain(error: Error, departure: &Departure) -> Error {
    if departure.identity().is_some() { error.of_certified_conn() } else { error }
}
