//! `docs/scripts.md` does not lie: each of its examples is run.

use picloud_scripts_runtime::bounds::{
    ARGUMENTS_MAX, FUNCTIONS_MAX, JSON_DEPTH_MAX, NAME_BYTES_MAX, SOURCE_BYTES_MAX, VARIABLES_MAX,
};
use picloud_scripts_runtime::limits::RunLimits;

use crate::harness::value;

#[test]
fn every_example_of_the_reference_gives_what_it_says() {
    let reference = include_str!("../../../docs/scripts.md");
    let mut count = 0;
    for block in reference.split("```rhai\n").skip(1) {
        let (source, _) = block.split_once("\n```").expect("the block ends");
        let (_, expected) =
            source.rsplit_once("\n// gives ").expect("each example says what it gives");
        assert_eq!(value(source), expected, "{source}");
        count += 1;
    }
    assert_eq!(count, reference.matches("```").count() / 2, "every block is an example");
    assert!(count >= 15);
}

/// What scripts can call, by module; the reference names each.
#[test]
fn the_reference_names_every_function() {
    let reference = include_str!("../../../docs/scripts.md");
    let mut count = 0;
    for source in [
        include_str!("../../src/services/kv.rs"),
        include_str!("../../src/services/docs.rs"),
        include_str!("../../src/services/outbox.rs"),
        include_str!("../../src/services/dead_letters.rs"),
        include_str!("../../src/services/http.rs"),
        include_str!("../../src/services/secrets.rs"),
        include_str!("../../src/services/log.rs"),
        include_str!("../../src/services/json.rs"),
        include_str!("../../src/services/time.rs"),
        include_str!("../../src/services/random.rs"),
        include_str!("../../src/services/encoding.rs"),
    ] {
        let registered = source.lines().filter_map(|line| {
            let line = line.trim_start();
            let named = line.strip_prefix(".register_fn(\"").or_else(|| line.strip_prefix('"'));
            let (name, rest) = named?.split_once('"')?;
            (rest.starts_with(" (") || rest.starts_with(", ")).then_some(name)
        });
        for name in registered {
            let is_named = [
                format!("`{name}("),
                format!("`{name}`"),
                format!("::{name}`"),
                format!("::{name}("),
                format!(".{name}("),
            ]
            .iter()
            .any(|way| reference.contains(way.as_str()));
            assert!(is_named, "docs/scripts.md does not name {name}");
            count += 1;
        }
    }
    assert!(count > 40, "only {count} functions were found");
}

#[test]
fn the_reference_has_the_default_limits() {
    let reference = include_str!("../../../docs/scripts.md");
    let limits = RunLimits::default();
    let thousands = |n: u64| match (n / 1_000_000, n / 1_000 % 1_000, n % 1_000) {
        (0, 0, ones) => ones.to_string(),
        (0, thousands, ones) => format!("{thousands},{ones:03}"),
        (millions, thousands, ones) => format!("{millions},{thousands:03},{ones:03}"),
    };
    for row in [
        format!("| operations | {} |", thousands(limits.operations_max)),
        format!("| memory | {} MiB; all", limits.memory_bytes_max >> 20),
        format!("| nested calls | {} |", limits.call_depth_max),
        format!("| time | {} s |", limits.timeout_ms / 1_000),
        format!("| string | {} MiB; ", limits.string_bytes_max >> 20),
        format!("| array, blob | {} items", thousands(limits.array_items_max as u64)),
        format!("| map | {} entries", thousands(limits.map_items_max as u64)),
        format!("| nesting | {JSON_DEPTH_MAX} levels"),
        format!("| stored value, document, payload | {} KiB", limits.value_bytes_max >> 10),
        format!("| result | {} MiB", limits.response_bytes_max >> 20),
        format!(
            "| log | {} lines of {} KiB |",
            limits.log_lines_max,
            limits.log_line_bytes_max >> 10
        ),
        format!("| calls to the outside | {} |", limits.calls_max),
        format!("| writes and tasks | {} |", thousands(limits.effects_max as u64)),
        format!(
            "| source | {} KiB, {} functions, {ARGUMENTS_MAX} arguments, {} variables",
            SOURCE_BYTES_MAX >> 10,
            thousands(FUNCTIONS_MAX as u64),
            thousands(VARIABLES_MAX as u64)
        ),
        format!("texts of 1 to {NAME_BYTES_MAX} bytes"),
    ] {
        assert!(reference.contains(&row), "docs/scripts.md lacks {row:?}");
    }
}
