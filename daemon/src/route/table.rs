//! The routes of one app, ready to be searched.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::route::{Pattern, Route, Segment};

/// A tree of segments. Finding costs a few map lookups, however many routes there are.
#[derive(Debug, Default)]
pub struct RouteTable {
    root: Node,
}

#[derive(Debug, Default)]
struct Node {
    literals: HashMap<Box<str>, Node>,
    param: Option<Box<Node>>,
    /// Routes whose tail begins here.
    tails: Vec<Entry>,
    /// Routes that end here.
    entries: Vec<Entry>,
}

/// One method of a pattern.
#[derive(Debug)]
struct Entry {
    route: Arc<Route>,
    /// Names of the parameters in the order of the path, the tail's last.
    names: Vec<Box<str>>,
}

/// What is there for a request.
#[derive(Debug, PartialEq)]
pub enum Find<'t, 'p> {
    Route {
        route: &'t Arc<Route>,
        /// Name and decoded value.
        params: Vec<(&'t str, Cow<'p, str>)>,
    },
    /// `OPTIONS` for a path that has routes but none for `OPTIONS`. The text is for `Allow`.
    Options {
        allow: String,
    },
    /// The path has routes, but none for this method. The text is for `Allow`.
    MethodNotAllowed {
        allow: String,
    },
    NotFound,
}

impl RouteTable {
    /// Routes whose pattern does not parse are left out; deploy lets none in.
    pub fn build<'a>(routes: impl IntoIterator<Item = &'a Arc<Route>>) -> RouteTable {
        let mut table = RouteTable::default();
        for route in routes {
            if let Ok(pattern) = Pattern::parse(&route.path) {
                table.insert(pattern, Arc::clone(route));
            }
        }
        table
    }

    /// Finds the most specific route for a method and the segments of a path.
    ///
    /// A route with another method never hides a less specific one with the right method. `HEAD` is answered by the `GET`
    /// route unless it has one of its own.
    pub fn find<'t, 'p>(&'t self, method: &str, segments: &'p [Cow<'p, str>]) -> Find<'t, 'p> {
        let segments = if let [only] = segments
            && only.is_empty()
        {
            &[]
        } else {
            segments
        };
        let mut search = Search { method, segments, values: Vec::new(), seen: Vec::new() };
        if let Some((entry, tail_from)) = search.walk(&self.root, 0) {
            return Find::Route { route: &entry.route, params: params(entry, &search, tail_from) };
        }
        if search.seen.is_empty() {
            return Find::NotFound;
        }
        let allow = allow(&search.seen);
        if method == "OPTIONS" { Find::Options { allow } } else { Find::MethodNotAllowed { allow } }
    }

    fn insert(&mut self, pattern: Pattern, route: Arc<Route>) {
        let mut names = Vec::new();
        let mut node = &mut self.root;
        for segment in pattern.segments {
            match segment {
                Segment::Literal(literal) => node = node.literals.entry(literal).or_default(),
                Segment::Param(name) => {
                    names.push(name);
                    node = node.param.get_or_insert_default();
                }
                Segment::Tail(name) => {
                    names.push(name);
                    node.tails.push(Entry { route, names });
                    return;
                }
            }
        }
        node.entries.push(Entry { route, names });
    }
}

/// A walk down the tree that steps back when a more specific branch leads nowhere.
struct Search<'t, 'p, 'm> {
    method: &'m str,
    segments: &'p [Cow<'p, str>],
    /// Places of the segments that are values of parameters.
    values: Vec<usize>,
    /// Methods of patterns that match the path.
    seen: Vec<&'t str>,
}

impl<'t> Search<'t, '_, '_> {
    /// The entry, and for a tail the place at which it begins.
    fn walk(&mut self, node: &'t Node, place: usize) -> Option<(&'t Entry, Option<usize>)> {
        let segments = self.segments;
        let Some(segment) = segments.get(place) else {
            return self.pick(&node.entries).map(|entry| (entry, None));
        };
        if let Some(child) = node.literals.get(&**segment)
            && let Some(found) = self.walk(child, place + 1)
        {
            return Some(found);
        }
        if segment.is_empty() {
            return None;
        }
        if let Some(child) = &node.param {
            self.values.push(place);
            if let Some(found) = self.walk(child, place + 1) {
                return Some(found);
            }
            self.values.pop();
        }
        self.pick(&node.tails).map(|entry| (entry, Some(place)))
    }

