//! The sockets that the daemon serves: those that systemd hands it, and its own, which systemd keeps over a restart so
//! that no connection is refused meanwhile.
//!
//! They are known by name. `admin` and `http` are made by units of systemd; `listen-http` and `listen-admin` are the
//! daemon's own, from before the restart, and taken only if the configuration still wants their address.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use anyhow::Context as _;
use listenfd::ListenFd;
use rustix::net::sockopt;

use crate::appliance::notify::Manager;
use crate::config::Config;
use crate::log::{field, message};

/// The admin socket, made by `picloud.socket`.
pub const ADMIN: &str = "admin";
/// More addresses at which routes are served, such as port 80.
pub const HTTP: &str = "http";
/// `[http] listen`, kept by systemd.
pub const LISTEN_HTTP: &str = "listen-http";
/// `[admin] listen`, kept by systemd.
pub const LISTEN_ADMIN: &str = "listen-admin";

/// A socket and the name that systemd knows it by.
#[derive(Debug)]
pub struct Inherited {
    pub name: String,
    pub socket: Socket,
}

#[derive(Debug)]
pub enum Socket {
    Unix(UnixListener),
    Tcp(TcpListener),
    /// Nothing that connections come from.
    Unfit,
}

/// Takes what the environment says is there. Once, before anything else is opened.
pub fn inherited() -> Vec<Inherited> {
    // Whose they are is checked here, and no program that is started later gets them.
    let Ok(names) = sd_notify::listen_fds_with_names() else { return Vec::new() };
    let names: Vec<String> = names.map(|(_, name)| name).collect();
    if names.is_empty() {
        return Vec::new();
    }
    let mut all = ListenFd::from_env();
    let socket = |(at, name)| {
        let unix = |all: &mut ListenFd| all.take_unix_listener(at).ok().flatten().map(Socket::Unix);
        let tcp = |all: &mut ListenFd| all.take_tcp_listener(at).ok().flatten().map(Socket::Tcp);
        let socket = unix(&mut all).or_else(|| tcp(&mut all)).filter(listens);
        Inherited { name, socket: socket.unwrap_or(Socket::Unfit) }
    };
    names.into_iter().enumerate().map(socket).collect()
}

fn listens(socket: &Socket) -> bool {
    let listens = match socket {
        Socket::Unix(listener) => sockopt::socket_acceptconn(listener),
        Socket::Tcp(listener) => sockopt::socket_acceptconn(listener),
        Socket::Unfit => return false,
    };
    listens.unwrap_or(false)
}

/// What the daemon serves.
pub struct Listeners {
    /// Routes. The first is that of `[http] listen`.
    pub http: Vec<tokio::net::TcpListener>,
    pub admin_tcp: Option<tokio::net::TcpListener>,
    /// Absent when the daemon has to make it.
    pub admin: Option<tokio::net::UnixListener>,
}

impl Listeners {
    /// Takes what was inherited and binds what is missing. Whatever is in use is told before the store is touched.
    pub async fn open(
        config: &Config,
        inherited: Vec<Inherited>,
        manager: &Manager,
    ) -> anyhow::Result<Listeners> {
        let found = sort(inherited, config);
        for (name, why) in &found.unused {
            tracing::warn!(
                { field::MESSAGE_ID } = message::SOCKET_UNUSED.0,
                { field::SOCKET } = name,
                { field::ERROR } = why,
                "a socket of systemd is not used"
            );
        }
        let mut patience = Duration::ZERO;
        if !found.outdated.is_empty() {
            // As long as systemd has them their addresses may be in the way of the new ones.
            manager.forget(&found.outdated).await;
            patience = FREED_MAX;
        }
        let own = match found.own {
            Some(own) => own,
            None => make(config.http.listen, "http", patience, manager).await?,
        };
        let admin_tcp = match (found.admin_tcp, config.admin.listen) {
            (Some(listener), _) => Some(listener),
            (None, Some(listen)) => Some(make(listen, "admin", patience, manager).await?),
            (None, None) => None,
        };
        let http = std::iter::once(own).chain(found.http);
        Ok(Listeners {
            http: http.map(tcp).collect::<anyhow::Result<_>>()?,
            admin_tcp: admin_tcp.map(tcp).transpose()?,
            admin: found.admin.map(unix).transpose()?,
        })
    }
}

