//! Named sessions: `session_id` keeps settings, database and temporary tables between requests.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::engine::{self, Engine};
use super::error::{Exception, Kind};
use super::library::Connection;
use super::request::{Request, SessionAsked};

/// The named sessions of a server.
pub(super) struct Sessions {
    slots: Mutex<HashMap<String, Slot>>,
    sessions_max: usize,
}

enum Slot {
    Busy,
    Idle { session: Box<Session>, until: Instant },
}

/// A connection with what is known of its state.
pub(super) struct Session {
    pub(super) connection: Connection,
    /// Whether it serves one request only, and so need not be put back as it was.
    once: bool,
    /// The current database; `None` when a statement may have changed it.
    database: Option<String>,
    /// Own values of the settings that requests have overridden, `None` standing for the default.
    own: HashMap<String, Option<String>>,
}

/// A named session in the hands of one request; given back when dropped.
pub(super) struct Lease {
    sessions: Arc<Sessions>,
    asked: SessionAsked,
    session: Option<Box<Session>>,
}

impl Sessions {
    pub(super) fn new(sessions_max: usize) -> Self {
        Self { slots: Mutex::default(), sessions_max }
    }

    /// Takes a session, which is new when none has the name.
    ///
    /// # Errors
    /// `SESSION_IS_LOCKED` when another request has it, `SESSION_NOT_FOUND` when it must exist.
    pub(super) fn take(self: &Arc<Self>, asked: SessionAsked) -> Result<Lease, Exception> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        expire(&mut slots);
        let session = match slots.remove(&asked.id) {
            Some(Slot::Busy) => {
                slots.insert(asked.id.clone(), Slot::Busy);
                return Err(Exception::new(
                    Kind::SessionLocked,
                    format_args!("Session {} is locked by a concurrent client.", asked.id),
                ));
            }
            Some(Slot::Idle { session, .. }) => Some(session),
            None if asked.must_exist => {
                return Err(Exception::new(
                    Kind::SessionNotFound,
                    format_args!("Session {} not found.", asked.id),
                ));
            }
            None => None,
        };
        if slots.len() >= self.sessions_max && !forget_oldest(&mut slots) {
            return Err(Exception::new(
                Kind::TooManyQueries,
                format_args!("Too many sessions are in use at once. Maximum: {}.", self.sessions_max),
            ));
        }
        slots.insert(asked.id.clone(), Slot::Busy);
        drop(slots);
        Ok(Lease { sessions: Arc::clone(self), asked, session })
    }

    /// Forgets the sessions whose time is over, or all that are not in use.
    pub(super) fn sweep(&self, all: bool) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if all {
            slots.retain(|_, slot| matches!(slot, Slot::Busy));
        } else {
            expire(&mut slots);
        }
    }
}

fn expire(slots: &mut HashMap<String, Slot>) {
    let now = Instant::now();
    slots.retain(|_, slot| !matches!(slot, Slot::Idle { until, .. } if *until <= now));
}

fn forget_oldest(slots: &mut HashMap<String, Slot>) -> bool {
    let oldest = slots
        .iter()
        .filter_map(|(id, slot)| match slot {
            Slot::Idle { until, .. } => Some((*until, id.clone())),
            Slot::Busy => None,
        })
        .min();
    oldest.is_some_and(|(_, id)| slots.remove(&id).is_some())
}

impl Lease {
    /// The session's state, opened on first use.
    pub(super) fn session(&mut self, engine: &Engine) -> Result<&mut Session, Exception> {
        let session = match self.session.take() {
            Some(session) => session,
            None => Box::new(Session::open(engine, false)?),
        };
        Ok(self.session.insert(session))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut slots = self.sessions.slots.lock().unwrap_or_else(PoisonError::into_inner);
        slots.remove(&self.asked.id);
        if let Some(session) = self.session.take().filter(|_| !self.asked.close_after) {
            let timeout = self.asked.timeout.max(Duration::from_millis(1));
            slots.insert(self.asked.id.clone(), Slot::Idle { session, until: Instant::now() + timeout });
        }
    }
}

impl Session {
    pub(super) fn open(engine: &Engine, once: bool) -> Result<Self, Exception> {
        Ok(Self {
            connection: engine.connect()?,
            once,
            database: Some("default".into()),
            own: HashMap::new(),
        })
    }

    /// Whether the engine itself can be told to forbid writing: not in a session that goes on,
    /// since it could not be allowed again.
    pub(super) fn serves_one_request(&self) -> bool {
        self.once
    }

    /// Applies database and settings of a request, and `comment` as its `log_comment`. Gives what
    /// [`Session::restore`] needs.
    pub(super) fn apply(&mut self, request: &Request, comment: &str) -> Result<Before, Exception> {
        let before = self.remember(request)?;
        if let Some(database) = &request.database
            && self.database.as_ref() != Some(database)
        {
            engine::enter(&mut self.connection, database)?;
            self.database = Some(database.clone());
        }
        let mut settings: Vec<(&str, &str)> =
            request.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if request.setting("log_comment").is_none() {
            settings.push(("log_comment", comment));
        }
        let readonly = request.readonly.to_string();
        if self.once && request.readonly > 0 {
            settings.push(("readonly", &readonly));
        }
        engine::set(&mut self.connection, settings)?;
        Ok(before)
    }

    fn remember(&mut self, request: &Request) -> Result<Before, Exception> {
        let mut before = Before::default();
        if self.once {
            return Ok(before);
        }
        if request.database.is_some() {
            if self.database.is_none() {
                let rows = engine::rows(&mut self.connection, "SELECT currentDatabase()", &[])?;
                self.database = rows.into_iter().flatten().next();
            }
            before.database = self.database.clone().filter(|now| request.database.as_ref() != Some(now));
        }
        // A result that cannot be streamed gets a bound of its own.
        before.settings = vec!["max_result_bytes".to_owned()];
        before.settings.extend(request.settings.iter().map(|(name, _)| name.clone()));
        let unknown: Vec<_> = before
            .settings
            .iter()
            .filter(|name| !self.own.contains_key(*name))
            .map(|name| engine::literal(name))
            .collect();
        if !unknown.is_empty() {
            let sql = format!(
                "SELECT name, value, changed FROM system.settings WHERE name IN ({})",
                unknown.join(", ")
            );
            for row in engine::rows(&mut self.connection, &sql, &[])? {
                if let [name, value, changed] = row.as_slice() {
                    self.own.insert(name.clone(), (changed == "1").then(|| value.clone()));
                }
            }
        }
        Ok(before)
    }

    /// Puts the session back to what it was before [`Session::apply`].
    pub(super) fn restore(&mut self, before: Before) -> Result<(), Exception> {
        if let Some(database) = before.database {
            engine::enter(&mut self.connection, &database)?;
            self.database = Some(database);
        }
        let list: Vec<_> = before
            .settings
            .iter()
            .filter_map(|name| {
                let own = self.own.get(name)?;
                Some(match own {
                    Some(value) => format!("{name} = {}", engine::literal(value)),
                    None => format!("{name} = DEFAULT"),
                })
            })
            .collect();
        if list.is_empty() {
            return Ok(());
        }
        engine::run(&mut self.connection, &format!("SET {}", list.join(", ")))
    }

    /// To be called when a statement may have changed database or settings of the session.
    pub(super) fn forget_state(&mut self) {
        self.database = None;
        self.own.clear();
    }
}

/// What a request has overridden in a session that goes on.
#[derive(Default)]
pub(super) struct Before {
    database: Option<String>,
    settings: Vec<String>,
}
