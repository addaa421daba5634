//! What `update` wants done. Data only; `tasks.rs` does it.

use http::Method;

use crate::reply::Want;

/// Names one effect. Its answers carry it; one that nobody waits for any more is dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Clone, Debug)]
pub enum Effect {
    Ask(Ticket, Ask),
    /// A call for each of many things, one after the other.
    AskEach(Ticket, Vec<Ask>),
    /// A stream of events, which comes back by itself when it breaks.
    Follow(Ticket, String),
    /// Nobody waits for it any more.
    Abort(Ticket),
    /// The text in the user's editor.
    Edit(Ticket, Text),
    /// To the clipboard of whoever sits at the terminal.
    Copy(String),
    /// Into a new file of this name in the working directory.
    Write(Text),
    /// Leaves the alternate screen, and prints this for the mouse to take.
    Plain(String),
    Mouse(Mouse),
    Repaint,
    Suspend,
    Quit,
}

/// Whether the terminal reports the mouse. It takes away selecting and pasting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mouse {
    On,
    Off,
}

/// A text with the name of the file that it would be.
#[derive(Clone, Debug, PartialEq)]
pub struct Text {
    pub name: String,
    pub text: String,
}

/// A question to the daemon.
#[derive(Clone, Debug)]
pub struct Ask {
    pub method: Method,
    /// After `/api/v1/admin`. A page goes on with the next path when it is not full: some lists are one for each app.
    pub paths: Vec<String>,
    pub body: Option<serde_json::Value>,
    /// What `If-Match` names.
    pub version: Option<i64>,
    pub want: Want,
}

impl Ask {
    pub fn get(path: impl Into<String>, want: Want) -> Ask {
        Ask::new(Method::GET, path.into(), None, want)
    }

    pub fn post(path: impl Into<String>, body: serde_json::Value, want: Want) -> Ask {
        Ask::new(Method::POST, path.into(), Some(body), want)
    }

    pub fn put(path: impl Into<String>, body: serde_json::Value, want: Want) -> Ask {
        Ask::new(Method::PUT, path.into(), Some(body), want)
    }

    pub fn delete(path: impl Into<String>, want: Want) -> Ask {
        Ask::new(Method::DELETE, path.into(), None, want)
    }

    pub fn if_at(mut self, version: i64) -> Ask {
        self.version = Some(version);
        self
    }

    fn new(method: Method, path: String, body: Option<serde_json::Value>, want: Want) -> Ask {
        Ask { method, paths: vec![path], body, version: None, want }
    }
}
