//! A load generator for HTTP/1.1: keep-alive connections on one thread, one request at a time on each.
//!
//! Each answer is read to its end and its status counted. Connections are closed loops; with a pace, the time of
//! a request that had to wait for the answer before it counts from when it should have left.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use crate::measure::histogram::Histogram;

/// Bytes of an answer's head.
const HEAD_BYTES_MAX: usize = 64 << 10;
/// An answer that takes longer ends the load.
pub const ANSWER_MAX: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// A request, ready to be sent. A number in it may be different each time.
#[derive(Clone, Debug)]
pub struct Request {
    bytes: Vec<u8>,
    numbers: Vec<Range<usize>>,
}

/// Twelve digits that do not begin with 0, so that they are a number in JSON too.
const NUMBER: &str = "100000000000";
const FIRST_NUMBER: u64 = 100_000_000_000;

/// Stands in path and body for the number of the request: 12 digits, different in each.
pub const NUMBER_HERE: &str = "{number}";

impl Request {
    pub fn get(path: &str) -> Request {
        Self::new("GET", path, None)
    }

    pub fn post(path: &str, json: &str) -> Request {
        Self::new("POST", path, Some(json))
    }

    pub fn new(method: &str, path: &str, json: Option<&str>) -> Request {
        let path = path.replace(NUMBER_HERE, NUMBER);
        let body = json.unwrap_or_default().replace(NUMBER_HERE, NUMBER);
        let mut text = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n");
        if json.is_some() {
            let length = body.len();
            text += &format!("Content-Type: application/json\r\nContent-Length: {length}\r\n");
        }
        text += "\r\n";
        text += &body;
        let numbers = text.match_indices(NUMBER).map(|(at, _)| at..at + NUMBER.len()).collect();
        Request { bytes: text.into_bytes(), numbers }
    }

    fn set_number(&mut self, number: u64) {
        if self.numbers.is_empty() {
            return;
        }
        let digits = format!("{:012}", FIRST_NUMBER + number);
        for place in &self.numbers {
            self.bytes[place.clone()].copy_from_slice(&digits.as_bytes()[digits.len() - 12..]);
        }
    }
}

#[derive(Clone, Copy, Debug)]
pub enum Until {
    Passed(Duration),
    Sent(u64),
}

#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// Each connection sends as soon as it has its answer.
    Unpaced,
    /// Requests a second, over all connections.
    PerSecond(u32),
}

#[derive(Clone, Debug)]
pub struct Load {
    pub address: Address,
    pub connections: u32,
    pub pace: Pace,
    pub until: Until,
    /// The requests are numbered from here on.
    pub first_number: u64,
}

/// What came back.
#[derive(Clone, Debug, Default)]
pub struct Answers {
    pub by_status: BTreeMap<u16, u64>,
    pub times: Histogram,
    /// From the first request to the last answer.
    pub elapsed: Duration,
}

impl Answers {
    pub fn count(&self) -> u64 {
        self.by_status.values().sum()
    }

    pub fn per_second(&self) -> f64 {
        self.count() as f64 / self.elapsed.as_secs_f64()
    }

    /// An error unless every answer had this status.
    pub fn all(self, status: u16) -> Result<Answers> {
        if self.count() == 0 || self.by_status.keys().any(|found| *found != status) {
            bail!("expected only answers {status}, got {:?}", self.by_status);
        }
        Ok(self)
    }
}

/// Applies the load from a runtime of its own on the calling thread.
pub fn run(load: &Load, request: &Request) -> Result<Answers> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, run_connections(load, request))
}

async fn run_connections(load: &Load, request: &Request) -> Result<Answers> {
    let started = Instant::now();
    let next = Rc::new(Cell::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for place in 0..load.connections {
        let course = Course { load: load.clone(), started, place, next: Rc::clone(&next) };
        let request = request.clone();
        tasks.spawn_local(async move {
            match &course.load.address {
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address).await.context("cannot connect")?;
                    stream.set_nodelay(true)?;
                    course.run(stream, request).await
                }
                Address::Unix(path) => {
                    let stream = UnixStream::connect(path).await.context("cannot connect")?;
                    course.run(stream, request).await
                }
            }
        });
    }
    let mut sum = Answers::default();
    while let Some(done) = tasks.join_next().await {
        let one = done.context("a connection's task ended early")??;
        for (status, count) in one.by_status {
            *sum.by_status.entry(status).or_default() += count;
        }
        sum.times.merge(&one.times);
    }
    sum.elapsed = started.elapsed();
    Ok(sum)
}

