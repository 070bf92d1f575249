//! One operation on a group, as a machine that says which key it wants to read or write next.
//!
//! No transaction spans the ledger and the semaphore, and old clients know only the latter. What makes it safe:
//!
//! 1. the ledger is read before the semaphore, so that nothing in between is missed (see [`crate::Ledger`]);
//! 2. a grant is first reserved in the ledger, by a swap that only one wins;
//! 3. then the other groups are looked through. Of two machines that reserve at the same time in two groups, at least
//!    one sees the other, for each reserves before it looks; so the store's quorum is never given away twice;
//! 4. then the semaphore is swapped. This alone makes a holder, and it fails where anybody has changed it since.
//!
//! A machine that stops in between leaves a reservation. Whoever finds it old writes the semaphore anew with the value it
//! has, whereupon the late swap must fail. No step hangs on a clock being right.
//!
//! A survey reads each group by itself. So an old client that takes a slot meanwhile is not seen by it; old clients are
//! held to the number of slots alone.

use crate::error::RebootError;
use crate::group::{GROUPS, Group};
use crate::guard::{Guards, Refusal};
use crate::keys::{Entry, Found, KeysError};
use crate::ledger::{Freed, Ledger, Pause, Phase, Policy, Waiter};
use crate::plan::View;
use crate::semaphore::Semaphore;
use crate::stale::Evidence;
use crate::turn::Turn;
use crate::wall::Wall;
use seatrial_types::planted::{Planted, is_planted};
use std::collections::{BTreeMap, BTreeSet};

/// How often an operation is tried where others change the keys under it.
pub const ATTEMPTS_MAX: u32 = 16;

/// What is to be done with a group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Looks, and writes nothing.
    Look,
    /// Asks for a slot, or for a place in the queue.
    Lock {
        /// Who asks.
        id: String,
        /// In which boot it runs.
        boot: Option<String>,
        /// How far it will be once it has the slot.
        phase: Phase,
        /// What speaks against it.
        guards: Guards,
    },
    /// Gives a slot back; nothing happens where there is none.
    Unlock {
        /// Whose.
        id: String,
        /// Only the slot of this grant, where the caller knows which it had.
        generation: Option<u64>,
        /// Who does it.
        by: Freed,
    },
    /// Gives up a place in the queue.
    Leave {
        /// Who leaves.
        id: String,
    },
    /// Writes down how far a holder is, and finds out whether it still holds.
    Mark {
        /// Which one.
        id: String,
        /// The grant it has.
        generation: u64,
        /// How far it is.
        phase: Phase,
    },
    /// Changes the number of slots.
    SetMax(i64),
    /// Stops grants. One that is reserved already may still be made.
    Pause(String),
    /// Lets them go on.
    Resume,
    /// Changes the policy.
    SetPolicy(Policy),
    /// Frees holders by what is known of them, and by the policy.
    Sweep(BTreeMap<String, Evidence>),
    /// As locksmith does it: one try, its rules, its errors. Guards, queue and a pause do not count.
    Locksmith(Locksmith),
}

/// Locksmith's verbs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Locksmith {
    /// Makes the semaphore where it is missing, and reads it.
    Status,
    /// Takes a slot for this id.
    Lock(String),
    /// Gives it back.
    Unlock(String),
    /// Changes the number of slots.
    SetMax(i64),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Done {
    /// The slot is held.
    Granted {
        /// The number of the grant.
        generation: u64,
        /// It was not held before.
        new: bool,
    },
    /// Not now.
    Refused(Refusal),
    /// No slot is held; whether one was.
    Freed {
        /// It was.
        held: bool,
    },
    /// The number of slots was changed.
    Max {
        /// The old one.
        old: i64,
        /// And what the semaphore is now.
        semaphore: Semaphore,
    },
    /// The ledger was changed, or was so already.
    Noted,
    /// Whether the grant is still held.
    Marked {
        /// It is.
        held: bool,
    },
    /// Who was freed.
    Swept(Vec<(String, Freed)>),
    /// What there is.
    Seen(Box<View>),
}

