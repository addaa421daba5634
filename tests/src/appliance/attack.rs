//! What strangers do: slow heads and bodies, floods, thousands of connections, and requests that are none.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::wait::pause;

/// Instead of a status: a connection that stood, and one that was closed without an answer.
const CONNECTED: u16 = 1;
const CLOSED: u16 = 0;

/// Connections of those who are slow: nearly all that one address gets.
const SLOW: u32 = 60;
/// Connections of those who come in masses.
const MASS: u32 = 5_000;
const FLOODERS: u32 = 16;
const SECOND: Duration = Duration::from_secs(1);
/// By then whoever sent nonsense knows what is thought of it.
const VERDICT_MAX: Duration = Duration::from_secs(15);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// A byte a second.
    SlowHeads,
    SlowBodies,
    /// Whose answers are read a byte a second.
    SlowReaders,
    /// 5,000 connections of five addresses that say nothing.
    Idle,
    /// Requests as fast as they go, eight at a time.
    Flood,
    /// Connections that are closed at once.
    Knocking,
    /// Too large, contradictory, cut and foreign requests.
    Malformed,
    /// 5,000 connections of a hundred addresses, which take every place that there is.
    Crowd,
}

/// What the attackers met, by status.
type Met = Rc<RefCell<BTreeMap<u16, u64>>>;

impl Attack {
    pub const ALL: [Attack; 8] = [
        Self::SlowHeads,
        Self::SlowBodies,
        Self::SlowReaders,
        Self::Idle,
        Self::Flood,
        Self::Knocking,
        Self::Malformed,
        Self::Crowd,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::SlowHeads => "slow heads",
            Self::SlowBodies => "slow bodies",
            Self::SlowReaders => "slow readers",
            Self::Idle => "5,000 idle connections",
            Self::Flood => "flood of requests",
            Self::Knocking => "flood of connections",
            Self::Malformed => "huge and malformed requests",
            Self::Crowd => "5,000 connections of 100 addresses",
        }
    }

    /// Whether there is room for callers who come new.
    pub fn leaves_room(self) -> bool {
        self != Self::Crowd
    }

    /// Attacks for so long, from a runtime of its own on the calling thread; what was met, in words.
    pub fn run(self, target: SocketAddr, time: Duration) -> Result<String> {
        // On another machine it would take no processor from those who are served.
        let _still_as_urgent = rustix::process::nice(19);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let met = Met::default();
        let attack = async {
            let mut tasks = JoinSet::new();
            self.begin(target, &met, &mut tasks);
            while tasks.join_next().await.is_some() {}
        };
        runtime.block_on(async {
            let _over = timeout(time, tokio::task::LocalSet::new().run_until(attack)).await;
        });
        let met = met.borrow();
        let connected = met.get(&CONNECTED).copied().unwrap_or_default();
        match self {
            Self::Malformed => {
                ensure!(!met.is_empty(), "no malformed request was judged");
                let served = met.keys().any(|status| (CONNECTED + 1..400).contains(status));
                ensure!(!served, "a malformed request was served: {met:?}");
            }
            // More than there are places, or it has shown nothing.
            Self::Idle | Self::Crowd => ensure!(connected > 600, "only {connected} came"),
            Self::SlowHeads
            | Self::SlowBodies
            | Self::SlowReaders
            | Self::Flood
            | Self::Knocking => {}
        }
        let words = met.iter().map(|(status, count)| match *status {
            CONNECTED => format!("{count} connected"),
            CLOSED => format!("{count} closed"),
            status => format!("{count} × {status}"),
        });
        let words: Vec<String> = words.collect();
        Ok(if words.is_empty() {
            "nobody was thrown out in that time".to_owned()
        } else {
            format!("attackers: {}", words.join(", "))
        })
    }

    fn begin(self, target: SocketAddr, met: &Met, tasks: &mut JoinSet<()>) {
        let head = "GET /lan/ HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
        let body = "POST /lan/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Content-Length: 100000\r\n\r\n\"";
        match self {
            Self::SlowHeads | Self::SlowBodies => {
                let begin = if self == Self::SlowHeads { head } else { body };
                for _ in 0..SLOW {
                    tasks.spawn_local(slowly(target, begin, Rc::clone(met)));
                }
            }
            Self::SlowReaders => {
                for n in 0..SLOW {
                    tasks.spawn_local(read_slowly(target, n));
                }
            }
            Self::Idle | Self::Crowd => {
                let addresses = if self == Self::Idle { 5 } else { 100 };
                tasks.spawn_local(say_nothing(target, addresses, Rc::clone(met)));
            }
            Self::Flood => {
                for _ in 0..FLOODERS {
                    tasks.spawn_local(flood(target, Rc::clone(met)));
                }
            }
            Self::Knocking => {
                for _ in 0..FLOODERS {
                    tasks.spawn_local(knock(target, Rc::clone(met)));
                }
            }
            Self::Malformed => {
                for request in malformed() {
                    tasks.spawn_local(send_nonsense(target, request, Rc::clone(met)));
                }
            }
        }
    }
}

/// From the `n`-th address of strangers.
async fn connect(target: SocketAddr, n: u32) -> std::io::Result<TcpStream> {
    let [_, _, high, low] = (256 + n).to_be_bytes();
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::new(127, 1, high, low), 0).into())?;
    socket.connect(target).await
}

