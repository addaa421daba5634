//! The documentation of the admin API, made from the table of its calls.

use std::fmt::Write as _;

use picloud_api::problem::Code;

use crate::admin::calls::CALLS;

const HEAD: &str = "\
# Admin API

HTTP and JSON under `/api/v1/admin`, on the Unix socket `/run/picloud/admin.sock`; the command line `picloud` uses
nothing else. With curl, as root or as a member of one of the groups below:

    curl --unix-socket /run/picloud/admin.sock http://localhost/api/v1/admin/instance

Requests with a body say `content-type: application/json`. Unknown fields, in bodies and in queries, are errors. Clients
leave unknown fields of answers alone. Every answer has the header `picloud-api: 1`; another number means that a client which
knows only this one would misread it, and `picloud` and the console then say which package is to be upgraded. `GET /openapi.json` is all this as an OpenAPI 3.1 document
([openapi.json](openapi.json)). Every time is in milliseconds since 1970, by the daemon's clock.

## Who calls

Who calls is a **principal**, and what it may do are **capabilities**, each for one app or for all. `InstanceAdmin`
contains every other.

- **On the socket** the kernel tells the caller's uid. Root and the user that the daemon runs as may always do everything.
  Members of the group `picloud-admin` may do everything, members of `picloud` may read every app (`AppRead`):
  `sudo adduser anna picloud-admin`. A change of groups holds from the next call on, for what a member has deployed, too.
  Groups are looked up by uid in `/etc/passwd` and `/etc/group`. Users and groups that only other sources of NSS know
  (LDAP, SSSD, systemd-homed) are not seen; give such a user a principal: `picloud principals create anna --uid 10042`.
- **With a token** the caller is the token's principal: `Authorization: Bearer pct_…`. A token is shown once, when it is
  made; only its hash is stored. Tokens also count on the socket, and before the uid.
- **Over TCP** only tokens count. The listener is off unless `[admin] listen` is set, and refused on an address of the
  network unless `listen_reach = \"anywhere\"`: what is sent there is not encrypted. Better: listen on 127.0.0.1 and
  `ssh -L 8081:127.0.0.1:8081 pi`, or forward the socket itself.

Nobody can give what they do not have: grants and tokens ask for `PrincipalsManage` and for each capability that is given.
Taking away asks for `PrincipalsManage` alone. Whoever reads the audit log sees what happens in all apps, so it asks for
`PrincipalsManage` for all apps, too.

A run acts as a principal: a route's as the one that deployed it, a trigger's as the one that registered it. What it may do
is looked up when it runs. Take a capability away, and the next run that needs it is refused: a dead letter says which
capability is missing, and a caller of a sync route gets a 502.

Whoever may change an app's scripts decides what those runs do. So `AppManageScripts` in an app is worth what the principals
may do that deployed its routes and registered its triggers: give it to whom you trust with the app.

";

const CALLS_HEAD: &str = "\
## Calls

A capability is asked for in the app that the path or the query's `app` names, or else for all apps. `known` stands for
whoever is known at all. `{app}` is a slug or a number. Lists page by cursor: `next` of a page is `after` of the following
one, `limit` is 100 unless it is said, and 1,000 at most. What `filter` takes is in [work.md](work.md). What is shown with
an `ETag` is changed only if it still has that version when `If-Match` names it; otherwise the answer is 412. The version of
a route or a trigger is its app's revision, which every change of what the app is made of raises. A call about one row,
letter or execution asks in the app of what its path names.

| call | query | asks for | what it does |
|---|---|---|---|
";

const ERRORS_HEAD: &str = "
## Errors

Every answer that is no success is `application/problem+json` (RFC 9457) with `status`, `code`, `title`, `detail` and, where
there is one, a `hint` that says what to do.

| code | status | what it means |
|---|---|---|
";

const FOOT: &str = "
## Limits

Bodies, connections in all and of each caller, the time for a request's head and body and between requests, principals and
tokens: `[limits.admin]` in [configuration.md](configuration.md). Some connections are kept for root, the daemon's own user
and members of `picloud-admin`, so that others cannot lock them out. Whoever is over a limit gets a 503.

This page is made from the daemon's own tables: `picloudd check-config --print admin-api`.
";

/// The page, in Markdown.
pub fn reference() -> String {
    let mut text = format!("{HEAD}{CALLS_HEAD}");
    for call in CALLS {
        let query: Vec<String> = call.query.iter().map(|name| format!("`{name}`")).collect();
        let asks =
            call.capability.map_or_else(|| "known".to_owned(), |one| format!("`{}`", one.as_str()));
        let (method, path, about) = (call.method.as_str(), call.path, call.about);
        push(
            &mut text,
            format_args!("| `{method} {path}` | {} | {asks} | {about} |\n", query.join(", ")),
        );
    }
    text.push_str(ERRORS_HEAD);
    for code in Code::ALL {
        let (name, status, title) = (code.as_str(), code.status(), code.title());
        push(&mut text, format_args!("| `{name}` | {status} | {title} |\n"));
    }
    text.push_str(FOOT);
    text
}

fn push(text: &mut String, args: std::fmt::Arguments<'_>) {
    text.write_fmt(args).expect("writing to a text does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_of_the_admin_api_is_up_to_date() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/admin-api.md");
        let found = std::fs::read_to_string(page).unwrap_or_default();
        assert!(
            found == reference(),
            "docs/admin-api.md is out of date; make it anew with: cargo run --bin picloudd -- check-config --print \
             admin-api >docs/admin-api.md"
        );
    }

    #[test]
    fn every_call_says_in_one_line_what_it_does() {
        for call in CALLS {
            assert!(
                call.about.ends_with('.') && !call.about.contains(['\n', '|']),
                "{} {}: {:?}",
                call.method.as_str(),
                call.path,
                call.about
            );
        }
    }
}
