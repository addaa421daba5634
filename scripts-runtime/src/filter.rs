//! The filter language of `docs`: a map that a document matches or not. `docs/scripts.md` describes it for users.

use std::any::TypeId;
use std::cmp::Ordering;

use rhai::{Array, Blob, Dynamic, ImmutableString, Map};

/// Conditions that one filter may have, its operands in `$in` included.
const CONDITIONS_MAX: usize = 1_000;
/// Filters within each other.
const DEPTH_MAX: usize = 16;
/// Steps of one path.
const PATH_STEPS_MAX: usize = 16;

const OPERATORS: &str = "$eq, $ne, $gt, $gte, $lt, $lte, $in, $exists, $contains, $starts_with and $not; $and, $or and $not stand on their own";

/// A filter that was found to be in order.
pub(crate) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Field(Path, Test),
}

/// The way to a field: map keys and, where a value is an array, indices.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path(Vec<ImmutableString>);

pub(crate) enum Test {
    Equal(Dynamic),
    NotEqual(Dynamic),
    Order(fn(Ordering) -> bool, Dynamic),
    In(Vec<Dynamic>),
    Exists,
    Absent,
    Contains(Dynamic),
    StartsWith(ImmutableString),
}

impl Filter {
    /// Reads a filter; the error says what is wrong with it.
    pub(crate) fn parse(filter: &Map) -> Result<Filter, String> {
        Parser { left: CONDITIONS_MAX }.filter(filter, 0)
    }

    pub(crate) fn matches(&self, document: &Dynamic) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.matches(document)),
            Filter::Any(parts) => parts.iter().any(|part| part.matches(document)),
            Filter::Not(part) => !part.matches(document),
            Filter::Field(path, test) => path.visit(document, |value| test.holds(value)),
        }
    }
}

impl Path {
    pub(crate) fn parse(text: &str) -> Result<Path, String> {
        let steps: Vec<ImmutableString> = text.split('.').map(Into::into).collect();
        if steps.len() > PATH_STEPS_MAX {
            return Err(format!("the path \"{}\" has more than {PATH_STEPS_MAX} steps", cut(text)));
        }
        if steps.iter().any(|step| step.is_empty()) {
            return Err(format!("the path \"{}\" has an empty step", cut(text)));
        }
        Ok(Path(steps))
    }

    /// Hands the value at this place to `visit`, or `None`.
    pub(crate) fn visit<T>(
        &self,
        document: &Dynamic,
        visit: impl FnOnce(Option<&Dynamic>) -> T,
    ) -> T {
        fn walk<T>(
            steps: &[ImmutableString],
            value: &Dynamic,
            visit: impl FnOnce(Option<&Dynamic>) -> T,
        ) -> T {
            let Some((step, rest)) = steps.split_first() else { return visit(Some(value)) };
            if let Ok(map) = value.as_map_ref() {
                return match map.get(step.as_str()) {
                    Some(next) => walk(rest, next, visit),
                    None => visit(None),
                };
            }
            if let Ok(array) = value.as_array_ref() {
                return match step.parse::<usize>().ok().and_then(|index| array.get(index)) {
                    Some(next) => walk(rest, next, visit),
                    None => visit(None),
                };
            }
            visit(None)
        }
        walk(&self.0, document, visit)
    }
}

impl Test {
    fn holds(&self, value: Option<&Dynamic>) -> bool {
        match (self, value) {
            (Test::Equal(operand), Some(value)) => equal(value, operand, 0),
            (Test::Equal(operand), None) => operand.is_unit(),
            (Test::NotEqual(operand), Some(value)) => !equal(value, operand, 0),
            (Test::NotEqual(operand), None) => !operand.is_unit(),
            (Test::Order(holds, operand), Some(value)) => order(value, operand).is_some_and(holds),
            (Test::In(operands), value) => operands.iter().any(|operand| match value {
                Some(value) => equal(value, operand, 0),
                None => operand.is_unit(),
            }),
            (Test::Exists, value) => value.is_some(),
            (Test::Absent, value) => value.is_none(),
            (Test::Contains(operand), Some(value)) => contains(value, operand),
            (Test::StartsWith(operand), Some(value)) => {
                value.as_immutable_string_ref().is_ok_and(|text| text.starts_with(operand.as_str()))
            }
            (Test::Order(..) | Test::Contains(_) | Test::StartsWith(_), None) => false,
        }
    }
}

