//! Whole agents; each operation on the lock is one step.

use crate::walk::{Model, Table, carry_out, check_change, semaphore, walk};
use seatrial_reboot::{
    Action, Agent, Done, Freed, Group, Guards, Input, LocksmithWindow, Moment, Operation, Phase, Settings,
    Strategy, Verb, Wall, Window, Windows, Zone,
};
use std::collections::VecDeque;
use std::time::Duration;

/// Noon and midnight of a day; the window is open around noon.
const NOON: Wall = Wall(20_000 * 86_400 + 43_200);
const MIDNIGHT: Wall = Wall(NOON.0 + 43_200);

#[derive(Clone, Debug, Hash)]
struct Machine {
    id: &'static str,
    /// `None`: it is down.
    agent: Option<(Agent, VecDeque<Action>)>,
    rebooted: bool,
}

#[derive(Clone, Debug, Hash)]
struct World {
    table: Table,
    machines: Vec<Machine>,
    open: bool,
    /// How often the window may still open or close, agents may crash, an operator may free a slot.
    turns: u8,
    crashes: u8,
    frees: u8,
    /// An operator or an old client has meddled, so that a machine may reboot whose slot was taken.
    meddled: bool,
}

fn settings() -> Settings {
    let window = LocksmithWindow::parse("11:00", "2h").unwrap();
    Settings {
        strategy: Strategy::EtcdLock,
        windows: Windows::new(Zone::utc(), vec![Window::Locksmith(window)]),
        drains: true,
        // Pauses are over at once: what may happen at any time happens at any time.
        users_delay: Duration::ZERO,
        reboot_patience: Duration::ZERO,
        release_pause: Duration::ZERO,
        lock_pause: Duration::ZERO,
        pause_max: Duration::ZERO,
    }
}

fn boot() -> Option<(Agent, VecDeque<Action>)> {
    let (agent, actions) = Agent::new(settings());
    Some((agent, actions.into()))
}

impl World {
    fn new(machines: usize, max: i64) -> Self {
        let ids = ["a", "b", "c"];
        let machine = |id| Machine { id, agent: boot(), rebooted: false };
        let mut world = Self {
            table: Table::default(),
            machines: ids[..machines].iter().copied().map(machine).collect(),
            open: true,
            turns: 0,
            crashes: 0,
            frees: 0,
            meddled: false,
        };
        world.run(Verb::SetMax(max));
        world
    }

    fn wall(&self) -> Wall {
        if self.open { NOON } else { MIDNIGHT }
    }

    fn run(&mut self, verb: Verb) -> Done {
        // The calendar of the ledger stands still: the window alone hangs on it.
        let mut operation = Operation::new(Group::default(), verb, NOON);
        loop {
            if let Some(end) = carry_out(&mut operation, &mut self.table, NOON) {
                return end.unwrap();
            }
        }
    }

    fn holders(&self) -> (i64, Vec<String>) {
        semaphore(&self.table, &Group::default().semaphore_key())
    }