/// What one connection does.
struct Course {
    load: Load,
    started: Instant,
    place: u32,
    /// Requests sent so far, by all connections.
    next: Rc<Cell<u64>>,
}

impl Course {
    async fn run<S: AsyncRead + AsyncWrite + Unpin>(
        self,
        mut stream: S,
        mut request: Request,
    ) -> Result<Answers> {
        let mut answers = Answers::default();
        let mut buffer = Buffer::default();
        let mut turn = 0_u64;
        while let Some(number) = self.next_number() {
            request.set_number(self.load.first_number + number);
            let sent = self.wait_for_turn(turn).await;
            turn += 1;
            stream.write_all(&request.bytes).await.context("cannot send a request")?;
            let status = tokio::time::timeout(ANSWER_MAX, buffer.answer(&mut stream))
                .await
                .with_context(|| format!("no answer within {} s", ANSWER_MAX.as_secs()))??;
            answers.times.record(sent.elapsed());
            *answers.by_status.entry(status).or_default() += 1;
        }
        Ok(answers)
    }

    fn next_number(&self) -> Option<u64> {
        let number = self.next.get();
        let over = match self.load.until {
            Until::Passed(time) => self.started.elapsed() >= time,
            Until::Sent(count) => number >= count,
        };
        self.next.set(number + 1);
        (!over).then_some(number)
    }

    /// Returns the moment that the request's time counts from.
    async fn wait_for_turn(&self, turn: u64) -> Instant {
        let Pace::PerSecond(rate) = self.load.pace else { return Instant::now() };
        let place = turn * u64::from(self.load.connections) + u64::from(self.place);
        let due = self.started + Duration::from_secs_f64(place as f64 / f64::from(rate));
        if Instant::now() > due {
            return due;
        }
        tokio::time::sleep_until(due.into()).await;
        Instant::now()
    }
}

/// Bytes that came and were not yet used.
#[derive(Default)]
struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Reads one answer to its end, keeps nothing of it but the status.
    async fn answer<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<u16> {
        loop {
            if let Some(head) = parse_head(&self.bytes)? {
                while self.bytes.len() < head.bytes {
                    self.fill(stream).await?;
                }
                self.bytes.drain(..head.bytes);
                return Ok(head.status);
            }
            if self.bytes.len() > HEAD_BYTES_MAX {
                bail!("an answer's head is longer than {HEAD_BYTES_MAX} bytes");
            }
            self.fill(stream).await?;
        }
    }

    async fn fill<S: AsyncRead + Unpin>(&mut self, stream: &mut S) -> Result<()> {
        self.bytes.reserve(4096);
        match stream.read_buf(&mut self.bytes).await.context("cannot read an answer")? {
            0 => Err(io::Error::from(io::ErrorKind::UnexpectedEof))
                .context("the connection was closed before the answer's end"),
            _ => Ok(()),
        }
    }
}

#[derive(Debug, PartialEq)]
struct Head {
    status: u16,
    /// Of head and body together.
    bytes: usize,
}

/// `None` until the head is complete.
fn parse_head(bytes: &[u8]) -> Result<Option<Head>> {
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).context("an answer's head is not UTF-8")?;
    let mut lines = head.split("\r\n");
    let status = lines
        .next()
        .and_then(|line| line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok())
        .with_context(|| format!("not an HTTP/1.1 answer: {head:.60}"))?;
    let mut length = None;
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        if name.eq_ignore_ascii_case("content-length") {
            length = Some(value.trim().parse::<usize>().context("a bad content-length")?);
        }
    }
    let length = match (length, status) {
        (Some(length), _) => length,
        (None, 204 | 304) => 0,
        (None, _) => bail!("an answer {status} without content-length"),
    };
    Ok(Some(Head { status, bytes: end + 4 + length }))
}

