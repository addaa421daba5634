//! Which hosts an app's scripts may call, and which addresses nobody calls by chance.
//!
//! Pure. An entry of `allow_hosts` names a host, all hosts below a domain, or an address. Whether a request is sent is
//! decided twice: by the host of its URL, and by the addresses that the host turns out to have.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The ports that an entry without a port means.
const USUAL_PORTS: [u16; 2] = [80, 443];

/// Names that belong to a home, not to the internet: one of them may have an address of the LAN.
const LOCAL_ENDINGS: [&str; 7] =
    ["local", "lan", "home", "internal", "localdomain", "home.arpa", "fritz.box"];

/// One entry of `allow_hosts`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    pub host: AllowedHost,
    /// `None`: 80 and 443.
    pub port: Option<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowedHost {
    /// In lower case.
    Name(String),
    /// `*.example.org`: every host below, but not the domain itself.
    Below(String),
    Address(IpAddr),
}

/// Whom a URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    pub host: TargetHost,
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetHost {
    /// In lower case, without a point at its end.
    Name(String),
    Address(IpAddr),
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for Allowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            AllowedHost::Name(name) => f.write_str(name)?,
            AllowedHost::Below(domain) => write!(f, "*.{domain}")?,
            AllowedHost::Address(IpAddr::V6(address)) if self.port.is_some() => {
                write!(f, "[{address}]")?;
            }
            AllowedHost::Address(address) => address.fmt(f)?,
        }
        match self.port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl Allowed {
    /// Reads an entry: `api.example.org`, `nas.lan:8443`, `*.example.org`, `192.168.1.5`, `[fd00::5]:8080`.
    pub fn parse(text: &str) -> Result<Allowed, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no host; write a name, *.DOMAIN or an address, with :PORT where it is not 80 or 443"
            )
        };
        let text = text.to_ascii_lowercase();
        // An IPv6 address alone has colons of its own.
        let bare: Option<Ipv6Addr> = text.parse().ok();
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if bare.is_none() && !port.ends_with(']') => {
                let port: u16 = port.parse().map_err(|_| wrong())?;
                (host, Some(port).filter(|port| *port > 0).ok_or_else(wrong)?.into())
            }
            Some(_) | None => (text.as_str(), None),
        };
        if let Some(domain) = host.strip_prefix("*.") {
            let below = is_name(domain) && domain.contains('.');
            let host = AllowedHost::Below(domain.to_owned());
            return if below { Ok(Allowed { host, port }) } else { Err(wrong()) };
        }
        match target_host(host)? {
            TargetHost::Address(address) => {
                Ok(Allowed { host: AllowedHost::Address(address), port })
            }
            TargetHost::Name(name) if is_name(&name) => {
                Ok(Allowed { host: AllowedHost::Name(name), port })
            }
            TargetHost::Name(_) => Err(wrong()),
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.port.map_or_else(|| USUAL_PORTS.contains(&port), |own| own == port)
    }

    fn names(&self, target: &Target) -> bool {
        let host = match (&self.host, &target.host) {
            (AllowedHost::Name(own), TargetHost::Name(name)) => own == name,
            (AllowedHost::Below(domain), TargetHost::Name(name)) => {
                name.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
            }
            (AllowedHost::Address(own), TargetHost::Address(address)) => own == address,
            (AllowedHost::Address(_), TargetHost::Name(_))
            | (AllowedHost::Name(_) | AllowedHost::Below(_), TargetHost::Address(_)) => false,
        };
        host && self.has_port(target.port)
    }
}

fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(label)
}

/// The host of a URL or an entry. What looks like an address but is written in another way (`127.1`, `2130706433`,
/// `0x7f.1`) is refused: systems differ in what they make of it.
pub fn target_host(text: &str) -> Result<TargetHost, String> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok(TargetHost::Address(address.to_canonical()));
    }
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let last = name.rsplit('.').next().unwrap_or_default();
    let is_number = !last.is_empty() && last.bytes().all(|b| b.is_ascii_digit());
    if is_number || last.starts_with("0x") || text.contains(['[', ']', ':']) {
        return Err(format!("\"{text}\" is no address as it has to be written, like 192.168.1.5"));
    }
    Ok(TargetHost::Name(name))
}

