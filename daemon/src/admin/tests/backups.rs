//! Backups and nodes over the admin API.

use picloud_api::audit::AuditItem;
use picloud_api::backups::{BackupItem, BackupStarted};
use picloud_api::health::Checks;
use picloud_api::nodes::NodeItem;
use picloud_api::secrets::SecretAnswer;

use super::*;

async fn started(admin: &Admin) -> BackupStarted {
    let (status, body) = call(admin, 0, "POST", "/backups", "").await;
    assert_eq!(status, 202, "{}", String::from_utf8_lossy(&body));
    serde_json::from_slice(&body).expect("the answer is JSON")
}

/// Waits for the end of what runs.
async fn ended(admin: &Admin) -> BackupItem {
    loop {
        let mut page: Page<BackupItem> = ok(admin, 1000, "GET", "/backups", "").await;
        if page.items[0].state != "running" {
            return page.items.remove(0);
        }
        tokio::task::yield_now().await;
    }
}

async fn checked(admin: &Admin) -> (String, String) {
    let checks: Checks = ok(admin, 1000, "GET", "/doctor", "").await;
    let check = checks.checks.into_iter().find(|check| check.name == "backups");
    let check = check.expect("the doctor looks at backups");
    (check.state, check.text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_is_begun_listed_audited_and_found_by_the_doctor() {
    let admin = admin_with(no_reserve()).await;
    let (state, text) = checked(&admin).await;
    assert!(state == "ok" && text.contains("picloud backups start"), "{state} {text}");
    let BackupStarted { backup, key_file } = started(&admin).await;
    assert_eq!((backup.state.as_str(), backup.verified, backup.begun_at), ("running", false, 7));
    // There are no secrets that would be lost with their key.
    assert_eq!(key_file, None);
    let done = ended(&admin).await;
    assert_eq!((done.state.as_str(), done.verified, &done.name), ("done", true, &backup.name));
    assert_eq!((done.begun_at, done.took_ms, done.error), (7, Some(0), None));
    let file = std::fs::metadata(&done.path).expect("it is where it says");
    assert_eq!(done.bytes, Some(file.len()));
    let audit: Page<AuditItem> = ok(&admin, 0, "GET", "/audit?limit=1", "").await;
    assert_eq!(
        (audit.items[0].action.as_str(), &audit.items[0].object),
        ("start-backup", &done.name)
    );
    let (state, text) = checked(&admin).await;
    assert!(state == "ok" && text.contains(&done.name), "{state} {text}");
    admin.stop().await;
}

fn no_reserve() -> Limits {
    let mut limits = Limits::default();
    limits.store.free_bytes_min = 0;
    limits
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_secrets_is_told_where_the_key_is_that_no_backup_has() {
    let admin = admin_with(no_reserve()).await;
    let value = r#"{"value": "hunter2 and more"}"#;
    let path = "/apps/greenhouse/secrets/KEY";
    let _set: SecretAnswer = ok(&admin, 0, "PUT", path, value).await;
    let answer = started(&admin).await;
    let key = admin.folder.path().join("secrets.key").display().to_string();
    assert_eq!(answer.key_file, Some(key));
    let done = ended(&admin).await;
    let bytes = std::fs::read(&done.path).expect("it is where it says");
    let contains = |text: &str| bytes.windows(text.len()).any(|part| part == text.as_bytes());
    assert!(contains("greenhouse") && !contains("hunter2"));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_a_reader_and_a_body_with_a_name_are_refused() {
    let admin = admin_with(no_reserve()).await;
    let turn = admin.engine.backups.take_turn().expect("nobody is before");
    let second = problem(&admin, 0, "POST", "/backups", "").await;
    assert_eq!((second.status, second.code.as_str()), (409, "already_running"));
    assert!(second.hint.is_some_and(|hint| hint.contains("picloud backups list")));
    drop(turn);
    let reader = problem(&admin, 1000, "POST", "/backups", "").await;
    assert_eq!((reader.status, reader.code.as_str()), (403, "not_allowed"));
    for body in [r#"{"name": "../../etc/passwd"}"#, "[]", "{"] {
        let named = problem(&admin, 0, "POST", "/backups", body).await;
        assert_eq!(named.status, 400, "{named:?}");
    }
    for path in ["/backups/x.db", "/backups/..%2F..%2Fetc"] {
        assert_eq!(problem(&admin, 0, "GET", path, "").await.status, 404, "{path}");
    }
    assert!(!admin.folder.path().join("backups").exists());
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backups_are_listed_page_by_page_and_what_has_another_name_is_none() {
    let admin = admin().await;
    let folder = admin.folder.path().join("backups");
    std::fs::create_dir(&folder).expect("the folder is new");
    let names: Vec<String> =
        (1..=3).map(|day| format!("picloud-2026010{day}T000000.000Z.db")).collect();
    for name in &names {
        std::fs::write(folder.join(name), "x").expect("the folder is ours");
    }
    std::fs::write(folder.join("picloud.db"), "x").expect("the folder is ours");
    let elsewhere = folder.join("picloud-20260104T000000.000Z.db");
    std::os::unix::fs::symlink("/etc/passwd", elsewhere).expect("the folder is ours");
    let page: Page<BackupItem> = ok(&admin, 0, "GET", "/backups?limit=2", "").await;
    let listed = |page: &Page<BackupItem>| -> Vec<String> {
        page.items.iter().map(|one| one.name.clone()).collect()
    };
    assert_eq!(
        (listed(&page), page.next.as_ref()),
        (vec![names[2].clone(), names[1].clone()], Some(&names[1]))
    );
    let path = format!("/backups?after={}", names[1]);
    let page: Page<BackupItem> = ok(&admin, 0, "GET", &path, "").await;
    assert_eq!((listed(&page), page.next.as_ref()), (vec![names[0].clone()], None));
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_room_for_a_backup_refuses_it() {
    let mut limits = Limits::default();
    limits.store.free_bytes_min = 1 << 40;
    // The change of configuration that deploys would be refused as well.
    let mut admin = admin_with(no_reserve()).await;
    let refused = Backups::open(
        StoreConfig::at(admin.folder.path().join("picloud.db")),
        admin.folder.path().join("backups"),
        limits.store,
        Arc::clone(&admin.clock) as Arc<dyn Clock>,
        Faults::default(),
    );
    admin.engine.backups = refused;
    admin.router = router(Arc::new(crate::admin::engine::Engine::of(&admin.engine)));
    let full = problem(&admin, 0, "POST", "/backups", "").await;
    assert_eq!((full.status, full.code.as_str()), (503, "storage_low"));
    assert!(full.detail.contains("bytes") && full.hint.is_some(), "{full:?}");
    assert!(!admin.folder.path().join("backups").exists());
    admin.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_one_node_says_what_it_is_and_whether_it_runs() {
    let admin = admin().await;
    let node = async || {
        let mut page: Page<NodeItem> = ok(&admin, 1000, "GET", "/nodes", "").await;
        assert_eq!((page.items.len(), page.next), (1, None));
        page.items.remove(0)
    };
    let running = node().await;
    assert_eq!(running.id, admin.engine.owner.to_string());
    assert_eq!((running.role.as_str(), running.state.as_str()), ("single", "running"));
    assert_eq!((running.why.as_str(), running.store.as_str()), ("first_start", "sqlite"));
    assert_eq!((running.schema, running.running), (crate::store::migrate::SCHEMA_VERSION, 0));
    assert!(running.executors > 0);
    let _paused: PauseAnswer = ok(&admin, 0, "POST", "/pause", "").await;
    assert_eq!(node().await.state, "paused");
    let behind: Page<NodeItem> =
        ok(&admin, 0, "GET", &format!("/nodes?after={}", running.id), "").await;
    assert!(behind.items.is_empty());
    admin.stop().await;
}
