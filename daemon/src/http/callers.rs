//! Who calls, and how often: what a route asks of its caller before a request becomes a call.
//!
//! Whatever can be asked without the body is asked before it is read: the token, whether there is a signature that may be right, and
//! whether it is still the caller's turn. All of it is asked before a row exists.

use std::collections::HashSet;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{self, HeaderMap};
use ring::hmac::{Context, HMAC_SHA256, Key, sign, verify};

use crate::catalog::{App, Catalog};
use crate::groups::Groups;
use crate::http::problem::{Code, Problem};
use crate::ids::RouteId;
use crate::inbox::InboxFailureKind;
use crate::log::{field, message};
use crate::places::network;
use crate::principal::Capability;
use crate::route::Route;
use crate::route::access::{Auth, Caller, Hmac};
use crate::route::rate::{Counted, Meter, Rate};
use crate::time::{Clock, Timestamp};

/// Finds the value of a secret of an app, or says for its owner why there is none.
pub type Secrets = Box<
    dyn Fn(Arc<App>, Box<str>) -> Pin<Box<dyn Future<Output = Result<Arc<str>, String>> + Send>>
        + Send
        + Sync,
>;

/// What is known of callers, and of what they are asked.
pub struct Callers {
    clock: Arc<dyn Clock>,
    groups: Arc<Groups>,
    secrets: Secrets,
    meter: Mutex<Meter>,
    /// Routes of which the log says that their secret is missing.
    told: Mutex<HashSet<RouteId>>,
}

/// Routes that are remembered to have been told of.
const TOLD_MAX: usize = 1_000;
/// Signatures of one request that are looked at: a sender whose secret is being changed sends two.
const SIGNATURES_MAX: usize = 4;

/// A caller as far as it is known without the body.
pub(super) enum Asked<'r> {
    Known(Caller),
    Signs { hmac: &'r Hmac, claim: Claim },
}

impl Callers {
    /// `rates_max` is how many callers can be counted each for itself.
    pub fn new(
        clock: Arc<dyn Clock>,
        groups: Arc<Groups>,
        rates_max: usize,
        secrets: Secrets,
    ) -> Callers {
        let meter = Mutex::new(Meter::new(rates_max));
        Callers { clock, groups, secrets, meter, told: Mutex::default() }
    }

