//! What is to be done about units, and in which order.

use super::{Body, Effect, Job, JobResult, Manager, Unit, Verb};
use crate::error::UnitError;
use crate::io::{Input, Output, Timer};
use crate::state::{ActiveState, LoadState, SubState};
use std::collections::BTreeSet;

impl Manager {
    /// Whether a unit can be started at all.
    pub(super) fn startable(&self, name: &str) -> Result<(), UnitError> {
        let unit = self.known(name)?;
        let owned = name.to_owned();
        match unit.load {
            LoadState::Error => {
                return Err(UnitError::BadFile {
                    unit: owned,
                    reason: unit.error.clone().unwrap_or_default(),
                });
            }
            LoadState::NotFound => return Err(UnitError::NotLoaded { unit: owned }),
            LoadState::Loaded => {}
        }
        if unit.definition.name.is_template() {
            return Err(UnitError::Refused {
                unit: owned,
                verb: "be started",
                reason: "it is a template".to_owned(),
                hint: "start an instance, like web@1.service".to_owned(),
            });
        }
        if matches!(unit.body, Body::Foreign) {
            let kind = unit.definition.name.kind().suffix().to_owned();
            return Err(UnitError::NeedsSystemd { unit: owned, kind });
        }
        Ok(())
    }

    /// Jobs for a start: first all that can be wrong, then the changes.
    pub(super) fn ask_start(&mut self, name: &str) -> Result<(), UnitError> {
        let mut start = BTreeSet::new();
        let mut todo = vec![name.to_owned()];
        while let Some(next) = todo.pop() {
            if start.contains(&next) {
                continue;
            }
            self.startable(&next)?;
            let config = self.known(&next)?.config();
            for needed in config.requires.iter().chain(&config.binds_to) {
                if self.startable(needed).is_err() {
                    return Err(UnitError::Requires { unit: next, missing: needed.clone() });
                }
                todo.push(needed.clone());
            }
            for needed in &config.requisite {
                if !self.units.get(needed).is_some_and(Unit::is_up) {
                    return Err(UnitError::Refused {
                        unit: next,
                        verb: "be started",
                        reason: format!("{needed} is not active"),
                        hint: format!("start {needed} first"),
                    });
                }
            }
            // What is merely wanted and cannot be had is done without.
            todo.extend(config.wants.iter().filter(|wanted| self.startable(wanted).is_ok()).cloned());
            start.insert(next);
        }
        let mut stop = BTreeSet::new();
        for unit in &start {
            for (other, found) in &self.units {
                if other != unit && self.conflict(unit, other) {
                    if start.contains(other) {
                        return Err(UnitError::Refused {
                            unit: name.to_owned(),
                            verb: "be started",
                            reason: format!("it needs both {unit} and {other}, which conflict"),
                            hint: "take one of them out of its dependencies".to_owned(),
                        });
                    }
                    if !found.is_over() || found.job.is_some() {
                        stop.insert(other.clone());
                    }
                }
            }
        }
        for unit in stop {
            self.ask_stop(&unit);
        }
        for unit in start {
            let found = &self.units[&unit];
            let is_up = matches!(found.active(), ActiveState::Active | ActiveState::Reloading);
            if !is_up || found.job.is_some() {
                // Where it waits for its restart, so does the job.
                self.set_job(&unit, Verb::Start);
            } else if unit == name {
                self.effects.push(Effect::Job { unit, verb: Verb::Start, result: JobResult::Done });
            }
        }
        Ok(())
    }

    pub(super) fn ask_stop(&mut self, name: &str) {
        for unit in self.hangers_on(name) {
            let found = &self.units[&unit];
            if !found.is_over() || found.job.is_some() {
                self.set_job(&unit, Verb::Stop);
            } else if unit == name {
                self.effects.push(Effect::Job { unit, verb: Verb::Stop, result: JobResult::Done });
            }
        }
    }

    pub(super) fn ask_restart(&mut self, name: &str) {
        for unit in self.hangers_on(name) {
            if !self.units[&unit].is_over() {
                self.set_job(&unit, Verb::Restart);
            }
        }
    }