/// What an operation wants next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// Read a key, and answer with [`Operation::got`].
    Get(String),
    /// Make a key, and answer with [`Operation::wrote`].
    Create(String, String),
    /// Replace a key that has this index, and answer with [`Operation::wrote`].
    Swap(String, String, u64),
    /// List a directory, and answer with [`Operation::listed`].
    List(String),
    /// Wait a little, longer with each attempt, and answer with [`Operation::rested`].
    Rest,
    /// It is over.
    Done(Result<Done, RebootError>),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Book {
    Absent,
    Good(Box<Ledger>, u64),
    Bad(String),
}

/// Which other group the survey looks at, and what it found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Survey {
    left: Vec<Group>,
    away: BTreeSet<String>,
    /// Of the group looked at: the ledger, read first.
    ledger: Option<Ledger>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum State {
    ReadLedger,
    ReadSemaphore,
    MakeSemaphore,
    /// Writes the ledger; a lost race begins anew.
    Write(Box<Ledger>, After),
    /// Writes the ledger so that people see more; a lost race does no harm.
    Note(Box<Ledger>, Done),
    ListGroups,
    SurveyLedger(Survey),
    SurveySemaphore(Survey),
    Swap(Semaphore, Box<Won>),
    Recheck,
    Rest,
    Done(Result<Done, RebootError>),
}

/// What follows a written ledger.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum After {
    Done(Done),
    /// The slot is reserved: look through the other groups, or swap.
    Reserved,
    Recheck,
    /// Nobody who is about to leave stands in the queue any more: swap the semaphore.
    Swap(Semaphore, Box<Won>),
}

/// What follows a swapped semaphore.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Won {
    Done(Done),
    Note(Ledger, Done),
    /// It was only to fail somebody's late swap.
    Fenced,
}

/// One operation. See the module.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Operation {
    group: Group,
    verb: Verb,
    now: Wall,
    state: State,
    attempt: u32,
    book: Book,
    semaphore: Semaphore,
    /// The semaphore's index; 0 where there is none.
    index: u64,
    /// A write before this attempt may have happened.
    unsure: bool,
    /// The number of slots before our first attempt to change it.
    old_max: Option<i64>,
}

impl Operation {
    /// Begins. `now` is the wall clock of whoever does it.
    #[must_use]
    pub fn new(group: Group, verb: Verb, now: Wall) -> Self {
        Self {
            group,
            verb,
            now,
            state: State::ReadLedger,
            attempt: 0,
            book: Book::Absent,
            semaphore: Semaphore::default(),
            index: 0,
            unsure: false,
            old_max: None,
        }
    }

    /// What it wants next. The same until it is answered.
    #[must_use]
    pub fn step(&self) -> Step {
        match &self.state {
            State::ReadLedger => Step::Get(self.group.ledger_key()),
            State::ReadSemaphore | State::Recheck => Step::Get(self.group.semaphore_key()),
            State::MakeSemaphore => Step::Create(self.group.semaphore_key(), Semaphore::default().to_json()),
            State::Write(ledger, _) | State::Note(ledger, _) => {
                let (key, value) = (self.group.ledger_key(), ledger.to_json());
                match &self.book {
                    Book::Good(_, index) => Step::Swap(key, value, *index),
                    Book::Absent | Book::Bad(_) => Step::Create(key, value),
                }
            }
            State::ListGroups => Step::List(GROUPS.to_owned()),
            State::SurveyLedger(survey) => Step::Get(survey.group().ledger_key()),
            State::SurveySemaphore(survey) => Step::Get(survey.group().semaphore_key()),
            State::Swap(semaphore, _) => {
                Step::Swap(self.group.semaphore_key(), semaphore.to_json(), self.index)
            }
            State::Rest => Step::Rest,
            State::Done(result) => Step::Done(result.clone()),
        }
    }

