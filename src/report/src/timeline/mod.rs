//! The picture of a run: time to the right; faults, members and clients as lanes below each other.
//!
//! Here is decided what is drawn, in which lane and with which look; the script of the page moves what is drawn along
//! the time axis and lanes up and down, and so zooms and filters. Coordinates along time are in units of which the whole
//! run has [`PLOT_WIDTH`], precise enough for the script to read them back: the picture is complete without it.

mod clients;
mod looks;
mod members;
mod messages;

pub(crate) use clients::shown_operations;
pub(crate) use looks::legend;
pub(crate) use members::Series;
pub(crate) use messages::Messages;

use crate::cuts::{Cuts, Limits, choose, focus, how};
use crate::escape::{escape, escape_content, shorten};
use crate::record::{Role, RunRecord};
use looks::{FAULT, Look, PATTERNS, UNLED};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Width of the time axis.
pub(crate) const PLOT_WIDTH: f64 = 1000.0;
/// Room for the names of the lanes.
const LEFT: f64 = 132.0;
/// Of the whole picture.
const WIDTH: f64 = LEFT + PLOT_WIDTH + 8.0;
/// Room for the time axis.
const TOP: f64 = 22.0;
/// Between two groups of lanes.
const GROUP_GAP: f64 = 12.0;

/// The drawing and what the page's script must know of it.
pub(crate) struct Drawing {
    pub(crate) svg: String,
    /// The whole run in one strip, to see where the picture is.
    pub(crate) map: String,
    pub(crate) messages: Messages,
    pub(crate) progress: Vec<Series>,
}

/// One row of the picture.
struct Lane {
    /// `phase`, `fault`, `leaders`, `member` or `client`.
    group: &'static str,
    /// What filters call it.
    key: String,
    /// Shown at its left.
    name: String,
    /// Shown below the name.
    detail: String,
    height: f64,
    /// Further attributes and marks left of the plot.
    frame: String,
    /// The plot.
    plot: String,
}

struct Draw<'a> {
    record: &'a RunRecord,
    limits: Limits,
    end: u64,
    lanes: Vec<Lane>,
}

/// Draws a run.
pub(crate) fn draw(record: &RunRecord, limits: Limits, cuts: &mut Cuts) -> Drawing {
    let mut draw = Draw { record, limits, end: record.end_ns(), lanes: Vec::new() };
    draw.phases();
    draw.faults(cuts);
    draw.leaders();
    let progress = draw.members(cuts);
    draw.clients(cuts);
    let messages = messages::choose_messages(record, limits, cuts);
    let mut frame = String::new();
    let mut y = TOP;
    let mut group = "";
    for (number, lane) in draw.lanes.iter().enumerate() {
        if group != lane.group && number > 0 {
            let _ = writeln!(
                frame,
                "<line class=\"rule\" data-group=\"{}\" x1=\"0\" x2=\"{WIDTH}\" y1=\"{1:.1}\" y2=\"{1:.1}\"/>",
                lane.group,
                y + GROUP_GAP / 2.0
            );
            y += GROUP_GAP;
        }
        group = lane.group;
        lane.write(&mut frame, y);
        y += lane.height;
    }
    let height = y + 18.0;
    let mut svg = String::new();
    let _ = write!(
        svg,
        "<svg class=\"plot\" id=\"plot\" viewBox=\"0 0 {WIDTH} {height:.0}\" tabindex=\"0\" role=\"group\" \
         aria-label=\"The run over time, a lane each for faults, members and clients. Plus and minus zoom, arrows move, n and p go to the next and the previous thing.\">\n\
         {PATTERNS}\n<svg class=\"over\" id=\"axis\" x=\"{LEFT}\" y=\"0\" width=\"{PLOT_WIDTH}\" height=\"{height:.0}\">{}</svg>\n{frame}\
         <svg class=\"over\" id=\"over\" x=\"{LEFT}\" y=\"0\" width=\"{PLOT_WIDTH}\" height=\"{height:.0}\">\
         <g id=\"arrows\"></g>{}</svg>\n</svg>\n",
        ticks(draw.end, height),
        draw.first_bad(height),
    );
    Drawing { map: draw.map(), svg, messages, progress }
}

impl Lane {
    fn new(group: &'static str, key: &str, name: &str, height: f64) -> Self {
        Self {
            group,
            key: key.to_owned(),
            name: name.to_owned(),
            detail: String::new(),
            height,
            frame: String::new(),
            plot: String::new(),
        }
    }

    fn write(&self, out: &mut String, y: f64) {
        let middle = match self.group {
            "member" => 17.0,
            _ => 12.5,
        };
        let _ = write!(
            out,
            "<g class=\"lane\" data-group=\"{}\" data-key=\"{}\" data-h=\"{:.0}\" transform=\"translate(0 {y:.1})\">\
             <text class=\"name\" x=\"2\" y=\"{middle}\">{}</text>",
            self.group,
            escape(&self.key),
            self.height,
            escape_content(&shorten(&self.name, 20))
        );
        if !self.detail.is_empty() {
            let detail = escape_content(&shorten(&self.detail, 20));
            let _ = write!(out, "<text class=\"sub\" x=\"2\" y=\"{}\">{detail}</text>", middle + 13.0);
        }
        let _ = writeln!(
            out,
            "{}<svg class=\"t\" x=\"{LEFT}\" y=\"0\" width=\"{PLOT_WIDTH}\" height=\"{:.0}\">\n{}</svg></g>",
            self.frame, self.height, self.plot
        );
    }
}

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
    let mut out = String::from("<g id=\"ticks\">");
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
    out + "</g>"
}

