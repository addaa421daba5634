//! The read side.

use picloud_scripts_runtime::effect::{Key, Space};
use picloud_scripts_runtime::host::Page;

use crate::entry::EntryKey;
use crate::flow::facts::Room;
use crate::ids::AppId;
use crate::store::tests::{APP, NOW, entry_key, mutate, put, scratch_with_app};

fn page(prefix: &str, after: Option<&str>, limit: usize) -> Page {
    Page {
        space: Space::Kv,
        collection: "readings".into(),
        prefix: prefix.into(),
        after: after.map(Into::into),
        limit,
        bytes_max: usize::MAX,
    }
}

#[tokio::test]
async fn a_list_pages_through_a_prefix_in_the_order_of_bytes() {
    let mut scratch = scratch_with_app().await;
    let names = ["a", "b1", "b2", "b3", "b\u{e4}", "c"];
    let puts = names.iter().map(|name| put(name, "1")).collect();
    scratch.run(&[mutate(1, puts)], Room::default()).await;
    let reader = scratch.reader();
    let keys = async |page: Page| -> Vec<String> {
        let found = reader.entries(APP, &page, NOW).await.expect("reads");
        found.into_iter().map(|(key, _)| key.to_string()).collect()
    };
    assert_eq!(keys(page("b", None, 2)).await, ["b1", "b2"]);
    assert_eq!(keys(page("b", Some("b2"), 2)).await, ["b3", "b\u{e4}"]);
    assert_eq!(keys(page("b", Some("b\u{e4}"), 2)).await, Vec::<String>::new());
    assert_eq!(keys(page("b", Some("a"), 1)).await, ["b1"]);
    assert_eq!(keys(page("", None, 10)).await, names);
}

#[tokio::test]
async fn p6_a_page_ends_with_the_row_that_fills_it() {
    let mut scratch = scratch_with_app().await;
    let large = format!("\"{}\"", "x".repeat(997));
    let mut puts: Vec<_> = (0..40).map(|number| put(&format!("a{number:02}"), "1")).collect();
    puts.extend((0..40).map(|number| put(&format!("b{number:02}"), &large)));
    scratch.run(&[mutate(1, puts)], Room::default()).await;
    let reader = scratch.reader();
    let read = async |bytes_max, after| {
        let page = Page { bytes_max, ..page("", after, 60) };
        let found = reader.entries(APP, &page, NOW).await.expect("reads");
        let (last, _) = found.last().expect("has rows");
        (found.len(), last.to_string())
    };
    // 40 of 4 bytes, then those of 1,002.
    assert_eq!(read(160, None).await, (40, "a39".to_owned()));
    assert_eq!(read(161, None).await, (41, "b00".to_owned()));
    assert_eq!(read(2_004, Some("b00")).await, (2, "b02".to_owned()));
    assert_eq!(read(1, Some("b02")).await, (1, "b03".to_owned()));
    assert_eq!(read(usize::MAX, None).await, (60, "b19".to_owned()));
}

#[tokio::test]
async fn keys_of_any_characters_are_kept_byte_by_byte() {
    let mut scratch = scratch_with_app().await;
    let names = ["\0", "a\0b", "\u{feff}", "e\u{301}", "\u{e9}", "../x", "\"\\", "\u{10ffff}"];
    let puts = names.iter().map(|name| put(name, "{\"a\":\"\\u0000\"}")).collect();
    let report = scratch.run(&[mutate(1, puts)], Room::default()).await;
    assert_eq!(report.outcomes, [Ok(())]);
    let reader = scratch.reader();
    let keys: Vec<EntryKey> = names.iter().map(|name| entry_key(name)).collect();
    let versions = reader.versions(&keys, NOW).await.expect("reads");
    let mut unique = versions.clone();
    unique.sort_unstable();
    unique.dedup();
    assert_eq!(unique.len(), names.len(), "{versions:?}");
    for key in &keys {
        let entry = reader.entry(key, NOW).await.expect("reads").expect("is there");
        assert_eq!(&*entry.value, "{\"a\":\"\\u0000\"}");
    }
    // The same through the facts of a batch: each is seen, and raised.
    let puts = names.iter().map(|name| put(name, "2")).collect();
    scratch.run(&[mutate(2, puts)], Room::default()).await;
    assert_eq!(scratch.count("entries").await, i64::try_from(names.len()).expect("is small"));
}

#[tokio::test]
async fn p8_an_app_does_not_see_the_entries_of_another() {
    let mut scratch = scratch_with_app().await;
    scratch.run(&[mutate(1, vec![put("a", "1")])], Room::default()).await;
    let other = AppId(77);
    let reader = scratch.reader();
    let key = EntryKey { app: other, key: crate::store::tests::key("a") };
    assert_eq!(reader.entry(&key, NOW).await.expect("reads"), None);
    let docs = Key { space: Space::Docs, ..crate::store::tests::key("a") };
    assert_eq!(reader.entry(&EntryKey { app: APP, key: docs }, NOW).await.expect("reads"), None);
    assert!(reader.entries(other, &page("", None, 10), NOW).await.expect("reads").is_empty());
}