    /// How many times it was begun anew.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The answer to [`Step::Get`].
    pub fn got(&mut self, answer: Result<Found, KeysError>) {
        let found = match answer {
            Ok(found) => Some(found),
            Err(KeysError::NotFound { .. }) => None,
            Err(error) => return self.end(Err(error.into())),
        };
        self.state = match self.take_state() {
            State::ReadLedger => {
                self.book = match found {
                    None => Book::Absent,
                    Some(found) => match Ledger::parse(&found.value) {
                        Ok(ledger) => Book::Good(Box::new(ledger), found.index),
                        Err(why) => Book::Bad(why),
                    },
                };
                State::ReadSemaphore
            }
            State::ReadSemaphore => match self.read_semaphore(&self.group, found) {
                Err(error) => State::Done(Err(error)),
                Ok(None) if self.verb != Verb::Look => State::MakeSemaphore,
                Ok(read) => {
                    (self.semaphore, self.index) = read.unwrap_or_default();
                    self.decide()
                }
            },
            State::Recheck => match self.read_semaphore(&self.group, found) {
                Err(error) => State::Done(Err(error)),
                Ok(read) => {
                    let held = read.is_some_and(|(semaphore, _)| semaphore.is_held_by(self.id()));
                    State::Done(Ok(Done::Marked { held }))
                }
            },
            State::SurveyLedger(survey) => self.survey_ledger(survey, found),
            State::SurveySemaphore(survey) => self.survey_semaphore(survey, found),
            other => unreachable!("nothing was to be read in {other:?}"),
        };
    }

    /// The answer to [`Step::List`].
    pub fn listed(&mut self, answer: Result<Vec<Entry>, KeysError>) {
        let entries = match answer {
            Ok(entries) => entries,
            Err(KeysError::NotFound { .. }) => Vec::new(),
            Err(error) => return self.end(Err(error.into())),
        };
        let named =
            entries.iter().filter(|entry| entry.dir).filter_map(|entry| Group::of_directory(&entry.key));
        let left = named.chain([Group::default()]).filter(|group| *group != self.group).collect();
        self.state = self.survey(Survey { left, ..Survey::default() });
    }

    /// The answer to [`Step::Create`] and [`Step::Swap`].
    pub fn wrote(&mut self, answer: Result<u64, KeysError>) {
        let state = self.take_state();
        if let (State::Note(_, done), _) = (&state, &answer) {
            // Whatever became of it: the semaphore has it, and the next reader puts the ledger right.
            return self.end(Ok(done.clone()));
        }
        let index = match answer {
            Ok(index) => index,
            Err(error) => return self.failed(&state, error),
        };
        self.state = match state {
            State::MakeSemaphore => State::ReadLedger,
            State::Write(ledger, after) => {
                self.book = Book::Good(ledger, index);
                match after {
                    After::Done(done) => State::Done(Ok(done)),
                    After::Recheck => State::Recheck,
                    After::Reserved => self.reserved(),
                    After::Swap(semaphore, won) => State::Swap(semaphore, won),
                }
            }
            State::Swap(semaphore, won) => {
                semaphore.check();
                (self.semaphore, self.index) = (semaphore, index);
                match *won {
                    Won::Done(done) => State::Done(Ok(done)),
                    Won::Note(ledger, done) => State::Note(Box::new(ledger), done),
                    Won::Fenced => State::Rest,
                }
            }
            other => unreachable!("nothing was to be written in {other:?}"),
        };
    }

    /// The answer to [`Step::Rest`]: the time now.
    pub fn rested(&mut self, now: Wall) {
        assert_eq!(self.state, State::Rest, "rested without having been told to");
        self.now = now;
        self.state = State::ReadLedger;
    }

    fn take_state(&mut self) -> State {
        std::mem::replace(&mut self.state, State::Rest)
    }

    fn end(&mut self, result: Result<Done, RebootError>) {
        self.state = State::Done(result);
    }

    /// A write failed.
    fn failed(&mut self, state: &State, error: KeysError) {
        let ambiguous = matches!(error, KeysError::Unavailable { ambiguous: true, .. });
        // Somebody else has made the semaphore: that is as good.
        let made = matches!((state, &error), (State::MakeSemaphore, KeysError::Exists { .. }));
        if made {
            self.state = State::ReadLedger;
            return;
        }
        let as_locksmith = matches!(self.verb, Verb::Locksmith(_));
        if as_locksmith || !(error.is_lost_race() || ambiguous) {
            return self.end(Err(error.into()));
        }
        self.unsure |= ambiguous;
        self.attempt += 1;
        if self.attempt >= ATTEMPTS_MAX {
            let key = match state {
                State::Swap(..) => self.group.semaphore_key(),
                _ => self.group.ledger_key(),
            };
            let contended = RebootError::Contended { key, attempts: self.attempt };
            return self.end(Err(if ambiguous { error.into() } else { contended }));
        }
        self.state = State::Rest;
    }

