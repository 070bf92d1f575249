//! The picture of a run: time to the right; faults, members, clients and logs as lanes below each other.
//!
//! Coordinates along time are in units of which the whole run has [`PLOT_WIDTH`]; the script of the page
//! reads them back for zooming, so that the picture is complete without it. What a colour says is said by
//! pattern, outline or word as well.

use crate::cuts::{Cuts, Limits, choose, focus, how};
use crate::escape::{escape_content, shorten};
use crate::record::{ClientOperation, Ending, Message, Role, RunRecord};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Width of the time axis.
pub(crate) const PLOT_WIDTH: f64 = 1000.0;
/// Room for the names of the lanes.
pub(crate) const LEFT: f64 = 128.0;
/// Room for the names of the lines in the chart.
const RIGHT: f64 = 44.0;
/// Of the whole picture.
pub(crate) const WIDTH: f64 = LEFT + PLOT_WIDTH + RIGHT;

const TOP: f64 = 20.0;
const MEMBER_HEIGHT: f64 = 30.0;
const CLIENT_HEIGHT: f64 = 15.0;
const CHART_HEIGHT: f64 = 120.0;

/// The drawing and what the page's script must know of it.
pub(crate) struct Drawing {
    pub(crate) svg: String,
    pub(crate) height: f64,
    pub(crate) arrows: Vec<Arrow>,
}

/// A message, as the script of the page draws it.
pub(crate) struct Arrow {
    pub(crate) kind: String,
    x1: f64,
    x2: f64,
    y1: f64,
    y2: f64,
    lost: u8,
    title: String,
}

impl Arrow {
    /// Without names of fields, which would be most of the text.
    pub(crate) fn row(&self) -> (&str, f64, f64, f64, f64, u8, &str) {
        (&self.kind, self.x1, self.x2, self.y1, self.y2, self.lost, &self.title)
    }
}

struct Draw<'a> {
    record: &'a RunRecord,
    limits: Limits,
    end: u64,
    /// Names and rules, left of and behind the plot.
    frame: String,
    /// The plot.
    plot: String,
    y: f64,
    middles: BTreeMap<String, f64>,
}

/// Draws a run.
pub(crate) fn draw(record: &RunRecord, limits: Limits, cuts: &mut Cuts) -> Drawing {
    let mut draw = Draw {
        record,
        limits,
        end: record.end_ns(),
        frame: String::new(),
        plot: String::new(),
        y: TOP,
        middles: BTreeMap::new(),
    };
    draw.phases();
    draw.faults(cuts);
    draw.leaders();
    draw.members(cuts);
    draw.clients(cuts);
    draw.chart(cuts);
    let arrows = draw.messages(cuts);
    draw.first_bad();
    let height = draw.y + 8.0;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg class=\"plot\" id=\"plot\" viewBox=\"0 0 {WIDTH} {height:.0}\" tabindex=\"0\" role=\"img\" \
         aria-label=\"The run over time, a lane each for faults, members and clients\">\n{PATTERNS}\n{}\
         <svg x=\"{LEFT}\" y=\"0\" width=\"{PLOT_WIDTH}\" height=\"{height:.0}\" viewBox=\"0 0 {PLOT_WIDTH} {height:.0}\" overflow=\"hidden\">\n\
         <g id=\"ticks\">{}</g>\n{}\
         <line class=\"hover\" id=\"hover\" x1=\"0\" x2=\"0\" y1=\"14\" y2=\"{height:.0}\" style=\"display:none\"/>\
         <text class=\"sub\" id=\"hover-text\" x=\"0\" y=\"{:.0}\" style=\"display:none\"></text>\n</svg>\n</svg>\n",
        draw.frame,
        ticks(draw.end, height),
        draw.plot,
        height - 3.0,
    );
    Drawing { svg, height, arrows }
}

