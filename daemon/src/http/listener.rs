//! Who may connect, for how long, and how it all ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::dispatcher::call::{Call, Reply};
use crate::dispatcher::lookup::Known;
use crate::http::callers::network;
use crate::http::problem::{Code, Problem};
use crate::http::request::Edge;
use crate::http::wire::{Wire, WireIo};
use crate::ids::Id;
use crate::limits::HttpLimits;

/// Accepts connections until `stop`; then open requests have `stop_ms` to end. All connections are tasks of `tracker`, so that who
/// stops can wait for them.
pub async fn serve<C, F, L, G>(
    listener: TcpListener,
    edge: Arc<Edge<C, L>>,
    tracker: TaskTracker,
    stop: CancellationToken,
) where
    C: Fn(Call) -> F + Send + Sync + 'static,
    F: Future<Output = Reply> + Send + 'static,
    L: Fn(Id) -> G + Send + Sync + 'static,
    G: Future<Output = Option<Known>> + Send + 'static,
{
    let slots = Slots::new(edge.limits());
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
        match slots.take(peer) {
            Ok(slot) => {
                let (edge, stop) = (Arc::clone(&edge), stop.clone());
                let http = http.clone();
                tracker.spawn(async move {
                    converse(&http, stream, edge, peer, stop).await;
                    drop(slot);
                });
            }
            Err(problem) => turn_away(stream, &problem),
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
    let service = service_fn(move |request| {
        let (edge, wire) = (Arc::clone(&edge), Arc::clone(&wire));
        async move { Ok::<_, Infallible>(edge.answer(&wire, request).await) }
    });
    let mut connection = std::pin::pin!(http.serve_connection(io, service));
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
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

/// Tells a caller for whom there is no slot. Whether it arrives is the caller's luck; nothing waits for it.
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

/// How many connections there are, in all and of each address.
struct Slots {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    max: usize,
    per_ip_max: usize,
}

/// One connection's place. Dropping it makes room.
struct Slot {
    open: Arc<Mutex<HashMap<IpAddr, usize>>>,
    peer: IpAddr,
}

impl Slots {
    fn new(limits: &HttpLimits) -> Slots {
        Slots {
            open: Arc::default(),
            max: limits.connections_max,
            per_ip_max: limits.connections_per_ip_max,
        }
    }

    fn take(&self, peer: IpAddr) -> Result<Slot, Problem> {
        let peer = network(peer);
        let mut open = self.open.lock().expect("nothing panics while holding it");
        let of_peer = open.get(&peer).copied().unwrap_or_default();
        if of_peer >= self.per_ip_max {
            let detail = format!("{of_peer} connections of {peer} are open already");
            let problem = Problem::new(Code::TooManyConnections, detail);
            return Err(problem.hint("keep connections alive and close those that are not needed"));
        }
        let all: usize = open.values().sum();
        if all >= self.max {
            let detail = format!("{all} connections are open already");
            return Err(Problem::new(Code::TooManyConnections, detail));
        }
        *open.entry(peer).or_default() += 1;
        Ok(Slot { open: Arc::clone(&self.open), peer })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut open = self.open.lock().expect("nothing panics while holding it");
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p7_the_addresses_of_one_host_share_its_places() {
        let limits =
            HttpLimits { connections_max: 4, connections_per_ip_max: 2, ..HttpLimits::default() };
        let slots = Slots::new(&limits);
        let take = |address: &str| slots.take(address.parse().expect("an address")).ok();
        let first = take("2001:db8::1");
        let second = take("2001:db8::2:3:4:5");
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8::6").is_none());
        let others = [take("2001:db8:0:1::1"), take("192.0.2.1")];
        assert!(others.iter().all(Option::is_some) && take("192.0.2.2").is_none());
        drop((first, others));
        assert!(take("2001:db8::6").is_some());
    }
}