    fn read_semaphore(
        &self,
        group: &Group,
        found: Option<Found>,
    ) -> Result<Option<(Semaphore, u64)>, RebootError> {
        let Some(found) = found else { return Ok(None) };
        match Semaphore::parse(&found.value) {
            Ok(semaphore) => Ok(Some((semaphore, found.index))),
            Err(error) => Err(RebootError::Malformed { key: group.semaphore_key(), error }),
        }
    }

    fn id(&self) -> &str {
        match &self.verb {
            Verb::Lock { id, .. } | Verb::Unlock { id, .. } | Verb::Leave { id } | Verb::Mark { id, .. } => {
                id
            }
            _ => "",
        }
    }

    /// Both keys are read: what is to be written.
    fn decide(&mut self) -> State {
        let (mut ledger, unreadable) = match &self.book {
            Book::Absent => (Ledger::default(), None),
            Book::Good(ledger, _) => ((**ledger).clone(), None),
            Book::Bad(why) => (Ledger::default(), Some(why.clone())),
        };
        ledger.reconcile(&self.semaphore, self.index, self.now);
        match self.verb.clone() {
            Verb::Look => {
                let (semaphore, now) = (self.semaphore.clone(), self.now);
                State::Done(Ok(Done::Seen(Box::new(View { semaphore, ledger, unreadable, now }))))
            }
            Verb::Unlock { id, generation, by } => self.unlock(ledger, &id, generation, by),
            Verb::SetMax(max) => {
                let mut semaphore = self.semaphore.clone();
                let now = semaphore.set_max(max);
                let old = *self.old_max.get_or_insert(now);
                let done = Done::Max { old, semaphore: semaphore.clone() };
                // A maximum that is so already is written all the same: it may be about to change.
                State::Swap(semaphore, Box::new(Won::Done(done)))
            }
            Verb::Sweep(evidence) => self.sweep(ledger, &evidence),
            Verb::Locksmith(verb) => self.locksmith(ledger, verb),
            Verb::Lock { .. }
            | Verb::Leave { .. }
            | Verb::Mark { .. }
            | Verb::Pause(_)
            | Verb::Resume
            | Verb::SetPolicy(_)
                if unreadable.is_some() =>
            {
                let (key, why) = (self.group.ledger_key(), unreadable.unwrap_or_default());
                State::Done(Err(RebootError::Ledger { key, why }))
            }
            Verb::Lock { id, boot, phase, guards } => self.lock(ledger, &id, boot, phase, &guards),
            Verb::Mark { id, generation, phase } => {
                match ledger.holders.get_mut(&id).filter(|holder| holder.generation == generation) {
                    Some(holder) if holder.reserved.is_none() => {
                        holder.phase = phase;
                        self.write(ledger, After::Recheck)
                    }
                    _ => State::Done(Ok(Done::Marked { held: false })),
                }
            }
            Verb::Leave { id } => {
                ledger.leave(&id);
                self.write(ledger, After::Done(Done::Noted))
            }
            Verb::Pause(why) => {
                ledger.paused = Some(Pause { since: self.now, why });
                self.write(ledger, After::Done(Done::Noted))
            }
            Verb::Resume => {
                ledger.resume();
                self.write(ledger, After::Done(Done::Noted))
            }
            Verb::SetPolicy(policy) => {
                ledger.policy = policy;
                self.write(ledger, After::Done(Done::Noted))
            }
        }
    }

    /// Writes the ledger where it differs from what is there.
    fn write(&self, ledger: Ledger, after: After) -> State {
        if matches!(&self.book, Book::Good(there, _) if **there == ledger) {
            return match after {
                After::Done(done) => State::Done(Ok(done)),
                After::Recheck => State::Recheck,
                After::Reserved => self.reserved(),
                After::Swap(semaphore, won) => State::Swap(semaphore, won),
            };
        }
        State::Write(Box::new(ledger), after)
    }

