//! Who asks: from what a face says of its caller to a user as of a revision, and the tokens this member knows.

use super::{Member, Output};
use seatrial_store::{Backend, Command};
use seatrial_types::auth::{AuthAnswer, AuthRequest, AuthResponse, Caller, Identity};
use seatrial_types::request::Header;
use seatrial_types::watch::{StreamId, WatchId, WatchRequest, WatchResponse};
use seatrial_types::{Error, LogIndex, Request, Response, Revision};
use std::collections::BTreeMap;
use std::time::Duration;

/// The tokens given out. Every member learns of each through the log, so that a client may show it to any of them;
/// how long a token lives is each member's own affair, and none outlives a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Tokens {
    known: BTreeMap<String, Token>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Token {
    user: String,
    until: Duration,
}

impl Tokens {
    fn give(&mut self, token: String, user: &str, now: Duration, ttl: Duration) {
        // Here and not by a timer: only who has the password can make this grow.
        self.known.retain(|_, token| token.until > now);
        self.known.insert(token, Token { user: user.to_owned(), until: now + ttl });
    }

    /// Whose it is; it lives on from now.
    fn show(&mut self, token: &str, now: Duration, ttl: Duration) -> Option<String> {
        let found = self.known.get_mut(token).filter(|token| token.until > now)?;
        found.until = now + ttl;
        Some(found.user.clone())
    }

    fn forget(&mut self, user: &str) {
        self.known.retain(|_, token| token.user != user);
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}

/// Who asks, once this member knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Who {
    /// The server itself, which may read everything.
    Server,
    /// A user, or nobody.
    Client(Identity),
}

impl<B: Backend> Member<B> {
    /// Finds out who asks. As long as authentication is off nobody is somebody.
    pub(super) fn identify(&mut self, caller: Option<Caller>) -> Result<Who, Error> {
        if caller == Some(Caller::Server) {
            return Ok(Who::Server);
        }
        if !self.store.auth().is_enabled() {
            return Ok(Who::Client(Identity::default()));
        }
        let revision = self.store.auth().revision();
        Ok(Who::Client(match caller {
            None | Some(Caller::Server) => Identity::default(),
            Some(Caller::Invalid) => return Err(Error::InvalidAuthToken),
            Some(Caller::User(identity)) => identity,
            // Rights are those of today, whenever the token was given.
            Some(Caller::Certificate(user)) => Identity { user, revision },
            Some(Caller::Token(token)) => {
                let user = self.tokens.show(&token, self.now, self.options.auth_token_ttl);
                Identity { user: user.ok_or(Error::InvalidAuthToken)?, revision }
            }
        }))
    }

    /// Whether the caller may be answered, by the state as it is applied here.
    pub(super) fn permit(&self, who: &Who, request: &Request) -> Result<(), Error> {
        match who {
            Who::Server => Ok(()),
            Who::Client(who) => self.store.auth().check_request(who, request, self.store.leases()),
        }
    }

    /// A command as it goes into the log for this caller.
    pub(super) fn signed(&self, who: &Who, command: Command) -> Command {
        let Who::Client(identity) = who else { return command };
        // A bare revocation is the member's own, of a lease that ran out.
        let must = matches!(command, Command::LeaseRevoke(_));
        if must || !identity.user.is_empty() {
            Command::As(identity.clone(), Box::new(command))
        } else {
            command
        }
    }

    /// A token's text ends in the place of its entry, which no other entry has (etcd: the same).
    pub(super) fn complete_token(
        &mut self,
        index: LogIndex,
        command: &Command,
        answer: &mut Result<Option<Response>, Error>,
    ) {
        let (Command::Auth(change), Ok(Some(Response::Auth(AuthResponse { body, .. })))) =
            (command.inner(), answer)
        else {
            return;
        };
        match (change, body) {
            (AuthRequest::Admit { name, .. }, AuthAnswer::Token { token, .. }) if !token.is_empty() => {
                *token = format!("{token}.{}", index.0);
                self.tokens.give(token.clone(), name, self.now, self.options.auth_token_ttl);
            }
            (AuthRequest::UserDelete { name } | AuthRequest::UserChangePassword { name, .. }, _) => {
                self.tokens.forget(name);
            }
            (AuthRequest::Disable, _) => self.tokens.clear(),
            _ => {}
        }
    }

    pub(super) fn step_watch(&mut self, stream: StreamId, request: WatchRequest) {
        let (caller, create) = match request {
            WatchRequest::Create(create) => (None, create),
            WatchRequest::CreateAs(caller, create) => (Some(caller), create),
            other => {
                let outputs = self.store.watch(stream, other);
                return self.tell_watchers(outputs);
            }
        };
        let permitted = self.identify(caller).and_then(|who| match who {
            Who::Server => Ok(()),
            Who::Client(who) => self.store.auth().check_watch(&who, &create.range),
        });
        match permitted {
            Ok(()) => {
                let outputs = self.store.watch(stream, WatchRequest::Create(create));
                self.tell_watchers(outputs);
            }
            Err(error) => self.refuse_watch(stream, &error),
        }
    }

    /// The stream lives on: its other watches are none of this one's business.
    fn refuse_watch(&mut self, stream: StreamId, error: &Error) {
        let header = Header { revision: self.store.revision(), ..self.header() };
        let response = WatchResponse {
            header,
            watch_id: WatchId::INVALID,
            created: true,
            canceled: true,
            // Clients take the reason apart again: it is a whole gRPC status in words.
            cancel_reason: format!("rpc error: code = {:?} desc = {error}", error.code()),
            compact_revision: Revision(0),
            fragment: false,
            events: Vec::new(),
        };
        self.output(Output::Watch { stream, response });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn a_token_lives_from_its_last_use() {
        let mut tokens = Tokens::default();
        tokens.give("t.1".into(), "ann", S, S * 10);
        assert_eq!(tokens.show("t.1", S * 10, S * 10).as_deref(), Some("ann"));
        assert_eq!(tokens.show("t.1", S * 19, S * 10).as_deref(), Some("ann"));
        assert_eq!(tokens.show("t.1", S * 29, S * 10), None);
        tokens.give("t.2".into(), "ann", S * 30, S * 10);
        assert_eq!(tokens.known.len(), 1, "what is over is forgotten");
        tokens.forget("bob");
        assert_eq!(tokens.show("t.2", S * 31, S).as_deref(), Some("ann"));
        tokens.forget("ann");
        assert_eq!(tokens.show("t.2", S * 31, S), None);
    }
}