/// What was inherited, by its use.
#[derive(Debug, Default)]
struct Sorted {
    own: Option<TcpListener>,
    http: Vec<TcpListener>,
    admin_tcp: Option<TcpListener>,
    admin: Option<UnixListener>,
    /// Names of what systemd keeps for a configuration that is none any more. They are closed.
    outdated: Vec<String>,
    /// Names, and why.
    unused: Vec<(String, &'static str)>,
}

fn sort(inherited: Vec<Inherited>, config: &Config) -> Sorted {
    let mut sorted = Sorted::default();
    for Inherited { name, socket } in inherited {
        match (name.as_str(), socket) {
            (ADMIN, Socket::Unix(listener)) if sorted.admin.is_none() => {
                sorted.admin = Some(listener);
            }
            (HTTP | LISTEN_HTTP, Socket::Tcp(listener))
                if sorted.own.is_none() && serves(&listener, config.http.listen) =>
            {
                sorted.own = Some(listener);
            }
            (HTTP, Socket::Tcp(listener)) => sorted.http.push(listener),
            (LISTEN_ADMIN, Socket::Tcp(listener))
                if sorted.admin_tcp.is_none()
                    && config.admin.listen.is_some_and(|listen| serves(&listener, listen)) =>
            {
                sorted.admin_tcp = Some(listener);
            }
            (LISTEN_HTTP | LISTEN_ADMIN, _) => sorted.outdated.push(name),
            (ADMIN | HTTP, _) => {
                sorted.unused.push((name, "it is of another kind, or one too many"))
            }
            _ => sorted.unused.push((name, "no socket of the daemon has this name")),
        }
    }
    sorted
}

/// Whether connections to an address arrive there.
fn serves(listener: &TcpListener, wanted: SocketAddr) -> bool {
    let Ok(own) = listener.local_addr() else { return false };
    // What systemd makes of a port alone listens to both protocols.
    let is_any = own.ip().is_unspecified() && own.is_ipv6() && wanted.ip().is_unspecified();
    own == wanted || is_any && own.port() == wanted.port()
}

/// How long the address of a socket that was closed may still be in use: a program that is just being started by
/// somebody else has it for a moment.
const FREED_MAX: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_millis(50);

/// A listener of the daemon's own, which systemd keeps from now on. `section` is that of its configuration.
async fn make(
    listen: SocketAddr,
    section: &str,
    patience: Duration,
    manager: &Manager,
) -> anyhow::Result<TcpListener> {
    let listener = match tokio::time::timeout(patience, bind_once_free(listen)).await {
        Ok(bound) => bound,
        Err(_still_in_use) => bind(listen).await,
    };
    let listener = listener.with_context(|| {
        format!("cannot listen on {listen}; set another address in [{section}] listen")
    })?;
    // One whose port the system chose is nobody's next time.
    if listen.port() != 0 {
        manager.keep(&format!("listen-{section}"), listener.as_fd()).await;
    }
    Ok(listener)
}

async fn bind(listen: SocketAddr) -> std::io::Result<TcpListener> {
    tokio::net::TcpListener::bind(listen).await?.into_std()
}

async fn bind_once_free(listen: SocketAddr) -> std::io::Result<TcpListener> {
    loop {
        match bind(listen).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => tokio::time::sleep(AGAIN).await,
            bound => return bound,
        }
    }
}

