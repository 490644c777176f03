//! The panels of a page, and what they said.

use super::guard::{Visitor, unanswered};
use super::shell::Notice;
use super::view::View;
use crate::api::{Api, scope};
use crate::panel::{self, Answer, Asked, Panel, Window, panels};
use crate::problem::Problem;
use crate::rights::panel_scope;

/// What the panels of one page said.
#[derive(Debug)]
pub(crate) struct Sheet {
    /// How far the data had come.
    pub(crate) window: Window,
    answers: Vec<(&'static Panel, Result<Answer, Problem>)>,
}

impl Sheet {
    /// Asks all panels of a page that are the visitor's. One that fails does not take the others with it.
    ///
    /// # Errors
    /// Where not even how far the data had come can be had.
    pub(crate) async fn ask(api: &Api, visitor: &Visitor, page: &str) -> Result<Sheet, Problem> {
        Sheet::ask_with(api, visitor, page, &[]).await
    }

    /// The same, and some panels of other pages.
    ///
    /// # Errors
    /// As above.
    pub(crate) async fn ask_with(
        api: &Api,
        visitor: &Visitor,
        page: &str,
        more: &[&str],
    ) -> Result<Sheet, Problem> {
        let (from_us, to_us) = visitor.view.range_us();
        let role = visitor.principal.role;
        let window = Window::of(api, to_us).await?;
        let asked = Asked {
            from_us,
            to_us,
            step_us: None,
            scope: scope(panel_scope(role)),
            subject: visitor.principal.subject.clone(),
        };
        let theirs = panels().iter().filter(|panel| {
            (panel.page == page || more.contains(&panel.id.as_str())) && panel.roles.contains(&role)
        });
        let answers = panel::ask_all(api, theirs, &asked).await;
        Ok(Sheet { window, answers })
    }

    /// One panel and what it said; `None` where it is not the visitor's.
    pub(crate) fn panel(&self, id: &str) -> Option<(&'static Panel, &Result<Answer, Problem>)> {
        self.answers.iter().find(|(panel, _)| panel.id == id).map(|(panel, answer)| (*panel, answer))
    }

    /// What one panel said, where it did.
    pub(crate) fn answer(&self, id: &str) -> Option<&Answer> {
        self.panel(id).and_then(|(_, answer)| answer.as_ref().ok())
    }

    /// Said above the page where a panel failed.
    pub(crate) fn notices(&self, view: &View) -> Vec<Notice> {
        let failed = self.answers.iter().find_map(|(_, answer)| answer.as_ref().err());
        failed.map(|problem| unanswered(view, problem)).into_iter().collect()
    }
}
