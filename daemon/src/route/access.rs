//! Who may call a route, and how often.
//!
//! An app and each of its routes have an [`Access`]. What a route does not say itself is its app's.

use serde::{Deserialize, Serialize};

use crate::ids::PrincipalId;
use crate::route::rate::Rate;

/// What an app says for all of its routes, or a route for itself.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Access {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
}

impl Access {
    /// How a route of `app` asks who calls.
    pub fn auth<'a>(&'a self, app: &'a Access) -> &'a Auth {
        self.auth.as_ref().or(app.auth.as_ref()).unwrap_or(&Auth::None)
    }

    /// How often each caller may call a route of `app`.
    pub fn rate(&self, app: &Access) -> Rate {
        self.rate.or(app.rate).unwrap_or(Rate::Unlimited)
    }
}

/// How a caller shows who it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// Not at all: everybody may call.
    None,
    /// By a token of a principal that may run scripts of the app.
    Token,
    /// By signing the body with a secret of the app, as webhooks do.
    Hmac(Hmac),
}

impl Auth {
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Token => "token",
            Self::Hmac(_) => "hmac",
        }
    }

    /// The header field, in lower case, that a caller signs in with.
    pub fn header(&self) -> Option<&str> {
        match self {
            Self::None => None,
            Self::Token => Some("authorization"),
            Self::Hmac(hmac) => Some(&hmac.header),
        }
    }
}

/// How requests are signed: HMAC-SHA256 over the body as it was sent, or over a time and the body.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hmac {
    /// The name of the app's secret that is the key.
    pub secret: Box<str>,
    /// Where the signature is, in lower case.
    pub header: Box<str>,
    /// Where the time of sending is, in lower case; `None`: beside the signature, as `t=`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp_header: Option<Box<str>>,
    /// What is signed: `{body}`, with `{timestamp}` before it when requests are good for a while only.
    pub signed: Box<str>,
    /// How far the time of sending may be from ours.
    pub tolerance_ms: i64,
}

/// Where [`Hmac::signed`] has the body, which is its end.
pub const BODY: &str = "{body}";
pub const TIMESTAMP: &str = "{timestamp}";

impl Hmac {
    /// Whether a request is good for a while only.
    pub fn is_timed(&self) -> bool {
        self.signed.contains(TIMESTAMP)
    }

    /// What is signed before the body.
    pub fn before_body(&self, timestamp: &str) -> String {
        self.signed.strip_suffix(BODY).unwrap_or_default().replace(TIMESTAMP, timestamp)
    }
}

/// Who has called, as far as the route asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Caller {
    Anybody,
    /// Who has shown a token.
    Bearer {
        principal: PrincipalId,
        name: Box<str>,
        token: Box<str>,
    },
    /// Whoever has this secret of the app.
    Signer {
        secret: Box<str>,
    },
}

impl Caller {
    /// Whose `Idempotency-Key` it is. Requests of two principals never answer each other.
    pub fn principal(&self) -> PrincipalId {
        match self {
            Self::Bearer { principal, .. } => *principal,
            Self::Anybody | Self::Signer { .. } => NOBODY,
        }
    }
}

/// Stands for callers that are no principals.
const NOBODY: PrincipalId = PrincipalId(0);

#[cfg(test)]
mod tests {
    use super::*;

    fn hmac(signed: &str) -> Hmac {
        Hmac {
            secret: "GITHUB".into(),
            header: "x-hub-signature-256".into(),
            timestamp_header: None,
            signed: signed.into(),
            tolerance_ms: 300_000,
        }
    }

    #[test]
    fn what_a_route_does_not_say_is_its_apps() {
        let says = |auth: Option<Auth>, rate: Option<&str>| Access {
            auth,
            rate: rate.map(|rate| rate.parse().expect("a rate")),
        };
        let (open, signed) = (Auth::None, Auth::Hmac(hmac(BODY)));
        for (route, app, auth, rate) in [
            (says(None, None), says(None, None), &open, "none"),
            (says(None, None), says(Some(signed.clone()), Some("1/s")), &signed, "1/s"),
            (
                says(Some(open.clone()), Some("none")),
                says(Some(signed.clone()), Some("1/s")),
                &open,
                "none",
            ),
            (says(Some(signed.clone()), Some("2/m")), says(None, Some("1/s")), &signed, "2/m"),
        ] {
            assert_eq!((route.auth(&app), route.rate(&app).to_string().as_str()), (auth, rate));
        }
    }

    #[test]
    fn what_is_signed_is_a_time_and_the_body() {
        for (signed, before, is_timed) in [
            ("{body}", "", false),
            ("{timestamp}.{body}", "17.", true),
            ("v0:{timestamp}:{body}", "v0:17:", true),
        ] {
            let hmac = hmac(signed);
            assert_eq!((hmac.before_body("17").as_str(), hmac.is_timed()), (before, is_timed));
        }
    }

    #[test]
    fn an_access_is_stored_and_read_back() {
        let access = Access { auth: Some(Auth::Hmac(hmac(BODY))), rate: "10/s".parse().ok() };
        let text = serde_json::to_string(&access).expect("it is JSON");
        assert_eq!(
            text,
            r#"{"auth":{"hmac":{"secret":"GITHUB","header":"x-hub-signature-256","signed":"{body}","tolerance_ms":300000}},"rate":"10/s"}"#
        );
        assert_eq!(serde_json::from_str::<Access>(&text).ok(), Some(access));
        assert_eq!(serde_json::from_str::<Access>("{}").ok(), Some(Access::default()));
    }
}
