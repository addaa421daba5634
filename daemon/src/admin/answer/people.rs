//! Answers about principals, tokens and the audit log.

use std::sync::Arc;

use picloud_api::audit::AuditItem;
use picloud_api::list::Page;
use picloud_api::principals::{
    GrantItem, GrantRequest, PrincipalAnswer, PrincipalItem, PrincipalRequest,
};
use picloud_api::problem::{Code, Problem};
use picloud_api::tokens::{TokenAnswer, TokenItem, TokenMade, TokenRequest};

use crate::admin::answer::limit;
use crate::admin::calls::Request;
use crate::admin::engine::Engine;
use crate::admin::refuse;
use crate::catalog::Catalog;
use crate::flow::configure::people::{self, Act, Wish};
use crate::flow::configure::tokens::{self, NewToken, StandsFor};
use crate::flow::configure::{Planned, Unfit};
use crate::manifest::words;
use crate::principal::{Capability, TokenHash, secret_text};

/// The longest that a token can be asked to be valid.
const VALID_MS_MAX: i64 = 3_650 * 24 * 3_600_000;

pub(super) fn principals(
    engine: &Engine,
    request: &Request,
) -> Result<Page<PrincipalItem>, Problem> {
    acting(engine, request, |act| {
        let all = request.catalog.principals.values();
        page(engine, request, all.map(|one| (one.id.0, one)), |one| {
            people::shown(&request.catalog, one, act)
        })
    })
}

pub(super) fn principal(engine: &Engine, request: &Request) -> Result<PrincipalItem, Problem> {
    let found = people::called(&request.catalog, request.segment("name")?);
    let found = found.map_err(|unfit| refuse::unfit(&unfit))?;
    Ok(acting(engine, request, |act| people::shown(&request.catalog, found, act)))
}

pub(super) async fn create_principal(
    engine: &Engine,
    request: &Request,
) -> Result<PrincipalAnswer, Problem> {
    let body: PrincipalRequest = request.body(Code::BadRequest)?;
    let name = name(&body.name)?;
    let wishes = wishes(body.grants)?;
    let max = engine.limits.principals_max;
    change(engine, request, move |catalog, act, next| {
        people::plan_create(catalog, act, (&name, body.uid, &wishes), max, next)
    })
    .await
}

pub(super) async fn delete_principal(
    engine: &Engine,
    request: &Request,
) -> Result<PrincipalAnswer, Problem> {
    let name = request.segment("name")?.to_owned();
    change(engine, request, move |catalog, act, _| people::plan_delete(catalog, act, &name)).await
}

pub(super) async fn grant(engine: &Engine, request: &Request) -> Result<PrincipalAnswer, Problem> {
    let (name, wishes) = whom_and_what(request)?;
    change(engine, request, move |catalog, act, _| people::plan_grant(catalog, act, &name, &wishes))
        .await
}

pub(super) async fn revoke(engine: &Engine, request: &Request) -> Result<PrincipalAnswer, Problem> {
    let (name, wishes) = whom_and_what(request)?;
    change(engine, request, move |catalog, act, _| {
        people::plan_revoke(catalog, act, &name, &wishes)
    })
    .await
}

fn whom_and_what(request: &Request) -> Result<(String, Vec<Wish>), Problem> {
    let body: GrantRequest = request.body(Code::BadRequest)?;
    let name = request.segment("name")?.to_owned();
    if body.capabilities.is_empty() {
        return Err(Problem::new(Code::BadRequest, "capabilities is empty; name one at least"));
    }
    let app = body.app;
    let item = |capability| GrantItem { capability, app: app.clone() };
    Ok((name, wishes(body.capabilities.into_iter().map(item).collect())?))
}

pub(super) fn tokens(engine: &Engine, request: &Request) -> Result<Page<TokenItem>, Problem> {
    let now = engine.clock.now();
    let all = request.catalog.tokens.values();
    page(engine, request, all.map(|one| (one.id.0, one)), |one| {
        tokens::shown(&request.catalog, one, now)
    })
}

pub(super) async fn create_token(engine: &Engine, request: &Request) -> Result<TokenMade, Problem> {
    let body: TokenRequest = request.body(Code::BadRequest)?;
    let wrong = |detail: String| Problem::new(Code::BadRequest, detail);
    let stands_for = match body.principal {
        Some(principal) if body.grants.is_empty() => StandsFor::Known(principal),
        None if !body.grants.is_empty() => StandsFor::New(wishes(body.grants)?),
        Some(_) | None => {
            return Err(wrong("give either a principal or grants".to_owned()));
        }
    };
    let valid_ms = match body.expires {
        Some(text) => match words::duration_ms("expires", &text).map_err(wrong)? {
            ms if (1..=VALID_MS_MAX).contains(&ms) => Some(ms),
            _ => return Err(wrong(format!("expires \"{text}\" is not within 1ms to 3650d"))),
        },
        None => None,
    };
    let name = body.name.as_deref().map(name).transpose()?;
    let secret = secret_text(&engine.ids.secret());
    let hash = TokenHash::of(&secret).expect("it was made as one");
    let wanted = NewToken { name, hash, stands_for, valid_ms };
    let limits = engine.limits.clone();
    let token = change(engine, request, move |catalog, act, next| {
        tokens::plan_create(catalog, act, wanted, &limits, next)
    });
    Ok(TokenMade { token: token.await?, secret })
}

