//! What fleetd counts, on Prometheus' page. Names are the original's where they mean the same.

use crate::faces::process_metrics;
use seatrial_etcd::{Histogram, Kind, Page};
use seatrial_fleet::agent::Task;
use seatrial_fleet::engine::{Decision, Outcome};
use seatrial_fleet::model::Cluster;
use seatrial_fleet::run::{AgentNews, EngineNews, ViewNews};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type Counts<K> = BTreeMap<K, u64>;

/// The methods that are told apart; a client says what it likes.
const METHODS: [&str; 5] = ["GET", "HEAD", "PUT", "PATCH", "DELETE"];

/// systemd's words.
const ACTIVE_STATES: [&str; 6] = ["active", "reloading", "inactive", "failed", "activating", "deactivating"];

/// Counters of one fleetd. A value that is handed in: the process has none of its own.
#[derive(Debug)]
pub(crate) struct Metrics {
    /// Since when it leads, counted from 1970.
    leads_since: Option<Duration>,
    terms: u64,
    passes: Histogram,
    /// By what is done, and why.
    decisions: Counts<(&'static str, &'static str)>,
    /// By the original's word for what was done.
    written: Counts<&'static str>,
    /// And for what was to be done.
    refused: Counts<&'static str>,
    failures: Counts<&'static str>,
    /// Units that wait, by what keeps them, at the last pass.
    waiting: Counts<&'static str>,
    registered: u64,
    renewals: u64,
    renewals_failed: u64,
    is_cut_off: bool,
    cut_off: u64,
    tasks: Counts<&'static str>,
    tasks_failed: Counts<&'static str>,
    keeps_view: bool,
    view_passes: Histogram,
    view_failures: u64,
    view_orders: u64,
    requests: Counts<(&'static str, u16)>,
    requests_refused: Counts<&'static str>,
}

/// Prometheus' own bounds, which the original used.
fn histogram() -> Histogram {
    let bounds = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000];
    Histogram::new(bounds.map(Duration::from_millis).to_vec())
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            leads_since: None,
            terms: 0,
            passes: histogram(),
            decisions: Counts::new(),
            written: Counts::new(),
            refused: Counts::new(),
            failures: Counts::new(),
            waiting: Counts::new(),
            registered: 0,
            renewals: 0,
            renewals_failed: 0,
            is_cut_off: false,
            cut_off: 0,
            tasks: Counts::new(),
            tasks_failed: Counts::new(),
            keeps_view: false,
            view_passes: histogram(),
            view_failures: 0,
            view_orders: 0,
            requests: Counts::new(),
            requests_refused: Counts::new(),
        }
    }
}

/// The original's words for what a decision makes it do. A unit that moves was taken off and put elsewhere.
fn tasks_of(decision: &Decision) -> impl Iterator<Item = &'static str> {
    let off = decision.from.as_ref().map(|_| "unscheduleunit");
    let on = decision.to.as_ref().map(|_| "attemptscheduleunit");
    off.into_iter().chain(on)
}

fn kind_of(decision: &Decision) -> &'static str {
    match (&decision.from, &decision.to) {
        (None, Some(_)) => "schedule",
        (Some(_), Some(_)) => "move",
        (_, None) => "unschedule",
    }
}

fn word(task: &Task) -> &'static str {
    match task {
        Task::Unload(..) => "unload",
        Task::Load(..) => "load",
        Task::ReloadUnitFiles => "reload",
        Task::Stop(..) => "stop",
        Task::Start(..) => "start",
    }
}

fn count<K: Ord>(counts: &mut Counts<K>, key: K) {
    *counts.entry(key).or_default() += 1;
}

impl Metrics {
    /// `wall` is the time since 1970.
    pub(crate) fn engine(&mut self, news: &EngineNews, wall: Duration) {
        match news {
            EngineNews::Leads(_) => {
                self.leads_since = Some(wall);
                self.terms += 1;
            }
            EngineNews::Rests => {
                self.leads_since = None;
                // Whoever leads now knows why units wait.
                self.waiting.clear();
            }
            EngineNews::Passed(outcome) => self.passed(outcome),
            EngineNews::Took(took) => self.passes.observe(*took),
            EngineNews::Wrote(decisions, _) => {
                for decision in decisions {
                    count(&mut self.decisions, (kind_of(decision), decision.why.kind()));
                    tasks_of(decision).for_each(|task| count(&mut self.written, task));
                }
            }
            EngineNews::Refused(decisions) => {
                for task in decisions.iter().flat_map(tasks_of) {
                    count(&mut self.refused, task);
                }
            }
        }
    }

