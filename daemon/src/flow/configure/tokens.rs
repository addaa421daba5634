//! Tokens: how they are made and end. The secret never comes here, only its hash.

use std::sync::Arc;

use picloud_api::tokens::{TokenAnswer, TokenItem};

use crate::catalog::Catalog;
use crate::flow::configure::people::{self, Act, Wish};
use crate::flow::configure::{Audit, CatalogChange, Planned, Unfit};
use crate::ids::{PrincipalId, TokenId};
use crate::limits::AdminLimits;
use crate::principal::{Grant, Principal, Token, TokenHash, TokenState};
use crate::time::Timestamp;

/// For how long a token that has ended is kept, so that whoever still uses it is told why it does not work.
const ENDED_KEPT_MS: i64 = 30 * 24 * 3_600_000;

/// A token that is to be made.
pub struct NewToken {
    /// `None`: one is made up.
    pub name: Option<String>,
    pub hash: TokenHash,
    pub stands_for: StandsFor,
    /// How long it is valid; `None`: until it is revoked.
    pub valid_ms: Option<i64>,
}

/// Whose token it is.
pub enum StandsFor {
    /// A principal that is known, by name or number.
    Known(String),
    /// A new principal with the token's name, which may do this.
    New(Vec<Wish>),
}

/// Makes a token. It can never do more than who makes it.
pub fn plan_create(
    catalog: &Catalog,
    act: &Act<'_>,
    wanted: NewToken,
    limits: &AdminLimits,
    next: i64,
) -> Result<Planned<TokenItem>, Unfit> {
    let id = TokenId(next);
    let name = wanted.name.unwrap_or_else(|| format!("token-{id}"));
    let mut changes = swept(catalog, &name, limits, act.now)?;
    let (principal, next) = match wanted.stands_for {
        StandsFor::Known(known) => {
            let principal = people::called(catalog, &known)?;
            no_more_than(catalog, act, principal)?;
            (Arc::clone(principal), next + 1)
        }
        StandsFor::New(wishes) => {
            let new = (name.as_str(), PrincipalId(next + 1));
            let mut principal = people::new(catalog, new, limits.principals_max)?;
            principal.grants = people::given(catalog, act, &wishes)?;
            changes.push(CatalogChange::PutPrincipal(principal.clone()));
            (Arc::new(principal), next + 2)
        }
    };
    let token = Token {
        id,
        name,
        hash: wanted.hash,
        principal: principal.id,
        created_at: act.now,
        expires_at: wanted.valid_ms.map(|ms| act.now.plus_ms(ms)),
        revoked_at: None,
    };
    let answer = item(&token, &principal.name, act.now);
    changes.push(audit(act, "create", &answer));
    changes.push(CatalogChange::PutToken(token));
    Ok(Planned { changes, answer, next })
}

/// A token of a principal with more rights than its maker's would raise the maker.
fn no_more_than(catalog: &Catalog, act: &Act<'_>, principal: &Principal) -> Result<(), Unfit> {
    let by_group = principal.uid.map(act.by_group).unwrap_or_default();
    let by_group = by_group.into_iter().map(|capability| Grant { capability, app: None });
    for grant in principal.grants.iter().cloned().chain(by_group) {
        let slug = |app| catalog.apps.get(&app).map_or("that is gone", |app| &*app.slug);
        people::has(act.by, &grant, grant.app.map(slug))?;
    }
    Ok(())
}

/// Removes tokens that ended long ago, and one of this name that has ended. Refuses when there are too many, or when
/// the name is that of a valid one.
fn swept(
    catalog: &Catalog,
    name: &str,
    limits: &AdminLimits,
    now: Timestamp,
) -> Result<Vec<CatalogChange>, Unfit> {
    let mut gone = Vec::new();
    for token in catalog.tokens.values() {
        let ended_at = match token.state(now) {
            TokenState::Valid if token.name == name => {
                return Err(Unfit::NameTaken { kind: "token", name: name.to_owned() });
            }
            TokenState::Valid => continue,
            TokenState::Expired { at } | TokenState::Revoked { at } => at,
        };
        if token.name == name || now.ms_since(ended_at) > ENDED_KEPT_MS {
            gone.push(token.id);
        }
    }
    let max = limits.tokens_max;
    if catalog.tokens.len() - gone.len() >= max {
        return Err(Unfit::LimitReached { kind: "tokens", max });
    }
    gone.sort_unstable();
    Ok(gone.into_iter().map(CatalogChange::DeleteToken).collect())
}