pub(super) async fn revoke_token(
    engine: &Engine,
    request: &Request,
) -> Result<TokenAnswer, Problem> {
    let name = request.segment("name")?.to_owned();
    change(engine, request, move |catalog, act, _| tokens::plan_revoke(catalog, act, &name)).await
}

/// The newest first; the cursor is the number before.
pub(super) async fn audit(engine: &Engine, request: &Request) -> Result<Page<AuditItem>, Problem> {
    let limit = limit(&request.query()?)?;
    let found = engine.audit(after(request)?, limit).await?;
    let next = found.last().filter(|_| found.len() == limit).map(|last| last.id.to_string());
    let items = found.into_iter().map(|row| AuditItem {
        id: row.id,
        at: row.audit.at.0,
        principal: row
            .name
            .map_or_else(|| by(&request.catalog, row.audit.principal), |name| name.to_string()),
        action: row.audit.action,
        object: row.audit.object,
        detail: serde_json::from_str(&row.audit.detail).unwrap_or_default(),
    });
    Ok(Page { items: items.collect(), next, now: engine.clock.now().0 })
}

/// Of entries from before names were kept.
fn by(catalog: &Catalog, id: crate::ids::PrincipalId) -> String {
    catalog.principals.get(&id).map_or_else(|| format!("principal {id}"), |one| one.name.clone())
}

/// A page of what is in memory, in the order of the numbers.
fn page<'a, T: 'a, I>(
    engine: &Engine,
    request: &Request,
    all: impl Iterator<Item = (i64, &'a Arc<T>)>,
    item: impl Fn(&T) -> I,
) -> Result<Page<I>, Problem> {
    let limit = limit(&request.query()?)?;
    let after = after(request)?.unwrap_or(i64::MIN);
    let mut found: Vec<(i64, &Arc<T>)> = all.filter(|(id, _)| *id > after).collect();
    found.sort_by_key(|(id, _)| *id);
    let next = (found.len() > limit).then(|| found[limit - 1].0.to_string());
    let items = found.into_iter().take(limit).map(|(_, one)| item(one)).collect();
    Ok(Page { items, next, now: engine.clock.now().0 })
}

fn after(request: &Request) -> Result<Option<i64>, Problem> {
    let query: picloud_api::list::PageQuery = request.query()?;
    let parse = |after: String| {
        after.parse().map_err(|_| {
            Problem::new(Code::BadRequest, format!("after=\"{after}\" is no cursor of this list"))
        })
    };
    query.after.map(parse).transpose()
}

/// The name of a new principal or token: no number, since those are found by their number, too.
fn name(text: &str) -> Result<String, Problem> {
    let wrong = |detail| Problem::new(Code::BadRequest, detail);
    let name = words::name(text).map_err(wrong)?;
    if name.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong(format!("name \"{name}\" needs a letter")));
    }
    Ok(name.to_string())
}

fn wishes(grants: Vec<GrantItem>) -> Result<Vec<Wish>, Problem> {
    let wish = |grant: GrantItem| {
        let capability: Capability = grant.capability.parse()?;
        Ok((capability, grant.app))
    };
    let wishes: Result<Vec<Wish>, String> = grants.into_iter().map(wish).collect();
    wishes.map_err(|detail| Problem::new(Code::BadRequest, detail))
}

/// Plans a change as the caller, and commits it.
async fn change<T, P>(engine: &Engine, request: &Request, plan: P) -> Result<T, Problem>
where
    T: Send + 'static,
    P: FnOnce(&Catalog, &Act<'_>, i64) -> Result<Planned<T>, Unfit> + Send + 'static,
{
    let (by, groups) = (Arc::clone(&request.principal), Arc::clone(&engine.groups));
    let (owners, now) = (engine.owners, engine.clock.now());
    let planned = engine.configure(move |catalog, next| {
        let by_group = |uid| groups.member(uid).capabilities;
        plan(catalog, &Act { by: &by, owners: &owners, by_group: &by_group, now }, next)
    });
    planned.await
}

fn acting<T>(engine: &Engine, request: &Request, show: impl FnOnce(&Act<'_>) -> T) -> T {
    let by_group = |uid| engine.groups.member(uid).capabilities;
    let now = engine.clock.now();
    show(&Act { by: &request.principal, owners: &engine.owners, by_group: &by_group, now })
}
