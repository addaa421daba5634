//! Effects as tasks: questions and streams, each with its ticket, each stoppable.

use std::collections::HashMap;
use std::time::Duration;

use http::Method;
use picloud_api::events::{Closed, kind};
use tokio::sync::mpsc::Sender;
use tokio::task::AbortHandle;
use tokio_util::task::TaskTracker;

use crate::client::{ANSWER_SECONDS_MAX, BULK_SECONDS_MAX, Client, ClientError, segment};
use crate::effect::{Ask, Ticket};
use crate::message::{Failure, Live, Many, Message};
use crate::opened::Opened;
use crate::reply::{self, Batch, Reply, Want};
use crate::sse::{Event, Parser};

/// Rows that one page should have, over however many paths.
const PAGE_ROWS: usize = 100;
/// A daemon says something at least every 15 s; one that is silent for longer is gone.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// What is under way.
pub struct Tasks {
    client: Client,
    messages: Sender<Message>,
    tracker: TaskTracker,
    running: HashMap<Ticket, AbortHandle>,
}

impl Tasks {
    pub fn new(client: Client, messages: Sender<Message>) -> Tasks {
        Tasks { client, messages, tracker: TaskTracker::new(), running: HashMap::new() }
    }

    pub fn ask(&mut self, ticket: Ticket, question: Ask) {
        let client = self.client.clone();
        self.start(ticket, async move {
            Message::Answer(ticket, answer(&client, question).await.map_err(failure))
        });
    }

    pub fn ask_each(&mut self, ticket: Ticket, questions: Vec<Ask>) {
        let client = self.client.clone();
        self.start(ticket, async move {
            let mut many = Many::default();
            for question in questions {
                match answer(&client, question).await {
                    Ok(Reply::Done(done)) => many.done.push(done.id),
                    Ok(_) => many.done.push(String::new()),
                    Err(error) => {
                        many.failed += 1;
                        let why = failure(error);
                        many.first_failure.get_or_insert_with(|| why.text().to_owned());
                    }
                }
            }
            Message::Many(ticket, many)
        });
    }

    /// Follows a stream until it ends.
    pub fn follow(&mut self, ticket: Ticket, path: String) {
        let client = self.client.clone();
        let messages = self.messages.clone();
        self.start(ticket, async move {
            let ended = follow(&client, ticket, &path, &messages).await;
            Message::StreamEnded(ticket, ended)
        });
    }

    pub fn abort(&mut self, ticket: Ticket) {
        if let Some(task) = self.running.remove(&ticket) {
            task.abort();
        }
    }

    /// Nothing goes on behind the console's back.
    pub fn stop(&mut self) {
        for (_, task) in self.running.drain() {
            task.abort();
        }
        self.tracker.close();
    }

    fn start(&mut self, ticket: Ticket, task: impl Future<Output = Message> + Send + 'static) {
        self.running.retain(|_, task| !task.is_finished());
        let messages = self.messages.clone();
        let task = self.tracker.spawn(async move {
            let message = task.await;
            // The console that would read it may have ended.
            let _gone = messages.send(message).await;
        });
        self.running.insert(ticket, task.abort_handle());
    }
}

async fn answer(client: &Client, question: Ask) -> Result<Reply, ClientError> {
    if let Want::Page(_) = question.want {
        return Ok(Reply::Page(batch(client, question).await?));
    }
    let path = question.paths.first().map(String::as_str).unwrap_or_default();
    one(client, &question, path).await
}

async fn one(client: &Client, question: &Ask, path: &str) -> Result<Reply, ClientError> {
    let seconds = if question.want == Want::Bulk { BULK_SECONDS_MAX } else { ANSWER_SECONDS_MAX };
    let body = match &question.body {
        Some(body) => serde_json::to_vec(body).unwrap_or_default(),
        None => Vec::new(),
    };
    let method: Method = question.method.clone();
    let bytes = client.bytes(seconds, (method, path, body.into(), question.version)).await?;
    reply::read(question.want, &bytes)
}

