//! The description of the admin API.

use std::fs;

use picloud_daemon::admin::openapi;
use picloud_tests::source;

#[test]
#[allow(clippy::disallowed_methods, reason = "the configuration of the tests")]
fn the_description_of_the_admin_api_is_as_the_code_makes_it() {
    let (path, made) = (source::root().join("docs/openapi.json"), openapi::document());
    if source::documents_are_to_be_written() {
        fs::write(&path, &made).expect("the checkout is ours");
    }
    let kept = fs::read_to_string(&path).expect("it is checked in");
    assert!(kept == made, "docs/openapi.json is old: run this test once with PICLOUD_WRITE_DOCS=1");
}