    fn passed(&mut self, outcome: &Outcome) {
        self.waiting.clear();
        for decision in &outcome.decisions {
            match decision.why.kind() {
                "machine_gone" => count(&mut self.failures, "machine_away"),
                "not_able" => count(&mut self.failures, "run"),
                _ => {}
            }
        }
        for reason in outcome.reasons.values() {
            let is_loss = reason.obstacles.iter().any(|(obstacle, _)| obstacle.is_loss());
            count(&mut self.failures, if is_loss { "machine_away" } else { "schedule" });
            let kinds: BTreeSet<_> = reason.obstacles.iter().map(|(obstacle, _)| obstacle.kind()).collect();
            for kind in kinds {
                count(&mut self.waiting, kind);
            }
        }
    }

    pub(crate) fn agent(&mut self, news: &AgentNews) {
        match news {
            AgentNews::Registered(_) => self.registered += 1,
            AgentNews::Renewed => {
                self.renewals += 1;
                self.is_cut_off = false;
            }
            AgentNews::NotRenewed(times) => self.renewals_failed += times,
            AgentNews::CutOff => {
                self.is_cut_off = true;
                self.cut_off += 1;
            }
            AgentNews::Done(task) => count(&mut self.tasks, word(task)),
            AgentNews::Failed(task, _) => count(&mut self.tasks_failed, word(task)),
        }
    }

    pub(crate) fn view(&mut self, news: &ViewNews) {
        match news {
            ViewNews::Keeps => self.keeps_view = true,
            ViewNews::Rests => self.keeps_view = false,
            ViewNews::Took(taken) => self.view_orders += taken.len() as u64,
            ViewNews::Passed(took) => self.view_passes.observe(*took),
            ViewNews::Failed(_) => self.view_failures += 1,
        }
    }

    pub(crate) fn request(&mut self, method: &str, status: u16) {
        let method = METHODS.into_iter().find(|known| *known == method).unwrap_or("other");
        count(&mut self.requests, (method, status));
    }

    pub(crate) fn refused(&mut self, kind: &'static str) {
        count(&mut self.requests_refused, kind);
    }

    /// Whether the machine is cut off, and what runs twice may be stopped.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.is_cut_off
    }

    /// The page. Of a registry that was not read yet nothing is said.
    pub(crate) fn render(&self, cluster: Option<&Cluster>) -> String {
        let mut page = Page::default();
        self.write_engine(&mut page);
        self.write_agent(&mut page);
        self.write_view(&mut page);
        let name = "fleet_api_requests_total";
        page.head(name, Kind::Counter, "Requests answered.");
        for ((method, status), value) in &self.requests {
            page.value(name, &[("method", method), ("code", &status.to_string())], value);
        }
        let help = "Requests of whom was not let in.";
        by_label(&mut page, "fleet_api_refused_total", "reason", help, &self.requests_refused);
        if let Some(cluster) = cluster {
            write_cluster(&mut page, cluster);
        }
        process_metrics(&mut page);
        page.into_text()
    }

    fn write_engine(&self, page: &mut Page) {
        let since = self.leads_since.map_or(0.0, |since| since.as_secs_f64());
        let help = "Since when this engine leads, in seconds since 1970; 0 where it does not.";
        page.one("fleet_engine_leader_start_time", Kind::Gauge, help, since);
        let leads = u8::from(self.leads_since.is_some());
        page.one("fleet_engine_is_leader", Kind::Gauge, "Whether this engine leads.", leads);
        page.one("fleet_engine_terms_total", Kind::Counter, "How often it came to lead.", self.terms);
        let (_, passes) = self.passes.cumulated();
        page.one("fleet_engine_reconcile_count_total", Kind::Counter, "Passes of this engine.", passes);
        let name = "fleet_engine_reconcile_duration_second";
        page.histogram_head(name, "How long passes take, with what they write.");
        page.histogram(name, &[], &self.passes);
        let help =
            "Units that a pass found on a machine that is gone, or that cannot run them, or without one.";
        by_label(page, "fleet_engine_reconcile_failure_count_total", "type", help, &self.failures);
        let help = "What was decided and written.";
        by_label(page, "fleet_engine_task_count_total", "type", help, &self.written);
        let help = "What was decided and not written, for something had changed.";
        by_label(page, "fleet_engine_task_failure_count_total", "type", help, &self.refused);
        let name = "fleet_engine_decisions_total";
        page.head(name, Kind::Counter, "Decisions written, by kind and why.");
        for ((kind, why), value) in &self.decisions {
            page.value(name, &[("kind", kind), ("why", why)], value);
        }
        let name = "fleet_engine_waiting_units";
        page.head(name, Kind::Gauge, "Units kept from running, by what keeps them, where this engine leads.");
        for (reason, value) in &self.waiting {
            page.value(name, &[("reason", reason)], value);
        }
    }

    fn write_agent(&self, page: &mut Page) {
        let counts = [
            ("fleet_agent_registrations_total", "How often the machine was registered.", self.registered),
            ("fleet_agent_lease_renewals_total", "Renewals of the machine's lease.", self.renewals),
            (
                "fleet_agent_lease_renewal_failures_total",
                "Attempts that renewed nothing.",
                self.renewals_failed,
            ),
            ("fleet_agent_cut_off_total", "How often the lease was about to end.", self.cut_off),
        ];
        for (name, help, value) in counts {
            page.one(name, Kind::Counter, help, value);
        }
        let help = "Whether the machine's lease ends and cannot be renewed.";
        page.one("fleet_agent_is_cut_off", Kind::Gauge, help, u8::from(self.is_cut_off));
        by_label(
            page,
            "fleet_agent_task_count_total",
            "type",
            "Orders to units of this machine.",
            &self.tasks,
        );
        let help = "Orders that failed.";
        by_label(page, "fleet_agent_task_failure_count_total", "type", help, &self.tasks_failed);
    }

    fn write_view(&self, page: &mut Page) {
        let help = "Whether the original's registry is kept in step from here.";
        page.one("fleet_v2_registry_is_kept", Kind::Gauge, help, u8::from(self.keeps_view));
        let name = "fleet_v2_registry_pass_duration_seconds";
        page.histogram_head(name, "How long it takes to bring the original's registry into step.");
        page.histogram(name, &[], &self.view_passes);
        let help = "Passes that did not bring it into step.";
        page.one("fleet_v2_registry_pass_failures_total", Kind::Counter, help, self.view_failures);
        let help = "Orders of old clients that were taken over.";
        page.one("fleet_v2_registry_orders_total", Kind::Counter, help, self.view_orders);
    }
}