/// Whether an entry names this host and port.
pub fn is_named(allowed: &[Allowed], target: &Target) -> bool {
    allowed.iter().any(|one| one.names(target))
}

/// Whether a host that is named may be reached at this address. One that is not public has to be named itself, or be that
/// of a host with a name of the LAN: a name of the internet that turns out to be in the LAN is somebody's trick.
pub fn is_reachable(allowed: &[Allowed], target: &Target, address: IpAddr) -> bool {
    let address = address.to_canonical();
    let itself = Target { host: TargetHost::Address(address), port: target.port };
    if is_public(address) || is_named(allowed, &itself) {
        return true;
    }
    let TargetHost::Name(name) = &target.host else { return false };
    let is_exact = allowed.iter().any(|one| {
        matches!(&one.host, AllowedHost::Name(own) if own == name) && one.has_port(target.port)
    });
    is_exact
        && ((name == "localhost" && address.is_loopback())
            || (is_local_name(name) && is_of_a_lan(address)))
}

fn is_local_name(name: &str) -> bool {
    !name.contains('.')
        || LOCAL_ENDINGS.iter().any(|ending| {
            name.strip_suffix(*ending).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        })
}

fn is_of_a_lan(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_private(),
        IpAddr::V6(v6) => v6.is_unique_local(),
    }
}

