//! The admin socket: what stands in its place, and how many may connect.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use axum::serve::Listener;
use picloud_daemon::admin::socket::{AdminListener, BindError, bind};
use picloud_daemon::limits::AdminLimits;
use tokio::io::AsyncReadExt;
use tokio::net::UnixStream;

#[tokio::test]
async fn a_socket_that_a_dead_daemon_left_is_replaced_and_anybody_may_connect() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("admin.sock");
    drop(UnixListener::bind(&path).expect("the socket can be made"));
    let _listener = bind(&path).expect("nobody listens there");
    let mode = std::fs::metadata(&path).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o666);
    UnixStream::connect(&path).await.expect("somebody listens there now");
}

#[tokio::test]
async fn a_socket_in_use_is_left_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("admin.sock");
    let _living = UnixListener::bind(&path).expect("the socket can be made");
    let error = bind(&path).expect_err("somebody listens there");
    assert!(matches!(error, BindError::InUse(_)), "{error}");
    assert!(error.to_string().contains("in use by another daemon"), "{error}");
    UnixStream::connect(&path).await.expect("it still listens");
}

#[tokio::test]
async fn what_is_no_socket_is_never_removed() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("notes.txt");
    std::fs::write(&path, "dear diary").expect("it can be written");
    for place in [&path, &folder.path().to_owned()] {
        let error = bind(place).expect_err("something else stands there");
        assert!(matches!(error, BindError::NotASocket(_)), "{error}");
    }
    assert_eq!(std::fs::read_to_string(&path).expect("it is there"), "dear diary");
}

#[tokio::test]
async fn a_place_that_cannot_have_a_socket_is_named() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let error = bind(&folder.path().join("none/admin.sock")).expect_err("there is no folder");
    assert!(error.to_string().contains("none/admin.sock: cannot make it"), "{error}");
    let long = folder.path().join("x".repeat(120));
    let error = bind(&long).expect_err("the path is too long");
    assert!(matches!(error, BindError::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn p7_connections_beyond_the_limit_of_a_uid_are_closed_and_places_come_back() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("admin.sock");
    let limits = AdminLimits { connections_per_uid_max: 2, ..AdminLimits::default() };
    let mut listener = AdminListener::new(bind(&path).expect("it is new"), &limits);
    let _first = UnixStream::connect(&path).await.expect("somebody listens");
    let _second = UnixStream::connect(&path).await.expect("somebody listens");
    let (one, _two) = (listener.accept().await, listener.accept().await);
    let mut third = UnixStream::connect(&path).await.expect("somebody listens");
    tokio::select! {
        _ = listener.accept() => panic!("a third connection was let in"),
        read = third.read_u8() => assert!(read.is_err(), "it is closed"),
    }
    drop(one);
    let _fourth = UnixStream::connect(&path).await.expect("somebody listens");
    let _three = listener.accept().await;
}