    /// A unit, and what goes down with it.
    fn hangers_on(&self, name: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::from([name.to_owned()]);
        let mut todo = vec![name.to_owned()];
        while let Some(next) = todo.pop() {
            for (other, unit) in &self.units {
                let config = unit.config();
                let hangs = [&config.requires, &config.binds_to, &config.part_of, &config.requisite];
                if hangs.iter().any(|list| list.contains(&next)) && found.insert(other.clone()) {
                    todo.push(other.clone());
                }
            }
        }
        found
    }

    fn conflict(&self, one: &str, other: &str) -> bool {
        let lists = |a: &str, b: &str| self.units[a].config().conflicts.iter().any(|name| name == b);
        lists(one, other) || lists(other, one)
    }

    /// Whether `later` is to come up after `earlier`.
    fn is_after(&self, later: &str, earlier: &str) -> bool {
        self.units[later].config().after.iter().any(|name| name == earlier)
            || self.units[earlier].config().before.iter().any(|name| name == later)
    }

    fn set_job(&mut self, name: &str, verb: Verb) {
        let unit = self.units.get_mut(name).expect("a unit gets a job that is there");
        match unit.job {
            Some(job) if job.verb == verb => return,
            // A restart is a stop first; a start that comes meanwhile is what will follow anyway.
            Some(job) if job.verb == Verb::Restart && verb == Verb::Start => return,
            Some(job) => {
                self.effects.push(Effect::Job {
                    unit: name.to_owned(),
                    verb: job.verb,
                    result: JobResult::Canceled,
                });
            }
            None => {}
        }
        unit.job = Some(Job { verb, running: false });
    }

    /// Runs all jobs whose turn it is.
    pub(super) fn run_jobs(&mut self) {
        loop {
            let waiting = |unit: &Unit| unit.job.is_some_and(|job| !job.running);
            let names: Vec<String> =
                self.units.iter().filter(|(_, unit)| waiting(unit)).map(|(name, _)| name.clone()).collect();
            let ready = names.iter().find(|name| self.has_turn(name));
            let anything_runs = self.units.values().any(|unit| unit.job.is_some_and(|job| job.running));
            // Where all wait for each other, the order has a cycle: it is cut at the first by name.
            let next = ready.or_else(|| names.first().filter(|_| !anything_runs));
            let Some(next) = next.cloned() else { return };
            self.run(&next);
        }
    }

    fn has_turn(&self, name: &str) -> bool {
        let job = self.units[name].job.expect("it has one");
        self.units.iter().filter(|(other, _)| *other != name).all(|(other, unit)| {
            let Some(theirs) = unit.job else { return true };
            let ordered = self.is_after(name, other) || self.is_after(other, name);
            match (job.verb, theirs.verb) {
                (Verb::Start, Verb::Start) => !self.is_after(name, other),
                // What goes down does so before anything ordered with it, or in conflict with it, comes up.
                (Verb::Start, Verb::Stop | Verb::Restart) => !ordered && !self.conflict(name, other),
                (Verb::Stop | Verb::Restart, Verb::Start) => true,
                (Verb::Stop | Verb::Restart, Verb::Stop | Verb::Restart) => !self.is_after(other, name),
            }
        })
    }

    fn run(&mut self, name: &str) {
        let unit = self.units.get_mut(name).expect("its turn has come");
        let job = unit.job.as_mut().expect("it has one");
        job.running = true;
        let verb = job.verb;
        if verb == Verb::Start && self.lacks_a_requirement(name) {
            self.end_job(name, JobResult::Dependency);
            return;
        }
        let target = self.timed_unit_is_up(name);
        let unit = self.units.get_mut(name).expect("its turn has come");
        let was_up = unit.is_up();
        let outputs = match (&mut unit.body, verb) {
            (Body::Service(_), Verb::Start) => {
                unit.refresh();
                let Body::Service(service) = &mut unit.body else { unreachable!("it was one") };
                service.step(Input::Start)
            }
            (Body::Service(service), Verb::Restart) => service.step(Input::StopToRestart),
            (Body::Service(service), Verb::Stop) => service.step(Input::Stop),
            (Body::Timer(_), Verb::Start) => {
                unit.refresh();
                let Body::Timer(timer) = &mut unit.body else { unreachable!("it was one") };
                timer.start(target)
            }
            (Body::Timer(timer), _) => timer.stop(),
            (Body::Target { active }, verb) => {
                *active = verb == Verb::Start;
                Vec::new()
            }
            (Body::Foreign, _) => Vec::new(),
        };
        self.after(name, was_up, outputs);
    }