struct Parser {
    left: usize,
}

impl Parser {
    fn filter(&mut self, filter: &Map, depth: usize) -> Result<Filter, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the filter is nested more than {DEPTH_MAX} levels deep"));
        }
        let mut parts = Vec::with_capacity(filter.len());
        for (name, operand) in filter {
            self.count()?;
            match name.as_str() {
                "$and" => parts.push(Filter::All(self.filters("$and", operand, depth)?)),
                "$or" => parts.push(Filter::Any(self.filters("$or", operand, depth)?)),
                "$not" => {
                    let part = operand.as_map_ref().map_err(|_| "$not takes a filter, a map")?;
                    parts.push(Filter::Not(Box::new(self.filter(&part, depth + 1)?)));
                }
                name if name.starts_with('$') => return Err(unknown(name)),
                path => parts.push(self.field(&Path::parse(path)?, operand, depth)?),
            }
        }
        if parts.len() == 1
            && let Some(part) = parts.pop()
        {
            return Ok(part);
        }
        Ok(Filter::All(parts))
    }

    fn filters(
        &mut self,
        name: &str,
        operand: &Dynamic,
        depth: usize,
    ) -> Result<Vec<Filter>, String> {
        let parts =
            operand.as_array_ref().map_err(|_| format!("{name} takes an array of filters"))?;
        if parts.is_empty() {
            return Err(format!("{name} takes an array of at least one filter"));
        }
        let mut filters = Vec::with_capacity(parts.len());
        for part in parts.iter() {
            let part =
                part.as_map_ref().map_err(|_| format!("{name} takes an array of filters"))?;
            filters.push(self.filter(&part, depth + 1)?);
        }
        Ok(filters)
    }

    fn field(&mut self, path: &Path, operand: &Dynamic, depth: usize) -> Result<Filter, String> {
        if depth > DEPTH_MAX {
            return Err(format!("the filter is nested more than {DEPTH_MAX} levels deep"));
        }
        let Ok(tests) = operand.as_map_ref() else {
            return Ok(Filter::Field(path.clone(), Test::Equal(value(operand)?)));
        };
        if !tests.keys().any(|name| name.starts_with('$')) {
            return Ok(Filter::Field(path.clone(), Test::Equal(value(operand)?)));
        }
        let mut parts = Vec::with_capacity(tests.len());
        for (name, operand) in tests.iter() {
            self.count()?;
            if name == "$not" {
                parts.push(Filter::Not(Box::new(self.field(path, operand, depth + 1)?)));
            } else {
                parts.push(Filter::Field(path.clone(), self.test(name, operand)?));
            }
        }
        Ok(Filter::All(parts))
    }

    fn test(&mut self, name: &str, operand: &Dynamic) -> Result<Test, String> {
        Ok(match name {
            "$eq" => Test::Equal(value(operand)?),
            "$ne" => Test::NotEqual(value(operand)?),
            "$gt" => Test::Order(Ordering::is_gt, ordered(name, operand)?),
            "$gte" => Test::Order(Ordering::is_ge, ordered(name, operand)?),
            "$lt" => Test::Order(Ordering::is_lt, ordered(name, operand)?),
            "$lte" => Test::Order(Ordering::is_le, ordered(name, operand)?),
            "$in" => {
                let operands =
                    operand.as_array_ref().map_err(|_| "$in takes an array of values")?;
                let mut values = Vec::with_capacity(operands.len().min(CONDITIONS_MAX));
                for operand in operands.iter() {
                    self.count()?;
                    values.push(value(operand)?);
                }
                Test::In(values)
            }
            "$exists" => match operand.as_bool() {
                Ok(true) => Test::Exists,
                Ok(false) => Test::Absent,
                Err(_) => return Err("$exists takes true or false".to_owned()),
            },
            "$contains" => Test::Contains(value(operand)?),
            "$starts_with" => match operand.as_immutable_string_ref() {
                Ok(text) => Test::StartsWith(text.clone()),
                Err(_) => return Err("$starts_with takes a string".to_owned()),
            },
            name if name.starts_with('$') => return Err(unknown(name)),
            name => {
                return Err(format!(
                    "\"{}\" stands beside an operator; write nested fields as a path with dots",
                    cut(name)
                ));
            }
        })
    }

    fn count(&mut self) -> Result<(), String> {
        self.left = self
            .left
            .checked_sub(1)
            .ok_or_else(|| format!("the filter has more than {CONDITIONS_MAX} conditions"))?;
        Ok(())
    }
}

