//! JSON text to script values.

use std::cell::Cell;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rhai::{Array, Dynamic, ImmutableString, Map};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::bounds::JSON_DEPTH_MAX;
use crate::fault::Fault;
use crate::json::BLOB_KEY;
use crate::limits::RunLimits;
use crate::memory::GAUGE;

/// What becomes of the map that stands for a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blobs {
    /// It becomes a blob: events and stored values.
    Decoded,
    /// It stays a map: JSON that the script parses itself.
    AsMaps,
}

/// Reads a value. `name` says in errors what it was.
pub(crate) fn value(
    text: &str,
    name: &str,
    blobs: Blobs,
    limits: &RunLimits,
) -> Result<Dynamic, Fault> {
    let state = State {
        blobs,
        array_items: Cell::new(limits.array_items_max),
        map_items: Cell::new(limits.map_items_max),
        has_huge: Cell::new(false),
        overrun: Cell::new(None),
    };
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Node { state: &state, depth: 0 }
        .deserialize(&mut reader)
        .and_then(|value| reader.end().map(|()| value));
    match read {
        Ok(value) => {
            if state.has_huge.get()
                && let Some(integer) = huge_integer(text)
            {
                let shown: String = integer.chars().take(40).collect();
                return Err(Fault::thrown(format!(
                    "{name} has the integer {shown}, which does not fit in 64 bits"
                )));
            }
            Ok(value)
        }
        Err(error) => Err(match state.overrun.get() {
            Some(what) => Fault::budget(format!("{name} has {what}")),
            None => Fault::thrown(format!("{name} cannot be read as JSON: {error}")),
        }),
    }
}

struct State {
    blobs: Blobs,
    /// Left of all arrays together, and of all maps together.
    array_items: Cell<usize>,
    map_items: Cell<usize>,
    /// A float was met that may have been written as an integer.
    has_huge: Cell<bool>,
    /// Why reading was given up although the text is JSON.
    overrun: Cell<Option<&'static str>>,
}

impl State {
    fn give_up<E: Error>(&self, what: &'static str) -> E {
        self.overrun.set(Some(what));
        E::custom(what)
    }

    fn count<E: Error>(&self, left: &Cell<usize>, what: &'static str) -> Result<(), E> {
        let now = left.get();
        if now == 0 {
            return Err(self.give_up(what));
        }
        left.set(now - 1);
        if GAUGE.with(|gauge| gauge.held.get() > gauge.held_max.get()) {
            return Err(self.give_up("more than the run may still hold in memory"));
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Node<'a> {
    state: &'a State,
    depth: usize,
}

impl Node<'_> {
    fn deeper<E: Error>(self) -> Result<Self, E> {
        if self.depth == JSON_DEPTH_MAX {
            return Err(E::custom(format_args!("nested more than {JSON_DEPTH_MAX} levels deep")));
        }
        Ok(Node { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Dynamic;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Dynamic, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::UNIT)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Dynamic, E> {
        Ok(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Dynamic, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Dynamic, E> {
        i64::try_from(value)
            .map(Dynamic::from)
            .map_err(|_| E::custom(format_args!("the integer {value} does not fit in 64 bits")))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Dynamic, E> {
        if value.abs() >= 9.2e18 {
            self.state.has_huge.set(true);
        }
        Ok(value.into())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Dynamic, E> {
        Ok(ImmutableString::from(value).into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Dynamic, A::Error> {
        let node = self.deeper()?;
        let mut array = Array::new();
        while let Some(item) = items.next_element_seed(node)? {
            self.state.count(&self.state.array_items, "more array items than are allowed")?;
            array.push(item);
        }
        Ok(Dynamic::from_array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Dynamic, A::Error> {
        let node = self.deeper()?;
        let mut map = Map::new();
        while let Some(name) = entries.next_key_seed(Name)? {
            self.state.count(&self.state.map_items, "more map entries than are allowed")?;
            map.insert(name, entries.next_value_seed(node)?);
        }
        if map.len() == 1
            && self.state.blobs == Blobs::Decoded
            && let Some(blob) = blob(&map)
        {
            return Ok(Dynamic::from_blob(blob));
        }
        Ok(Dynamic::from_map(map))
    }
}

/// Rhai does not name the type of its maps' keys.
trait Keyed {
    type Key;
}

impl<K, V> Keyed for std::collections::BTreeMap<K, V> {
    type Key = K;
}

type Identifier = <Map as Keyed>::Key;

struct Name;

impl<'de> DeserializeSeed<'de> for Name {
    type Value = Identifier;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Identifier, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name {
    type Value = Identifier;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map's key")
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Identifier, E> {
        Ok(value.into())
    }
}

fn blob(map: &Map) -> Option<Vec<u8>> {
    let text = map.get(BLOB_KEY)?.as_immutable_string_ref().ok()?;
    STANDARD.decode(text.as_str()).ok()
}

/// The first number of a JSON text that is written as an integer and fits no i64.
fn huge_integer(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let start = at;
                while at < bytes.len()
                    && matches!(bytes[at], b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9')
                {
                    at += 1;
                }
                let number = &text[start..at];
                if !number.contains(['.', 'e', 'E']) && number.parse::<i64>().is_err() {
                    return Some(number);
                }
            }
            _ => at += 1,
        }
    }
    None
}
