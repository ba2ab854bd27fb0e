//! Reading List for the one conversation that may be gone; for the reader, the eraser and the commands alike.
//!
//! Never decides: [`Scan`] says which page is wanted and what the pages prove; the caller asks for the page, within a
//! budget of its own.

use crate::{
    domain::{
        Clock,
        evidence::gone::{Page, Scan},
    },
    fini::{
        ConversationPage, Failure, ListQuery,
        budget::{Budget, Permit, Taken},
    },
    store::{RequestClass, Result},
};

/// Rows of a page.
const PAGE: u32 = 100;

/// A page, or the failure in its place.
pub type Listed = std::result::Result<ConversationPage, Failure>;

/// Returns the request for the page that the scan wants next, if any.
pub fn query(scan: &Scan) -> Option<ListQuery> {
    let wanted = scan.next()?;
    Some(ListQuery {
        since: Some(wanted.since),
        until: wanted.until,
        limit: Some(PAGE),
        cursor: wanted.cursor,
        ..ListQuery::default()
    })
}

/// Hands the result of that request to the scan.
pub fn take(scan: &mut Scan, page: Listed) {
    match page {
        Ok(page) => scan.take(&facts(page)),
        Err(_) => scan.fail(),
    }
}

/// Waits until the budget has room for one more request.
pub async fn permit(budget: &Budget, class: RequestClass, clock: &dyn Clock) -> Result<Permit> {
    loop {
        match budget.take(class).await? {
            Taken::Permit(permit) => return Ok(permit),
            Taken::NotBefore(at) => tokio::time::sleep(at.since(clock.now())).await,
        }
    }
}

fn facts(page: ConversationPage) -> Page {
    Page {
        rows: page.conversations.into_iter().map(|row| (row.id.clone(), row.latest_at())).collect(),
        has_holes: page.malformed > 0,
        has_more: page.has_more,
        cursor: page.next_cursor,
    }
}