    fn timed_unit_is_up(&self, name: &str) -> bool {
        match &self.units[name].body {
            Body::Timer(timer) => {
                self.units.get(timer.unit()).is_some_and(|unit| unit.active() == ActiveState::Active)
            }
            _ => false,
        }
    }

    /// What it requires and was to be up before it is not.
    fn lacks_a_requirement(&self, name: &str) -> bool {
        let config = self.units[name].config();
        config.requires.iter().chain(&config.binds_to).any(|needed| {
            let done = |unit: &Unit| {
                // A oneshot that ended well has done what is required of it.
                let ended_well = matches!(&unit.body, Body::Service(service)
                    if service.sub() == SubState::Dead && service.status().main_exit.is_some());
                unit.is_up() || (ended_well && !config.binds_to.contains(needed))
            };
            self.units.contains_key(needed) && self.is_after(name, needed) && !done(&self.units[needed])
        })
    }

    fn end_job(&mut self, name: &str, result: JobResult) {
        let unit = self.units.get_mut(name).expect("it had a job");
        let Some(job) = unit.job.take() else { return };
        self.effects.push(Effect::Job { unit: name.to_owned(), verb: job.verb, result });
    }

    /// What a step of a unit means for its job and for other units.
    pub(super) fn after(&mut self, name: &str, was_up: bool, outputs: Vec<Output>) {
        let restarted =
            outputs.iter().any(|output| matches!(output, Output::Arm { timer: Timer::Restart, .. }));
        self.put_out(name, outputs);
        let unit = &self.units[name];
        let (active, is_up, is_over) = (unit.active(), unit.is_up(), unit.is_over());
        if let Some(Job { verb, running: true }) = unit.job {
            match verb {
                Verb::Start if active == ActiveState::Failed || restarted => {
                    self.end_job(name, JobResult::Failed)
                }
                Verb::Start if active == ActiveState::Active || is_over => {
                    self.end_job(name, JobResult::Done)
                }
                Verb::Stop if is_over => self.end_job(name, JobResult::Done),
                Verb::Restart if is_over => {
                    let unit = self.units.get_mut(name).expect("it is there");
                    unit.job = Some(Job { verb: Verb::Start, running: false });
                }
                _ => {}
            }
        }
        let gone_down = was_up && (!is_up || restarted);
        if gone_down {
            self.pull_down(name);
        }
        if gone_down || (is_up && !was_up) {
            self.tell_timers(name, is_up && !restarted);
        }
    }

    /// What is bound to a unit that went down goes down too.
    fn pull_down(&mut self, name: &str) {
        let bound: Vec<String> = self
            .units
            .iter()
            .filter(|(_, unit)| unit.config().binds_to.iter().any(|other| other == name))
            .filter(|(_, unit)| {
                unit.is_up() && unit.job.is_none_or(|job| job.verb == Verb::Start && job.running)
            })
            .map(|(other, _)| other.clone())
            .collect();
        for other in bound {
            self.ask_stop(&other);
        }
    }

    fn tell_timers(&mut self, name: &str, active: bool) {
        let mut told = Vec::new();
        for (other, unit) in &mut self.units {
            if let Body::Timer(timer) = &mut unit.body
                && timer.unit() == name
            {
                told.push((other.clone(), timer.unit_changed(active)));
            }
        }
        for (other, outputs) in told {
            self.put_out(&other, outputs);
        }
    }
}