    fn lock(
        &self,
        mut ledger: Ledger,
        id: &str,
        boot: Option<String>,
        phase: Phase,
        guards: &Guards,
    ) -> State {
        match ledger.turn(&self.semaphore, id, guards, self.now) {
            Turn::Held { generation } => {
                let new = self.unsure;
                if is_planted(Planted::K15) && self.semaphore.available() > 0 {
                    let mut semaphore = self.semaphore.clone();
                    semaphore.lock_twice(id);
                    return State::Swap(semaphore, Box::new(Won::Done(Done::Granted { generation, new })));
                }
                self.write(ledger, After::Done(Done::Granted { generation, new }))
            }
            Turn::Refused(refusal) => self.write(ledger, After::Done(Done::Refused(refusal))),
            Turn::Fence => State::Swap(self.semaphore.clone(), Box::new(Won::Fenced)),
            Turn::Take => {
                ledger.reserve(id, self.index, phase, boot, self.now);
                self.write(ledger, After::Reserved)
            }
        }
    }

    /// Our reservation stands in the ledger.
    fn reserved(&self) -> State {
        match &self.verb {
            Verb::Lock { guards: Guards { quorum: Some(_), .. }, .. } if is_planted(Planted::K19) => {
                self.survey(Survey::default())
            }
            Verb::Lock { guards: Guards { quorum: Some(_), .. }, .. } => State::ListGroups,
            _ => self.take_slot(),
        }
    }

    /// The next group that is to be looked through, or what follows the last one.
    fn survey(&self, mut survey: Survey) -> State {
        if !survey.left.is_empty() {
            return State::SurveyLedger(survey);
        }
        let (Verb::Lock { id, guards: Guards { quorum: Some(quorum), .. }, .. }, Book::Good(ledger, _)) =
            (&self.verb, &self.book)
        else {
            unreachable!("a survey without a reservation or a quorum to guard");
        };
        survey.away.extend(ledger.holders.keys().cloned());
        match quorum.spares(id, &survey.away) {
            Ok(()) => self.take_slot(),
            Err(shortage) => {
                let refusal = Refusal::Quorum(shortage);
                let mut ledger = (**ledger).clone();
                ledger.withdraw(id);
                ledger.refused(id, &refusal);
                self.write(ledger, After::Done(Done::Refused(refusal)))
            }
        }
    }

    fn survey_ledger(&self, mut survey: Survey, found: Option<Found>) -> State {
        let read = found.map_or_else(|| Ok(Ledger::default()), |found| Ledger::parse(&found.value));
        match read {
            Ok(ledger) => {
                survey.ledger = Some(ledger);
                State::SurveySemaphore(survey)
            }
            // Who may be about to leave stands in there, so that nothing can be granted without it.
            Err(why) => State::Done(Err(RebootError::Ledger { key: survey.group().ledger_key(), why })),
        }
    }

    fn survey_semaphore(&self, mut survey: Survey, found: Option<Found>) -> State {
        match self.read_semaphore(survey.group(), found) {
            Err(error) => State::Done(Err(error)),
            Ok(read) => {
                if let (Some((semaphore, index)), Some(mut ledger)) = (read, survey.ledger.take()) {
                    ledger.reconcile(&semaphore, index, self.now);
                    survey.away.extend(ledger.holders.into_keys());
                }
                survey.left.remove(0);
                self.survey(survey)
            }
        }
    }

    /// Everything allows it: swap the semaphore.
    fn take_slot(&self) -> State {
        let mut semaphore = self.semaphore.clone();
        let id = self.id();
        let Book::Good(ledger, _) = &self.book else { unreachable!("a slot is taken without a reservation") };
        let generation = ledger.holders[id].generation;
        semaphore.lock(id).expect("whose turn it is finds a slot");
        State::Swap(semaphore, Box::new(Won::Done(Done::Granted { generation, new: true })))
    }