/// Ends a token, by name or number, from now on. Whoever manages principals may end every one.
pub fn plan_revoke(
    catalog: &Catalog,
    act: &Act<'_>,
    name: &str,
) -> Result<Planned<TokenAnswer>, Unfit> {
    let mut tokens = catalog.tokens.values();
    let by_number = |one: &&Arc<Token>| Ok(one.id.0) == name.parse();
    let found = tokens.find(|one| one.name == name);
    let found = found.or_else(|| catalog.tokens.values().find(by_number));
    let token = found.ok_or_else(|| Unfit::NoSuchToken(name.to_owned()))?;
    if token.revoked_at.is_some() {
        let answer = TokenAnswer { changed: false, token: shown(catalog, token, act.now) };
        return Ok(Planned { changes: Vec::new(), answer, next: 0 });
    }
    let token = Token { revoked_at: Some(act.now), ..Token::clone(token) };
    let answer = TokenAnswer { changed: true, token: shown(catalog, &token, act.now) };
    let audit = audit(act, "revoke", &answer.token);
    Ok(Planned { changes: vec![CatalogChange::PutToken(token), audit], answer, next: 0 })
}

/// A token as people see it.
pub fn shown(catalog: &Catalog, token: &Token, now: Timestamp) -> TokenItem {
    let principal = catalog.principals.get(&token.principal);
    item(token, principal.map_or("", |principal| &principal.name), now)
}

fn item(token: &Token, principal: &str, now: Timestamp) -> TokenItem {
    let state = match token.state(now) {
        TokenState::Valid => "valid",
        TokenState::Expired { .. } => "expired",
        TokenState::Revoked { .. } => "revoked",
    };
    TokenItem {
        id: token.id.0,
        name: token.name.clone(),
        principal: principal.to_owned(),
        state: state.to_owned(),
        created_at: token.created_at.0,
        expires_at: token.expires_at.map(|at| at.0),
        revoked_at: token.revoked_at.map(|at| at.0),
    }
}

