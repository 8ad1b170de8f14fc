//! A departure that needs a conn of its own, over HTTP/1.1.

use super::Upstream;
use super::waiting::in_time;
use crate::upstream::UpstreamRules;
use crate::upstream::departure::{Departure, FinalCheck};
use crate::upstream::dial::dial;
use crate::upstream::error::Error;
use crate::upstream::gauges::OpenConn;
use crate::upstream::http1::Http1Conn;
use crate::upstream::reply::Reply;
use crate::upstream::tls::ConnPurpose;

/// A conn of its own to a departure's origin, before a byte of the departure was written.
#[derive(Debug)]
pub struct DedicatedConn {
    conn: Box<Http1Conn>,
    departure: Departure,
}

impl Upstream {
    /// Opens a conn for a departure alone, and writes nothing to it yet. Cancel-safe.
    ///
    /// # Errors
    /// [`Error`] when there is no such conn; the departure has not left.
    pub async fn open_alone(
        &self,
        rules: &UpstreamRules,
        departure: Departure,
    ) -> Result<DedicatedConn, Error> {
        let (asker, origin) = (Some(departure.integration()), departure.origin());
        let tls = rules.tls.config(departure.integration(), ConnPurpose::Http1Only);
        let (io, _dialed) = dial(rules, &self.gauges, asker, origin, &tls).await?;
        Ok(DedicatedConn { conn: Http1Conn::new(io, OpenConn::new(&self.gauges)), departure })
    }

    /// Sends a departure on the conn that was opened for it.
    ///
    /// # Errors
    /// [`Error`] when there is no response head.
    pub async fn send_opened(
        &self,
        rules: &UpstreamRules,
        opened: DedicatedConn,
    ) -> Result<Reply, Error> {
        let DedicatedConn { mut conn, mut departure } = opened;
        let request = departure.as_http1();
        let progress = request.body().progress();
        let exchange = conn.exchange(request);
        let limit = rules.settings.response_timeout;
        let head = in_time(limit, progress.as_deref(), exchange).await??;
        Ok(self.reply(conn, head, departure, None))
    }

    /// Sends a departure on a conn of its own.
    pub(super) async fn send_alone(
        &self,
        rules: &UpstreamRules,
        departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Reply, Error> {
        let mut opened = self.open_alone(rules, departure).await?;
        check.check(&mut opened.departure).map_err(Error::Withdrawn)?;
        self.send_opened(rules, opened).await
    }

    /// Sends what HTTP/2 can't carry over HTTP/1.1, on a conn of its own.
    pub(super) async fn send_over_http1(
        &self,
        rules: &UpstreamRules,
        departure: Departure,
        check: &dyn FinalCheck,
    ) -> Result<Reply, Error> {
        let mut opened = self.open_alone(rules, departure).await.map_err(|error| match error {
            Error::TlsFailed(why) => Error::TargetNotCarried(why),
            error => error,
        })?;
        check.check(&mut opened.departure).map_err(Error::Withdrawn)?;
        self.send_opened(rules, opened).await
    }
}
