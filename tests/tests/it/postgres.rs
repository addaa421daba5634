//! The PostgreSQL that tests have of their own.

use std::path::{Path, PathBuf};

use picloud_tests::postgres::Postgres;

#[test]
fn a_server_and_its_folder_are_gone_with_the_test_also_when_that_panics() {
    let (tell, told) = std::sync::mpsc::channel();
    let test = std::thread::spawn(move || {
        let server = Postgres::start();
        let _ = tell.send((server.process(), server.socket().to_owned()));
        panic!("the test fails");
    });
    let (process, folder): (u32, PathBuf) = told.recv().expect("it has started");
    assert!(test.join().is_err());
    assert!(!Path::new(&format!("/proc/{process}")).exists());
    assert!(!folder.exists());
}
