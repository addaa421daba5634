//! The port that routes are served on, while no daemon has it.

use std::io;
use std::net::{SocketAddr, TcpListener};

use picloud_api::health::Check;

use crate::doctor::{State, check};

/// Takes it for a moment.
pub(super) fn is_free(address: SocketAddr) -> Check {
    match TcpListener::bind(address) {
        Ok(_) => check("port", State::Ok, format!("{address} is free"), None),
        Err(error) => {
            let (text, remedy) = match error.kind() {
                io::ErrorKind::AddrInUse => (
                    format!("{address} is taken by another program"),
                    format!("sudo ss -Hltnp 'sport = :{}' says by which; or set another in [http] listen", address.port()),
                ),
                io::ErrorKind::AddrNotAvailable => (
                    format!("this machine has not the address of {address}"),
                    "correct [http] listen: 0.0.0.0 is every address".to_owned(),
                ),
                io::ErrorKind::PermissionDenied => (
                    format!("{address} is for root alone"),
                    "set a port from 1024 on in [http] listen; sudo systemctl enable --now picloud-port80.socket serves port 80, too".to_owned(),
                ),
                _ => (format!("{address} cannot be had: {error}"), "correct [http] listen".to_owned()),
            };
            check("port", State::Bad, text, Some(&remedy))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_free_or_taken() {
        let taken = TcpListener::bind("127.0.0.1:0").expect("there are free ports");
        let address = taken.local_addr().expect("it has one");
        let check = is_free(address);
        assert!(check.state == "bad" && check.text.contains("taken"), "{check:?}");
        drop(taken);
        assert_eq!(is_free(address).state, "ok");
        let elsewhere = is_free("192.0.2.1:8080".parse().expect("an address"));
        assert!(elsewhere.state == "bad" && elsewhere.text.contains("has not"), "{elsewhere:?}");
    }
}
