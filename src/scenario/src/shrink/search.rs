//! Tries smaller plans and keeps the smallest that fails.

use super::{Shrink, Shrunk};
use crate::plan::Plan;
use std::sync::atomic::{AtomicBool, Ordering};

/// Other seeds that a plan is tried with, where there are few plans to try.
const SEEDS: u64 = 3;
const FEW: usize = 12;

/// The state of it.
pub(super) struct Search<'a> {
    with: Shrink<'a>,
    best: Plan,
    runs: u64,
    is_over: bool,
}

impl<'a> Search<'a> {
    pub(super) fn new(plan: Plan, with: Shrink<'a>) -> Self {
        Self { with, best: plan, runs: 0, is_over: false }
    }

    /// The smallest so far.
    pub(super) fn best(&self) -> &Plan {
        &self.best
    }

    /// The time is over.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    pub(super) fn ended(self) -> Shrunk {
        Shrunk { plan: self.best, runs: self.runs, is_done: !self.is_over }
    }

    /// Takes the first of these plans that fails for the best; whether one does.
    pub(super) fn first(&mut self, count: usize, plan: &(dyn Fn(usize) -> Plan + Sync)) -> bool {
        let seeds = if count <= FEW { SEEDS } else { 0 };
        for other in 0..=seeds {
            for from in (0..count).step_by(self.with.jobs.max(1)) {
                let to = (from + self.with.jobs.max(1)).min(count);
                if !(self.with.goes_on)() {
                    self.is_over = true;
                    return false;
                }
                let tried: Vec<(Plan, AtomicBool)> = (from..to)
                    .map(|at| {
                        let mut plan = plan(at);
                        // Far from the seeds of other plans of this batch, and the same at every shrinking.
                        plan.seed = plan.seed.wrapping_add(other * 7_919);
                        (plan, AtomicBool::new(false))
                    })
                    .collect();
                #[allow(
                    clippy::disallowed_methods,
                    reason = "runs are spread over threads outside of any world"
                )]
                std::thread::scope(|scope| {
                    for (plan, failed) in &tried {
                        scope.spawn(|| failed.store((self.with.fails)(plan), Ordering::SeqCst));
                    }
                });
                self.runs += tried.len() as u64;
                if let Some((plan, _)) = tried.into_iter().find(|(_, failed)| failed.load(Ordering::SeqCst)) {
                    self.best = plan;
                    return true;
                }
            }
        }
        false
    }

    /// The same for one plan, where it is another one than the best.
    pub(super) fn one(&mut self, plan: &Plan) -> bool {
        *plan != self.best && self.first(1, &|_| plan.clone())
    }

    /// Leaves out as many of so many things as it can, in runs of halved length: all, a half, a quarter, one.
    /// `without` is the plan without those that it is told of. Whether anything went.
    pub(super) fn thin(
        &mut self,
        count: impl Fn(&Plan) -> usize,
        without: impl Fn(&Plan, &dyn Fn(usize) -> bool) -> Plan + Sync,
    ) -> bool {
        let mut went = false;
        let mut size = count(&self.best);
        while size > 0 && !self.is_over {
            let left = count(&self.best);
            let best = self.best.clone();
            let part = |at: usize| without(&best, &|thing| thing / size == at);
            if self.first(left.div_ceil(size), &part) {
                went = true;
                size = size.min(count(&self.best));
            } else {
                size = if size == 1 { 0 } else { size.div_ceil(2) };
            }
        }
        went
    }
}