    /// One step of a machine; `None` where it has none.
    fn advance(&self, at: usize) -> Option<(String, Self)> {
        let mut after = self.clone();
        // What nobody else sees takes no step of its own.
        if let Some((_, todo)) = &mut after.machines[at].agent
            && let Some(Action::Write(_) | Action::Warn(_) | Action::Undrain) = todo.front()
        {
            todo.pop_front();
            return after.advance(at).or(Some(("is idle".to_owned(), after)));
        }
        let id = self.machines[at].id;
        let moment = Moment { now: Duration::ZERO, wall: self.wall() };
        let Some((agent, mut todo)) = self.machines[at].agent.clone() else {
            after.machines[at].agent = boot();
            return Some(("comes up".to_owned(), after));
        };
        let Some(action) = todo.pop_front() else {
            let mut agent = agent;
            let rebooted = self.machines[at].rebooted;
            let input = match agent.deadline() {
                Some(_) => Input::Due,
                None if agent.is_idle() && !rebooted => Input::NeedReboot,
                None => return None,
            };
            let name = format!("{input:?}");
            let actions = agent.step(moment, input);
            after.machines[at].agent = Some((agent, actions.into()));
            return Some((name, after));
        };
        let name = format!("{action:?}");
        let verb = |verb: Verb, after: &mut Self| after.run(verb);
        let answer = match action {
            Action::Write(_) | Action::Warn(_) | Action::Undrain => None,
            Action::CheckHealth => Some(Input::Healthy(Ok(()))),
            Action::Users => Some(Input::Users(1)),
            Action::Drain => Some(Input::Drained(Ok(()))),
            Action::Release(generation) => {
                verb(Verb::Unlock { id: id.into(), generation, by: Freed::Holder }, &mut after);
                Some(Input::Released(Ok(())))
            }
            Action::Lock => {
                let guards = Guards { closed: settings().windows.closed(self.wall()), ..Guards::default() };
                let lock = Verb::Lock { id: id.into(), boot: None, phase: Phase::Draining, guards };
                Some(Input::Locked(match verb(lock, &mut after) {
                    Done::Granted { generation, .. } => Ok(generation),
                    Done::Refused(refusal) => Err(refusal.kind().to_owned()),
                    other => panic!("{other:?}"),
                }))
            }
            Action::Confirm(generation) => {
                let mark = Verb::Mark { id: id.into(), generation, phase: Phase::Rebooting };
                Some(Input::Confirmed(Ok(verb(mark, &mut after) == Done::Marked { held: true })))
            }
            Action::Reboot => panic!("a reboot is sent in the same step as the answer before it"),
        };
        let mut agent = agent;
        if let Some(input) = answer {
            assert!(todo.is_empty(), "only the last action has an answer");
            todo = agent.step(moment, input).into();
        }
        after.machines[at].agent = Some((agent, todo.clone()));
        if todo.front() == Some(&Action::Reboot) {
            assert!(self.open, "K4: {id} reboots outside of its window");
            assert!(after.holders().1.iter().any(|holder| holder == id), "K4: {id} reboots without its slot");
            after.machines[at].agent = None;
            after.machines[at].rebooted = true;
            let down = after.machines.iter().filter(|machine| machine.agent.is_none()).count();
            assert!(self.meddled || i64::try_from(down).unwrap() <= after.holders().0, "K1: {down} are down");
        }
        Some((name, after))
    }
}

impl Model for World {
    fn next(&self) -> Vec<(String, bool, Self)> {
        let mut next = Vec::new();
        let before = self.holders();
        for (at, machine) in self.machines.iter().enumerate() {
            if let Some((name, after)) = self.advance(at) {
                check_change(&before, &after.holders(), Some(machine.id));
                next.push((format!("{}: {name}", machine.id), false, after));
            }
            if self.crashes > 0 && machine.agent.is_some() {
                let mut after = self.clone();
                after.crashes -= 1;
                after.machines[at].agent = boot();
                next.push((format!("{} crashes", machine.id), true, after));
            }
            if self.frees > 0 && before.1.iter().any(|holder| holder == machine.id) {
                let mut after = self.clone();
                after.frees -= 1;
                after.meddled = true;
                after.run(Verb::Unlock { id: machine.id.into(), generation: None, by: Freed::Operator });
                next.push((format!("an operator frees {}", machine.id), true, after));
            }
        }
        if self.turns > 0 {
            let mut after = self.clone();
            after.turns -= 1;
            after.open = !self.open;
            // Healing opens the window: that it opens is no fault.
            next.push((
                format!("the window is {}", if after.open { "open" } else { "closed" }),
                self.open,
                after,
            ));
        }
        next
    }

    fn is_done(&self) -> bool {
        self.machines.iter().all(|machine| machine.rebooted && machine.agent.is_some())
            && self.holders().1.is_empty()
    }
}

#[test]
fn three_machines_reboot_one_after_the_other_whoever_crashes() {
    println!("{} states", walk(World { crashes: 1, ..World::new(3, 1) }));
}

#[test]
fn two_of_three_machines_may_be_down_and_never_three() {
    println!("{} states", walk(World::new(3, 2)));
}

#[test]
fn nobody_reboots_once_the_window_has_closed_or_the_slot_was_taken() {
    println!("{} states", walk(World { turns: 2, frees: 1, ..World::new(2, 1) }));
}
