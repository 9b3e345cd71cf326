//! The loopback port for gRPC and HTTP: the wanted one, or a free one, and the wanted one as well once it can be had.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::net::TcpListener;

/// How often the wanted port is tried again.
pub(super) const RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// The listeners on one port.
#[derive(Debug)]
pub(super) struct Listeners {
    pub(super) v4: TcpListener,
    /// Where the machine has IPv6.
    pub(super) v6: Option<TcpListener>,
}

impl Listeners {
    /// Listens on `port` of 127.0.0.1 and, if possible, of [::1]; 0 is any free port.
    pub(super) async fn bind(port: u16) -> io::Result<Self> {
        let v4 = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = v4.local_addr()?.port();
        let v6 = match TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await {
            Ok(listener) => Some(listener),
            // Somebody else's: `localhost` would lead some clients to us and some to them.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => {
                tracing::debug!(%error, port, "not listening on [::1]");
                None
            }
        };
        Ok(Self { v4, v6 })
    }

    /// As [`Self::bind`], on a free port if `port` is taken.
    pub(super) async fn bind_or_free(port: u16) -> io::Result<Self> {
        match Self::bind(port).await {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && port != 0 => {
                tracing::warn!(port, "the port is taken: using a free one until it can be had");
                Self::bind_free().await
            }
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => Self::bind_free().await,
            other => other,
        }
    }

    /// On a port that is free for both addresses; the system chooses it for one of them.
    async fn bind_free() -> io::Result<Self> {
        let mut tried = Self::bind(0).await;
        for _ in 0..16 {
            match tried {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => tried = Self::bind(0).await,
                other => return other,
            }
        }
        tried
    }

    pub(super) fn address(&self) -> io::Result<SocketAddr> {
        self.v4.local_addr()
    }
}
