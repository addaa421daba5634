//! The public listener: requests become calls, replies become responses.
//!
//! A request goes through `listener` (who may connect), `wire` and `framing` (what may reach the parser), `request` (which app and
//! route, which body), `callers` (who calls, and how often), `event` and `body` (what the script sees), then to the engine, and comes back through `response` or
//! `problem`. What is documented for HTTP's rarer corners:
//!
//! - HTTP/1.1 and 1.0; other versions, the preface of HTTP/2 too, get a 505 and are closed. `TRACE` and `CONNECT` get a 405.
//! - `HEAD` is answered by the `GET` route, `OPTIONS` with `Allow`, unless a route says otherwise. `Upgrade` is ignored.
//! - Requests may be pipelined; they are answered one after the other. A caller may close its side and still gets its answer;
//!   whether it is still there is asked with a `100 Continue` when its script runs for long.
//! - Bodies may be chunked; chunk extensions and trailers are read, bounded, and dropped.
//! - `X-Forwarded-For` and its kin mean nothing, also where callers are counted.

pub mod callers;
pub mod listener;
pub mod problem;
pub mod request;

mod body;
mod event;
mod framing;
mod response;
pub(crate) mod timer;
mod wire;
