//! Pages of lists: which items are asked for, and how far a filter is followed.

use std::str::FromStr;

use picloud_api::list::PageQuery;
use picloud_api::problem::{Code, Problem};

use crate::admin::calls::Request;
use crate::filter::{Filter, FilterError, Grammar};
use crate::ids::AppId;
use crate::store::lists::STEP_ROWS;
use crate::store::open::StoreError;
use crate::store::read::LIST_SCAN_ROWS_MAX;

/// Which items of a list.
#[derive(Debug)]
pub(super) struct Window<C> {
    pub(super) app: Option<AppId>,
    pub(super) filter: Filter,
    /// `next` of the page before.
    pub(super) after: Option<C>,
    pub(super) limit: usize,
}

impl<C> Window<C> {
    /// Rows of one step: no more than the page needs when all of them pass.
    pub(super) fn step_rows(&self) -> usize {
        let all_pass = self.filter.is_empty() && self.app.is_none();
        if all_pass { self.limit.min(STEP_ROWS) } else { STEP_ROWS }
    }
}

pub(super) fn window<C: FromStr>(
    request: &Request,
    grammar: &Grammar,
) -> Result<Window<C>, Problem> {
    let query: PageQuery = request.query()?;
    let limit = super::limit(&query)?;
    let app = query.app.as_deref().map(|name| request.app_called(name)).transpose()?;
    let after = query.after.map(|after| {
        after.parse::<C>().map_err(|_| {
            Problem::new(Code::BadRequest, format!("after=\"{after}\" is no cursor of this list"))
        })
    });
    let filter = filter(grammar, query.filter.as_deref().unwrap_or_default())?;
    Ok(Window { app: app.map(|app| app.id), filter, after: after.transpose()?, limit })
}

pub(super) fn filter(grammar: &Grammar, text: &str) -> Result<Filter, Problem> {
    grammar.parse(text).map_err(|error| {
        let problem = Problem::new(Code::BadRequest, error.to_string());
        match error {
            FilterError::UnknownKey { .. } => {
                problem.with_hint("in quotes it is looked for as text: \"a:b\"")
            }
            FilterError::TooLong(_)
            | FilterError::TooManyTerms
            | FilterError::BadValue { .. }
            | FilterError::OpenQuote
            | FilterError::NothingNegated => problem,
        }
    })
}

/// The one app that is asked for, by the query or by the filter; `None`: perhaps several.
pub(super) fn one_app(request: &Request, app: Option<AppId>, filter: &Filter) -> Option<AppId> {
    app.or_else(|| Some(request.catalog.app(filter.only("app")?)?.id))
}

/// What a scan has found so far.
pub(super) struct Found<I> {
    pub(super) ids: Vec<I>,
    /// The last item that was looked at; `None` once there are no more.
    pub(super) next: Option<I>,
    looked_at: usize,
    limit: usize,
}

impl<I: Copy> Found<I> {
    pub(super) fn new(after: Option<I>, limit: usize) -> Found<I> {
        Found { ids: Vec::new(), next: after, looked_at: 0, limit }
    }

    /// Takes one step's items with whether they pass. `true`: go on with another step.
    pub(super) fn take(&mut self, step: impl Iterator<Item = (I, bool)>, is_last: IsLast) -> bool {
        for (id, passes) in step {
            self.next = Some(id);
            self.looked_at += 1;
            if passes {
                self.ids.push(id);
            }
            if self.ids.len() == self.limit {
                return false;
            }
        }
        if is_last == IsLast::Yes {
            self.next = None;
        }
        is_last == IsLast::No && self.looked_at < LIST_SCAN_ROWS_MAX
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IsLast {
    Yes,
    No,
}

impl IsLast {
    /// A step that is not full is the last.
    pub(super) fn of(found: usize, asked_for: usize) -> IsLast {
        if found < asked_for { IsLast::Yes } else { IsLast::No }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "errors are mapped by value")]
pub(super) fn failed(error: StoreError) -> Problem {
    Problem::new(Code::Internal, error.to_string())
}
