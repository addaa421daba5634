//! Errors of the admin API (RFC 9457).

use serde::{Deserialize, Serialize};

/// The media type of a [`Problem`].
pub const MEDIA_TYPE: &str = "application/problem+json";

/// The body of every answer that is no success.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct Problem {
    pub status: u16,
    /// One of [`Code`]; a text here, so that a client understands a newer daemon.
    pub code: String,
    pub title: String,
    /// What went wrong with which thing.
    pub detail: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<Box<str>>,
    /// Of a manifest that is refused: everything that is wrong with it, up to a limit.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<EntryError>,
}

/// One thing that is wrong with a manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EntryError {
    /// `script "record"`, `route POST /readings`, `trigger "warn"`, `app`.
    pub entry: String,
    pub message: String,
    /// Lines of source with a caret below the place, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excerpt: Option<String>,
}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $status:literal $text:literal $title:literal;)*) => {
        /// What can go wrong with an admin call. Each code fixes its status.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name,)* }

        impl Code {
            /// All of them, for the documentation.
            pub const ALL: &[Code] = &[$(Self::$name),*];

            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)* }
            }
        }
    };
}

codes! {
    BadRequest = 400 "bad_request" "the request cannot be understood";
    /// On a listener that knows nobody by their uid, or with a token that cannot be used.
    NotKnown = 401 "not_known" "the caller is not known";
    NotAllowed = 403 "not_allowed" "the caller lacks a capability";
    NoSuchCall = 404 "no_such_call" "the admin API has no such call";
    NotFound = 404 "not_found" "no such thing";
    MethodNotAllowed = 405 "method_not_allowed" "this path has no such method";
    /// Somebody else changed it at the same time.
    Conflict = 409 "conflict" "it was changed meanwhile";
    /// Something else needs it.
    InUse = 409 "in_use" "it is in use";
    /// It has not the version that `If-Match` names.
    Changed = 412 "changed" "it was changed since it was read";
    /// There is one at a time.
    AlreadyRunning = 409 "already_running" "it runs already";
    AlreadyThere = 409 "already_there" "something of that name is there already";
    Protected = 409 "protected" "this cannot be taken away";
    TooSlow = 408 "too_slow" "the body did not arrive in time";
    TooLarge = 413 "too_large" "the body is too large";
    NotJson = 415 "not_json" "the body is not JSON";
    /// There may be only so many of them.
    TooMany = 422 "too_many" "there are too many already";
    BadManifest = 422 "bad_manifest" "the manifest is refused";
    BadRoute = 422 "bad_route" "the route is refused";
    BadTrigger = 422 "bad_trigger" "the trigger is refused";
    OutboxFull = 503 "outbox_full" "too much is waiting";
    Unfit = 422 "unfit" "what is asked for cannot be done";
    Busy = 503 "busy" "too much is asked for at a time";
    /// Nothing runs there until it is resumed.
    Paused = 409 "paused" "it is paused";
    StorageLow = 503 "storage_low" "the disk is nearly full";
    /// There may be only so many at a time.
    TooManyReaders = 503 "too_many_readers" "too many look on already";
    NotReady = 503 "not_ready" "the daemon cannot do its work";
    TooManyConnections = 503 "too_many_connections" "there are too many connections";
    Stopping = 503 "stopping" "the daemon is stopping";
    Internal = 500 "internal" "the daemon could not do its part";
}

impl Problem {
    pub fn new(code: Code, detail: impl Into<String>) -> Problem {
        Problem {
            status: code.status(),
            code: code.as_str().to_owned(),
            title: code.title().to_owned(),
            detail: detail.into(),
            hint: None,
            errors: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<Box<str>>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}