/// An operand that something can be equal to.
fn value(operand: &Dynamic) -> Result<Dynamic, String> {
    if operand.is_fnptr() {
        return Err("a filter cannot hold a function".to_owned());
    }
    Ok(operand.flatten_clone())
}

/// An operand that has an order.
fn ordered(name: &str, operand: &Dynamic) -> Result<Dynamic, String> {
    let is_ordered = operand.is_int() || operand.is_float() || operand.is_string();
    if is_ordered { value(operand) } else { Err(format!("{name} takes a number or a string")) }
}

fn unknown(name: &str) -> String {
    format!("unknown operator \"{}\"; there are {OPERATORS}", cut(name))
}

fn cut(text: &str) -> String {
    text.chars().take(60).collect()
}

/// Numbers are equal by value, whether int or float.
fn equal(a: &Dynamic, b: &Dynamic, depth: usize) -> bool {
    if depth > crate::bounds::JSON_DEPTH_MAX {
        return false;
    }
    if let Some(order) = order(a, b) {
        return order.is_eq();
    }
    let kind = a.type_id();
    if kind != b.type_id() {
        return false;
    }
    if kind == TypeId::of::<()>() {
        true
    } else if kind == TypeId::of::<bool>() {
        a.as_bool() == b.as_bool()
    } else if kind == TypeId::of::<Array>() {
        let (Ok(a), Ok(b)) = (a.as_array_ref(), b.as_array_ref()) else { return false };
        a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| equal(a, b, depth + 1))
    } else if kind == TypeId::of::<Map>() {
        let (Ok(a), Ok(b)) = (a.as_map_ref(), b.as_map_ref()) else { return false };
        a.len() == b.len()
            && a.iter().zip(b.iter()).all(|(a, b)| a.0 == b.0 && equal(a.1, b.1, depth + 1))
    } else if kind == TypeId::of::<Blob>() {
        let (Ok(a), Ok(b)) = (a.as_blob_ref(), b.as_blob_ref()) else { return false };
        *a == *b
    } else {
        false
    }
}

/// The order of two numbers or of two strings.
fn order(a: &Dynamic, b: &Dynamic) -> Option<Ordering> {
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_int()) {
        return Some(a.cmp(&b));
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_float()) {
        return a.partial_cmp(&b);
    }
    if let (Ok(a), Ok(b)) = (a.as_int(), b.as_float()) {
        return int_to_float(a, b);
    }
    if let (Ok(a), Ok(b)) = (a.as_float(), b.as_int()) {
        return int_to_float(b, a).map(Ordering::reverse);
    }
    let a = a.as_immutable_string_ref().ok()?;
    let b = b.as_immutable_string_ref().ok()?;
    Some(a.as_str().cmp(b.as_str()))
}

/// Exact, also where a float cannot hold the integer.
#[allow(clippy::cast_possible_truncation, reason = "the float was found to be in range")]
fn int_to_float(int: i64, float: f64) -> Option<Ordering> {
    const BEYOND: f64 = 9_223_372_036_854_775_808.0;
    if float.is_nan() {
        return None;
    }
    if float >= BEYOND {
        return Some(Ordering::Less);
    }
    if float < -BEYOND {
        return Some(Ordering::Greater);
    }
    let whole = float.trunc();
    Some(int.cmp(&(whole as i64)).then(if float > whole {
        Ordering::Less
    } else if float < whole {
        Ordering::Greater
    } else {
        Ordering::Equal
    }))
}

fn contains(value: &Dynamic, operand: &Dynamic) -> bool {
    if let Ok(array) = value.as_array_ref() {
        return array.iter().any(|item| equal(item, operand, 0));
    }
    match (value.as_immutable_string_ref(), operand.as_immutable_string_ref()) {
        (Ok(text), Ok(part)) => text.contains(part.as_str()),
        _ => false,
    }
}

