//! The kinds of load that are put on every contender.

use std::{io, str::FromStr};

/// One kind of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Load {
    /// Each request on a new caller conn, this many at a time.
    Churn(usize),
    /// Large response bodies, one after the other on one conn.
    Download,
    /// Requests one after the other on each of this many conns.
    KeepAlive(usize),
    /// Requests one after the other inside each of this many tunnels, which are open already.
    Tunnel(usize),
    /// Each request in a new tunnel, this many at a time.
    TunnelChurn(usize),
    /// Large request bodies, one after the other on one conn.
    Upload,
}

impl Load {
    /// How many requests are under way at a time.
    pub(crate) const fn conns(self) -> usize {
        match self {
            Self::Churn(conns)
            | Self::KeepAlive(conns)
            | Self::Tunnel(conns)
            | Self::TunnelChurn(conns) => conns,
            Self::Download | Self::Upload => 1,
        }
    }

    /// Whether it is measured in bytes and not in requests.
    pub(crate) const fn is_bulk(self) -> bool {
        matches!(self, Self::Download | Self::Upload)
    }

    /// Whether requests go through tunnels.
    pub(crate) const fn is_tunnelled(self) -> bool {
        matches!(self, Self::Tunnel(_) | Self::TunnelChurn(_))
    }

    /// Whether each request has a conn of its own.
    pub(crate) const fn is_churn(self) -> bool {
        matches!(self, Self::Churn(_) | Self::TunnelChurn(_))
    }

    /// The name by which the command line knows it.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Churn(conns) => format!("churn-{conns}"),
            Self::Download => "download".to_owned(),
            Self::KeepAlive(conns) => format!("keep-alive-{conns}"),
            Self::Tunnel(conns) => format!("tunnel-{conns}"),
            Self::TunnelChurn(conns) => format!("tunnel-churn-{conns}"),
            Self::Upload => "upload".to_owned(),
        }
    }

    /// What a reader of the results is told.
    pub(crate) fn title(self) -> String {
        match self {
            Self::Churn(conns) => format!("A new caller conn for each request, {conns} at a time"),
            Self::Download => "100 MB response bodies, one after the other".to_owned(),
            Self::KeepAlive(1) => "1 caller conn, kept alive".to_owned(),
            Self::KeepAlive(conns) => format!("{conns} caller conns, kept alive"),
            Self::Tunnel(conns) => format!("{conns} tunnels, open already"),
            Self::TunnelChurn(conns) => {
                format!("A new tunnel with its TLS handshake for each request, {conns} at a time")
            }
            Self::Upload => "100 MB request bodies, one after the other".to_owned(),
        }
    }
}

impl FromStr for Load {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Self> {
        let unknown = |_reason| io::Error::from(io::ErrorKind::InvalidInput);
        match name.rsplit_once('-') {
            Some(("churn", conns)) => conns.parse().map(Self::Churn).map_err(unknown),
            Some(("tunnel", conns)) => conns.parse().map(Self::Tunnel).map_err(unknown),
            Some(("tunnel-churn", conns)) => conns.parse().map(Self::TunnelChurn).map_err(unknown),
            Some(("keep-alive", conns)) => conns.parse().map(Self::KeepAlive).map_err(unknown),
            None if name == "download" => Ok(Self::Download),
            None if name == "upload" => Ok(Self::Upload),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }
}

/// The size of a large body.
pub(crate) const BULK: u64 = 100_000_000;