fn audit(act: &Act<'_>, action: &str, token: &TokenItem) -> CatalogChange {
    let detail =
        serde_json::json!({ "principal": token.principal, "expires_at": token.expires_at });
    CatalogChange::Audit(Audit {
        at: act.now,
        principal: act.by.id,
        action: action.to_owned(),
        object: format!("token {}", token.name),
        detail: detail.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::configure::deploy::tests::{apply, deployed};
    use crate::principal::{Capability, secret_text};

    const NOW: Timestamp = Timestamp(1_000);

    fn wanted(name: Option<&str>, byte: u8, stands_for: StandsFor) -> NewToken {
        let hash = TokenHash::of(&secret_text(&[byte; 32])).expect("it is a secret");
        NewToken { name: name.map(str::to_owned), hash, stands_for, valid_ms: Some(500) }
    }

    fn readers() -> StandsFor {
        StandsFor::New(vec![(Capability::AppRead, None)])
    }

    fn act(by: &Principal, now: Timestamp) -> Act<'_> {
        const ADMIN: fn(u32) -> Vec<Capability> = |uid| match uid {
            1002 => vec![Capability::InstanceAdmin],
            _ => Vec::new(),
        };
        Act { by, owners: &[0], by_group: &ADMIN, now }
    }

    fn root(catalog: &Catalog) -> Principal {
        people::of_uid(catalog, 0).expect("root is known").clone()
    }

    fn create(
        catalog: &Catalog,
        token: NewToken,
        now: Timestamp,
    ) -> Result<Planned<TokenItem>, Unfit> {
        let limits = AdminLimits { tokens_max: 2, ..AdminLimits::default() };
        plan_create(catalog, &act(&root(catalog), now), token, &limits, 500)
    }

    #[test]
    fn a_token_with_grants_of_its_own_has_a_principal_of_its_own() {
        let (catalog, _) = deployed();
        let planned = create(&catalog, wanted(None, 1, readers()), NOW).expect("root may");
        assert_eq!(planned.next, 502);
        let TokenItem { name, principal, state, expires_at, .. } = planned.answer;
        assert_eq!((name.as_str(), principal.as_str()), ("token-500", "token-500"));
        assert_eq!((state.as_str(), expires_at), ("valid", Some(1_500)));
        let catalog = apply(catalog, planned.changes);
        let token = catalog.tokens.values().next().expect("it is there");
        let grant = Grant { capability: Capability::AppRead, app: None };
        assert_eq!(catalog.principals[&token.principal].grants, [grant]);
    }

    #[test]
    fn p8_a_token_never_does_more_than_who_makes_it() {
        let (catalog, _) = deployed();
        let member = people::plan_member(&catalog, 1002, "anna", 600);
        let catalog = apply(catalog, member.changes);
        let manager = Principal {
            id: PrincipalId(700),
            name: "manager".to_owned(),
            uid: None,
            grants: vec![Grant { capability: Capability::PrincipalsManage, app: None }],
        };
        let limits = AdminLimits::default();
        for stands_for in [
            readers(),
            StandsFor::Known("root".to_owned()),
            // She may everything, by her group only.
            StandsFor::Known("anna".to_owned()),
        ] {
            let token = wanted(Some("x"), 1, stands_for);
            let refused = plan_create(&catalog, &act(&manager, NOW), token, &limits, 800);
            assert!(matches!(refused, Err(Unfit::NotYours { .. })));
        }
    }

    #[test]
    fn a_revoked_token_stays_for_a_while_and_gives_its_name_free() {
        let (mut catalog, _) = deployed();
        let made = create(&catalog, wanted(Some("phone"), 1, readers()), NOW).expect("root may");
        catalog = apply(catalog, made.changes);
        let known = || StandsFor::Known("phone".to_owned());
        let taken = create(&catalog, wanted(Some("phone"), 2, known()), NOW).err();
        assert!(matches!(taken, Some(Unfit::NameTaken { kind: "token", .. })));
        let by = root(&catalog);
        let revoke = |catalog: &Catalog, name: &str| plan_revoke(catalog, &act(&by, NOW), name);
        let revoked = revoke(&catalog, "500").expect("it is there");
        assert_eq!((revoked.answer.changed, &*revoked.answer.token.state), (true, "revoked"));
        catalog = apply(catalog, revoked.changes);
        assert!(!revoke(&catalog, "phone").expect("it is there").answer.changed);
        assert!(matches!(revoke(&catalog, "tablet"), Err(Unfit::NoSuchToken(_))));
        let again = create(&catalog, wanted(Some("phone"), 2, known()), NOW).expect("it is free");
        assert!(matches!(again.changes[0], CatalogChange::DeleteToken(TokenId(500))));
    }

    #[test]
    fn p7_tokens_have_a_limit_and_those_that_ended_long_ago_make_room() {
        let (mut catalog, _) = deployed();
        for (byte, name) in [(1, "a"), (2, "b")] {
            let mut token = wanted(Some(name), byte, StandsFor::Known("root".to_owned()));
            token.valid_ms = Some(500 + i64::from(byte));
            let limits = AdminLimits::default();
            let by = root(&catalog);
            let next = 500 + i64::from(byte);
            let made = plan_create(&catalog, &act(&by, NOW), token, &limits, next);
            catalog = apply(catalog, made.expect("root may").changes);
        }
        let third =
            |now| create(&catalog, wanted(Some("c"), 3, StandsFor::Known("root".to_owned())), now);
        assert_eq!(third(NOW).err(), Some(Unfit::LimitReached { kind: "tokens", max: 2 }));
        let later = Timestamp(1_502 + ENDED_KEPT_MS);
        let planned = third(later).expect("one has ended long ago");
        assert!(matches!(planned.changes[0], CatalogChange::DeleteToken(TokenId(501))));
        assert!(!matches!(planned.changes[1], CatalogChange::DeleteToken(_)));
    }
}