/// Patterns instead of colours alone; named here because a picture copied out of the page needs them too.
const PATTERNS: &str = "<defs>\
<pattern id=\"p-fault\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" fill=\"var(--fault-soft)\"/><rect width=\"2\" height=\"7\" fill=\"var(--fault)\" opacity=\".55\"/></pattern>\
<pattern id=\"p-down\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"6\" fill=\"var(--soft)\"/><path d=\"M0 0L6 6M6 0L0 6\" stroke=\"var(--down)\" stroke-width=\"1.1\"/></pattern>\
<pattern id=\"p-candidate\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\"><circle cx=\"2.5\" cy=\"2.5\" r=\"1.5\" fill=\"var(--candidate)\"/></pattern>\
<pattern id=\"p-learner\" width=\"6\" height=\"4\" patternUnits=\"userSpaceOnUse\"><rect width=\"6\" height=\"1.4\" fill=\"var(--learner)\"/></pattern>\
<pattern id=\"p-unled\" width=\"6\" height=\"6\" patternUnits=\"userSpaceOnUse\"><circle cx=\"1.5\" cy=\"1.5\" r=\".8\" fill=\"var(--dim)\"/></pattern>\
<pattern id=\"p-unknown\" width=\"5\" height=\"5\" patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(-45)\"><rect width=\"1.4\" height=\"5\" fill=\"var(--unknown)\" opacity=\".7\"/></pattern>\
</defs>";

/// Seconds for people: as many digits as tell two events of one run apart.
pub(crate) fn moment(ns: u64) -> String {
    let (seconds, rest) = (ns / 1_000_000_000, ns % 1_000_000_000);
    format!("{seconds}.{:04} s", rest / 100_000)
}

fn ticks(end: u64, height: f64) -> String {
    let mut step = 1_u64;
    let mut factor = [2, 5, 10].into_iter().cycle();
    let mut base = 1_u64;
    while end / step > 11 {
        let next = factor.next().unwrap_or(10);
        step = base.saturating_mul(next);
        if next == 10 {
            base = step;
        }
    }
    let digits = 9_usize.saturating_sub(step.ilog10() as usize);
    let mut out = String::new();
    let mut time = 0;
    while time <= end {
        let x = time as f64 / end as f64 * PLOT_WIDTH;
        let seconds = time as f64 / 1e9;
        let anchor = match x {
            x if x < 12.0 => "start",
            x if x > PLOT_WIDTH - 12.0 => "end",
            _ => "middle",
        };
        let _ = write!(
            out,
            "<g class=\"tick\"><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"16\" y2=\"{height:.0}\"/>\
             <text x=\"{x:.1}\" y=\"11\" text-anchor=\"{anchor}\">{seconds:.digits$} s</text></g>"
        );
        let Some(next) = time.checked_add(step) else { break };
        time = next;
    }
    out
}

