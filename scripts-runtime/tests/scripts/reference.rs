//! `docs/scripts.md` does not lie: each of its examples is run.

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
    for source in [
        include_str!("../../src/services/kv.rs"),
        include_str!("../../src/services/docs.rs"),
        include_str!("../../src/services/outbox.rs"),
        include_str!("../../src/services/dead_letters.rs"),
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
        }
    }
}
