//! Places for connections: how many there are, in all and for each caller. Taken, and given back by dropping.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of one listener, or of several that share them.
#[derive(Clone)]
pub struct Places<K: Copy + Eq + Hash> {
    open: Arc<Mutex<Open<K>>>,
    max: usize,
    each_max: usize,
    /// Of `max`, those that only the preferred get.
    reserved: usize,
}

/// One connection's place. Dropping it makes room.
pub struct Place<K: Copy + Eq + Hash> {
    pub who: K,
    open: Arc<Mutex<Open<K>>>,
}

/// Whether the reserved places are for this caller, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    Preferred,
    Anybody,
}

/// There is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full {
    pub limit: Reached,
    /// Whether it is the first refusal since there was room: worth a line in the log.
    pub is_first: bool,
}

/// Which limit was reached, and the connections that are open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached {
    OfCaller(usize),
    OfAll(usize),
}

/// Whom an address counts for: a host of IPv6 has all addresses that share the first 64 bits with its own.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() & (u128::MAX << 64)))
        }
    }
}

struct Open<K> {
    of: HashMap<K, Own>,
    all: usize,
    is_said: bool,
}

#[derive(Default)]
struct Own {
    count: usize,
    is_said: bool,
}

impl<K: Copy + Eq + Hash> Places<K> {
    pub fn new(max: usize, each_max: usize) -> Places<K> {
        let open = Open { of: HashMap::new(), all: 0, is_said: false };
        Places { open: Arc::new(Mutex::new(open)), max, each_max, reserved: 0 }
    }

    /// Keeps some of the places for the preferred; one at least is left for everybody.
    #[must_use]
    pub fn reserving(mut self, places: usize) -> Places<K> {
        self.reserved = places.min(self.max.saturating_sub(1));
        self
    }

    pub fn take(&self, who: K, rank: Rank) -> Result<Place<K>, Full> {
        let mut open = locked(&self.open);
        let Open { of, all, is_said } = &mut *open;
        if let Some(own) = of.get_mut(&who)
            && own.count >= self.each_max
        {
            let is_first = !std::mem::replace(&mut own.is_said, true);
            return Err(Full { limit: Reached::OfCaller(own.count), is_first });
        }
        let max = match rank {
            Rank::Preferred => self.max,
            Rank::Anybody => self.max - self.reserved,
        };
        if *all >= max {
            let is_first = !std::mem::replace(is_said, true);
            return Err(Full { limit: Reached::OfAll(*all), is_first });
        }
        *all += 1;
        let own = of.entry(who).or_default();
        own.count += 1;
        own.is_said = false;
        if rank == Rank::Anybody {
            *is_said = false;
        }
        Ok(Place { who, open: Arc::clone(&self.open) })
    }
}

impl<K: Copy + Eq + Hash> Drop for Place<K> {
    fn drop(&mut self) {
        let mut open = locked(&self.open);
        open.all -= 1;
        if let Some(own) = open.of.get_mut(&self.who) {
            own.count -= 1;
            if own.count == 0 {
                open.of.remove(&self.who);
            }
        }
    }
}

/// Nothing panics while holding it; a count that were off would only refuse or let in one too many.
fn locked<K>(open: &Mutex<Open<K>>) -> MutexGuard<'_, Open<K>> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(places: &Places<u32>, who: u32, rank: Rank) -> Full {
        places.take(who, rank).err().expect("there is no place")
    }

    #[test]
    fn each_caller_and_all_together_have_a_limit_and_places_come_back() {
        let places = Places::new(3, 2);
        let first = places.take(7, Rank::Anybody).expect("there is room");
        let _second = places.take(7, Rank::Anybody).expect("there is room");
        let full = refused(&places, 7, Rank::Anybody);
        assert_eq!(full, Full { limit: Reached::OfCaller(2), is_first: true });
        let _third = places.take(8, Rank::Anybody).expect("there is room");
        let full = refused(&places, 9, Rank::Anybody);
        assert_eq!(full, Full { limit: Reached::OfAll(3), is_first: true });
        drop(first);
        assert!(places.take(7, Rank::Anybody).is_ok());
    }

    #[test]
    fn a_refusal_is_worth_a_word_once_until_there_was_room_again() {
        let places = Places::new(2, 1);
        for _ in 0..2 {
            let place = places.take(7, Rank::Anybody).expect("there is room");
            assert!(refused(&places, 7, Rank::Anybody).is_first);
            assert!(!refused(&places, 7, Rank::Anybody).is_first);
            // Another caller's coming and going says nothing about this one.
            drop(places.take(8, Rank::Anybody));
            assert!(!refused(&places, 7, Rank::Anybody).is_first);
            drop(place);
        }
    }

    #[test]
    fn reserved_places_are_only_for_the_preferred() {
        let places = Places::new(3, 3).reserving(2);
        let _only = places.take(7, Rank::Anybody).expect("there is room");
        assert!(refused(&places, 8, Rank::Anybody).is_first);
        let _root = places.take(0, Rank::Preferred).expect("a place is kept");
        // That somebody preferred came in is no room for the others.
        assert!(!refused(&places, 8, Rank::Anybody).is_first);
        let _root = places.take(0, Rank::Preferred).expect("a place is kept");
        assert_eq!(refused(&places, 0, Rank::Preferred).limit, Reached::OfAll(3));
    }

    #[test]
    fn p7_the_addresses_of_one_host_share_its_places() {
        let places = Places::new(4, 2);
        let take = |address: &str| {
            places.take(network(address.parse().expect("an address")), Rank::Anybody).ok()
        };
        let first = take("2001:db8::1");
        let second = take("2001:db8::2:3:4:5");
        assert!(first.is_some() && second.is_some());
        assert!(take("2001:db8::6").is_none());
        let others = [take("2001:db8:0:1::1"), take("192.0.2.1")];
        assert!(others.iter().all(Option::is_some) && take("::ffff:192.0.2.2").is_none());
        drop((first, others));
        assert!(take("2001:db8::6").is_some());
    }

    #[test]
    fn somebody_always_gets_in_however_many_places_are_reserved() {
        let places = Places::new(2, 2).reserving(100);
        assert!(places.take(7, Rank::Anybody).is_ok());
    }
}