/// Takes one path after the other until the page is full.
async fn batch(client: &Client, question: Ask) -> Result<Batch, ClientError> {
    let mut whole = Batch::default();
    let mut paths = question.paths.iter();
    while let Some(path) = paths.next() {
        let Reply::Page(mut page) = one(client, &question, path).await? else { break };
        whole.items.append(&mut page.items);
        whole.now = page.now;
        whole.partial = page.partial;
        if let Some(next) = page.next {
            whole.rest.push(after(path, &next));
        }
        if whole.items.len() >= PAGE_ROWS || !whole.rest.is_empty() {
            whole.rest.extend(paths.by_ref().cloned());
        }
    }
    Ok(whole)
}

/// The same path behind this cursor.
fn after(path: &str, cursor: &str) -> String {
    let (place, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query.split('&').filter(|one| !one.is_empty() && !one.starts_with("after="));
    let mut query: Vec<String> = kept.map(str::to_owned).collect();
    query.push(format!("after={}", segment(cursor)));
    format!("{place}?{}", query.join("&"))
}

/// Returns why it ended.
async fn follow(
    client: &Client,
    ticket: Ticket,
    path: &str,
    messages: &Sender<Message>,
) -> Failure {
    let mut stream = match Opened::open(client, path, None).await {
        Ok(stream) => stream,
        Err(error) => return failure(error),
    };
    let mut parser = Parser::default();
    loop {
        let piece = match tokio::time::timeout(SILENCE_MAX, stream.piece()).await {
            Ok(Some(piece)) => piece,
            Ok(None) => return gone("the daemon has ended the stream"),
            Err(_) => return gone("the daemon says nothing any more"),
        };
        let events = match parser.feed(&piece) {
            Ok(events) => events,
            Err(error) => return Failure::Odd(error.to_string()),
        };
        let mut live = Vec::with_capacity(events.len());
        for event in events {
            match read(&event) {
                Ok(Some(event)) => live.push(event),
                Ok(None) => {}
                Err(error) => return failure(error),
            }
        }
        if !live.is_empty() && messages.send(Message::Events(ticket, live)).await.is_err() {
            return gone("the console ends");
        }
    }
}

fn gone(why: &str) -> Failure {
    Failure::NoDaemon { text: why.to_owned(), hint: None }
}

/// What an event says; nothing of kinds that this console does not know.
fn read(event: &Event) -> Result<Option<Live>, ClientError> {
    Ok(Some(match event.kind.as_str() {
        kind::CONNECTED | kind::RESTARTED => Live::Connected(event.read()?),
        kind::MISSED => {
            let missed: picloud_api::events::Missed = event.read()?;
            Live::Missed(missed.events)
        }
        kind::OUTBOX => Live::Outbox(Box::new(event.read()?)),
        kind::EXECUTION => Live::Run(Box::new(event.read()?)),
        kind::LOG => Live::Log(Box::new(event.read()?)),
        kind::STATS => Live::Stats(Box::new(event.read()?)),
        kind::CLOSED => {
            let closed: Closed = event.read()?;
            return Err(ClientError::Broken(format!("the daemon is {}", closed.why)));
        }
        _ => return Ok(None),
    }))
}

/// Why there is no answer, as people are told.
pub fn failure(error: ClientError) -> Failure {
    let text = error.to_string();
    match error {
        ClientError::NoDaemon { place, .. } => Failure::NoDaemon {
            text,
            hint: match place {
                crate::client::Place::Socket(_) => Some("sudo systemctl start picloud".to_owned()),
                crate::client::Place::Address(_) => None,
            },
        },
        ClientError::Broken(_) => Failure::NoDaemon { text, hint: None },
        ClientError::Closed { .. } => Failure::Closed { text },
        ClientError::Silent { .. } | ClientError::Odd(_) => Failure::Odd(text),
        ClientError::OtherVersion(other) => {
            let this_program = "upgrade picloud-tui on this machine: sudo apt install picloud-tui";
            Failure::OtherVersion { text, remedy: other.remedy(this_program) }
        }
        ClientError::Problem(problem) => Failure::Problem(problem),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_goes_on_behind_a_cursor_with_the_rest_of_its_query() {
        for (path, cursor, expected) in [
            ("/outbox", "01J", "/outbox?after=01J"),
            ("/outbox?app=a&filter=x", "01J", "/outbox?app=a&filter=x&after=01J"),
            ("/outbox?after=01H&app=a", "a b", "/outbox?app=a&after=a%20b"),
        ] {
            assert_eq!(after(path, cursor), expected);
        }
    }
}
