//! Machines that must be rebooted now and then, each with the agent that does it; and an operator. Machines crash, stand
//! still, and lose their agents at the worst moments. Some have a member of the store on them, which goes down with them.

use super::Actor;
use super::reboot_host::{Ending, Machine};
use crate::fault::ClockFault;
use crate::machines::{
    AgentWish, MachineDoes, MachineRecord, Order, OrderRecord, OrderStep, RebootStep, group_name, hosted,
    is_operator, machine_id,
};
use crate::nemesis;
use crate::plan::{Plan, StepKind};
use crate::theatre::{Client, Theatre};
use futures::StreamExt;
use futures::future::{Either, select};
use seatrial_types::MemberId;
use std::collections::{BTreeSet, VecDeque};
use std::pin::pin;
use std::time::Duration;

/// The id of whoever uses a program of old.
const OLD_CLIENT: &str = "old-client";

/// What was asked for and not answered is not done any more after so long.
const LATE: Duration = Duration::from_secs(12);

/// Between two looks whether all is done, once the storm is over.
const LOOK: Duration = Duration::from_millis(250);

impl<T: Theatre> Actor<T> {
    pub(super) async fn reboots(&mut self, run: &Plan) {
        if is_operator(&self.plan) {
            self.operate_locks(run).await;
        } else {
            self.machine(run).await;
        }
    }

    async fn machine(&mut self, run: &Plan) {
        let spec = self.plan.spec.reboots.clone();
        let (id, group) = (machine_id(self.plan.machine), group_name(self.plan.number % spec.groups));
        let has_window =
            !spec.window.is_zero() && self.plan.number % spec.window_one_in == 1 % spec.window_one_in;
        let window = has_window.then_some(spec.window);
        let place = self.notebook.open_machine(MachineRecord {
            client: self.plan.machine,
            id: id.clone(),
            group: group.clone(),
            hosts: hosted(&self.plan).map(|member| member.0),
            window,
            events: Vec::new(),
            settled: false,
        });
        if self.plan.number < spec.groups && spec.max > 1 {
            // Somebody must say how many slots there are.
            let (number, max) = (self.plan.number, i64::from(spec.max));
            self.order_until(group_name(number), Order::SetMax(max), "set-max at first", self.until).await;
        }
        let asks_fleetlock = spec.fleetlock_one_in;
        let fleetlock = asks_fleetlock > 0 && self.plan.number % asks_fleetlock == asks_fleetlock - 1;
        let member = self.plan.steps.first().map_or(MemberId(1), |step| step.member);
        let machine = Machine::new(self.theatre.clone(), self.notebook.clone(), place, self.until);
        let mut steps: VecDeque<(Duration, RebootStep)> = VecDeque::new();
        for step in &self.plan.steps {
            if let StepKind::Reboot(what) = step.what {
                steps.push_back((step.at, what));
            }
        }
        let mut boots = 1;
        loop {
            let boot = format!("{id}-boot-{boots}");
            let wish = AgentWish { id: id.clone(), group: group.clone(), boot, window, fleetlock, member };
            match self.one_agent(run, &machine, wish, &mut steps).await {
                Ending::Over => break,
                Ending::Agent { rest } => {
                    machine.tell(MachineDoes::AgentDies);
                    self.theatre.sleep_until(self.theatre.now() + rest).await;
                }
                Ending::Away { crash, boot } => {
                    boots += 1;
                    self.away(crash, boot, &machine).await;
                }
            }
        }
        let settled = machine.is_settled();
        self.notebook.machine(place, |machine| machine.settled = settled);
    }

    /// Runs one agent until it ends, and lets its machine meet what the plan has for it.
    async fn one_agent(
        &mut self,
        run: &Plan,
        machine: &Machine<T>,
        wish: AgentWish,
        steps: &mut VecDeque<(Duration, RebootStep)>,
    ) -> Ending {
        let mut endings = machine.start();
        let mut client = self.theatre.client(self.plan.machine);
        let mut agent = pin!(client.reboot_agent(wish, machine.clone()));
        loop {
            let now = self.theatre.now();
            if let Some((_, step)) = steps.pop_front_if(|(at, _)| *at <= now) {
                match step {
                    RebootStep::Want { .. } => machine.want(step),
                    RebootStep::Crash { boot } => return Ending::Away { crash: true, boot },
                    RebootStep::AgentDies { rest } => return Ending::Agent { rest },
                    RebootStep::Still { lasts } => {
                        machine.tell(MachineDoes::Stands(now + lasts));
                        self.theatre.sleep_until(now + lasts).await;
                    }
                    RebootStep::Clock { drift_ppm, step_ms } => {
                        machine.tell(MachineDoes::Clock(drift_ppm, step_ms));
                        let fault = ClockFault { drift_ppm, wall_step_ms: step_ms };
                        if let Err(error) = self.theatre.client_clock(self.plan.machine, fault) {
                            self.notebook.harness_error(error.to_string());
                        }
                    }
                }
                continue;
            }
            let is_over = now >= self.until && machine.is_settled() || now >= run.reboots_by();
            if is_over && steps.is_empty() {
                return Ending::Over;
            }
            let wake = match steps.front() {
                Some((at, _)) => *at,
                None if now < self.until => self.until,
                None => now + LOOK,
            };
            let nap = self.theatre.sleep_until(wake);
            match select(select(agent.as_mut(), endings.next()), pin!(nap)).await {
                Either::Left((Either::Left((Err(error), _)), _)) => {
                    self.notebook.harness_error(format!("a reboot agent cannot run: {error}"));
                    return Ending::Over;
                }
                Either::Left((Either::Right((Some(ending), _)), _)) => return ending,
                _ => {}
            }
        }
    }