    fn unlock(&self, mut ledger: Ledger, id: &str, generation: Option<u64>, by: Freed) -> State {
        let mut semaphore = self.semaphore.clone();
        let other = |has: u64| generation.is_some_and(|meant| meant != has);
        let mut id = id;
        let first = self.semaphore.holders().first();
        if is_planted(Planted::K17)
            && !semaphore.is_held_by(id)
            && let Some(first) = first
        {
            id = first;
        }
        let fenced_off = ledger.holders.get(id).is_some_and(|holder| other(holder.generation));
        let done = Done::Freed { held: self.unsure };
        if fenced_off {
            return State::Done(Ok(done));
        }
        if semaphore.unlock(id).is_ok() {
            return self.free(ledger, semaphore, &[(id.to_owned(), by)], Done::Freed { held: true });
        }
        if matches!(self.book, Book::Bad(_)) || by != Freed::Holder && self.book == Book::Absent {
            return State::Done(Ok(done));
        }
        if by != Freed::Holder {
            // What it has announced it may still do: no other way would all who guard the quorum see it.
            ledger.queue.retain(|waiter| waiter.id != id);
            return self.write(ledger, After::Done(done));
        }
        // It holds nothing, and nothing that it sent earlier, before its agent died, may give it a slot any more: neither the
        // swap that it announced nor the announcement itself. Each fails once what it compares with was written anew.
        if ledger.holders.contains_key(id) {
            return State::Swap(semaphore, Box::new(Won::Fenced));
        }
        ledger.leave(id);
        State::Write(Box::new(ledger), After::Done(done))
    }

    /// Takes slots away. `semaphore` has them no more.
    fn free(&self, mut ledger: Ledger, semaphore: Semaphore, freed: &[(String, Freed)], done: Done) -> State {
        let queued = |waiter: &Waiter| freed.iter().any(|(id, _)| *id == waiter.id);
        let is_queued = matches!(&self.book, Book::Good(there, _) if there.queue.iter().any(queued));
        let before = is_queued.then(|| Box::new(ledger.clone()));
        for (id, by) in freed {
            ledger.freed(id, *by, self.now);
        }
        let won = self.then_note(ledger, done);
        match before {
            // Who held has had its turn. If that is written down only afterwards, a waiter who sees the free slot first
            // overtakes the writing, and the one who has left stands before all others until its patience is over.
            Some(before) => State::Write(before, After::Swap(semaphore, won)),
            None => State::Swap(semaphore, won),
        }
    }

    fn sweep(&self, ledger: Ledger, evidence: &BTreeMap<String, Evidence>) -> State {
        let freeable = ledger.freeable(evidence, self.now);
        if freeable.is_empty() {
            return State::Done(Ok(Done::Swept(freeable)));
        }
        let mut semaphore = self.semaphore.clone();
        for (id, _) in &freeable {
            semaphore.unlock(id).expect("a reconciled ledger's holders hold");
        }
        self.free(ledger, semaphore, &freeable.clone(), Done::Swept(freeable))
    }

    fn locksmith(&self, mut ledger: Ledger, verb: Locksmith) -> State {
        let mut semaphore = self.semaphore.clone();
        let outcome = match verb {
            Locksmith::Status => {
                let view = View { semaphore, ledger, unreadable: None, now: self.now };
                return State::Done(Ok(Done::Seen(Box::new(view))));
            }
            Locksmith::Lock(id) => semaphore.lock(&id).map(|()| {
                // A reservation of its own becomes void with this swap, unlike the record it makes.
                ledger.leave(&id);
                ledger.reconcile(&semaphore, 0, self.now);
                Done::Granted { generation: ledger.holders[&id].generation, new: true }
            }),
            Locksmith::Unlock(id) => semaphore.unlock(&id).map(|()| {
                ledger.freed(&id, Freed::Operator, self.now);
                Done::Freed { held: true }
            }),
            Locksmith::SetMax(max) => {
                let old = semaphore.set_max(max);
                Ok(Done::Max { old, semaphore: semaphore.clone() })
            }
        };
        match outcome {
            Ok(done) => State::Swap(semaphore, self.then_note(ledger, done)),
            Err(error) => State::Done(Err(error.into())),
        }
    }

    fn then_note(&self, ledger: Ledger, done: Done) -> Box<Won> {
        Box::new(match self.book {
            Book::Bad(_) => Won::Done(done),
            Book::Absent | Book::Good(..) => Won::Note(ledger, done),
        })
    }
}

impl Survey {
    fn group(&self) -> &Group {
        &self.left[0]
    }
}