/// Rows below each other for stretches that overlap: the row of each, in the order given, at most `max` rows.
fn rows(stretches: impl Iterator<Item = (u64, u64)>, max: usize) -> Vec<usize> {
    let mut free: Vec<u64> = Vec::new();
    stretches
        .map(|(from, to)| {
            let row = free.iter().position(|&until| until <= from).unwrap_or(free.len()).min(max - 1);
            if row == free.len() {
                free.push(to);
            } else {
                free[row] = free[row].max(to);
            }
            row
        })
        .collect()
}

/// A stretch of time with its look: what [`Draw::band`] draws.
struct Band<'a> {
    look: Look,
    /// More classes and attributes, as they stand in the markup.
    more: &'a str,
    from: u64,
    to: u64,
    /// Added to the look's height within the lane.
    dy: f64,
    label: &'a str,
    /// Empty where the script takes it from elsewhere.
    title: &'a str,
}

impl Draw<'_> {
    fn x(&self, time: u64) -> f64 {
        time.min(self.end) as f64 / self.end as f64 * PLOT_WIDTH
    }

    /// A band with a title and, where it fits, a label.
    fn band(&self, out: &mut String, band: &Band<'_>) {
        let Band { look, more, label, title, .. } = band;
        let (x, right) = (self.x(band.from), self.x(band.to.max(band.from)));
        let (width, y) = (right - x, look.y + band.dy);
        let room = label.chars().count() as f64 * 6.1 + 8.0;
        let tight = if !label.is_empty() && width < room { " tight" } else { "" };
        let (classes, attributes) = more.split_once('|').unwrap_or((more, ""));
        let _ = write!(
            out,
            "<g class=\"b {}{classes}{tight}\"{attributes}>{}<rect x=\"{x:.4}\" y=\"{y}\" width=\"{width:.4}\" height=\"{}\"/>",
            look.class,
            self.title(title),
            look.height
        );
        if !label.is_empty() {
            let (tx, ty) = (x + 4.0, y + look.height / 2.0 + 3.9);
            let _ = write!(out, "<text x=\"{tx:.1}\" y=\"{ty:.1}\">{}</text>", escape_content(label));
        }
        out.push_str("</g>\n");
    }

    fn title(&self, title: &str) -> String {
        if title.is_empty() {
            return String::new();
        }
        format!("<title>{}</title>", escape_content(&shorten(title, self.limits.text)))
    }

    /// A mark at a moment.
    fn point(&self, out: &mut String, class: &str, time: u64, y: f64, title: &str, inner: &str) {
        let x = self.x(time);
        let _ = writeln!(
            out,
            "<g class=\"p {class}\" data-x=\"{x:.4}\" data-y=\"{y:.1}\" transform=\"translate({x:.2} {y:.1})\">{}{inner}</g>",
            self.title(title)
        );
    }

    fn phases(&mut self) {
        const PHASE: Look = Look { class: "phase", ..FAULT };
        if self.record.phases.is_empty() {
            return;
        }
        let mut lane = Lane::new("phase", "phase", "phase", 17.0);
        for (place, phase) in self.record.phases.iter().enumerate() {
            let title = format!("phase {}: {} to {}", phase.name, moment(phase.from), moment(phase.to));
            let more = if place % 2 == 0 { "" } else { " odd" };
            let label = &shorten(&phase.name, 40);
            let band =
                Band { look: PHASE, more, from: phase.from, to: phase.to, dy: 0.0, label, title: &title };
            self.band(&mut lane.plot, &band);
        }
        self.lanes.push(lane);
    }

    /// One lane for each kind of fault; faults of one kind that overlap go into rows below each other.
    fn faults(&mut self, cuts: &mut Cuts) {
        let faults = &self.record.faults;
        let focus = focus(self.record);
        let chosen = choose(faults.len(), self.limits.faults, focus, |place| faults[place].from, |_| false);
        cuts.note(chosen.len(), faults.len(), "faults", how(focus));
        let mut kinds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for place in chosen {
            kinds.entry(&faults[place].kind).or_default().push(place);
        }
        for (kind, mut places) in kinds {
            places.sort_by_key(|&place| faults[place].from);
            let stretches = places.iter().map(|&place| &faults[place]);
            let rows = rows(stretches.map(|fault| (fault.from, fault.to.unwrap_or(self.end))), 4);
            let height = 17.0 * (rows.iter().max().map_or(0, |row| row + 1)) as f64;
            let mut lane = Lane::new("fault", kind, kind, height);
            for (place, row) in places.into_iter().zip(rows) {
                let fault = &faults[place];
                let targets =
                    if fault.targets.is_empty() { "all".to_owned() } else { fault.targets.join(" ") };
                let text = if fault.text.is_empty() { &targets } else { &fault.text };
                let end = fault.to.map_or_else(|| "the end".to_owned(), moment);
                let title = format!("{kind} on {targets}: {} ({} to {end})", fault.text, moment(fault.from));
                let band = Band {
                    look: FAULT,
                    more: "",
                    from: fault.from,
                    to: fault.to.unwrap_or(self.end),
                    dy: row as f64 * 17.0,
                    label: &shorten(text, 60),
                    title: &title,
                };
                self.band(&mut lane.plot, &band);
            }
            self.lanes.push(lane);
        }
    }

    /// Who led, over all members: the story of a run in one lane.
    fn leaders(&mut self) {
        let mut reigns: Vec<_> = self.record.roles.iter().filter(|band| band.role == Role::Leader).collect();
        if reigns.is_empty() || reigns.len() > self.limits.bands {
            return;
        }
        reigns.sort_by_key(|reign| (reign.from, reign.term));
        let rows = rows(reigns.iter().map(|reign| (reign.from, reign.to.unwrap_or(self.end))), 4);
        let height = 20.0 * (rows.iter().max().map_or(0, |row| row + 1)) as f64;
        let mut lane = Lane::new("leaders", "leaders", "who leads", height);
        let look = Look { height: UNLED.height, y: UNLED.y, ..looks::LEADER };
        let mut led_until = 0;
        let unled = |lane: &mut Lane, from, to| {
            let title = format!("no leader from {} to {}", moment(from), moment(to));
            let band = Band { look: UNLED, more: "", from, to, dy: 0.0, label: "no leader", title: &title };
            self.band(&mut lane.plot, &band);
        };
        for (reign, row) in reigns.into_iter().zip(rows) {
            let to = reign.to.unwrap_or(self.end);
            if reign.from > led_until {
                unled(&mut lane, led_until, reign.from);
            }
            led_until = led_until.max(to);
            let label = format!("{} · term {}", reign.member, reign.term);
            let times = format!("from {} to {}", moment(reign.from), moment(to));
            let title = format!("{} led term {} {times}", reign.member, reign.term);
            let band = Band {
                look,
                more: "",
                from: reign.from,
                to,
                dy: row as f64 * 20.0,
                label: &label,
                title: &title,
            };
            self.band(&mut lane.plot, &band);
        }
        if led_until < self.end {
            unled(&mut lane, led_until, self.end);
        }
        self.lanes.push(lane);
    }

    fn first_bad(&self, height: f64) -> String {
        let mut out = String::new();
        let Some(bad) = &self.record.first_bad else { return out };
        let title = format!("first bad event at {}: {}", moment(bad.at), bad.text);
        // The flag hangs towards the middle, so that it is never cut off.
        let right = self.x(bad.at) > PLOT_WIDTH * 0.7;
        let (anchor, x) = if right { ("end", -9.0) } else { ("start", 9.0) };
        let inner = format!(
            "<line x1=\"0\" x2=\"0\" y1=\"0\" y2=\"{:.0}\"/><path d=\"M-6 0L6 0L0 9Z\"/>\
             <text x=\"{x}\" y=\"{:.0}\" text-anchor=\"{anchor}\">✗ first bad event</text>",
            height - 16.0,
            height - 20.0
        );
        self.point(&mut out, "bad", bad.at, 14.0, &title, &inner);
        out
    }

    /// The whole run in small: who led, what struck, where it went wrong.
    fn map(&self) -> String {
        let mut out = format!(
            "<svg class=\"map js-only\" id=\"map\" viewBox=\"0 0 {PLOT_WIDTH} 26\" preserveAspectRatio=\"none\" aria-hidden=\"true\">\n"
        );
        let mut strip = |class: &str, from: u64, to: Option<u64>, y: f64, height: f64| {
            let (x, right) = (self.x(from), self.x(to.unwrap_or(self.end)));
            let width = (right - x).max(0.8);
            let _ = writeln!(
                out,
                "<g class=\"{class}\"><rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"/></g>"
            );
        };
        for fault in self.record.faults.iter().take(self.limits.faults) {
            strip("fault", fault.from, fault.to, 1.0, 8.0);
        }
        for band in self.record.roles.iter().filter(|band| band.role == Role::Leader).take(self.limits.bands)
        {
            strip("leader", band.from, band.to, 11.0, 5.0);
        }
        for outage in self.record.outages.iter().take(self.limits.bands) {
            strip("outage", outage.from, outage.to, 18.0, 6.0);
        }
        if let Some(bad) = &self.record.first_bad {
            let x = self.x(bad.at);
            let _ = writeln!(out, "<line class=\"bad\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"0\" y2=\"26\"/>");
        }
        out + "<rect class=\"brush\" id=\"brush\" x=\"0\" y=\"0\" width=\"1000\" height=\"26\"/></svg>\n"
    }
}
