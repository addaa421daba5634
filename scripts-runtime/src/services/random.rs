//! `random::`. The values are the same when a run is repeated over a write conflict.

use rhai::{Array, Blob, Dynamic, Engine, ImmutableString, Module};

use crate::fault::Fault;
use crate::run;
use crate::services::Called;

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "int" (from: i64, to: i64) => int(from, to);
        "float" () => run::with(|run| Ok(run.random.unit()));
        "bool" () => run::with(|run| Ok(run.random.bits() & 1 == 1));
        "uuid" () => run::with(|run| Ok(ImmutableString::from(run.random.uuid())));
        "bytes" (count: i64) => bytes(count);
        "choice" (array: Array) => choice(array);
        "shuffle" (array: Array) => shuffle(array);
    );
    engine.register_static_module("random", module.into());
}

fn int(from: i64, to: i64) -> Called<i64> {
    run::with(|run| {
        if from > to {
            return Err(Fault::Thrown(format!("random::int: {from} is greater than {to}")));
        }
        let Some(count) = to.abs_diff(from).checked_add(1) else {
            return Ok(run.random.bits().cast_signed());
        };
        Ok(from.wrapping_add(run.random.below(count).cast_signed()))
    })
}

fn bytes(count: i64) -> Called<Blob> {
    run::with(|run| {
        let bytes_max = run.limits.array_items_max;
        let count = usize::try_from(count).ok().filter(|count| *count <= bytes_max);
        let Some(count) = count else {
            return Err(Fault::Thrown(format!(
                "random::bytes takes a count from 0 to {bytes_max}"
            )));
        };
        let mut blob = Blob::with_capacity(count.next_multiple_of(8));
        while blob.len() < count {
            blob.extend_from_slice(&run.random.bits().to_le_bytes());
        }
        blob.truncate(count);
        Ok(blob)
    })
}

fn choice(array: Array) -> Called<Dynamic> {
    run::with(|run| {
        if array.is_empty() {
            return Err(Fault::thrown("random::choice: the array is empty"));
        }
        let index = usize::try_from(run.random.below(array.len() as u64)).unwrap_or(0);
        Ok(array.into_iter().nth(index).unwrap_or_default())
    })
}

fn shuffle(mut array: Array) -> Called<Array> {
    run::with(|run| {
        for end in (1..array.len()).rev() {
            let index = usize::try_from(run.random.below(end as u64 + 1)).unwrap_or(0);
            array.swap(end, index);
        }
        Ok(array)
    })
}
