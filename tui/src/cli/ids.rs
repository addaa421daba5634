//! Ids that are abbreviated: their beginning, as long as it is that of one thing only.

use std::collections::BTreeSet;

use picloud_api::list::{PAGE_ITEMS, Page};
use serde::Deserialize;

use crate::cli::CliError;
use crate::client::{Client, segment};

/// Characters of a whole id.
const ID_CHARS: usize = 26;
/// Characters of the beginning of one at least: the first four say little more than the year.
const BEGINNING_CHARS_MIN: usize = 4;
/// Pages of a list that are looked through; the daemon looks at 2,000 items for each.
const PAGES_MAX: usize = 25;

/// A list whose items have ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Outbox,
    DeadLetters,
    Abandoned,
    Executions,
}

impl List {
    /// All that may be in a chain.
    pub(super) const ALL: &[List] =
        &[List::Executions, List::Outbox, List::DeadLetters, List::Abandoned];

    pub(super) fn path(self) -> &'static str {
        match self {
            List::Outbox => "/outbox",
            List::DeadLetters => "/dead-letters",
            List::Abandoned => "/abandoned",
            List::Executions => "/executions",
        }
    }

    /// One of its items, for people.
    fn item(self) -> &'static str {
        match self {
            List::Outbox => "row of the outbox",
            List::DeadLetters => "dead letter",
            List::Abandoned => "abandoned execution",
            List::Executions => "execution",
        }
    }

    fn filter(self, beginning: &str) -> String {
        match self {
            // Also those that are resolved.
            List::DeadLetters => format!("is:any id:{beginning}"),
            List::Outbox | List::Abandoned | List::Executions => format!("id:{beginning}"),
        }
    }
}

/// The id that is meant: a whole one is taken as it is, of another one the lists are asked.
pub(super) async fn whole(client: &Client, id: &str, lists: &[List]) -> Result<String, CliError> {
    if !is_beginning(id) {
        return Ok(id.to_owned());
    }
    let mut found = BTreeSet::new();
    for list in lists {
        search(client, *list, id, &mut found).await?;
    }
    let mut found = found.into_iter();
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (None, _) => {
            let items: Vec<&str> = lists.iter().map(|list| list.item()).collect();
            let items = items.join(" or ");
            Err(CliError::NotFound(format!("no id of {} begins with {id}", with_article(&items))))
        }
        (Some(one), Some(other)) => Err(CliError::Usage(format!(
            "{id} is the beginning of several ids, among them {one} and {other}: give more of it"
        ))),
    }
}

/// Whether it may be the beginning of an id. What cannot be one is left to the daemon, which says why.
fn is_beginning(id: &str) -> bool {
    let is_digit = |c: char| c.is_ascii_alphanumeric() && !"ILOUilou".contains(c);
    (BEGINNING_CHARS_MIN..ID_CHARS).contains(&id.len()) && id.chars().all(is_digit)
}

fn with_article(items: &str) -> String {
    let article = if items.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    format!("{article} {items}")
}

#[derive(Deserialize)]
struct Named {
    id: String,
}

/// Adds the ids of a list that begin so, until there are two: then it is not known which is meant.
async fn search(
    client: &Client,
    list: List,
    beginning: &str,
    found: &mut BTreeSet<String>,
) -> Result<(), CliError> {
    let filter = segment(&list.filter(beginning));
    let mut after = String::new();
    for _ in 0..PAGES_MAX {
        let path = format!("{}?limit={PAGE_ITEMS}&filter={filter}{after}", list.path());
        let page: Page<Named> = client.get(&path).await?;
        found.extend(page.items.into_iter().map(|item| item.id));
        let Some(next) = page.next.filter(|_| found.len() < 2) else { return Ok(()) };
        after = format!("&after={}", segment(&next));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_may_begin_an_id_is_looked_for() {
        for id in ["01J9", "01j9zk", "01M87CG4B1E2B8WR7DQ1STY00"] {
            assert!(is_beginning(id), "{id}");
        }
        for id in ["", "01J", "01M87CG4B1E2B8WR7DQ1STY001", "01M87OK", "01J9 is:any", "../01J9"] {
            assert!(!is_beginning(id), "{id}");
        }
    }

    #[test]
    fn what_is_not_there_is_named_as_people_say() {
        assert_eq!(with_article(List::Executions.item()), "an execution");
        assert_eq!(with_article(List::DeadLetters.item()), "a dead letter");
    }
}
