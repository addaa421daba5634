//! Inside the daemon, imports run downward only, in the order of the layers in `daemon/src/lib.rs`.

use std::collections::{BTreeMap, BTreeSet};

use super::Complaint;
use crate::source::{Source, identifier, line_at, words};

/// The layers from the lowest up, as `daemon/src/lib.rs` names them in comments.
pub const LAYERS: [&str; 5] = ["leaf", "domain", "flow", "store", "edge"];

/// Layers that compute and nothing else.
pub const PURE_LAYERS: [&str; 3] = ["leaf", "domain", "flow"];

/// What pure layers do not name.
pub const IMPURE_CRATES: [&str; 4] = ["tokio", "sqlx", "axum", "hyper"];

/// The only module that knows SQL.
pub const SQL_MODULE: &str = "store";

/// Where it is known which engine that is.
pub const ENGINE_PATHS: [&str; 2] = ["daemon/src/store/engine.rs", "daemon/src/store/engine/"];

/// What is about SQLite's file, which no other engine has: opening, looking into, copying and measuring it.
pub const FILE_PATHS: [&str; 4] = [
    "daemon/src/store/open.rs",
    "daemon/src/store/look.rs",
    "daemon/src/store/backup.rs",
    "daemon/src/store/bench.rs",
];

/// Which layer each module of the daemon belongs to: an index into [`LAYERS`].
pub type Modules = BTreeMap<String, usize>;

/// Reads the layers off `lib.rs`: a comment with the layer's name stands before its modules.
pub fn modules(lib: &str) -> Result<Modules, String> {
    let mut modules = Modules::new();
    let mut layer = None;
    for line in lib.lines().map(str::trim) {
        if let Some(comment) = line.strip_prefix("// ") {
            layer = LAYERS.iter().position(|name| *name == comment).or(layer);
        } else if let Some(module) = module_name(line) {
            let layer = layer.ok_or_else(|| format!("module {module} stands in no layer"))?;
            modules.insert(module.to_owned(), layer);
        }
    }
    match LAYERS.iter().enumerate().find(|(at, _)| !modules.values().any(|layer| layer == at)) {
        Some((_, name)) => Err(format!("layer {name} has no module")),
        None => Ok(modules),
    }
}

fn module_name(line: &str) -> Option<&str> {
    let declaration = line.strip_prefix("pub ").unwrap_or(line);
    declaration.strip_prefix("mod ")?.strip_suffix(';')
}

/// The module of the daemon that a file belongs to, if it belongs to one.
fn module_of<'a>(file: &'a Source, modules: &Modules) -> Option<&'a str> {
    let module = identifier(file.path.strip_prefix("daemon/src/")?);
    modules.contains_key(module).then_some(module)
}

/// Modules that a file names after `crate::`, also within braces, each with its line.
fn imports(file: &Source) -> Vec<(&str, usize)> {
    let mut found = Vec::new();
    for at in words(&file.code, "crate").collect::<Vec<_>>() {
        let Some(path) = file.code[at..].strip_prefix("crate::") else { continue };
        let line = line_at(&file.code, at);
        match path.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group).into_iter().map(|name| (name, line))),
            None => found.push((identifier(path), line)),
        }
    }
    found
}

/// The first names of the paths in `{a::b, c::{d, e}}`, given the text after the brace.
fn group_heads(group: &str) -> Vec<&str> {
    let mut heads = Vec::new();
    let mut depth = 1;
    let mut expected = true;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => expected = true,
            _ if expected && c.is_alphabetic() => {
                heads.push(identifier(&group[at..]));
                expected = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    heads
}

pub fn upward_imports(files: &[Source], modules: &Modules) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files {
        let Some(own) = module_of(file, modules) else { continue };
        for (import, line) in imports(file) {
            let Some(layer) = modules.get(import) else { continue };
            if *layer > modules[own] {
                let (above, below) = (LAYERS[*layer], LAYERS[modules[own]]);
                let reason =
                    format!("{own} ({below}) imports {import} ({above}), which is above it");
                complaints.push(Complaint::new(&file.path, line, reason));
            }
        }
    }
    complaints
}

/// Modules that import each other, directly or through others, have no order in which they can be read.
pub fn circles(files: &[Source], modules: &Modules) -> Vec<Complaint> {
    let mut arrows: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for file in files {
        let Some(own) = module_of(file, modules) else { continue };
        let others = imports(file).into_iter().map(|(import, _)| import);
        let others = others.filter(|import| *import != own && modules.contains_key(*import));
        arrows.entry(own).or_default().extend(others);
    }
    let starts = arrows.keys().filter(|start| reaches(&arrows, start));
    starts
        .map(|start| {
            let path = format!("daemon/src/{start}.rs");
            Complaint::new(&path, 1, "imports itself through modules that it imports")
        })
        .collect()
}

fn reaches(arrows: &BTreeMap<&str, BTreeSet<&str>>, start: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![start];
    while let Some(module) = open.pop() {
        for next in arrows.get(module).into_iter().flatten() {
            if *next == start {
                return true;
            }
            if seen.insert(*next) {
                open.push(next);
            }
        }
    }
    false
}

