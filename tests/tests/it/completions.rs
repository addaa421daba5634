//! What people need not type in full: the tab key, and the beginnings of ids.

use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use picloud_tests::daemon::{InlineApp, Site, program};
use picloud_tests::wait::Since;

fn garden(site: &Site) {
    site.deploy_app(&InlineApp {
        slug: "garden",
        scripts: &[("water", "42"), ("weigh", "throw \"too heavy\""), ("note", "1")],
        routes: &[("POST /weigh", "weigh", "dispatch_mode = \"async\"\nretry = { max_attempts = 1 }")],
        manifest: "[[triggers]]\nkind = \"kv\"\nname = \"on-rain\"\ncollection_glob = \"rain\"\nscript = \"note\"\n",
    });
}

#[track_caller]
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("what is printed is text")
}

/// What the tab key brings after these words, without the options.
fn offered(socket: PathBuf, words: &[&str]) -> Vec<String> {
    let output = Command::new(program("picloud"))
        .env("COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
        .env("PICLOUD_SOCKET", socket)
        .arg("--")
        .args(words)
        .output()
        .expect("the command line is built with the tests");
    assert!(output.status.success() && output.stderr.is_empty(), "{words:?}: {output:?}");
    let is_name = |word: &&str| !word.starts_with("--");
    text(&output.stdout).lines().filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_tab_key_knows_commands_apps_scripts_triggers_collections_and_ids() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let set = site.picloud(&["kv", "set", "garden/rain", "today", "7"]);
    assert!(set.status.success(), "{set:?}");
    assert_eq!(daemon.post("/garden/weigh", "{}").status, 202);
    daemon.works_everything_off();
    let letters = daemon.list("dead-letters");
    let letter = letters[0]["id"].as_str().expect("an id is a text");

    for (words, names) in [
        (&["ab"][..], &["abandoned"][..]),
        (&["apps", "show", ""], &["garden"]),
        (&["outbox", "list", "--app", "g"], &["garden"]),
        (&["scripts", "run", "gar"], &["garden/"]),
        (&["scripts", "run", "garden/w"], &["garden/water", "garden/weigh"]),
        (&["triggers", "fire", "garden/"], &["garden/on-rain"]),
        (&["kv", "get", "garden/"], &["garden/rain"]),
        (&["docs", "get", "garden/"], &[]),
        (&["dead-letters", "show", ""], &[letter]),
        (&["dead-letters", "replay", &letter[..6]], &[letter]),
        (&["dead-letters", "reopen", ""], &[]),
        (&["scripts", "run", "nowhere/"], &[]),
    ] {
        let words: Vec<&str> = ["picloud"].iter().chain(words).copied().collect();
        assert_eq!(offered(site.socket(), &words), names, "{words:?}");
    }
    daemon.stop();
}

#[test]
fn without_a_daemon_the_tab_key_offers_what_it_can_and_says_nothing() {
    let nowhere = PathBuf::from("/nowhere/admin.sock");
    assert_eq!(offered(nowhere.clone(), &["picloud", "apps", "show", ""]), [""; 0]);
    assert_eq!(offered(nowhere, &["picloud", "apps", "sh"]), ["show"]);
}

#[test]
fn a_daemon_that_does_not_answer_does_not_keep_the_tab_key() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let socket = folder.path().join("admin.sock");
    let _silent = UnixListener::bind(&socket).expect("the folder is ours");
    let begin = Since::now();
    assert_eq!(offered(socket, &["picloud", "apps", "show", ""]), [""; 0]);
    // Any other question is given a minute.
    assert!(begin.elapsed() < Duration::from_secs(30), "{:?}", begin.elapsed());
}

#[test]
fn the_daemon_that_the_words_name_is_asked() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    let socket = site.socket().display().to_string();
    let words = ["picloud", "--socket", &socket, "apps", "show", ""];
    assert_eq!(offered(PathBuf::from("/nowhere/admin.sock"), &words), ["garden"]);
    daemon.stop();
}

#[test]
fn a_shell_that_reads_what_it_is_told_completes() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    // The name that the shell knows leads to the program under test.
    let script = "picloud() { \"$PROGRAM\" \"$@\"; }\nsource <(picloud completions bash)\n\
        COMP_WORDS=(picloud scripts show garden/we); COMP_CWORD=3; COMP_TYPE=9\n\
        _clap_complete_picloud picloud garden/we 2>/dev/null\necho \"${COMPREPLY[@]}\"\n";
    let mut bash = Command::new("bash");
    bash.args(["-c", script]).env("PROGRAM", program("picloud"));
    let Output { stdout, stderr, .. } =
        bash.env("PICLOUD_SOCKET", site.socket()).output().expect("bash is there");
    assert_eq!(text(&stdout), "garden/weigh\n", "{}", text(&stderr));
    daemon.stop();
}

#[test]
fn an_id_may_be_abbreviated_as_long_as_it_is_clear_which_is_meant() {
    let site = Site::new();
    let daemon = site.start();
    garden(&site);
    for _ in 0..2 {
        assert_eq!(daemon.post("/garden/weigh", "{}").status, 202);
    }
    daemon.works_everything_off();
    let letters = daemon.list("dead-letters");
    let ids: Vec<&str> = letters.iter().filter_map(|letter| letter["id"].as_str()).collect();
    let [newest, oldest] = ids[..] else { panic!("two letters: {ids:?}") };
    let same = newest.chars().zip(oldest.chars()).take_while(|(a, b)| a == b).count();

    let clear = &newest[..=same];
    let shown = site.picloud(&["dead-letters", "show", clear]);
    assert!(text(&shown.stdout).starts_with(&format!("letter    {newest}\n")), "{shown:?}");
    let unclear = site.picloud(&["dead-letters", "discard", &newest[..same]]);
    assert_eq!(unclear.status.code(), Some(2));
    assert!(text(&unclear.stderr).contains("the beginning of several ids"), "{unclear:?}");
    let discarded = site.picloud(&["dead-letters", "discard", &clear.to_lowercase()]);
    assert!(discarded.status.success(), "{discarded:?}");
    let reopened = site.picloud(&["dead-letters", "reopen", clear]);
    assert!(reopened.status.success(), "what is resolved is found, too: {reopened:?}");
    // Rows have ids, too, made in the same moment: among all of them it takes more.
    let clear = &newest[..25];
    let chain = site.picloud(&["executions", "show", clear, "--chain"]);
    assert!(text(&chain.stdout).contains(&format!("  {newest}\n")), "{chain:?}");
    let none = site.picloud(&["outbox", "show", clear]);
    assert_eq!(none.status.code(), Some(3));
    assert!(text(&none.stderr).contains("no id of a row of the outbox begins with"), "{none:?}");
    daemon.stop();
}