/// One request on a connection of its own: status and body. The answer has so long for each part of it.
pub fn ask(address: &Address, request: &Request, within: Duration) -> Result<(u16, String)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match address {
            Address::Tcp(address) => {
                ask_on(TcpStream::connect(address).await?, request, within).await
            }
            Address::Unix(path) => ask_on(UnixStream::connect(path).await?, request, within).await,
        }
    })
}

async fn ask_on<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &Request,
    within: Duration,
) -> Result<(u16, String)> {
    stream.write_all(&request.bytes).await?;
    let mut buffer = Buffer::default();
    loop {
        if let Some(head) = parse_head(&buffer.bytes)?
            && buffer.bytes.len() >= head.bytes
        {
            let start = buffer.bytes.windows(4).position(|four| four == b"\r\n\r\n");
            let start = start.expect("the head was parsed") + 4;
            let body = String::from_utf8_lossy(&buffer.bytes[start..head.bytes]);
            return Ok((head.status, body.into_owned()));
        }
        tokio::time::timeout(within, buffer.fill(&mut stream)).await.context("no answer")??;
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_request_carries_its_number_wherever_it_is_named() {
        let mut request = Request::post("/a/{number}", r#"{"n":{number}}"#);
        request.set_number(7);
        let text = String::from_utf8(request.bytes).unwrap();
        assert!(text.starts_with("POST /a/100000000007 HTTP/1.1\r\n"), "{text}");
        assert!(text.ends_with("Content-Length: 18\r\n\r\n{\"n\":100000000007}"), "{text}");
    }

    #[test]
    fn an_answer_ends_where_its_length_says() {
        let whole = b"HTTP/1.1 202 Accepted\r\nCONTENT-LENGTH: 5\r\n\r\nhelloHTTP/1.1";
        let head = Head { status: 202, bytes: whole.len() - 8 };
        assert_eq!(parse_head(whole).unwrap(), Some(head));
        assert_eq!(parse_head(b"HTTP/1.1 200 OK\r\n").unwrap(), None);
        assert!(parse_head(b"HTTP/1.1 200 OK\r\n\r\n").is_err(), "no length");
        assert!(parse_head(b"SSH-2.0\r\n\r\n").is_err());
    }

    #[test]
    fn a_load_sends_each_number_once_and_counts_every_status() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let connections: Vec<_> = (0..2)
                .map(|_| {
                    let (mut stream, _) = listener.accept().unwrap();
                    std::thread::spawn(move || answer_by_parity(&mut stream))
                })
                .collect();
            connections.into_iter().flat_map(|one| one.join().unwrap()).collect::<Vec<_>>()
        });
        let load = Load {
            address,
            connections: 2,
            pace: Pace::Unpaced,
            until: Until::Sent(9),
            first_number: 1,
        };
        let answers = run(&load, &Request::get("/{number}")).unwrap();
        let mut seen = server.join().unwrap();
        seen.sort_unstable();
        assert_eq!(seen, (1..=9).collect::<Vec<u64>>());
        assert_eq!(answers.by_status, BTreeMap::from([(200, 4), (404, 5)]));
        assert_eq!(answers.times.count(), 9);
        assert!(answers.all(200).is_err());
    }

    /// Even numbers are found. Returns the numbers that were asked for.
    fn answer_by_parity(stream: &mut std::net::TcpStream) -> Vec<u64> {
        let mut seen = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let length = stream.read(&mut buffer).unwrap();
            if length == 0 {
                return seen;
            }
            let text = std::str::from_utf8(&buffer[..length]).unwrap();
            let number: u64 = text["GET /".len()..][..12].parse().unwrap();
            let status = if number.is_multiple_of(2) { "200 OK" } else { "404 Not Found" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 2\r\n\r\n{{}}").unwrap();
            seen.push(number - FIRST_NUMBER);
        }
    }
}