    /// Asks what can be asked before the body is read.
    pub(super) fn ask<'r>(
        &self,
        catalog: &Catalog,
        (app, route): (&'r App, &'r Route),
        headers: &HeaderMap,
    ) -> Result<Asked<'r>, Problem> {
        match route.access.auth(&app.access) {
            Auth::None => Ok(Asked::Known(Caller::Anybody)),
            Auth::Token => self.bearer(catalog, app, headers).map(Asked::Known),
            Auth::Hmac(hmac) => {
                let claim = claim(hmac, headers, self.clock.now())?;
                Ok(Asked::Signs { hmac, claim })
            }
        }
    }

    /// Who it is, now that the body is there.
    pub(super) async fn know(
        &self,
        (app, route): (&Arc<App>, &Route),
        asked: Asked<'_>,
        body: &[u8],
    ) -> Result<Caller, Problem> {
        let (hmac, claim) = match asked {
            Asked::Known(caller) => return Ok(caller),
            Asked::Signs { hmac, claim } => (hmac, claim),
        };
        let secret = (self.secrets)(Arc::clone(app), hmac.secret.clone()).await;
        let secret = secret.map_err(|why| self.cannot_check(app, route, &why))?;
        self.told.lock().expect("no panic while held").remove(&route.id);
        if claim.is_right(&Key::new(HMAC_SHA256, secret.as_bytes()), body) {
            return Ok(Caller::Signer { secret: hmac.secret.clone() });
        }
        let detail = format!("the signature in {} is not that of this body", hmac.header);
        Err(not_signed(hmac, &detail))
    }

    /// Who shows a token. Whom it stands for has to be allowed to run scripts of the app.
    fn bearer(&self, catalog: &Catalog, app: &App, headers: &HeaderMap) -> Result<Caller, Problem> {
        let mut shown = headers.get_all(header::AUTHORIZATION).iter();
        let (Some(one), None) = (shown.next(), shown.next()) else {
            return Err(not_known(app, "this route asks for a token, shown once"));
        };
        let found = catalog.bearer(one.to_str().unwrap_or_default(), self.clock.now());
        let (token, principal) = found.map_err(|why| not_known(app, &why))?;
        let by_group = |uid| self.groups.gives(uid, Capability::AppInvoke);
        if !principal.may(Capability::AppInvoke, Some(app.id))
            && !principal.uid.is_some_and(by_group)
        {
            let (name, slug) = (&token.name, &app.slug);
            let detail = format!("token \"{name}\" may not call routes of app \"{slug}\"");
            return Err(Problem::new(Code::NotAllowed, detail)
                .hint("its principal lacks AppInvoke there: `picloud principals grant`"));
        }
        let (principal, name) = (principal.id, Box::from(&*principal.name));
        Ok(Caller::Bearer { principal, name, token: Box::from(&*token.name) })
    }

    /// Counts the call of whoever it is.
    pub(super) fn count(
        &self,
        app: &App,
        route: &Route,
        asked: &Asked<'_>,
        peer: IpAddr,
    ) -> Result<(), Problem> {
        let rate = route.access.rate(&app.access);
        if rate == Rate::Unlimited {
            return Ok(());
        }
        let who = match asked {
            Asked::Known(Caller::Bearer { principal, .. }) => Counted::Principal(*principal),
            Asked::Known(Caller::Anybody | Caller::Signer { .. }) | Asked::Signs { .. } => {
                Counted::Address(network(peer))
            }
        };
        let mut meter = self.meter.lock().expect("no panic while held");
        meter.take(route.id, who, rate, self.clock.monotonic()).map_err(|wait| {
            let seconds = wait.as_millis().div_ceil(1_000).max(1);
            Problem::new(Code::RateLimited, format!("this route takes {rate} from each caller"))
                .hint(format!("try again in {seconds} s"))
                .with_header(header::RETRY_AFTER, &seconds.to_string())
        })
    }

    /// The owner is told once, and again when it had worked in between: each request can bring this about.
    fn cannot_check(&self, app: &App, route: &Route, why: &str) -> Problem {
        let mut told = self.told.lock().expect("no panic while held");
        if told.len() >= TOLD_MAX {
            told.clear();
        }
        if told.insert(route.id) {
            tracing::error!(
                { field::MESSAGE_ID } = message::CALLERS_UNCHECKED.0,
                { field::APP } = &*app.slug,
                { field::QUEUE } = route.id.0,
                { field::ERROR } = why,
                "requests are refused, since it cannot be checked who sends them: {} {}",
                route.method,
                route.path
            );
        }
        let code = Code::Engine(InboxFailureKind::Internal);
        Problem::new(code, "the daemon could not do its part")
            .hint("the owner of this machine finds the reason in its log")
    }
}

/// What a request says about its signature.
#[derive(Debug, PartialEq)]
pub(super) struct Claim {
    signatures: Vec<[u8; 32]>,
    /// What was signed before the body.
    before_body: String,
}

impl Claim {
    /// Whether somebody who has the key has signed this body.
    fn is_right(&self, key: &Key, body: &[u8]) -> bool {
        let mut right = Context::with_key(key);
        right.update(self.before_body.as_bytes());
        right.update(body);
        // Signed once more and compared by `verify`, which takes as long wherever the two differ.
        let right = sign(key, right.sign().as_ref());
        self.signatures.iter().any(|shown| verify(key, shown, right.as_ref()).is_ok())
    }
}