    fn pick(&mut self, entries: &'t [Entry]) -> Option<&'t Entry> {
        let of = |method: &str| entries.iter().find(|entry| &*entry.route.method == method);
        let found =
            of(self.method).or_else(|| if self.method == "HEAD" { of("GET") } else { None });
        if found.is_none() {
            self.seen.extend(entries.iter().map(|entry| &*entry.route.method));
        }
        found
    }
}

fn params<'t, 'p>(
    entry: &'t Entry,
    search: &Search<'t, 'p, '_>,
    tail_from: Option<usize>,
) -> Vec<(&'t str, Cow<'p, str>)> {
    let segments = search.segments;
    let values = search.values.iter().map(|place| Cow::Borrowed(&*segments[*place]));
    let tail = tail_from.map(|place| match &segments[place..] {
        [only] => Cow::Borrowed(&**only),
        several => Cow::Owned(several.join("/")),
    });
    entry.names.iter().map(|name| &**name).zip(values.chain(tail)).collect()
}

fn allow(seen: &[&str]) -> String {
    let mut methods: BTreeSet<&str> = seen.iter().copied().collect();
    if methods.contains("GET") {
        methods.insert("HEAD");
    }
    methods.insert("OPTIONS");
    methods.into_iter().collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{AppId, PrincipalId, RouteId};
    use crate::retry::RetryPolicy;
    use crate::route::{DispatchMode, split_path};

    fn route(method: &str, path: &str) -> Arc<Route> {
        Arc::new(Route {
            id: RouteId(1),
            app: AppId(1),
            method: method.into(),
            path: path.into(),
            script: "script".into(),
            dispatch_mode: DispatchMode::Sync,
            retry: RetryPolicy::default(),
            principal: PrincipalId(1),
            access: Default::default(),
        })
    }

    fn table(routes: &[(&str, &str)]) -> RouteTable {
        let routes: Vec<_> = routes.iter().map(|(method, path)| route(method, path)).collect();
        RouteTable::build(&routes)
    }

    /// What is found, as one line.
    fn found(table: &RouteTable, method: &str, path: &str) -> String {
        let segments = split_path(path).expect("the path is good");
        match table.find(method, &segments) {
            Find::Route { route, params } => {
                let params: String =
                    params.iter().map(|(name, value)| format!(" {name}={value}")).collect();
                format!("{} {}{params}", route.method, route.path)
            }
            Find::Options { allow } => format!("options {allow}"),
            Find::MethodNotAllowed { allow } => format!("not allowed {allow}"),
            Find::NotFound => "not found".to_owned(),
        }
    }

    #[test]
    fn the_more_specific_route_answers() {
        let table = table(&[
            ("GET", "/"),
            ("GET", "/a"),
            ("GET", "/{x}"),
            ("GET", "/a/b"),
            ("GET", "/a/{x}"),
            ("GET", "/{x}/b"),
            ("GET", "/{x}/{y}/c"),
            ("GET", "/a/b/{z}"),
            ("GET", "/a/{*rest}"),
            ("GET", "/f/{*rest}"),
        ]);
        for (path, expected) in [
            ("/", "GET /"),
            ("/a", "GET /a"),
            ("/q", "GET /{x} x=q"),
            ("/a/b", "GET /a/b"),
            ("/a/q", "GET /a/{x} x=q"),
            ("/q/b", "GET /{x}/b x=q"),
            ("/a/b/c", "GET /a/b/{z} z=c"),
            ("/a/q/c", "GET /a/{*rest} rest=q/c"),
            ("/q/r/c", "GET /{x}/{y}/c x=q y=r"),
            ("/a/q/r/s", "GET /a/{*rest} rest=q/r/s"),
            ("/a/q/", "GET /a/{*rest} rest=q/"),
            ("/f/1/2/3", "GET /f/{*rest} rest=1/2/3"),
            ("/f", "GET /{x} x=f"),
            ("/f/", "not found"),
            ("/q/", "not found"),
            ("/q/r/s", "not found"),
            ("/a%2Fb", "GET /{x} x=a/b"),
            ("/%61", "GET /a"),
            ("/A", "GET /{x} x=A"),
        ] {
            assert_eq!(found(&table, "GET", path), expected, "{path}");
        }
    }

    #[test]
    fn a_branch_that_leads_nowhere_is_stepped_back_from() {
        let table = table(&[("GET", "/a/b/c"), ("GET", "/{x}/{y}/d"), ("GET", "/{*all}")]);
        assert_eq!(found(&table, "GET", "/a/b/d"), "GET /{x}/{y}/d x=a y=b");
        assert_eq!(found(&table, "GET", "/a/b/e"), "GET /{*all} all=a/b/e");
    }

    #[test]
    fn a_method_is_answered_as_http_expects() {
        let table = table(&[
            ("GET", "/a"),
            ("POST", "/{x}"),
            ("DELETE", "/{*all}"),
            ("HEAD", "/own"),
            ("GET", "/own"),
            ("OPTIONS", "/own"),
        ]);
        for (method, path, expected) in [
            ("GET", "/a", "GET /a"),
            ("HEAD", "/a", "GET /a"),
            ("HEAD", "/own", "HEAD /own"),
            ("OPTIONS", "/own", "OPTIONS /own"),
            ("POST", "/a", "POST /{x} x=a"),
            ("DELETE", "/a", "DELETE /{*all} all=a"),
            ("OPTIONS", "/a", "options DELETE, GET, HEAD, OPTIONS, POST"),
            ("PUT", "/a", "not allowed DELETE, GET, HEAD, OPTIONS, POST"),
            ("HEAD", "/b/c", "not allowed DELETE, OPTIONS"),
            ("get", "/b", "not allowed DELETE, OPTIONS, POST"),
        ] {
            assert_eq!(found(&table, method, path), expected, "{method} {path}");
        }
        assert_eq!(found(&RouteTable::default(), "OPTIONS", "/a"), "not found");
    }

    #[test]
    fn many_routes_are_all_found() {
        let paths: Vec<String> =
            (0..1_000).map(|n| format!("/group{}/item{n}/{{id}}", n % 10)).collect();
        let routes: Vec<_> = paths.iter().map(|path| route("GET", path)).collect();
        let table = RouteTable::build(&routes);
        for (n, pattern) in paths.iter().enumerate() {
            let path = format!("/group{}/item{n}/7", n % 10);
            assert_eq!(found(&table, "GET", &path), format!("GET {pattern} id=7"));
        }
    }
}
