//! `base64::`, `hex::` and `hash::`.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use rhai::{Blob, Dynamic, Engine, ImmutableString, Module};
use sha2::{Digest, Sha256, Sha512};

use crate::fault::Fault;
use crate::message::kind_of;
use crate::run;
use crate::services::Called;

pub(crate) fn register(engine: &mut Engine) {
    let mut base64 = Module::new();
    functions!(base64:
        "encode" (value: Dynamic) => encode(&value, |bytes| STANDARD.encode(bytes));
        "encode_url" (value: Dynamic) => encode(&value, |bytes| URL_SAFE_NO_PAD.encode(bytes));
        "decode" (text: ImmutableString) => decode("base64", STANDARD.decode(text.as_str()).ok());
        "decode_url" (text: ImmutableString) => {
            decode("base64", URL_SAFE_NO_PAD.decode(text.as_str()).ok())
        };
    );
    engine.register_static_module("base64", base64.into());

    let mut hexadecimal = Module::new();
    functions!(hexadecimal:
        "encode" (value: Dynamic) => encode(&value, hex);
        "decode" (text: ImmutableString) => decode("hexadecimal", unhex(&text));
    );
    engine.register_static_module("hex", hexadecimal.into());

    let mut hash = Module::new();
    functions!(hash:
        "sha256" (value: Dynamic) => encode(&value, |bytes| hex(&Sha256::digest(bytes)));
        "sha512" (value: Dynamic) => encode(&value, |bytes| hex(&Sha512::digest(bytes)));
        "hmac_sha256" (key: Dynamic, value: Dynamic) => hmac_sha256(&key, &value);
        "equal" (a: ImmutableString, b: ImmutableString) => Ok(is_equal_in_constant_time(&a, &b));
    );
    engine.register_static_module("hash", hash.into());
}

/// The bytes of a string (as UTF-8) or a blob.
fn with_bytes<T>(value: &Dynamic, part: impl FnOnce(&[u8]) -> T) -> Result<T, Fault> {
    if let Ok(text) = value.as_immutable_string_ref() {
        return Ok(part(text.as_bytes()));
    }
    if let Ok(blob) = value.as_blob_ref() {
        return Ok(part(&blob));
    }
    Err(Fault::Thrown(format!("takes a string or a blob, not {}", kind_of(value))))
}

fn encode(value: &Dynamic, encoding: impl FnOnce(&[u8]) -> String) -> Called<ImmutableString> {
    run::with(|run| {
        let text = with_bytes(value, encoding)?;
        if text.len() > run.limits.string_bytes_max {
            return Err(Fault::budget("makes a string that is beyond the limit"));
        }
        Ok(text.into())
    })
}

fn decode(what: &str, decoded: Option<Blob>) -> Called<Blob> {
    run::with(|run| {
        let Some(blob) = decoded else {
            return Err(Fault::Thrown(format!("the text is not {what}")));
        };
        if blob.len() > run.limits.array_items_max {
            return Err(Fault::budget("makes a blob that is beyond the limit"));
        }
        Ok(blob)
    })
}

fn hmac_sha256(key: &Dynamic, value: &Dynamic) -> Called<ImmutableString> {
    run::with(|_| {
        let mac = with_bytes(key, |key| {
            Hmac::<Sha256>::new_from_slice(key).expect("a key may have any length")
        })?;
        let tag = with_bytes(value, |bytes| mac.chain_update(bytes).finalize().into_bytes())?;
        Ok(hex(&tag).into())
    })
}

/// Compares secrets in a time that does not depend on where they differ.
fn is_equal_in_constant_time(a: &str, b: &str) -> bool {
    let differing = a.bytes().zip(b.bytes()).fold(0, |differing, (a, b)| differing | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Option<Blob> {
    if text.len() % 2 == 1 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