fn claim(hmac: &Hmac, headers: &HeaderMap, now: Timestamp) -> Result<Claim, Problem> {
    let values = headers.get_all(&*hmac.header).into_iter();
    let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
    let parts = || values.iter().flat_map(|value| value.split([',', ' ']));
    let signatures: Vec<[u8; 32]> = parts().filter_map(signature).take(SIGNATURES_MAX).collect();
    if signatures.is_empty() {
        let detail = format!("the request has no signature in {}", hmac.header);
        return Err(not_signed(hmac, &detail));
    }
    if !hmac.is_timed() {
        return Ok(Claim { signatures, before_body: hmac.before_body("") });
    }
    let (place, sent_at) = match &hmac.timestamp_header {
        Some(name) => (format!("in {name}"), headers.get(&**name).and_then(|at| at.to_str().ok())),
        None => (format!("as t= in {}", hmac.header), parts().find_map(|at| at.strip_prefix("t="))),
    };
    let seconds =
        sent_at.filter(|at| at.len() <= 12 && at.bytes().all(|byte| byte.is_ascii_digit()));
    let Some((sent_at, seconds)) = seconds.and_then(|at| Some((at, at.parse::<i64>().ok()?)))
    else {
        let detail = format!("the request has no time of sending {place}");
        return Err(not_signed(hmac, &detail));
    };
    let off_ms = now.ms_since(Timestamp(seconds * 1_000)).saturating_abs();
    if off_ms > hmac.tolerance_ms {
        let (off, most) = (off_ms / 1_000, hmac.tolerance_ms / 1_000);
        let detail = format!("the time of sending is {off} s off, {most} s are allowed");
        return Err(not_signed(hmac, &detail));
    }
    Ok(Claim { signatures, before_body: hmac.before_body(sent_at) })
}

/// A signature as hexadecimal digits, alone or as in `sha256=...`, or as Base64.
fn signature(part: &str) -> Option<[u8; 32]> {
    let digits = part.rsplit_once('=').map_or(part, |(_, digits)| digits);
    hexadecimal(digits).or_else(|| STANDARD.decode(part).ok()?.try_into().ok())
}

fn hexadecimal(digits: &str) -> Option<[u8; 32]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = digits.as_bytes().chunks(2);
    let bytes = pairs.map(|pair| match pair {
        [high, low] => Some((digit(*high)? << 4) | digit(*low)?),
        _ => None,
    });
    bytes.collect::<Option<Vec<u8>>>()?.try_into().ok()
}

fn not_known(app: &App, detail: &str) -> Problem {
    let challenge = format!("Bearer realm=\"{}\"", app.slug);
    Problem::new(Code::NotKnown, detail)
        .hint("send `Authorization: Bearer TOKEN`; the owner of this machine makes one with `picloud tokens create`")
        .with_header(header::WWW_AUTHENTICATE, &challenge)
}

