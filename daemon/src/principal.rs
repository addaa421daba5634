//! Who acts, and what they may do.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::ids::{AppId, PrincipalId, TokenId};
use crate::time::Timestamp;

/// What a call or a script asks for. Granted for one app or for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Capability {
    InstanceAdmin,
    AppRead,
    /// Create, deploy, delete.
    AppWrite,
    AppManageScripts,
    AppManageRoutes,
    AppManageTriggers,
    /// KV and documents.
    AppData,
    AppSecrets,
    AppInvoke,
    OutboxManage,
    DeadLettersResolve,
    PrincipalsManage,
}

impl Capability {
    pub const ALL: [Capability; 12] = [
        Self::InstanceAdmin,
        Self::AppRead,
        Self::AppWrite,
        Self::AppManageScripts,
        Self::AppManageRoutes,
        Self::AppManageTriggers,
        Self::AppData,
        Self::AppSecrets,
        Self::AppInvoke,
        Self::OutboxManage,
        Self::DeadLettersResolve,
        Self::PrincipalsManage,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::InstanceAdmin => "InstanceAdmin",
            Self::AppRead => "AppRead",
            Self::AppWrite => "AppWrite",
            Self::AppManageScripts => "AppManageScripts",
            Self::AppManageRoutes => "AppManageRoutes",
            Self::AppManageTriggers => "AppManageTriggers",
            Self::AppData => "AppData",
            Self::AppSecrets => "AppSecrets",
            Self::AppInvoke => "AppInvoke",
            Self::OutboxManage => "OutboxManage",
            Self::DeadLettersResolve => "DeadLettersResolve",
            Self::PrincipalsManage => "PrincipalsManage",
        }
    }
}

impl std::str::FromStr for Capability {
    type Err = String;

    fn from_str(text: &str) -> Result<Capability, String> {
        let found = Capability::ALL.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| {
            let known = Capability::ALL.map(Capability::as_str);
            match picloud_api::text::nearest(text, known) {
                Some(meant) => {
                    format!("there is no capability \"{text}\"; did you mean {meant}?")
                }
                None => {
                    format!("there is no capability \"{text}\"; known are {}", known.join(", "))
                }
            }
        })
    }
}

/// Somebody who is known: a uid on the socket, or whom a token stands for.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    pub id: PrincipalId,
    pub name: String,
    /// The uid by which the socket knows this principal.
    pub uid: Option<u32>,
    pub grants: Vec<Grant>,
}

/// One capability, in one app or (`None`) in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Grant {
    pub capability: Capability,
    pub app: Option<AppId>,
}

impl Principal {
    /// In one app at least.
    pub fn may_somewhere(&self, capability: Capability) -> bool {
        self.grants.iter().any(|grant| {
            grant.capability == capability || grant.capability == Capability::InstanceAdmin
        })
    }

    /// `InstanceAdmin` contains every other capability.
    pub fn may(&self, capability: Capability, app: Option<AppId>) -> bool {
        self.grants.iter().any(|grant| {
            (grant.capability == capability || grant.capability == Capability::InstanceAdmin)
                && (grant.app.is_none() || grant.app == app)
        })
    }

    /// Whether it may do everything that a grant allows.
    pub fn has(&self, grant: &Grant) -> bool {
        self.may(grant.capability, grant.app)
    }
}

/// A bearer token: whoever shows its secret is its principal.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub hash: TokenHash,
    pub principal: PrincipalId,
    pub created_at: Timestamp,
    /// `None`: never.
    pub expires_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

impl Token {
    pub fn state(&self, now: Timestamp) -> TokenState {
        match (self.revoked_at, self.expires_at) {
            (Some(at), _) => TokenState::Revoked { at },
            (None, Some(at)) if at <= now => TokenState::Expired { at },
            (None, Some(_) | None) => TokenState::Valid,
        }
    }
}

/// Whether a token can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    Valid,
    Expired { at: Timestamp },
    Revoked { at: Timestamp },
}

/// What is kept of a token's secret: its SHA-256 in hexadecimal digits. A secret has 256 random bits, so a plain hash
/// cannot be guessed backwards, and looking it up by the hash tells a listener nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenHash(pub Box<str>);

/// What every secret begins with, so that it is known where it should not be.
const SECRET_PREFIX: &str = "pct_";

impl TokenHash {
    /// Of a secret as its owner has it; `None` if it is none.
    pub fn of(secret: &str) -> Option<TokenHash> {
        use sha2::{Digest as _, Sha256};
        let random = secret.strip_prefix(SECRET_PREFIX)?;
        let random = URL_SAFE_NO_PAD.decode(random).ok().filter(|bytes| bytes.len() == 32)?;
        let digest = Sha256::digest(&random);
        Some(TokenHash(digest.iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

/// Random bits as the text that its owner gets.
pub fn secret_text(random: &[u8; 32]) -> String {
    format!("{SECRET_PREFIX}{}", URL_SAFE_NO_PAD.encode(random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_of_a_secret_is_found_again_and_nothing_else_is_a_secret() {
        let secret = secret_text(&[7; 32]);
        assert_eq!(secret, "pct_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc");
        let hash = TokenHash::of(&secret).expect("it is one");
        assert_eq!(Some(&hash), TokenHash::of(&secret_text(&[7; 32])).as_ref());
        assert_ne!(Some(&hash), TokenHash::of(&secret_text(&[8; 32])).as_ref());
        assert!(!hash.0.contains("BwcH") && hash.0.len() == 64);
        for text in ["", "pct_", &secret[..46], &secret[4..], &format!("{secret}A"), "pct_ä"] {
            assert_eq!(TokenHash::of(text), None, "{text}");
        }
    }

    #[test]
    fn a_token_is_valid_until_it_expires_or_is_revoked() {
        let at = |expires_at, revoked_at| {
            let token = Token {
                id: TokenId(1),
                name: "phone".to_owned(),
                hash: TokenHash::of(&secret_text(&[7; 32])).expect("it is one"),
                principal: PrincipalId(2),
                created_at: Timestamp(0),
                expires_at,
                revoked_at,
            };
            token.state(Timestamp(10))
        };
        assert_eq!(at(None, None), TokenState::Valid);
        assert_eq!(at(Some(Timestamp(11)), None), TokenState::Valid);
        assert_eq!(at(Some(Timestamp(10)), None), TokenState::Expired { at: Timestamp(10) });
        let revoked = TokenState::Revoked { at: Timestamp(3) };
        assert_eq!(at(Some(Timestamp(2)), Some(Timestamp(3))), revoked);
    }

    #[test]
    fn a_capability_is_read_back_from_its_name_and_a_wrong_name_is_explained() {
        for one in Capability::ALL {
            assert_eq!(one.as_str().parse(), Ok(one));
        }
        assert_eq!(
            "AppRed".parse::<Capability>(),
            Err("there is no capability \"AppRed\"; did you mean AppRead?".to_owned())
        );
        assert!("x".parse::<Capability>().is_err_and(|error| error.contains("known are Ins")));
    }
}
