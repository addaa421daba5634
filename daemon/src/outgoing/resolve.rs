//! Looking hosts up, and the check of what they turn out to be: the last step before a connection, which no URL gets
//! around, whether it names a host or an address.

use std::cell::RefCell;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs as _, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;
use ureq::{Error, Timeout};

use crate::allow::{self, Allowed, Target, TargetHost};

/// Asks the system for the addresses of a name.
pub type Lookup = fn(&str, u16) -> io::Result<Vec<SocketAddr>>;

/// What the call of this thread may connect to.
pub struct Rules {
    pub allowed: Arc<[Allowed]>,
    /// Where the daemon itself listens.
    pub own: Arc<[SocketAddr]>,
    pub target: Target,
}

thread_local! {
    static RULES: RefCell<Option<Rules>> = const { RefCell::new(None) };
}

/// Runs a request of this thread under its rules.
pub fn with_rules<T>(rules: Rules, part: impl FnOnce() -> T) -> T {
    struct Cleared;
    impl Drop for Cleared {
        fn drop(&mut self) {
            RULES.set(None);
        }
    }
    RULES.set(Some(rules));
    let _cleared = Cleared;
    part()
}

/// A host whose addresses may not be called.
#[derive(Debug)]
pub struct Refused(String);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Refused {}

pub fn of_the_system(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok((host, port).to_socket_addrs()?.collect())
}

/// Looks up and checks.
pub struct Checked {
    lookup: Lookup,
    lookups_max: usize,
    /// Lookups under way. The system's cannot be ended: one that is given up goes on for a while.
    lookups: Arc<AtomicUsize>,
}

impl fmt::Debug for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Checked")
    }
}

/// Stack of a thread that looks a name up.
const LOOKUP_STACK_BYTES: usize = 512 << 10;

impl Checked {
    pub fn new(lookups_max: usize, lookup: Lookup) -> Checked {
        Checked { lookup, lookups_max, lookups: Arc::default() }
    }

    fn addresses(&self, target: &Target, timeout: NextTimeout) -> Result<Vec<SocketAddr>, Error> {
        let name = match &target.host {
            TargetHost::Address(address) => return Ok(vec![(*address, target.port).into()]),
            TargetHost::Name(name) => name.clone(),
        };
        if self.lookups.fetch_add(1, Ordering::Relaxed) >= self.lookups_max {
            self.lookups.fetch_sub(1, Ordering::Relaxed);
            return Err(refused("too many names are being looked up at the same time".to_owned()));
        }
        let (tell, told) = mpsc::sync_channel(1);
        let (lookup, port, lookups) = (self.lookup, target.port, Arc::clone(&self.lookups));
        let thread = std::thread::Builder::new()
            .name("lookup".to_owned())
            .stack_size(LOOKUP_STACK_BYTES)
            .spawn(move || {
                let found = lookup(&name, port);
                lookups.fetch_sub(1, Ordering::Relaxed);
                // Whoever asked may have given up.
                drop(tell.send(found));
            });
        if let Err(error) = thread {
            self.lookups.fetch_sub(1, Ordering::Relaxed);
            return Err(Error::Io(error));
        }
        match told.recv_timeout(*timeout.after) {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(_)) => Err(Error::HostNotFound),
            Err(_) => Err(Error::Timeout(Timeout::Resolve)),
        }
    }
}

impl Resolver for Checked {
    fn resolve(
        &self,
        _uri: &Uri,
        _config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, Error> {
        RULES.with_borrow(|rules| {
            let Some(rules) = rules else {
                return Err(refused("the call has no rules".to_owned()));
            };
            let found = self.addresses(&rules.target, timeout)?;
            let Some(first) = found.first() else { return Err(Error::HostNotFound) };
            let mut reachable = self.empty();
            let fitting = found.iter().filter(|address| rules.why_not(**address).is_none());
            fitting.take(16).for_each(|address| reachable.push(*address));
            if reachable.is_empty() {
                let why = rules.why_not(*first).unwrap_or_default();
                return Err(refused(why));
            }
            Ok(reachable)
        })
    }
}

fn refused(why: String) -> Error {
    Error::Other(Box::new(Refused(why)))
}

impl Rules {
    /// Why the host may not be called at this address.
    fn why_not(&self, address: SocketAddr) -> Option<String> {
        let (host, ip) = (&self.target.host, address.ip().to_canonical());
        if self.is_own(ip, address.port()) {
            return Some(format!(
                "{host} is this daemon itself, which scripts do not call: use outbox::enqueue"
            ));
        }
        if allow::is_reachable(&self.allowed, &self.target, ip) {
            return None;
        }
        Some(format!(
            "{host} has the address {ip}, which is not one of the internet; if it is meant, name the address in \
             allow_hosts of the app's manifest too"
        ))
    }

    fn is_own(&self, ip: IpAddr, port: u16) -> bool {
        self.own.iter().filter(|own| own.port() == port).any(|own| {
            let listens_at = own.ip().to_canonical();
            ip.is_unspecified()
                || ip == listens_at
                || (listens_at.is_unspecified() && (ip.is_loopback() || is_of_this_machine(ip)))
        })
    }
}

/// Only an address of this machine can be bound.
fn is_of_this_machine(ip: IpAddr) -> bool {
    UdpSocket::bind((ip, 0)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_daemons_own_listener_is_known_by_every_address_of_the_machine() {
        let rules = |own: &str| Rules {
            allowed: Arc::from([]),
            own: own.split(' ').filter_map(|own| own.parse().ok()).collect(),
            target: Target { host: TargetHost::Name("x".to_owned()), port: 80 },
        };
        for (own, address, is_own) in [
            ("0.0.0.0:8080", "127.0.0.1:8080", true),
            ("0.0.0.0:8080", "127.0.0.1:8081", false),
            ("0.0.0.0:8080", "0.0.0.0:8080", true),
            ("0.0.0.0:8080", "203.0.113.1:8080", false),
            ("[::]:8080", "127.0.0.1:8080", true),
            ("127.0.0.1:8080", "[::ffff:7f00:1]:8080", true),
            ("127.0.0.1:8080", "127.0.0.2:8080", false),
            ("127.0.0.1:8080 [::]:80", "127.0.0.1:80", true),
        ] {
            let address: SocketAddr = address.parse().expect("it is an address");
            let found = rules(own).is_own(address.ip().to_canonical(), address.port());
            assert_eq!(found, is_own, "{own} {address}");
        }
    }
}
