//! A page of a kind's objects out of one snapshot, and how many follow it.

use std::fmt;
use std::sync::Arc;

use stead_model::{GroupKind, Revision, Selector};

use super::filter::{Filter, Narrowed};
use super::kind::{KindView, bounds};
use crate::stored::Stored;

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Namespace of the last object.
    pub namespace: String,
    /// Name of the last object.
    pub name: String,
    /// How many matching objects there were up to and including it; only used to count what remains.
    pub passed: u64,
}

/// A condition on an object's fields, for field selectors.
pub type FieldFilter<'a> = &'a (dyn Fn(&Stored) -> bool + Send + Sync);

/// What to list.
pub struct List<'a> {
    /// The kind.
    pub kind: GroupKind,
    /// Only this namespace; `None` for all of them, and for kinds of cluster scope.
    pub namespace: Option<&'a str>,
    /// Only objects whose labels fit.
    pub selector: &'a Selector,
    /// Only objects whose fields fit.
    pub fields: Option<FieldFilter<'a>>,
    /// Continues after the page that gave this.
    pub after: Option<Cursor>,
    /// At most so many objects; 0 for all.
    pub limit: usize,
}

impl fmt::Debug for List<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("List");
        shown.field("kind", &self.kind).field("namespace", &self.namespace).field("selector", &self.selector.to_string());
        shown.field("after", &self.after).field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// Objects of one revision, in order.
#[derive(Clone, Debug)]
pub struct Page {
    /// The revision of the snapshot.
    pub revision: Revision,
    /// The objects.
    pub objects: Vec<Arc<Stored>>,
    /// Where to go on; `None` on the last page.
    pub next: Option<Cursor>,
    /// How many objects follow on later pages; `None` where a field filter makes that too dear to count.
    pub remaining: Option<u64>,
}

pub(super) fn page(view: &KindView, list: &List<'_>, revision: Revision) -> Page {
    let filter = Filter::new(list.selector);
    let narrowed = filter.narrow(view);
    let after = list.after.as_ref().map(|cursor| (cursor.namespace.as_str(), cursor.name.as_str()));
    let fits = |stored: &Arc<Stored>| list.fields.is_none_or(|fields| fields(stored));
    let limit = if list.limit == 0 { usize::MAX } else { list.limit };

    let mut matching = candidates(view, &filter, &narrowed, list.namespace, after).filter(|stored| fits(stored));
    let objects: Vec<Arc<Stored>> = matching.by_ref().take(limit).cloned().collect();
    let last = if matching.next().is_some() { objects.last() } else { None };
    drop(matching);

    let passed = list.after.as_ref().map_or(0, |cursor| cursor.passed).saturating_add(objects.len() as u64);
    let next = last.map(|last| Cursor { namespace: last.namespace().to_owned(), name: last.name().to_owned(), passed });
    let remaining = match (&next, list.fields) {
        (None, _) => Some(0),
        (Some(_), Some(_)) => None,
        // At least one object follows, whatever a cursor that somebody made up says.
        (Some(_), None) => Some(count(view, &filter, &narrowed, list.namespace).saturating_sub(passed).max(1)),
    };
    Page { revision, objects, next, remaining }
}

fn candidates<'a>(
    view: &'a KindView,
    filter: &'a Filter,
    narrowed: &Narrowed<'a>,
    namespace: Option<&str>,
    after: Option<(&str, &str)>,
) -> Box<dyn Iterator<Item = &'a Arc<Stored>> + 'a> {
    let bounds = bounds(namespace, after);
    match *narrowed {
        Narrowed::Nothing => Box::new(std::iter::empty()),
        Narrowed::No if filter.is_empty() => Box::new(view.range(&bounds)),
        Narrowed::No => Box::new(view.range(&bounds).filter(|stored| filter.matches(stored))),
        Narrowed::To { postings, exact } => {
            let named = postings.range(&bounds).filter_map(|name| view.by_name(name));
            Box::new(named.filter(move |stored| exact || filter.matches(stored)))
        }
    }
}

/// How many objects match in all; without a look at them wherever an index knows.
fn count(view: &KindView, filter: &Filter, narrowed: &Narrowed<'_>, namespace: Option<&str>) -> u64 {
    let count = match (narrowed, namespace) {
        (Narrowed::Nothing, _) => 0,
        (Narrowed::No, None) if filter.is_empty() => view.len(),
        (Narrowed::No, Some(namespace)) if filter.is_empty() => view.len_in(namespace),
        (Narrowed::To { postings, exact: true }, None) => postings.len(),
        (Narrowed::To { postings, exact: true }, Some(_)) => postings.range(&bounds(namespace, None)).count(),
        _ => candidates(view, filter, narrowed, namespace, None).count(),
    };
    count as u64
}
