//! The door of the admin API: who is let in, for how long, and what those hear for whom there is no place.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use picloud_api::problem::{Code, Problem};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, warn};

use crate::admin::pace::{self, Pace, Paced};
use crate::admin::peer::Peer;
use crate::admin::refuse;
use crate::admin::stall::Stalling;
use crate::groups::Groups;
use crate::http::listener::stop_and_arrival;
use crate::limits::AdminLimits;
use crate::log::field;
use crate::places::{Full, Place, Places, Rank, Reached, network};
use crate::principal::Capability;

/// Bytes of a request's head at most, and of what is read ahead of a body.
const BUFFER_BYTES_MAX: usize = 64 << 10;
/// Refusals that are being said at a time, in all and to each caller. Beyond, connections are closed without a word.
const REFUSALS_MAX: usize = 32;
const REFUSALS_EACH_MAX: usize = 4;
/// A refusal waits this long for the request that it answers.
const REFUSAL_TIME: Duration = Duration::from_secs(1);
/// Time without accepting after the system had no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Who stands at the door.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guest {
    /// On the Unix socket, as the kernel told when the connection was made.
    Uid(u32),
    /// On the TCP listener, where only tokens count: a host, or the network that is one host's.
    Address(IpAddr),
}

impl fmt::Display for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uid(uid) => write!(f, "uid {uid}"),
            Self::Address(address) => address.fmt(f),
        }
    }
}

/// Where connections come from.
pub enum Listener {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Listener {
    async fn accept(&self) -> io::Result<(Stream, Guest)> {
        match self {
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                let guest = Guest::Uid(stream.peer_cred()?.uid());
                Ok((Stream::Unix(stream), guest))
            }
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream), Guest::Address(network(peer.ip()))))
            }
        }
    }
}

/// One listener of the admin API, with its places.
pub struct Door {
    listener: Listener,
    places: Places<Guest>,
    refusals: Places<Guest>,
    limits: AdminLimits,
    owners: Vec<u32>,
    groups: Arc<Groups>,
}

impl Door {
    /// `owners` are the uids for whom, beside the administrators, some places are kept.
    pub fn new(
        listener: Listener,
        limits: &AdminLimits,
        owners: &[u32],
        groups: Arc<Groups>,
    ) -> Door {
        let places = Places::new(limits.connections_max, limits.connections_per_uid_max);
        let places = match listener {
            Listener::Unix(_) => places.reserving(limits.connections_reserved),
            // Nobody is known there before the token is read.
            Listener::Tcp(_) => places,
        };
        let refusals = Places::new(REFUSALS_MAX, REFUSALS_EACH_MAX);
        let (limits, owners) = (limits.clone(), owners.to_owned());
        Door { listener, places, refusals, limits, owners, groups }
    }

    fn rank(&self, guest: Guest) -> Rank {
        let is_preferred = match guest {
            Guest::Uid(uid) => {
                self.owners.contains(&uid) || self.groups.gives(uid, Capability::InstanceAdmin)
            }
            Guest::Address(_) => false,
        };
        if is_preferred { Rank::Preferred } else { Rank::Anybody }
    }

    /// Accepts connections until `stop`; those that are open then end their present request. All are tasks of
    /// `tracker`, so that who stops can wait for them.
    pub async fn serve(self, router: Router, tracker: TaskTracker, stop: CancellationToken) {
        // Whether it was said that the system has nothing left for new connections.
        let mut is_said = false;
        loop {
            let accepted = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                accepted = self.listener.accept() => accepted,
            };
            let (stream, guest) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    if !std::mem::replace(&mut is_said, true) {
                        warn!({ field::ERROR } = %error, "admin connections cannot be accepted; trying on");
                    }
                    // Whatever is missing, asking again at once would only spin.
                    let _ = tokio::time::timeout(ACCEPT_PAUSE, stop.cancelled()).await;
                    continue;
                }
            };
            is_said = false;
            match self.places.take(guest, self.rank(guest)) {
                Ok(place) => {
                    let talk = converse(stream, place, router.clone(), &self.limits, stop.clone());
                    tracker.spawn(talk);
                }
                Err(full) => self.refuse(stream, guest, full, &tracker),
            }
        }
    }

    fn refuse(&self, stream: Stream, guest: Guest, full: Full, tracker: &TaskTracker) {
        if full.is_first {
            warn!({ field::CALLER } = %guest, "too many admin connections; refusing until there is room again");
        }
        let Ok(place) = self.refusals.take(guest, Rank::Anybody) else { return };
        let paced = Paced::new(stream, Arc::default(), &self.limits);
        tracker.spawn(async move {
            let problem = too_many(guest, full.limit);
            let service = service_fn(move |_request: hyper::Request<Incoming>| {
                let refusal = refuse::response(&problem);
                async move { Ok::<_, Infallible>(refusal) }
            });
            let mut http = parser();
            let talk = http.keep_alive(false).serve_connection(TokioIo::new(paced), service);
            let _told_or_gone = tokio::time::timeout(REFUSAL_TIME, talk).await;
            drop(place);
        });
    }
}

fn too_many(guest: Guest, reached: Reached) -> Problem {
    match reached {
        Reached::OfCaller(open) => {
            let detail = format!("{guest} has {open} connections open already");
            let hint = "close those that are not needed, or raise connections_per_uid_max in [limits.admin]";
            Problem::new(Code::TooManyConnections, detail).with_hint(hint)
        }
        Reached::OfAll(open) => {
            let detail = format!("{open} connections are open already");
            let hint = "try again later, or raise connections_max in [limits.admin]";
            Problem::new(Code::TooManyConnections, detail).with_hint(hint)
        }
    }
}

/// One connection, from its begin to its end.
fn converse(
    stream: Stream,
    place: Place<Guest>,
    router: Router,
    limits: &AdminLimits,
    stop: CancellationToken,
) -> impl Future<Output = ()> + use<> {
    let guest = place.who;
    let pace: Arc<Pace> = Arc::default();
    let stalling = Stalling::new(stream, limits.write_ms);
    let paced = Paced::new(stalling, Arc::clone(&pace), limits);
    let router = TowerToHyperService::new(router);
    let asked = Arc::new(Notify::new());
    let has_asked = Arc::clone(&asked);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        has_asked.notify_one();
        pace.answer();
        let (pace, router) = (Arc::clone(&pace), router.clone());
        let mut request = request.map(Body::new);
        if let Guest::Uid(uid) = guest {
            request.extensions_mut().insert(ConnectInfo(Peer { uid }));
        }
        async move {
            let response: Response = router.call(request).await?;
            Ok::<_, Infallible>(pace::until_sent(&pace, response))
        }
    });
    async move {
        let mut talk = std::pin::pin!(parser().serve_connection(TokioIo::new(paced), service));
        let ended = tokio::select! {
            biased;
            ended = talk.as_mut() => ended,
            () = stop_and_arrival(&stop, &asked) => {
                talk.as_mut().graceful_shutdown();
                talk.await
            }
        };
        if let Err(error) = ended {
            debug!({ field::CALLER } = %guest, { field::ERROR } = %error, "an admin connection broke off");
        }
        drop(place);
    }
}

fn parser() -> http1::Builder {
    let mut http = http1::Builder::new();
    // `pace` sees to it that heads come in time.
    http.header_read_timeout(None).max_buf_size(BUFFER_BYTES_MAX);
    http
}

/// A connection of either kind.
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tcp(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tcp(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_flush(context),
            Self::Tcp(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