    /// The machine is down, and its member with it, until it has booted.
    async fn away(&mut self, crash: bool, boot: Duration, machine: &Machine<T>) {
        if crash {
            machine.tell(MachineDoes::Crashes);
        }
        let member = hosted(&self.plan);
        if let Some(member) = member {
            self.notebook.rebooting(member, true);
            self.notebook.down(member, if crash { "power-loss" } else { "kill" }, self.theatre.now());
            let done = match crash {
                true => self.theatre.power_loss(member).await,
                false => self.theatre.kill(member).await,
            };
            self.told_by_harness(done);
        }
        self.theatre.sleep_until(self.theatre.now() + boot).await;
        if let Some(member) = member {
            self.notebook.rebooting(member, false);
            // Who holds it down besides starts it later.
            if !self.theatre.is_running(member) && !self.notebook.is_held_down(member) {
                let started = nemesis::start(&self.theatre, &self.notebook, member).await;
                self.told_by_harness(started);
            }
        }
        machine.booted();
    }

    fn told_by_harness(&self, done: Result<(), crate::theatre::TheatreError>) {
        if let Err(error) = done {
            self.notebook.harness_error(error.to_string());
        }
    }

    /// The operator of all groups.
    async fn operate_locks(&mut self, run: &Plan) {
        let mut at = 0;
        while let Some(step) = self.next_step(at).await {
            at += 1;
            if let StepKind::RebootOrder(order) = step.what {
                self.one_order(order).await;
            }
        }
        // It leaves everything as it found it, so that the others can finish.
        self.theatre.sleep_until(self.until).await;
        let (groups, max) = (self.plan.spec.reboots.groups, i64::from(self.plan.spec.reboots.max));
        for group in (0..groups).map(group_name) {
            let by = run.reboots_by();
            self.order_until(group.clone(), Order::Resume, "resume at the end", by).await;
            self.order_until(group, Order::SetMax(max), "set-max at the end", by).await;
        }
        let old = |step: &crate::plan::Step| match step.what {
            StepKind::RebootOrder(OrderStep::Old { group, .. }) => Some(group_name(group)),
            _ => None,
        };
        let groups: BTreeSet<String> = self.plan.steps.iter().filter_map(old).collect();
        if !groups.is_empty() {
            // What was asked for last and not answered may have come late.
            self.theatre.sleep_until(self.until + LATE).await;
        }
        for group in groups {
            self.give_back_as_of_old(&group, run.reboots_by()).await;
        }
    }

    /// Until it is done.
    async fn order_until(&mut self, group: String, order: Order, what: &str, by: Duration) {
        while self.theatre.now() < by && !self.ordered(group.clone(), order.clone(), what, None).await {
            self.theatre.sleep_until(self.theatre.now() + LOOK).await;
        }
    }

    async fn one_order(&mut self, step: OrderStep) {
        match step {
            OrderStep::SetMax { group, max } => {
                let what = format!("set-max {max}");
                self.ordered(group_name(group), Order::SetMax(i64::from(max)), &what, None).await;
            }
            OrderStep::Pause { group } => {
                self.ordered(group_name(group), Order::Pause, "pause", None).await;
            }
            OrderStep::Resume { group } => {
                self.ordered(group_name(group), Order::Resume, "resume", None).await;
            }
            OrderStep::Old { group, hold } => self.old_client(&group_name(group), hold).await,
            OrderStep::Unlock { group, pick } => {
                let group = group_name(group);
                let timeout = self.plan.spec.timeout;
                let looked = self.client.reboot_order(group.clone(), Order::Look, timeout).await;
                let Ok(holders) = looked else { return };
                if holders.is_empty() {
                    return;
                }
                let holder = holders[pick as usize % holders.len()].clone();
                let what = format!("unlock {holder}");
                self.ordered(group, Order::Unlock(holder.clone()), &what, Some(holder)).await;
            }
        }
    }

    /// A person with the program of old, who tries again where it fails.
    async fn old_client(&mut self, group: &str, hold: Duration) {
        const TRIES: u32 = 5;
        for _ in 0..TRIES {
            let lock = Order::OldLock(OLD_CLIENT.to_owned());
            if self.ordered(group.to_owned(), lock, "lock as of old", None).await {
                break;
            }
            self.theatre.sleep_until(self.theatre.now() + LOOK).await;
        }
        self.theatre.sleep_until(self.theatre.now() + hold).await;
        // Also where no try succeeded: what was not answered may have been done.
        self.give_back_as_of_old(group, self.until).await;
    }

    async fn give_back_as_of_old(&mut self, group: &str, by: Duration) {
        loop {
            let (unlock, frees) = (Order::OldUnlock(OLD_CLIENT.to_owned()), Some(OLD_CLIENT.to_owned()));
            let is_done = self.ordered(group.to_owned(), unlock, "unlock as of old", frees).await;
            if is_done || self.theatre.now() >= by {
                return;
            }
            self.theatre.sleep_until(self.theatre.now() + LOOK).await;
        }
    }

    /// Whether it was done.
    async fn ordered(&mut self, group: String, order: Order, what: &str, frees: Option<String>) -> bool {
        let place = self.notebook.ordered(OrderRecord {
            client: self.plan.machine,
            group: group.clone(),
            what: what.to_owned(),
            frees,
            call: self.theatre.now(),
            ret: None,
        });
        let answer = self.client.reboot_order(group, order, self.plan.spec.timeout).await;
        if answer.as_ref().err().is_none_or(|error| !error.ambiguous) {
            self.notebook.order_done(place, self.theatre.now());
        }
        answer.is_ok()
    }
}
