//! What the public listener does when the process has no file descriptor left. A process of its own, since the limit is the process's.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use picloud_daemon::catalog::Catalog;
use picloud_daemon::dispatcher::call::{Call, Reply};
use picloud_daemon::groups::Groups;
use picloud_daemon::http::callers::{Callers, Secrets};
use picloud_daemon::http::listener::{places, serve};
use picloud_daemon::http::request::{Edge, Names};
use picloud_daemon::ids::Id;
use picloud_daemon::limits::HttpLimits;
use picloud_daemon::time::SystemClock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The next descriptor will have this number.
fn next_descriptor() -> u64 {
    use std::os::fd::AsRawFd as _;
    std::fs::File::open("/dev/null").unwrap().as_raw_fd().try_into().unwrap()
}

#[tokio::test]
async fn without_descriptors_accepting_pauses_and_goes_on() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let no_call = async |_: Call| -> Reply { unreachable!("no app is there to be called") };
    let no_secrets: Secrets = Box::new(|_, _| unreachable!("no route is there to ask for one"));
    let edge = Edge::new(
        Arc::new(ArcSwap::from_pointee(Catalog::default())),
        (HttpLimits { accept_pause_ms: 1, ..HttpLimits::default() }, Names::default()),
        Callers::new(Arc::new(SystemClock::start()), Arc::new(Groups::none()), 1, no_secrets),
        no_call,
        async |_: Id| None,
    );
    let (stop, tracker) = (CancellationToken::new(), TaskTracker::new());
    let places = places(&HttpLimits::default());

    // The kernel completes connections that nobody has accepted yet.
    let mut client = TcpStream::connect(address).await.unwrap();
    client.write_all(b"GET /_picloud/healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let before = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: Some(next_descriptor()), ..before }).unwrap();
    let serve = serve(listener, places, Arc::new(edge), tracker.clone(), stop.clone());
    let serving = tracker.spawn(serve);
    let mut answer = [0; 12];
    let early = tokio::time::timeout(Duration::from_millis(100), client.read(&mut answer)).await;
    assert!(early.is_err(), "it cannot be accepted");
    assert!(!serving.is_finished());

    setrlimit(Resource::Nofile, before).unwrap();
    let answered = client.read_exact(&mut answer);
    tokio::time::timeout(Duration::from_secs(20), answered).await.unwrap().unwrap();
    assert_eq!(&answer, b"HTTP/1.1 200");
    stop.cancel();
}