fn tcp(listener: TcpListener) -> anyhow::Result<tokio::net::TcpListener> {
    let ready = listener.set_nonblocking(true);
    let ready = ready.and_then(|()| tokio::net::TcpListener::from_std(listener));
    ready.context("a socket cannot be served")
}

fn unix(listener: UnixListener) -> anyhow::Result<tokio::net::UnixListener> {
    let ready = listener.set_nonblocking(true);
    let ready = ready.and_then(|()| tokio::net::UnixListener::from_std(listener));
    ready.context("the admin socket cannot be served")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").expect("there are free ports")
    }

    fn unix() -> Socket {
        let folder = tempfile::tempdir().expect("the temporary folder can be written");
        Socket::Unix(UnixListener::bind(folder.path().join("s")).expect("the folder is new"))
    }

    fn wanting(http: Option<&TcpListener>, admin: Option<&TcpListener>) -> Config {
        let address = |listener: &TcpListener| listener.local_addr().expect("it is bound");
        let mut config = Config::default();
        config.http.listen = http.map_or(config.http.listen, address);
        config.admin.listen = admin.map(address);
        config
    }

    fn named(sockets: Vec<(&str, Socket)>) -> Vec<Inherited> {
        let one = |(name, socket): (&str, _)| Inherited { name: name.to_owned(), socket };
        sockets.into_iter().map(one).collect()
    }

    #[test]
    fn what_was_kept_is_taken_where_it_is_still_wanted() {
        let (http, admin) = (tcp(), tcp());
        let config = wanting(Some(&http), Some(&admin));
        let kept = vec![(LISTEN_HTTP, Socket::Tcp(http)), (LISTEN_ADMIN, Socket::Tcp(admin))];
        let sorted = sort(named(kept), &config);
        assert!(sorted.own.is_some() && sorted.admin_tcp.is_some());
        assert!(sorted.outdated.is_empty() && sorted.unused.is_empty());

        let kept = vec![(LISTEN_HTTP, Socket::Tcp(tcp())), (LISTEN_ADMIN, Socket::Tcp(tcp()))];
        let sorted = sort(named(kept), &wanting(None, None));
        assert!(sorted.own.is_none() && sorted.admin_tcp.is_none());
        assert_eq!(sorted.outdated, [LISTEN_HTTP, LISTEN_ADMIN]);
    }

    #[test]
    fn a_socket_unit_for_the_configured_address_is_the_configured_listener() {
        let (own, other) = (tcp(), tcp());
        let config = wanting(Some(&own), None);
        let sorted =
            sort(named(vec![(HTTP, Socket::Tcp(other)), (HTTP, Socket::Tcp(own))]), &config);
        assert!(sorted.own.is_some());
        assert_eq!(sorted.http.len(), 1);
    }

    #[test]
    fn names_and_kinds_have_to_be_right() {
        let sockets = vec![
            (ADMIN, unix()),
            (ADMIN, unix()),
            (ADMIN, Socket::Tcp(tcp())),
            (HTTP, unix()),
            ("metrics", Socket::Tcp(tcp())),
            (HTTP, Socket::Unfit),
        ];
        let sorted = sort(named(sockets), &Config::default());
        assert!(sorted.admin.is_some() && sorted.http.is_empty());
        let unused: Vec<&str> = sorted.unused.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(unused, [ADMIN, ADMIN, HTTP, "metrics", HTTP]);
    }

    #[test]
    fn a_port_alone_listens_to_both_protocols() {
        let Ok(both) = TcpListener::bind("[::]:0") else {
            // A machine without the newer protocol has no such sockets.
            return;
        };
        let port = both.local_addr().expect("it is bound").port();
        for (wanted, serves_it) in [
            (format!("0.0.0.0:{port}"), true),
            (format!("[::]:{port}"), true),
            (format!("127.0.0.1:{port}"), false),
            ("0.0.0.0:1".to_owned(), false),
        ] {
            assert_eq!(serves(&both, wanted.parse().expect("an address")), serves_it, "{wanted}");
        }
    }
}