fn not_signed(hmac: &Hmac, detail: &str) -> Problem {
    let challenge = format!("HMAC-SHA256 header=\"{}\"", hmac.header);
    Problem::new(Code::NotSigned, detail)
        .hint("sign the body as it is sent, with the secret that the owner of this machine has set")
        .with_header(header::WWW_AUTHENTICATE, &challenge)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
        let value = |text: &str| text.parse().expect("a value");
        fields.iter().map(|(name, text)| (name.parse().expect("a name"), value(text))).collect()
    }

    fn hmac(timestamp_header: Option<&str>, signed: &str) -> Hmac {
        Hmac {
            secret: "KEY".into(),
            header: "x-signature".into(),
            timestamp_header: timestamp_header.map(Box::from),
            signed: signed.into(),
            tolerance_ms: 300_000,
        }
    }

    const HEX: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F";

    fn bytes() -> [u8; 32] {
        std::array::from_fn(|at| u8::try_from(at).expect("32 fit"))
    }

    #[test]
    fn a_signature_is_found_in_the_forms_that_senders_use() {
        let base64 = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        for text in [HEX, &format!("sha256={HEX}"), &format!("v0={HEX}"), base64] {
            assert_eq!(signature(text), Some(bytes()), "{text}");
        }
        for text in ["", "sha256=", &HEX[1..], &format!("{HEX}00"), &base64[4..], "sha256=zz", "é"]
        {
            assert_eq!(signature(text), None, "{text}");
        }
    }

    #[test]
    fn what_a_request_claims_is_read_before_its_body() {
        let now = Timestamp(1_700_000_000_000);
        let plain = hmac(None, "{body}");
        let beside = hmac(None, "{timestamp}.{body}");
        let slack = hmac(Some("x-time"), "v0:{timestamp}:{body}");
        let one = format!("sha256={HEX}");
        let several = format!("t=1699999701,v1={HEX},v1={HEX},v0=old");
        let teams = format!("HMAC {HEX}");
        for (hmac, fields, expected) in [
            (&plain, vec![("x-signature", &*one)], Ok((1, ""))),
            (&plain, vec![("x-signature", &*one), ("x-signature", &*one)], Ok((2, ""))),
            (&plain, vec![("x-signature", &*teams)], Ok((1, ""))),
            (&plain, vec![], Err("no signature in x-signature")),
            (&plain, vec![("x-signature", "sha256=abc")], Err("no signature in x-signature")),
            (&plain, vec![("authorization", &*one)], Err("no signature in x-signature")),
            (&beside, vec![("x-signature", &*several)], Ok((2, "1699999701."))),
            (&beside, vec![("x-signature", &*one)], Err("no time of sending as t= in x-signature")),
            (
                &slack,
                vec![("x-signature", &*one), ("x-time", "1700000300")],
                Ok((1, "v0:1700000300:")),
            ),
            (
                &slack,
                vec![("x-signature", &*one), ("x-time", "1700000301")],
                Err("is 301 s off, 300 s"),
            ),
            (
                &slack,
                vec![("x-signature", &*one), ("x-time", "1699999699")],
                Err("is 301 s off, 300 s"),
            ),
            (
                &slack,
                vec![("x-signature", &*one), ("x-time", "-1")],
                Err("no time of sending in x-time"),
            ),
            (&slack, vec![("x-signature", &*one), ("x-time", "")], Err("no time of sending")),
            (&slack, vec![("x-signature", &*one), ("x-time", "9999999999999")], Err("no time of")),
            (&slack, vec![("x-signature", &*one)], Err("no time of sending in x-time")),
        ] {
            let found = claim(hmac, &headers(&fields), now);
            match (found, expected) {
                (Ok(claim), Ok((count, before))) => {
                    assert_eq!(claim.signatures, vec![bytes(); count], "{fields:?}");
                    assert_eq!(claim.before_body, before, "{fields:?}");
                }
                (Err(problem), Err(expected)) => {
                    assert_eq!(problem.status(), 401);
                    assert!(problem.json().contains(expected), "{}", problem.json());
                }
                (found, _) => panic!("{fields:?}: {found:?}"),
            }
        }
    }

    /// RFC 4231, test cases 1 and 2.
    #[test]
    fn a_right_signature_is_known_and_a_wrong_one_is_not() {
        let sha = |text: &str| hexadecimal(text).expect("it is one");
        for (key, body, shown) in [
            (
                &[0x0b; 20][..],
                "Hi There",
                sha("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"),
            ),
            (
                b"Jefe",
                "what do ya want for nothing?",
                sha("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"),
            ),
        ] {
            let is_right = |signatures: &[[u8; 32]], body: &str| {
                let claim = Claim { signatures: signatures.to_vec(), before_body: String::new() };
                claim.is_right(&Key::new(HMAC_SHA256, key), body.as_bytes())
            };
            assert!(is_right(&[shown], body) && is_right(&[[0; 32], shown], body));
            let (mut first, mut last) = (shown, shown);
            first[0] ^= 1;
            last[31] ^= 1;
            for wrong in [[0; 32], first, last] {
                assert!(!is_right(&[wrong], body));
            }
            assert!(!is_right(&[shown], &body[1..]) && !is_right(&[], body));
            let timed = Claim { signatures: vec![shown], before_body: body[..2].to_owned() };
            assert!(timed.is_right(&Key::new(HMAC_SHA256, key), &body.as_bytes()[2..]));
        }
    }
}
