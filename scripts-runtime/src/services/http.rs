//! `http::`: calls to the outside.

use rhai::{Dynamic, Engine, ImmutableString, Map, Module};

use crate::exec::ExecErrorKind;
use crate::fault::Fault;
use crate::json::write;
use crate::message::kind_of;
use crate::outside::{self, ListedCall, Outgoing, OutsideAnswer, OutsideCall};
use crate::run::{self, Run};
use crate::services::{duration_ms, unknown_option};

pub(crate) fn register(engine: &mut Engine) {
    let mut module = Module::new();
    functions!(module:
        "get" (url: ImmutableString) => run::calling(|run| {
            send(run, "http::get", Asked::new("GET", &url))
        });
        "post" (url: ImmutableString, body: Dynamic) => run::calling(|run| {
            let asked = Asked::new("POST", &url).with_body(run, &body)?;
            send(run, "http::post", asked)
        });
        "request" (options: Map) => run::calling(|run| {
            let asked = Asked::of(run, &options)?;
            send(run, "http::request", asked)
        });
    );
    engine.register_static_module("http", module.into());
}

/// A call before it has its number.
struct Asked {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    timeout_ms: Option<u64>,
}

impl Asked {
    fn new(method: &str, url: &str) -> Asked {
        Asked {
            method: method.to_ascii_uppercase(),
            url: url.to_owned(),
            headers: Vec::new(),
            body: None,
            timeout_ms: None,
        }
    }

    fn of(run: &Run, options: &Map) -> Result<Asked, Fault> {
        let known = "method, url, headers, body and timeout";
        unknown_option("http::request", known, options, |name| {
            matches!(name, "method" | "url" | "headers" | "body" | "timeout")
        })?;
        let text = |name: &str| options.get(name).map(|value| text_of(name, value)).transpose();
        let Some(url) = text("url")? else {
            return Err(Fault::thrown("http::request: url is missing"));
        };
        let mut asked = Asked::new(text("method")?.as_deref().unwrap_or("GET"), &url);
        if let Some(headers) = options.get("headers") {
            let Ok(headers) = headers.as_map_ref() else {
                return Err(Fault::thrown("headers takes a map"));
            };
            for (name, value) in headers.iter() {
                let value = text_of(&format!("the header {name}"), value)?;
                asked.headers.push((name.to_ascii_lowercase(), value.to_string()));
            }
        }
        if let Some(timeout) = options.get("timeout") {
            let ms = u64::try_from(duration_ms("timeout", timeout)?).unwrap_or(0);
            if ms == 0 {
                return Err(Fault::thrown("timeout is 0"));
            }
            asked.timeout_ms = Some(ms);
        }
        match options.get("body") {
            Some(body) => asked.with_body(run, body),
            None => Ok(asked),
        }
    }

    /// A string as it is, a blob as its bytes, `()` as nothing, all else as JSON.
    fn with_body(mut self, run: &Run, body: &Dynamic) -> Result<Asked, Fault> {
        if body.is_unit() {
            return Ok(self);
        }
        let (bytes, media) = if let Ok(text) = body.as_immutable_string_ref() {
            (text.as_bytes().to_vec(), "text/plain; charset=utf-8")
        } else if let Ok(blob) = body.as_blob_ref() {
            (blob.clone(), "application/octet-stream")
        } else {
            let json = write::text(body, "body", run.limits.string_bytes_max)
                .map_err(write::Unwritable::into_fault)?;
            (json.into_bytes(), "application/json")
        };
        self.body = Some(bytes);
        if !self.headers.iter().any(|(name, _)| name == "content-type") {
            self.headers.push(("content-type".to_owned(), media.to_owned()));
        }
        Ok(self)
    }

    fn listed(&self) -> ListedCall {
        ListedCall {
            method: self.method.clone(),
            url: outside::shown(&self.url),
            headers: self.headers.iter().map(|(name, _)| name.clone()).collect(),
            body_bytes: self.body.as_ref().map_or(0, Vec::len),
        }
    }
}

fn text_of(name: &str, value: &Dynamic) -> Result<ImmutableString, Fault> {
    let text = value.as_immutable_string_ref();
    text.map(|text| text.clone())
        .map_err(|_| Fault::Thrown(format!("{name} takes a string, not {}", kind_of(value))))
}

fn send(run: &mut Run, function: &str, asked: Asked) -> Result<Map, Fault> {
    let calls_max = run.limits.calls_max;
    if run.calls as usize >= calls_max {
        return Err(Fault::budget(format!(
            "calls the outside more than {calls_max} times, the limit of one run"
        )));
    }
    run.calls += 1;
    let shown = outside::shown(&asked.url);
    if run.outgoing == Outgoing::Listed {
        let listed = asked.listed();
        run.listed.push(ListedCall { url: run.mask.hide(&listed.url).into_owned(), ..listed });
        return Err(Fault::Fatal(
            ExecErrorKind::Unknown,
            format!("{function} {shown} is not sent in a dry run; what follows is unknown"),
        ));
    }
    let Asked { method, url, headers, body, timeout_ms } = asked;
    let call = OutsideCall { method, url, headers, body, timeout_ms, number: run.calls };
    let answered = run.host.call_outside(&call);
    // A deadline that has passed meanwhile ends the run, whatever the call gave.
    run.check_interrupt()?;
    run.check_memory()?;
    match answered {
        Ok(answer) => Ok(answer_map(answer)),
        Err(error) => Err(Fault::Thrown(format!("{function} {shown}: {error}"))),
    }
}

/// A body that is text as a string, any other as a blob. Fields that come more than once are joined by commas.
fn answer_map(answer: OutsideAnswer) -> Map {
    let mut headers = Map::new();
    for (name, value) in answer.headers {
        let joined = match headers.get(name.as_str()).map(ToString::to_string) {
            Some(before) => format!("{before}, {value}"),
            None => value,
        };
        headers.insert(name.as_str().into(), joined.into());
    }
    let body = match String::from_utf8(answer.body) {
        Ok(text) => text.into(),
        Err(binary) => Dynamic::from_blob(binary.into_bytes()),
    };
    Map::from([
        ("status".into(), i64::from(answer.status).into()),
        ("headers".into(), headers.into()),
        ("body".into(), body),
        ("url".into(), answer.url.into()),
    ])
}