/// Whether an address is one of the internet: not of this machine, a LAN, a link, a provider's inside, a group, or a test.
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(v4: Ipv4Addr) -> bool {
    let [a, b, c, _] = v4.octets();
    let is_special = match (a, b, c) {
        // This network, carriers, protocols, benchmarks, what is reserved, broadcast.
        (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (198, 18 | 19, _) | (240.., ..) => true,
        _ => false,
    };
    !(is_special
        || v4.is_private()
        || v4.is_loopback()
        || v4.is_link_local()
        || v4.is_documentation()
        || v4.is_multicast())
}

fn is_public_v6(v6: Ipv6Addr) -> bool {
    let [a, b, c, d, .., y, z] = v6.segments();
    let embedded = |high: u16, low: u16| {
        let [[a, b], [c, d]] = [high.to_be_bytes(), low.to_be_bytes()];
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match (a, b, c, d) {
        // Ways to an IPv4 address through a translator or a tunnel.
        (0x64, 0xff9b, 0, 0) => embedded(y, z),
        (0x2002, ..) => embedded(b, c),
        // Tunnels, identifiers, documentation.
        (0x2001, 0..=0x1ff | 0xdb8, ..) | (0x3fff, ..) => false,
        // All that is given out on the internet.
        (0x2000..=0x3fff, ..) => true,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(entries: &[&str]) -> Vec<Allowed> {
        entries.iter().map(|text| Allowed::parse(text).expect("it is an entry")).collect()
    }

    fn target(host: &str, port: u16) -> Target {
        Target { host: target_host(host).expect("it is a host"), port }
    }

    #[test]
    fn an_entry_reads_back_from_its_text() {
        for (text, shown) in [
            ("API.example.org", "api.example.org"),
            ("nas.lan:8443", "nas.lan:8443"),
            ("*.example.org", "*.example.org"),
            ("*.example.org:444", "*.example.org:444"),
            ("192.168.1.5", "192.168.1.5"),
            ("192.168.1.5:8123", "192.168.1.5:8123"),
            ("fd00::5", "fd00::5"),
            ("[fd00::5]", "fd00::5"),
            ("[fd00::5]:80", "[fd00::5]:80"),
            ("::ffff:127.0.0.1", "127.0.0.1"),
        ] {
            let entry = Allowed::parse(text).expect("it is an entry");
            assert_eq!(entry.to_string(), shown);
            assert_eq!(Allowed::parse(shown), Ok(entry));
        }
        for wrong in [
            "",
            "*",
            "*.org",
            "a:",
            "a:0",
            "a:65536",
            "http://a",
            "a/b",
            "a b",
            "127.1",
            "1",
            "0x7f.0x1",
            "*.*.example.org",
            "[::1",
            "a..b",
            "1.2.3.4.5",
            "grün.example",
        ] {
            assert!(Allowed::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_host_is_named_with_its_port_and_below_a_domain() {
        let allowed = list(&["api.example.org", "nas.lan:8443", "*.example.com", "10.0.0.1:81"]);
        for (host, port, named) in [
            ("api.example.org", 443, true),
            ("API.Example.org.", 80, true),
            ("api.example.org", 8080, false),
            ("x.api.example.org", 443, false),
            ("nas.lan", 8443, true),
            ("nas.lan", 443, false),
            ("a.example.com", 443, true),
            ("a.b.example.com", 443, true),
            ("example.com", 443, false),
            ("aexample.com", 443, false),
            ("10.0.0.1", 81, true),
            ("10.0.0.1", 80, false),
            ("::ffff:a00:1", 81, true),
        ] {
            assert_eq!(is_named(&allowed, &target(host, port)), named, "{host}:{port}");
        }
    }

    #[test]
    fn addresses_that_are_written_in_another_way_are_refused() {
        for text in ["127.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.0.0.1:80", "[::1"] {
            assert!(target_host(text).is_err(), "{text}");
        }
        assert_eq!(
            target_host("[::ffff:7f00:1]"),
            Ok(TargetHost::Address(IpAddr::from([127, 0, 0, 1])))
        );
    }

    #[test]
    fn only_addresses_of_the_internet_are_public() {
        for (text, public) in [
            ("8.8.8.8", true),
            ("0.0.0.0", false),
            ("10.1.2.3", false),
            ("100.64.0.1", false),
            ("100.128.0.1", true),
            ("127.0.0.1", false),
            ("169.254.169.254", false),
            ("172.16.0.1", false),
            ("172.32.0.1", true),
            ("192.0.0.1", false),
            ("192.168.0.1", false),
            ("198.18.0.1", false),
            ("203.0.113.1", false),
            ("224.0.0.1", false),
            ("255.255.255.255", false),
            ("::", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("::ffff:8.8.8.8", true),
            ("::7f00:1", false),
            ("64:ff9b::7f00:1", false),
            ("64:ff9b::808:808", true),
            ("64:ff9b:1::808:808", false),
            ("2002:7f00:1::", false),
            ("2001::1", false),
            ("2001:db8::1", false),
            ("2606:4700::1", true),
            ("fc00::1", false),
            ("fe80::1", false),
            ("ff02::1", false),
        ] {
            let address: IpAddr = text.parse().expect("it is an address");
            assert_eq!(is_public(address), public, "{text}");
        }
    }

    #[test]
    fn an_address_that_is_not_public_has_to_be_named_or_be_a_home_names() {
        for (entries, host, address, reachable) in [
            (&["api.example.org"][..], "api.example.org", "93.184.216.34", true),
            (&["api.example.org"], "api.example.org", "127.0.0.1", false),
            (&["api.example.org"], "api.example.org", "192.168.1.5", false),
            (&["api.example.org", "192.168.1.5"], "api.example.org", "192.168.1.5", true),
            (&["api.example.org", "192.168.1.5:81"], "api.example.org", "192.168.1.5", false),
            (&["nas.lan"], "nas.lan", "192.168.1.5", true),
            (&["nas"], "nas", "fd00::5", true),
            (&["printer.local"], "printer.local", "10.0.0.9", true),
            (&["nas.lan"], "nas.lan", "127.0.0.1", false),
            (&["nas.lan"], "nas.lan", "169.254.169.254", false),
            (&["*.home.lan"], "nas.home.lan", "192.168.1.5", false),
            (&["localhost"], "localhost", "127.0.0.1", true),
            (&["localhost"], "localhost", "192.168.1.5", true),
            (&["127.0.0.1"], "127.0.0.1", "127.0.0.1", true),
            (&["127.0.0.1"], "127.0.0.1", "::ffff:127.0.0.1", true),
            (&["169.254.169.254"], "169.254.169.254", "169.254.169.254", true),
        ] {
            let address: IpAddr = address.parse().expect("it is an address");
            let reached = is_reachable(&list(entries), &target(host, 80), address);
            assert_eq!(reached, reachable, "{entries:?} {host} {address}");
        }
    }
}
