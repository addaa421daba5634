//! Server-sent events: what the daemon sends, line by line, and a reader that comes back when its connection breaks.

use std::time::Duration;

use picloud_api::events::{Closed, kind};
use picloud_api::problem::{Code, Problem};
use serde::de::DeserializeOwned;

use crate::client::{Client, ClientError};
use crate::opened::Opened;

/// Bytes of one event, and of one line of it. The largest that the daemon sends are far below.
const EVENT_BYTES_MAX: usize = 4 << 20;
/// The daemon says something at least every 15 s; one that is silent for longer than this is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Waits between tries: the first, and the longest.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

/// One event as it was sent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Event {
    pub kind: String,
    pub data: String,
}

impl Event {
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_str(&self.data).map_err(|error| ClientError::Odd(error.to_string()))
    }
}

/// Why what was sent is no stream of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event has more than {EVENT_BYTES_MAX} bytes")]
pub struct TooLong;

/// Bytes on their way to events.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    event: Event,
    /// Id of the event that is being read, and of the last one that is whole.
    next_id: Option<String>,
    last_id: Option<String>,
    /// The line before ended with a carriage return: a line feed belongs to it.
    after_return: bool,
}

impl Parser {
    /// Reads on; returns the events that are whole by now.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<Vec<Event>, TooLong> {
        let mut events = Vec::new();
        for byte in bytes {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => events.extend(self.end_line()),
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.event.data.len() > EVENT_BYTES_MAX {
                return Err(TooLong);
            }
        }
        Ok(events)
    }

    fn end_line(&mut self) -> Option<Event> {
        let line = String::from_utf8_lossy(&std::mem::take(&mut self.line)).into_owned();
        if line.is_empty() {
            return self.end_event();
        }
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event.kind),
            "data" => {
                self.event.data.push_str(value);
                self.event.data.push('\n');
            }
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            // Comments keep the connection alive; other fields mean nothing here.
            _ => {}
        }
        None
    }

    fn end_event(&mut self) -> Option<Event> {
        let mut event = std::mem::take(&mut self.event);
        if self.next_id.is_some() {
            self.last_id = self.next_id.take();
        }
        event.data.pop()?;
        Some(event)
    }

    /// Begins a new stream, after the last whole event of the one before.
    fn again(&mut self) {
        *self = Parser { last_id: self.last_id.take(), ..Parser::default() };
    }
}

/// What a follower has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum News {
    Event(Event),
    /// The connection broke; it is tried again, as often as it takes.
    Lost,
}

/// Follows a stream of the daemon's, over broken connections and restarts.
pub struct Follower<'a> {
    client: &'a Client,
    path: String,
    parser: Parser,
    opened: Option<Opened>,
    ready: std::collections::VecDeque<Event>,
    again_after: Duration,
}

impl<'a> Follower<'a> {
    /// Opens the stream. When that fails there is nothing to follow.
    pub async fn open(client: &'a Client, path: &str) -> Result<Follower<'a>, ClientError> {
        let opened = Opened::open(client, path, None).await?;
        Ok(Follower {
            client,
            path: path.to_owned(),
            parser: Parser::default(),
            opened: Some(opened),
            ready: std::collections::VecDeque::new(),
            again_after: AGAIN_AFTER,
        })
    }

    /// What comes next. An error is the end: the daemon says no.
    pub async fn next(&mut self) -> Result<News, ClientError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                if event.kind != kind::CLOSED {
                    return Ok(News::Event(event));
                }
                let closed: Closed = event.read()?;
                if closed.why == "not_allowed" {
                    return Err(ClientError::Problem(Box::new(Problem::new(
                        Code::NotAllowed,
                        "what you may do here has changed: there is no more to see",
                    ))));
                }
                continue;
            }
            let Some(opened) = &mut self.opened else {
                self.reopen().await?;
                continue;
            };
            match tokio::time::timeout(SILENCE_MAX, opened.piece()).await {
                Ok(Some(piece)) => {
                    self.again_after = AGAIN_AFTER;
                    let events = self.parser.feed(&piece);
                    self.ready.extend(events.map_err(|error| ClientError::Odd(error.to_string()))?);
                }
                Ok(None) | Err(_) => {
                    self.opened = None;
                    return Ok(News::Lost);
                }
            }
        }
    }

    async fn reopen(&mut self) -> Result<(), ClientError> {
        tokio::time::sleep(self.again_after).await;
        self.again_after = (self.again_after * 2).min(AGAIN_AFTER_MAX);
        self.parser.again();
        match Opened::open(self.client, &self.path, self.parser.last_id.as_deref()).await {
            Ok(opened) => self.opened = Some(opened),
            // A daemon that says why it will not is believed; one that is full or stops may be asked again.
            Err(ClientError::Problem(problem)) if problem.status < 500 => {
                return Err(ClientError::Problem(problem));
            }
            Err(_) => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, data: &str) -> Event {
        Event { kind: kind.to_owned(), data: data.to_owned() }
    }

    #[test]
    fn events_are_read_however_their_bytes_arrive() {
        let text = ": hello\n\nid: a-1\nevent: log\ndata: {\"a\":\ndata: 1}\n\r\nid: a-2\r\ndata:x\r\n\r\nevent: cut\ndata: y\n";
        let expected = [event("log", "{\"a\":\n1}"), event("", "x")];
        for size in [1, 2, 3, 7, text.len()] {
            let mut parser = Parser::default();
            let mut events = Vec::new();
            for piece in text.as_bytes().chunks(size) {
                events.extend(parser.feed(piece).expect("it is short"));
            }
            assert_eq!(events, expected, "{size}");
            assert_eq!(parser.last_id.as_deref(), Some("a-2"));
        }
    }

    #[test]
    fn what_was_cut_off_is_forgotten_when_the_stream_begins_again() {
        let mut parser = Parser::default();
        parser.feed(b"id: a-1\ndata: x\n\nid: a-2\ndata: half").expect("it is short");
        parser.again();
        assert_eq!(parser.last_id.as_deref(), Some("a-1"));
        assert_eq!(parser.feed(b"data: y\n\n"), Ok(vec![event("", "y")]));
        assert_eq!(parser.last_id.as_deref(), Some("a-1"));
    }

    #[test]
    fn p7_a_line_without_an_end_is_not_kept_for_ever() {
        let mut parser = Parser::default();
        let piece = vec![b'x'; 1 << 20];
        let fed: Vec<bool> = (0..5).map(|_| parser.feed(&piece).is_ok()).collect();
        assert_eq!(fed, [true, true, true, true, false]);
        let mut parser = Parser::default();
        let line = [b"data: ".as_slice(), &vec![b'x'; 1 << 20], b"\n"].concat();
        assert!((0..5).any(|_| parser.feed(&line).is_err()));
    }
}