pub fn impure(files: &[Source], modules: &Modules) -> Vec<Complaint> {
    let mut complaints = Vec::new();
    for file in files {
        let Some(own) = module_of(file, modules) else { continue };
        let layer = LAYERS[modules[own]];
        for name in IMPURE_CRATES {
            let allowed = match name {
                "sqlx" => own == SQL_MODULE,
                _ => !PURE_LAYERS.contains(&layer),
            };
            for at in words(&file.code, name).filter(|_| !allowed) {
                if file.code[at + name.len()..].starts_with("::") {
                    let reason = format!("{own} ({layer}) names {name}");
                    complaints.push(Complaint::new(&file.path, line_at(&file.code, at), reason));
                }
            }
        }
    }
    complaints
}

/// Of the store's files only those about the engine and its file name more of SQLx than its error.
pub fn engine_known(file: &Source) -> Vec<Complaint> {
    let is_of_store = file.path.starts_with("daemon/src/store") && !is_test(&file.path);
    let knows = ENGINE_PATHS.iter().chain(&FILE_PATHS).any(|path| file.path.starts_with(path));
    if !is_of_store || knows {
        return Vec::new();
    }
    let code = file.code_before_tests();
    let after = words(code, "sqlx").map(|at| (at, &code[at + "sqlx".len()..]));
    let driver = after.filter(|(_, rest)| {
        let name = rest.strip_prefix("::").map(identifier);
        name.is_some_and(|name| name != "Error")
    });
    driver
        .map(|(at, _)| {
            let reason = format!("which engine it is knows only {}", ENGINE_PATHS[0]);
            Complaint::new(&file.path, line_at(code, at), reason)
        })
        .collect()
}

fn is_test(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "//! Doc.\n// leaf\npub mod time;\n// domain\npub mod row;\npub mod gate;\n// flow\n\
        pub mod flow;\n// store\npub mod store;\n// edge\npub mod http;\n";

    fn complaints(path: &str, text: &str) -> Vec<String> {
        let modules = modules(LIB).unwrap();
        let files = [Source::parse(path, text)];
        let found = upward_imports(&files, &modules).into_iter().chain(impure(&files, &modules));
        found.map(|complaint| complaint.to_string()).collect()
    }

    #[test]
    fn an_upward_import_is_found_however_it_is_written() {
        for (text, line) in [
            ("use crate::http::Edge;\n", 1),
            ("\nfn f() { crate::store::open() }\n", 2),
            ("use crate::{time::{Clock, http}, store::Writer};\n", 1),
        ] {
            let found = complaints("daemon/src/flow/accept.rs", text);
            assert_eq!(found.len(), 1, "{text}: {found:?}");
            assert!(
                found[0].starts_with(&format!("daemon/src/flow/accept.rs:{line}: ")),
                "{found:?}"
            );
        }
        let fine = "use crate::{time::Clock, row::Row};\n// use crate::http::Edge;\n";
        assert_eq!(complaints("daemon/src/flow/accept.rs", fine), [""; 0]);
        assert_eq!(complaints("daemon/src/http/body.rs", "use crate::store::Writer;\n"), [""; 0]);
    }

    #[test]
    fn a_pure_layer_that_names_a_runtime_is_found() {
        assert_eq!(complaints("daemon/src/row.rs", "use tokio::sync::Mutex;\n").len(), 1);
        assert_eq!(complaints("daemon/src/http.rs", "use tokio::sync::Mutex;\n"), [""; 0]);
        assert_eq!(complaints("daemon/src/http.rs", "use sqlx::Row;\n").len(), 1);
        assert_eq!(complaints("daemon/src/store/tx.rs", "use sqlx::Row;\n"), [""; 0]);
    }

    #[test]
    fn a_file_of_the_store_that_names_the_driver_is_found() {
        let found = |path: &str, text: &str| engine_known(&Source::parse(path, text)).len();
        let wrong =
            "use sqlx::{Row, SqliteConnection};\nfn f() { sqlx::query(A); g::<sqlx::Error>() }\n";
        assert_eq!(found("daemon/src/store/apply.rs", wrong), 2);
        assert_eq!(found("daemon/src/store/read/lists.rs", "use sqlx::sqlite::SqliteRow;\n"), 1);
        assert_eq!(found("daemon/src/store.rs", "fn f() -> sqlx::Error { g() } // sqlx::Row\n"), 0);
        let tests = "fn f() {}\n#[cfg(test)]\nmod tests { use sqlx::Row; }\n";
        assert_eq!(found("daemon/src/store/sql.rs", tests), 0);
        for path in ["engine.rs", "engine/trouble.rs", "look.rs", "tests.rs", "tests/both.rs"] {
            assert_eq!(found(&format!("daemon/src/store/{path}"), wrong), 0, "{path}");
        }
    }

    #[test]
    fn modules_that_import_each_other_are_found() {
        let modules = modules(LIB).unwrap();
        let row = Source::parse("daemon/src/row.rs", "use crate::gate::Gate;\n");
        let gate = Source::parse("daemon/src/gate.rs", "use crate::row::Row;\n");
        assert_eq!(circles(&[row, gate], &modules).len(), 2);
        let alone =
            Source::parse("daemon/src/row.rs", "use crate::row::Row;\nuse crate::time::Clock;\n");
        assert_eq!(circles(&[alone], &modules), []);
    }

    #[test]
    fn a_module_outside_the_layers_and_a_layer_without_modules_are_found() {
        assert!(modules("pub mod time;\n// leaf\n").unwrap_err().contains("time"));
        assert!(modules("// leaf\npub mod time;\n").unwrap_err().contains("domain"));
    }
}
