//! Who may connect, for how long, and how it all ends.

use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatcher::call::{Call, Reply};
use crate::dispatcher::lookup::Known;
use crate::http::problem::{Code, Problem};
use crate::http::request::Edge;
use crate::http::wire::{Wire, WireIo};
use crate::ids::Id;
use crate::limits::HttpLimits;
use crate::places::{Places, Rank, Reached, network};

/// How long a connection that was accepted just before a stop has for its first request to arrive: its caller may have
/// sent it already, and would lose it.
const ARRIVAL: Duration = Duration::from_millis(250);

/// Returns after a stop, as soon as the first request of a connection has come or will not come any more. `asked` is told of
/// each request.
pub async fn stop_and_arrival(stop: &CancellationToken, asked: &Notify) {
    stop.cancelled().await;
    let _arrived_or_not = tokio::time::timeout(ARRIVAL, asked.notified()).await;
}

/// The places for connections, whichever listener they come from.
pub fn places(limits: &HttpLimits) -> Places<IpAddr> {
    Places::new(limits.connections_max, limits.connections_per_ip_max)
}

/// Accepts connections until `stop`; then open requests have `stop_ms` to end. All connections are tasks of `tracker`, so that who
/// stops can wait for them.
pub async fn serve<C, F, L, G>(
    listener: TcpListener,
    places: Places<IpAddr>,
    edge: Arc<Edge<C, L>>,
    tracker: TaskTracker,
    stop: CancellationToken,
) where
    C: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
    L: Fn(Id) -> G + Send + Sync + 'static,
    G: Future<Output = Option<Known>> + Send + 'static,
{
    let http = parser(edge.limits());
    // Whether it was said that the system has nothing left for new connections.
    let mut is_said = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_of_one_connection(&error) => continue,
            Err(error) => {
                if !std::mem::replace(&mut is_said, true) {
                    tracing::warn!(%error, "connections cannot be accepted; trying on");
                }
                let pause = Duration::from_millis(edge.limits().accept_pause_ms);
                // Whatever is missing, asking again at once would only spin.
                let _ = tokio::time::timeout(pause, stop.cancelled()).await;
                continue;
            }
        };
        is_said = false;
        let peer = peer.ip().to_canonical();
        match places.take(network(peer), Rank::Anybody) {
            Ok(place) => {
                let (edge, stop) = (Arc::clone(&edge), stop.clone());
                let http = http.clone();
                tracker.spawn(async move {
                    converse(&http, stream, edge, peer, stop).await;
                    drop(place);
                });
            }
            Err(full) => turn_away(stream, &too_many(network(peer), full.limit)),
        }
    }
}

/// One connection, from its begin to its end.
async fn converse<C, F, L, G>(
    http: &http1::Builder,
    stream: TcpStream,
    edge: Arc<Edge<C, L>>,
    peer: IpAddr,
    stop: CancellationToken,
) where
    C: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
    L: Fn(Id) -> G + Send + Sync + 'static,
    G: Future<Output = Option<Known>> + Send + 'static,
{
    // Answers are written whole; waiting for more to send would only delay them.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let stop_ms = edge.limits().stop_ms;
    let wire = Arc::new(Wire::new(stream, peer, Arc::clone(edge.limits())));
    let io = WireIo(Arc::clone(&wire));
    let asked = Arc::new(Notify::new());
    let has_asked = Arc::clone(&asked);
    let service = service_fn(move |request| {
        let (edge, wire) = (Arc::clone(&edge), Arc::clone(&wire));
        has_asked.notify_one();
        async move { Ok::<_, Infallible>(edge.answer(&wire, request).await) }
    });
    let mut connection = std::pin::pin!(http.serve_connection(io, service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop_and_arrival(&stop, &asked) => {
            connection.as_mut().graceful_shutdown();
            let time = Duration::from_millis(stop_ms);
            tokio::time::timeout(time, connection).await.unwrap_or(Ok(()))
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection broke off");
    }
}

fn parser(limits: &HttpLimits) -> http1::Builder {
    let mut http = http1::Builder::new();
    // Heads come whole and in time: `wire` sees to that, and has the better answer for those that do not.
    http.header_read_timeout(None);
    http.max_buf_size(BUFFER_BYTES_MAX.max(2 * limits.head_bytes_max));
    if limits.headers_max > PARSER_HEADERS {
        http.max_headers(limits.headers_max);
    }
    http
}

/// Bytes that the parser may hold of a connection.
const BUFFER_BYTES_MAX: usize = 64 << 10;

/// Header lines that the parser takes without being told; this way it needs no memory for them.
const PARSER_HEADERS: usize = 100;

/// The connection was gone before it was accepted.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Tells a caller for whom there is no place. Whether it arrives is the caller's luck; nothing waits for it.
fn turn_away(stream: TcpStream, problem: &Problem) {
    let body = problem.json();
    let mut head = format!(
        "HTTP/1.1 {} Service Unavailable\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\nconnection: close\r\n",
        problem.status(),
        body.len()
    );
    for (name, value) in problem.headers() {
        let value = value.to_str().expect("made of digits and methods");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    head.push_str(&body);
    if let Ok(mut stream) = stream.into_std() {
        // Not blocking: a fresh socket has room for this.
        let _ = stream.write(head.as_bytes());
        let _ = stream.shutdown(std::net::Shutdown::Write);
    }
}

/// Says no to a caller for whom there is no place.
fn too_many(peer: IpAddr, limit: Reached) -> Problem {
    match limit {
        Reached::OfCaller(open) => {
            let detail = format!("{open} connections of {peer} are open already");
            let problem = Problem::new(Code::TooManyConnections, detail);
            problem.hint("keep connections alive and close those that are not needed")
        }
        Reached::OfAll(open) => {
            let detail = format!("{open} connections are open already");
            Problem::new(Code::TooManyConnections, detail)
        }
    }
}