/// The order that `sort` puts values in: absent and null, then false, true, numbers, strings, all else.
pub(crate) fn sort_order(a: &Dynamic, b: &Dynamic) -> Ordering {
    fn rank(value: &Dynamic) -> u8 {
        if value.is_unit() {
            0
        } else if value.is_bool() {
            1
        } else if value.is_int() || value.is_float() {
            2
        } else if value.is_string() {
            3
        } else {
            4
        }
    }
    rank(a).cmp(&rank(b)).then_with(|| match (a.as_bool(), b.as_bool()) {
        (Ok(a), Ok(b)) => a.cmp(&b),
        _ => order(a, b).unwrap_or(Ordering::Equal),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::read::{Blobs, value};
    use crate::limits::RunLimits;

    fn read(json: &str) -> Dynamic {
        value(json, "the text", Blobs::Decoded, &RunLimits::default()).expect("it is JSON")
    }

    fn parse(json: &str) -> Result<Filter, String> {
        Filter::parse(&read(json).as_map_ref().expect("it is a map"))
    }

    #[test]
    fn filters_match_by_value_path_and_operator() {
        let document = read(
            r#"{"n":5,"f":5.0,"big":9007199254740993,"s":"five","t":true,"z":null,"a":[1,{"k":"v"}],"m":{"x":{"y":2}},"b":{"$base64":"AP8="}}"#,
        );
        for (filter, expected) in [
            ("{}", true),
            (r#"{"n":5}"#, true),
            (r#"{"n":5.0,"f":5}"#, true),
            (r#"{"n":"5"}"#, false),
            (r#"{"big":9007199254740992.0}"#, false),
            (r#"{"big":{"$gt":9007199254740992.0}}"#, true),
            (r#"{"z":null,"missing":null}"#, true),
            (r#"{"n":null}"#, false),
            (r#"{"m.x.y":2}"#, true),
            (r#"{"m":{"x":{"y":2}}}"#, true),
            (r#"{"m":{"x":{}}}"#, false),
            (r#"{"a.1.k":"v","a.0":1}"#, true),
            (r#"{"a.2":null,"a.x":null,"n.x":null}"#, true),
            (r#"{"a":[1,{"k":"v"}]}"#, true),
            (r#"{"b":{"$base64":"AP8="}}"#, true),
            (r#"{"n":{"$gt":4,"$lt":6,"$gte":5,"$lte":5.0}}"#, true),
            (r#"{"n":{"$gt":5}}"#, false),
            (r#"{"s":{"$gt":"f","$lt":"g"}}"#, true),
            (r#"{"s":{"$gt":1}}"#, false),
            (r#"{"missing":{"$lt":1}}"#, false),
            (r#"{"n":{"$ne":5}}"#, false),
            (r#"{"missing":{"$ne":5}}"#, true),
            (r#"{"missing":{"$ne":null}}"#, false),
            (r#"{"n":{"$in":[1,5]}}"#, true),
            (r#"{"n":{"$in":[]}}"#, false),
            (r#"{"missing":{"$in":[null]}}"#, true),
            (r#"{"z":{"$exists":true},"missing":{"$exists":false}}"#, true),
            (r#"{"a":{"$contains":{"k":"v"}},"s":{"$contains":"iv"}}"#, true),
            (r#"{"s":{"$starts_with":"fi"}}"#, true),
            (r#"{"n":{"$starts_with":"5"}}"#, false),
            (r#"{"n":{"$not":{"$gt":4}}}"#, false),
            (r#"{"n":{"$not":{"$gt":5}}}"#, true),
            (r#"{"n":{"$not":5}}"#, false),
            (r#"{"$not":{"n":6}}"#, true),
            (r#"{"$or":[{"n":6},{"s":"five"}]}"#, true),
            (r#"{"$and":[{"n":5},{"s":"six"}]}"#, false),
        ] {
            let matches = parse(filter).map(|filter| filter.matches(&document));
            assert_eq!(matches, Ok(expected), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter_is_refused_with_a_reason() {
        for (filter, reason) in [
            (r#"{"n":{"$gtt":1}}"#, "unknown operator \"$gtt\"; there are $eq"),
            (r#"{"$nor":[]}"#, "unknown operator \"$nor\""),
            (r#"{"n":{"$gt":1,"x":2}}"#, "\"x\" stands beside an operator"),
            (r#"{"n":{"$gt":[1]}}"#, "$gt takes a number or a string"),
            (r#"{"n":{"$in":5}}"#, "$in takes an array"),
            (r#"{"n":{"$exists":1}}"#, "$exists takes true or false"),
            (r#"{"n":{"$starts_with":1}}"#, "$starts_with takes a string"),
            (r#"{"$or":[]}"#, "$or takes an array of at least one filter"),
            (r#"{"$and":[5]}"#, "$and takes an array of filters"),
            (r#"{"$not":5}"#, "$not takes a filter"),
            (r#"{"a..b":5}"#, "the path \"a..b\" has an empty step"),
            (r#"{"a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q":5}"#, "has more than 16 steps"),
        ] {
            let refused = parse(filter).err().unwrap_or_default();
            assert!(
                refused.starts_with(reason) || refused.ends_with(reason),
                "{refused}: {filter}"
            );
        }
        let deep = format!("{}{{}}{}", r#"{"$not":"#.repeat(20), "}".repeat(20));
        assert_eq!(
            parse(&deep).err().as_deref(),
            Some("the filter is nested more than 16 levels deep")
        );
        let wide = format!(r#"{{"n":{{"$in":[{}1]}}}}"#, "1,".repeat(2_000));
        assert_eq!(parse(&wide).err().as_deref(), Some("the filter has more than 1000 conditions"));
    }

    /// Maps that look like filters, sensible or not.
    fn any_filter() -> impl Strategy<Value = String> {
        let name = prop_oneof![
            "[abn]",
            Just("a.b".to_owned()),
            Just("a.0".to_owned()),
            "\\$(eq|ne|gt|gte|lt|lte|in|exists|contains|starts_with|not|and|or|x)",
        ];
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            "-?[1-9][0-9]?",
            "[0-9]\\.[0-9]",
            "\"[ab]{0,2}\"",
        ];
        let value = leaf.prop_recursive(4, 24, 4, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4)
                    .prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::btree_map(name.clone(), inner, 0..4).prop_map(|map| {
                    let entries: Vec<String> =
                        map.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
                    format!("{{{}}}", entries.join(","))
                }),
            ]
        });
        proptest::collection::btree_map("[abn]|\\$(and|or|not)", value, 0..3).prop_map(|map| {
            let entries: Vec<String> = map.iter().map(|(k, v)| format!("\"{k}\":{v}")).collect();
            format!("{{{}}}", entries.join(","))
        })
    }

    proptest! {
        #[test]
        fn any_filter_matches_or_not_and_its_negation_the_other_way(filter in any_filter(), document in any_filter()) {
            let document = read(&document);
            if let Ok(parsed) = parse(&filter) {
                let negated = parse(&format!("{{\"$not\":{filter}}}")).expect("it was in order");
                prop_assert_ne!(parsed.matches(&document), negated.matches(&document));
            }
        }

        #[test]
        fn sorting_is_an_order(a in any_filter(), b in any_filter(), c in any_filter()) {
            let (a, b, c) = (read(&a), read(&b), read(&c));
            prop_assert_eq!(sort_order(&a, &b), sort_order(&b, &a).reverse());
            if sort_order(&a, &b).is_le() && sort_order(&b, &c).is_le() {
                prop_assert!(sort_order(&a, &c).is_le());
            }
        }

        #[test]
        fn numbers_compare_by_value(int in any::<i64>(), float in -1e19_f64..1e19) {
            let order = order(&int.into(), &float.into()).expect("numbers have an order");
            let (wide, whole) = (i128::from(int), float.trunc());
            #[allow(clippy::cast_possible_truncation, reason = "it is far within 128 bits")]
            let expected = wide.cmp(&(whole as i128)).then(whole.partial_cmp(&float).expect("it is a number"));
            prop_assert_eq!(order, expected);
        }
    }
}