fn by_label(page: &mut Page, name: &str, label: &str, help: &str, counts: &Counts<&'static str>) {
    page.head(name, Kind::Counter, help);
    for (key, value) in counts {
        page.value(name, &[(label, key)], value);
    }
}

/// What the registry says, the same at every machine.
fn write_cluster(page: &mut Page, cluster: &Cluster) {
    page.one("fleet_machines", Kind::Gauge, "Machines that are there.", cluster.machines.len());
    let mut units: Counts<(String, String)> = Counts::new();
    for (name, unit) in &cluster.units {
        // A global unit is on many machines, and has no state of its own.
        let current =
            cluster.current_state(name).map_or_else(|| "global".to_owned(), |state| state.to_string());
        count(&mut units, (unit.desired.to_string(), current));
    }
    let name = "fleet_units";
    page.head(name, Kind::Gauge, "Units, by what they are to be and what they are.");
    for ((desired, current), value) in &units {
        page.value(name, &[("desired", desired), ("current", current)], value);
    }
    let mut states: Counts<&str> = Counts::new();
    for state in cluster.states.values() {
        // It is text that somebody wrote into the store.
        let known = ACTIVE_STATES.into_iter().find(|known| *known == state.active);
        count(&mut states, known.unwrap_or("other"));
    }
    let name = "fleet_unit_states";
    page.head(name, Kind::Gauge, "What machines say of their units, in systemd's words.");
    for (active, value) in &states {
        page.value(name, &[("active", active)], value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seatrial_fleet::engine::{Obstacle, Reason, Why};
    use seatrial_fleet::model::{JobState, Unit, UnitState};
    use seatrial_fleet::unit::{MachineId, UnitFile, UnitName};
    use seatrial_types::Revision;

    fn name(text: &str) -> UnitName {
        UnitName::parse(text).unwrap()
    }

    fn id(text: &str) -> MachineId {
        MachineId::parse(text).unwrap()
    }

    fn decision(from: Option<&str>, to: Option<&str>, why: Why) -> Decision {
        Decision { unit: name("a.service"), from: from.map(id), to: to.map(id), why }
    }

    fn has(page: &str, line: &str) {
        assert!(page.lines().any(|one| one == line), "{line} is not in\n{page}");
    }

    #[test]
    fn what_an_engine_does_is_counted_under_the_originals_names() {
        let mut metrics = Metrics::default();
        let wall = Duration::from_millis(1_700_000_000_500);
        metrics.engine(&EngineNews::Leads(Revision(3)), wall);
        let new = decision(None, Some("m1"), Why::NotScheduled(JobState::Launched));
        let moved = decision(Some("m1"), Some("m2"), Why::MachineGone(id("m1")));
        let off = decision(Some("m1"), None, Why::DesiredInactive);
        let conflict = |on: &str| Obstacle::Conflict { with: name("b.service"), on: id(on) };
        let waits = Reason {
            obstacles: vec![(conflict("m1"), 1), (conflict("m2"), 1), (Obstacle::Metadata("a=b".into()), 1)],
        };
        let reasons = [(name("c.service"), waits), (name("d.service"), Reason::of(Obstacle::InTurn))];
        let decisions = vec![new.clone(), moved.clone(), off.clone()];
        let outcome = Outcome { decisions: decisions.clone(), reasons: reasons.into(), ..Outcome::default() };
        for _ in 0..2 {
            metrics.engine(&EngineNews::Passed(outcome.clone()), wall);
            metrics.engine(&EngineNews::Took(Duration::from_millis(7)), wall);
        }
        metrics.engine(&EngineNews::Wrote(decisions, Revision(4)), wall);
        metrics.engine(&EngineNews::Refused(vec![moved]), wall);
        let page = metrics.render(None);
        for line in [
            "fleet_engine_leader_start_time 1700000000.5",
            "fleet_engine_is_leader 1",
            "fleet_engine_reconcile_count_total 2",
            "fleet_engine_reconcile_duration_second_bucket{le=\"0.005\"} 0",
            "fleet_engine_reconcile_duration_second_bucket{le=\"0.01\"} 2",
            "fleet_engine_reconcile_failure_count_total{type=\"machine_away\"} 4",
            "fleet_engine_reconcile_failure_count_total{type=\"schedule\"} 2",
            "fleet_engine_task_count_total{type=\"attemptscheduleunit\"} 2",
            "fleet_engine_task_count_total{type=\"unscheduleunit\"} 2",
            "fleet_engine_task_failure_count_total{type=\"attemptscheduleunit\"} 1",
            "fleet_engine_decisions_total{kind=\"move\",why=\"machine_gone\"} 1",
            "fleet_engine_waiting_units{reason=\"conflict\"} 1",
            "fleet_engine_waiting_units{reason=\"metadata\"} 1",
        ] {
            has(&page, line);
        }
        // Who leads no more knows nothing of those that wait.
        metrics.engine(&EngineNews::Rests, wall);
        let page = metrics.render(None);
        has(&page, "fleet_engine_leader_start_time 0");
        assert!(!page.contains("fleet_engine_waiting_units{"), "{page}");
    }

    #[test]
    fn a_machine_counts_its_lease_and_what_it_did_to_units() {
        let mut metrics = Metrics::default();
        metrics.agent(&AgentNews::Registered(Revision(1)));
        metrics.agent(&AgentNews::Renewed);
        metrics.agent(&AgentNews::NotRenewed(3));
        metrics.agent(&AgentNews::CutOff);
        assert!(metrics.is_cut_off());
        metrics.agent(&AgentNews::Done(Task::ReloadUnitFiles));
        let page = metrics.render(None);
        for line in [
            "fleet_agent_registrations_total 1",
            "fleet_agent_lease_renewals_total 1",
            "fleet_agent_lease_renewal_failures_total 3",
            "fleet_agent_is_cut_off 1",
            "fleet_agent_task_count_total{type=\"reload\"} 1",
        ] {
            has(&page, line);
        }
        metrics.agent(&AgentNews::Renewed);
        assert!(!metrics.is_cut_off());
    }

    #[test]
    fn units_are_counted_by_what_they_are_and_labels_are_bounded() {
        let mut cluster = Cluster::default();
        for unit in ["a.service", "b.service"] {
            let unit = name(unit);
            let known = Unit { desired: JobState::Launched, ..Unit::new(&unit, UnitFile::default()) };
            cluster.units.insert(unit, known);
        }
        for (at, active) in ["active", "active", "failed", "x\"y", "z"].into_iter().enumerate() {
            let state = UnitState { active: active.into(), ..UnitState::default() };
            cluster.states.insert((name("a.service"), id(&format!("m{at}"))), state);
        }
        let mut metrics = Metrics::default();
        for method in ["GET", "BREW", "STEEP"] {
            metrics.request(method, 200);
        }
        metrics.refused("no_token");
        let page = metrics.render(Some(&cluster));
        for line in [
            "fleet_units{desired=\"launched\",current=\"inactive\"} 2",
            "fleet_unit_states{active=\"active\"} 2",
            "fleet_unit_states{active=\"other\"} 2",
            "fleet_machines 0",
            "fleet_api_requests_total{method=\"GET\",code=\"200\"} 1",
            "fleet_api_requests_total{method=\"other\",code=\"200\"} 2",
            "fleet_api_refused_total{reason=\"no_token\"} 1",
        ] {
            has(&page, line);
        }
    }
}