fn note(met: &Met, answer: &[u8]) {
    let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
    let status = status.and_then(|digits| digits.parse().ok()).unwrap_or(CLOSED);
    *met.borrow_mut().entry(status).or_default() += 1;
}

async fn slowly(target: SocketAddr, begin: &'static str, met: Met) {
    loop {
        let Ok(mut stream) = connect(target, 1).await else { return pause(SECOND).await };
        let mut answer = [0; 512];
        let mut next = begin.as_bytes();
        while stream.write_all(next).await.is_ok() {
            next = b"a";
            if let Ok(read) = timeout(SECOND, stream.read(&mut answer)).await {
                note(&met, &answer[..read.unwrap_or(0)]);
                break;
            }
        }
        pause(SECOND / 10).await;
    }
}

/// They come one after the other, since it is not what their answers cost that is tried.
async fn read_slowly(target: SocketAddr, n: u32) {
    pause(SECOND / 20 * n).await;
    loop {
        let Ok(mut stream) = connect(target, 2).await else { return pause(SECOND).await };
        let request = "GET /lan/big HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(2);
        let mut byte = [0; 1];
        let sent = stream.write_all(request.as_bytes()).await;
        while sent.is_ok() && stream.read_exact(&mut byte).await.is_ok() {
            pause(SECOND).await;
        }
        pause(SECOND / 10).await;
    }
}

async fn say_nothing(target: SocketAddr, addresses: u32, met: Met) {
    let mut streams = Vec::new();
    for n in 0..MASS {
        match connect(target, 10 + n % addresses).await {
            Ok(stream) => {
                streams.push(stream);
                *met.borrow_mut().entry(CONNECTED).or_default() += 1;
            }
            Err(_) => note(&met, b""),
        }
        if n % 64 == 0 {
            tokio::task::yield_now().await;
        }
    }
    std::future::pending().await
}

async fn flood(target: SocketAddr, met: Met) {
    let requests = "GET /lan/ HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(8);
    let mut answers = vec![0; 16_384];
    loop {
        let Ok(mut stream) = connect(target, 3).await else { return pause(SECOND).await };
        while stream.write_all(requests.as_bytes()).await.is_ok() {
            match stream.read(&mut answers).await {
                Ok(0) | Err(_) => break,
                Ok(read) => note(&met, &answers[..read]),
            }
        }
    }
}

async fn knock(target: SocketAddr, met: Met) {
    loop {
        match connect(target, 4).await {
            Ok(stream) => {
                drop(stream);
                *met.borrow_mut().entry(CONNECTED).or_default() += 1;
            }
            Err(_) => note(&met, b""),
        }
        tokio::task::yield_now().await;
    }
}

async fn send_nonsense(target: SocketAddr, request: Vec<u8>, met: Met) {
    loop {
        let Ok(mut stream) = connect(target, 5).await else { return pause(SECOND).await };
        // It may be turned away before it has said all.
        let _cut = timeout(VERDICT_MAX, stream.write_all(&request)).await;
        let mut answer = [0; 512];
        let read = timeout(VERDICT_MAX, stream.read(&mut answer)).await;
        note(&met, &answer[..read.map_or(0, |read| read.unwrap_or(0))]);
        pause(SECOND / 5).await;
    }
}

/// Too large, contradictory, cut or foreign; none of them may be served.
fn malformed() -> Vec<Vec<u8>> {
    let get = |rest: &str| format!("GET /lan/ HTTP/1.1\r\n{rest}\r\n\r\n").into_bytes();
    let post = |rest: &str| {
        format!(
            "POST /lan/ HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n{rest}"
        )
        .into_bytes()
    };
    let many: String = (0..200).map(|n| format!("X-{n}: 1\r\n")).collect();
    let mut gzip = post("Content-Encoding: gzip\r\nContent-Length: 24\r\n\r\n");
    gzip.extend_from_slice(b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xed\xc1\x01\x0d\0\0\0\xc2\xa0\xf7Om");
    vec![
        get(&format!("Host: localhost\r\nX-Long: {}", "a".repeat(64 << 10))),
        get(&format!("Host: localhost\r\n{many}X: 1")),
        format!("GET /lan/?{} HTTP/1.1\r\nHost: localhost\r\n\r\n", "a".repeat(20_000))
            .into_bytes(),
        post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        post("Content-Length: 4\r\nContent-Length: 5\r\n\r\n12345"),
        post("Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked\r\n\r\nZZ\r\n"),
        post("Content-Length: -1\r\n\r\n"),
        post("Content-Length: 99999999999\r\n\r\n"),
        post(&format!("Content-Length: 2000000\r\n\r\n{}", "1".repeat(2_000_000))),
        post("Content-Length: 5\r\n\r\n{\"a\":"),
        post(&format!("Content-Length: 200000\r\n\r\n{}", "[".repeat(200_000))),
        get("X: no host"),
        get("Host: localhost\r\nHost: localhost"),
        get("Host: evil.example"),
        b"GET /lan/%2e%2e/%00/%c0%af HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"CONNECT example.com:443 HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        b"\0\0\0\0\r\n\r\n".to_vec(),
        gzip,
    ]
}