impl Draw<'_> {
    fn x(&self, time: u64) -> f64 {
        time.min(self.end) as f64 / self.end as f64 * PLOT_WIDTH
    }

    /// A band with a title and, where it fits, a label.
    #[allow(clippy::too_many_arguments, reason = "a rectangle has four sides, a look and two texts")]
    fn band(
        &mut self,
        class: &str,
        from: u64,
        to: u64,
        y: f64,
        height: f64,
        label: &str,
        title: &str,
        least: f64,
    ) {
        let (x, right) = (self.x(from), self.x(to.max(from)));
        let width = (right - x).max(least);
        let room = label.chars().count() as f64 * 6.1 + 8.0;
        let tight = if !label.is_empty() && width < room { " tight" } else { "" };
        let _ = write!(
            self.plot,
            "<g class=\"b {class}{tight}\"><title>{}</title>\
             <rect x=\"{x:.2}\" y=\"{y}\" width=\"{width:.2}\" height=\"{height}\"/>",
            escape_content(&shorten(title, self.limits.text))
        );
        if !label.is_empty() {
            let (tx, ty) = (x + 4.0, y + height / 2.0 + 3.9);
            let _ = write!(self.plot, "<text x=\"{tx:.2}\" y=\"{ty:.1}\">{}</text>", escape_content(label));
        }
        self.plot.push_str("</g>\n");
    }

    fn point(&mut self, class: &str, time: u64, y: f64, title: &str, inner: &str) {
        let x = self.x(time);
        let _ = writeln!(
            self.plot,
            "<g class=\"p {class}\" data-x=\"{x:.2}\" data-y=\"{y:.1}\" transform=\"translate({x:.2} {y:.1})\"><title>{}</title>{inner}</g>",
            escape_content(&shorten(title, self.limits.text))
        );
    }

    fn name(&mut self, y: f64, class: &str, text: &str) {
        let _ = writeln!(
            self.frame,
            "<text class=\"{class}\" x=\"{}\" y=\"{y:.1}\" text-anchor=\"end\">{}</text>",
            LEFT - 8.0,
            escape_content(&shorten(text, 19))
        );
    }

    fn section(&mut self, text: &str) {
        self.y += 10.0;
        let y = self.y;
        let _ = writeln!(
            self.frame,
            "<line class=\"rule\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
             <text class=\"section\" x=\"2\" y=\"{:.1}\">{}</text>",
            y + 12.0,
            escape_content(text)
        );
        self.y += 17.0;
    }

    fn phases(&mut self) {
        let y = self.y;
        if self.record.phases.is_empty() {
            return;
        }
        self.name(y + 11.0, "sub", "phase");
        for (place, phase) in self.record.phases.iter().enumerate() {
            let title = format!("phase {}: {} to {}", phase.name, moment(phase.from), moment(phase.to));
            let class = if place % 2 == 0 { "phase" } else { "phase odd" };
            self.band(class, phase.from, phase.to, y, 15.0, &shorten(&phase.name, 40), &title, 1.0);
        }
        self.y += 17.0;
    }

    fn faults(&mut self, cuts: &mut Cuts) {
        let faults = &self.record.faults;
        if faults.is_empty() {
            return;
        }
        self.section("faults");
        let focus = focus(self.record);
        let chosen = choose(faults.len(), self.limits.faults, focus, |place| faults[place].from, |_| false);
        cuts.note(chosen.len(), faults.len(), "faults", how(focus));
        let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for place in chosen {
            kinds.entry(&faults[place].kind).or_default().push(place);
        }
        for (kind, mut places) in kinds {
            places.sort_by_key(|&place| faults[place].from);
            // Faults of one kind that overlap go into rows below each other.
            let mut rows: Vec<u64> = Vec::new();
            let top = self.y;
            for place in places {
                let fault = &faults[place];
                let to = fault.to.unwrap_or(self.end);
                let row = rows.iter().position(|&until| until <= fault.from).unwrap_or(rows.len()).min(3);
                if row == rows.len() {
                    rows.push(to);
                } else {
                    rows[row] = rows[row].max(to);
                }
                let targets =
                    if fault.targets.is_empty() { "all".to_owned() } else { fault.targets.join(" ") };
                let text = if fault.text.is_empty() { &targets } else { &fault.text };
                let end = fault.to.map_or_else(|| "the end".to_owned(), moment);
                let title = format!("{kind} on {targets}: {} ({} to {end})", fault.text, moment(fault.from));
                self.band(
                    "fault",
                    fault.from,
                    to,
                    top + row as f64 * 17.0,
                    15.0,
                    &shorten(text, 60),
                    &title,
                    2.0,
                );
            }
            self.name(top + 11.5, "lane", kind);
            self.y = top + rows.len() as f64 * 17.0 + 2.0;
        }
    }

    /// Who led, over all members: the story of a run in one lane.
    fn leaders(&mut self) {
        let mut reigns: Vec<_> = self.record.roles.iter().filter(|band| band.role == Role::Leader).collect();
        if reigns.is_empty() || reigns.len() > self.limits.bands {
            return;
        }
        reigns.sort_by_key(|reign| (reign.from, reign.term));
        self.section("leader");
        let top = self.y;
        let mut rows: Vec<u64> = Vec::new();
        let mut led_until = 0;
        for reign in reigns {
            let to = reign.to.unwrap_or(self.end);
            if reign.from > led_until {
                let title = format!("no leader from {} to {}", moment(led_until), moment(reign.from));
                self.band("unled", led_until, reign.from, top, 18.0, "no leader", &title, 0.5);
            }
            led_until = led_until.max(to);
            let row = rows.iter().position(|&until| until <= reign.from).unwrap_or(rows.len()).min(3);
            if row == rows.len() {
                rows.push(to);
            } else {
                rows[row] = rows[row].max(to);
            }
            let label = format!("{} · term {}", reign.member, reign.term);
            let title = format!(
                "{} led term {} from {} to {}",
                reign.member,
                reign.term,
                moment(reign.from),
                moment(to)
            );
            self.band("leader", reign.from, to, top + row as f64 * 20.0, 18.0, &label, &title, 1.5);
        }
        if led_until < self.end {
            let title = format!("no leader from {} to the end", moment(led_until));
            self.band("unled", led_until, self.end, top, 18.0, "no leader", &title, 0.5);
        }
        self.name(top + 13.0, "lane", "who leads");
        self.y = top + rows.len() as f64 * 20.0;
    }

    fn members(&mut self, cuts: &mut Cuts) {
        let record = self.record;
        let mut names: Vec<(String, String)> =
            record.members.iter().map(|member| (member.name.clone(), member.detail.clone())).collect();
        let mentioned = record.roles.iter().map(|band| &band.member);
        let mentioned = mentioned.chain(record.outages.iter().map(|outage| &outage.member));
        for name in mentioned {
            if !names.iter().any(|(known, _)| known == name) {
                names.push((name.clone(), String::new()));
            }
        }
        if names.is_empty() {
            return;
        }
        self.section("members");
        let focus = focus(record);
        let shown =
            choose(record.roles.len(), self.limits.bands, focus, |place| record.roles[place].from, |_| false);
        cuts.note(shown.len(), record.roles.len(), "roles of members", how(focus));
        for (name, detail) in names {
            let y = self.y;
            self.name(y + if detail.is_empty() { 17.0 } else { 12.0 }, "lane", &name);
            if !detail.is_empty() {
                self.name(y + 23.0, "sub", &detail);
            }
            for band in shown.iter().map(|&place| &record.roles[place]).filter(|band| band.member == name) {
                let to = band.to.unwrap_or(self.end);
                let class = match band.role {
                    Role::Follower => "follower",
                    Role::PreCandidate | Role::Candidate => "candidate",
                    Role::Leader => "leader",
                    Role::Learner => "learner",
                };
                let label = match band.role {
                    Role::Follower => String::new(),
                    role => format!("{} · term {}", role.word(), band.term),
                };
                let title = format!(
                    "{name}: {} in term {} from {} to {}",
                    band.role.word(),
                    band.term,
                    moment(band.from),
                    moment(to)
                );
                // The lower the role, the thinner its band: a leader stands out without any colour.
                let (dy, height) = match band.role {
                    Role::Follower => (9.0, 8.0),
                    Role::Learner => (7.0, 12.0),
                    Role::PreCandidate | Role::Candidate => (4.0, 18.0),
                    Role::Leader => (2.0, 22.0),
                };
                self.band(class, band.from, to, y + dy, height, &label, &title, 1.0);
            }
            for outage in record.outages.iter().filter(|outage| outage.member == name).take(self.limits.bands)
            {
                let to = outage.to.unwrap_or(self.end);
                let title = format!(
                    "{name}: {} from {} to {}{}{}",
                    outage.kind.word(),
                    moment(outage.from),
                    outage.to.map_or_else(|| "the end".to_owned(), moment),
                    if outage.text.is_empty() { "" } else { ": " },
                    outage.text
                );
                self.band("outage", outage.from, to, y + 4.0, 18.0, outage.kind.word(), &title, 2.0);
                self.point("mark", outage.from, y + 13.0, &title, "<path d=\"M-5 -5L5 5M5 -5L-5 5\"/>");
                if let Some(to) = outage.to {
                    let title = format!("{name}: ran again at {}", moment(to));
                    self.point("mark up", to, y + 13.0, &title, "<path d=\"M-3 -6L4 0L-3 6\"/>");
                }
            }
            for fault in
                record.faults.iter().filter(|fault| fault.targets.contains(&name)).take(self.limits.faults)
            {
                let to = fault.to.unwrap_or(self.end);
                let title = format!("{name} is struck by {}: {}", fault.kind, fault.text);
                self.band("struck", fault.from, to, y + 26.0, 2.5, "", &title, 1.5);
            }
            self.middles.insert(name, y + 13.0);
            self.y += MEMBER_HEIGHT;
        }
    }

    fn clients(&mut self, cuts: &mut Cuts) {
        let operations = &self.record.operations;
        if operations.is_empty() {
            return;
        }
        let evidence: Vec<usize> =
            self.record.first_bad.as_ref().map(|bad| bad.operations.clone()).unwrap_or_default();
        let focus = focus(self.record);
        let mut clients: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for (place, operation) in operations.iter().enumerate() {
            clients.entry(operation.client).or_default().push(place);
        }
        let all = clients.len();
        let mut names: Vec<u32> = clients.keys().copied().collect();
        // Clients whose operations are the evidence always have a lane.
        names.sort_by_key(|client| {
            (
                !evidence.iter().any(|&place| operations.get(place).is_some_and(|op| op.client == *client)),
                *client,
            )
        });
        names.truncate(self.limits.lanes);
        names.sort_unstable();
        cuts.note(names.len(), all, "clients", "those of the evidence, then the first");
        let chosen: BTreeSet<usize> = choose(
            operations.len(),
            self.limits.operations,
            focus,
            |place| operations[place].call,
            |place| evidence.contains(&place),
        )
        .into_iter()
        .collect();
        cuts.note(chosen.len(), operations.len(), "operations in the picture", how(focus));
        self.section("clients");
        let mut pins = Vec::new();
        for client in names {
            let y = self.y;
            self.name(y + 10.5, "lane", &format!("client {client}"));
            let mut places = clients.remove(&client).unwrap_or_default();
            places.sort_by_key(|&place| operations[place].call);
            for (number, &place) in places.iter().enumerate() {
                if !chosen.contains(&place) {
                    continue;
                }
                // Never answered: open until the client goes on with something else.
                let next = places.get(number + 1).map_or(self.end, |&next| operations[next].call);
                let operation = &operations[place];
                let to = operation.ret.unwrap_or(next.max(operation.call));
                let is_evidence = evidence.iter().position(|&other| other == place);
                self.operation(place, operation, to, y, is_evidence.is_some());
                if let Some(number) = is_evidence {
                    pins.push((operation.call, y + 6.0, number + 1, place));
                }
            }
            self.y += CLIENT_HEIGHT;
        }
        for (time, y, number, place) in pins {
            let title = format!("evidence {number}: {}", describe(place, &operations[place]));
            let inner = format!("<circle r=\"6.5\"/><text y=\"3.2\">{number}</text>");
            self.point("pin", time, y, &title, &inner);
        }
    }

    fn operation(&mut self, place: usize, operation: &ClientOperation, to: u64, y: f64, evidence: bool) {
        let mut class = match operation.ending {
            Ending::Ok if reads(&operation.text) => "op read".to_owned(),
            Ending::Ok => "op".to_owned(),
            Ending::Failed => "op failed".to_owned(),
            Ending::Unknown => "op unknown".to_owned(),
        };
        if evidence {
            class += " evidence";
        }
        let title = describe(place, operation);
        // The script of the page writes the label from the title once there is room for it.
        self.band(&class, operation.call, to, y + 1.0, 11.5, "", &title, 1.2);
    }

    /// Commit indexes over time, with the last index faintly above each.
    fn chart(&mut self, cuts: &mut Cuts) {
        let series: Vec<_> = self.record.progress.iter().filter(|series| !series.points.is_empty()).collect();
        if series.is_empty() {
            return;
        }
        self.section("log: commit index (bold) and last index (thin)");
        let top = self.y;
        let highest =
            series.iter().flat_map(|series| &series.points).map(|point| point.last.max(point.commit)).max();
        let lowest =
            series.iter().flat_map(|series| &series.points).map(|point| point.commit.min(point.last)).min();
        let (low, high) = (lowest.unwrap_or(0), highest.unwrap_or(1));
        let span = (high - low).max(1) as f64;
        let y_of = |index: u64| {
            top + CHART_HEIGHT - (index.saturating_sub(low)) as f64 / span * (CHART_HEIGHT - 8.0)
        };
        for part in 0..=4_u64 {
            let index = low + (high - low) * part / 4;
            let y = y_of(index);
            let _ = writeln!(
                self.frame,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"sub\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{index}</text>",
                LEFT + PLOT_WIDTH,
                LEFT - 8.0,
                y + 3.5
            );
        }
        let mut labels: Vec<(f64, String, usize)> = Vec::new();
        let (mut shown, mut all) = (0, 0);
        for (number, series) in series.iter().enumerate() {
            let points = &series.points;
            let chosen = choose(
                points.len(),
                self.limits.points,
                None,
                |place| points[place].at,
                |place| place == 0 || place + 1 == points.len(),
            );
            (shown, all) = (shown + chosen.len(), all + points.len());
            let line = |of: &dyn Fn(usize) -> u64| {
                let mut out = String::new();
                let mut before: Option<f64> = None;
                for &place in &chosen {
                    let (x, y) = (self.x(points[place].at), y_of(of(place)));
                    // Steps, not slopes: an index holds until it changes.
                    match before {
                        Some(before) if before == y => continue,
                        Some(before) => {
                            let _ = write!(out, "{x:.1},{before:.1} {x:.1},{y:.1} ");
                        }
                        None => {
                            let _ = write!(out, "{x:.1},{y:.1} ");
                        }
                    }
                    before = Some(y);
                }
                if let (Some(y), Some(point)) = (before, points.last()) {
                    let _ = write!(out, "{:.1},{y:.1}", self.x(point.at));
                }
                out
            };
            let (commit, last) = (line(&|place| points[place].commit), line(&|place| points[place].last));
            let style = number % 7;
            let _ = writeln!(
                self.plot,
                "<g class=\"s\"><title>{}</title><polyline class=\"last s{style}\" points=\"{last}\"/><polyline class=\"s{style}\" points=\"{commit}\"/></g>",
                escape_content(&series.member)
            );
            if let Some(point) = points.last() {
                labels.push((y_of(point.commit), series.member.clone(), style));
            }
        }
        cuts.note(shown, all, "points of the log chart", "evenly spread");
        self.chart_labels(labels);
        self.y = top + CHART_HEIGHT + 6.0;
    }

    /// The names of the lines at their right ends, pushed apart where they would lie on each other, each with
    /// a piece of its line.
    fn chart_labels(&mut self, mut labels: Vec<(f64, String, usize)>) {
        labels.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        let bottom = self.y + CHART_HEIGHT + 2.0;
        let mut next = f64::MIN;
        let spread = (labels.len() as f64 * 11.0).min(CHART_HEIGHT);
        let first = labels.first().map_or(0.0, |label| label.0).min(bottom - spread);
        for (place, (y, name, style)) in labels.into_iter().enumerate() {
            let y = y.min(bottom - spread + place as f64 * 11.0).max(first).max(next);
            next = y + 11.0;
            let x = LEFT + PLOT_WIDTH + 2.0;
            let _ = writeln!(
                self.frame,
                "<line class=\"s{style}\" stroke-width=\"2\" x1=\"{x}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text class=\"sub\" x=\"{}\" y=\"{:.1}\">{}</text>",
                x + 14.0,
                x + 17.0,
                y + 3.5,
                escape_content(&shorten(&name, 5))
            );
        }
    }

    /// Arrows between the lanes of members. They would hide the rest, so that the page draws them on demand,
    /// from the data returned here.
    fn messages(&mut self, cuts: &mut Cuts) -> Vec<Arrow> {
        let messages = &self.record.messages;
        let known = |message: &Message| {
            self.middles.contains_key(&message.from) && self.middles.contains_key(&message.to)
        };
        let drawable: Vec<&Message> = messages.iter().filter(|message| known(message)).collect();
        let focus = focus(self.record);
        let chosen =
            choose(drawable.len(), self.limits.messages, focus, |place| drawable[place].sent, |_| false);
        let total = usize::try_from(self.record.messages_total).unwrap_or(usize::MAX).max(messages.len());
        cuts.note(chosen.len(), total, "messages", how(focus));
        // How long a lost message is drawn: half as long as those that came took.
        let mut delays: Vec<u64> = drawable
            .iter()
            .filter_map(|message| Some(message.delivered?.saturating_sub(message.sent)))
            .collect();
        delays.sort_unstable();
        let usual = delays.get(delays.len() / 2).copied().unwrap_or(self.end / 200).max(2);
        self.plot.push_str("<g class=\"messages\" id=\"messages\"></g>\n");
        chosen
            .into_iter()
            .map(|place| {
                let message = drawable[place];
                let (y1, target) = (self.middles[&message.from], self.middles[&message.to]);
                let (until, y2, fate) = match message.delivered {
                    Some(at) => (at.max(message.sent), target, format!("arrived {}", moment(at))),
                    None => {
                        let until = message.sent.saturating_add(usual / 2);
                        (until, y1 + (target - y1) * 0.55, "never arrived".to_owned())
                    }
                };
                let title = format!(
                    "{} from {} to {}, sent {}, {fate}{}{}",
                    message.kind,
                    message.from,
                    message.to,
                    moment(message.sent),
                    if message.text.is_empty() { "" } else { ": " },
                    message.text
                );
                let rounded = |x: f64| (x * 100.0).round() / 100.0;
                Arrow {
                    kind: shorten(&message.kind, 40),
                    x1: rounded(self.x(message.sent)),
                    x2: rounded(self.x(until)),
                    y1,
                    y2: rounded(y2),
                    lost: u8::from(message.delivered.is_none()),
                    title: shorten(&title, self.limits.text),
                }
            })
            .collect()
    }

    fn first_bad(&mut self) {
        let Some(bad) = &self.record.first_bad else { return };
        let height = self.y;
        let title = format!("first bad event at {}: {}", moment(bad.at), bad.text);
        // The flag hangs towards the middle, so that it is never cut off.
        let right = self.x(bad.at) > PLOT_WIDTH * 0.7;
        let (anchor, x) = if right { ("end", -7.0) } else { ("start", 7.0) };
        let inner = format!(
            "<line x1=\"0\" x2=\"0\" y1=\"0\" y2=\"{:.1}\"/><path d=\"M-5 0L5 0L0 8Z\"/>\
             <text x=\"{x}\" y=\"{:.1}\" text-anchor=\"{anchor}\">first bad event</text>",
            height - 14.0,
            height - 17.0
        );
        let at = bad.at;
        self.point("bad", at, 14.0, &title, &inner);
        if let Some(middle) = bad.member.as_ref().and_then(|member| self.middles.get(member)).copied() {
            self.point("mark", at, middle, &title, "<path d=\"M0 -11L11 0L0 11L-11 0Z\"/>");
        }
    }
}

/// What an operation was, in one line.
pub(crate) fn describe(place: usize, operation: &ClientOperation) -> String {
    let end = operation.ret.map_or_else(|| "never answered".to_owned(), |ret| format!("to {}", moment(ret)));
    let member = operation.member.as_ref().map(|member| format!(" at {member}")).unwrap_or_default();
    format!(
        "#{place} client {}{member}: {} → {} ({}; {} {end})",
        operation.client,
        operation.text,
        if operation.answer.is_empty() { operation.ending.word() } else { &operation.answer },
        operation.ending.word(),
        moment(operation.call)
    )
}

/// Reads are drawn lighter.
fn reads(text: &str) -> bool {
    ["get", "read", "range", "list", "serializable get"].iter().any(|word| text.starts_with(word))
}
