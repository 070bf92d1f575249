//! Members: their roles, when they did not run, what struck them, what they complained of, and how far their logs came.

use super::looks::{OUTAGE, STRUCK, of_role};
use super::{Band, Draw, LEFT, Lane, PLOT_WIDTH, moment};
use crate::cuts::{Cuts, choose, focus, how};
use crate::record::{ProgressPoint, Role};
use std::fmt::Write as _;

/// Of roles, outages and faults.
const ROLES_HEIGHT: f64 = 32.0;
/// Of the chart below them.
const CHART_HEIGHT: f64 = 26.0;
/// Below a member's lane.
const GAP: f64 = 6.0;

/// A member's log over time for the page's script, as differences: microseconds, last index, applied index.
#[derive(serde::Serialize)]
pub(crate) struct Series(pub(crate) String, pub(crate) Vec<i64>);

impl Draw<'_> {
    /// Draws a lane for every member and returns the points of their charts.
    pub(super) fn members(&mut self, cuts: &mut Cuts) -> Vec<Series> {
        let record = self.record;
        let mut names: Vec<(String, String)> =
            record.members.iter().map(|member| (member.name.clone(), member.detail.clone())).collect();
        let mentioned = record.roles.iter().map(|band| &band.member);
        let mentioned = mentioned.chain(record.outages.iter().map(|outage| &outage.member));
        for name in mentioned.chain(record.progress.iter().map(|series| &series.member)) {
            if !names.iter().any(|(known, _)| known == name) {
                names.push((name.clone(), String::new()));
            }
        }
        let focus = focus(record);
        let shown =
            choose(record.roles.len(), self.limits.bands, focus, |place| record.roles[place].from, |_| false);
        cuts.note(shown.len(), record.roles.len(), "roles of members", how(focus));
        let charted = record.progress.iter().any(|series| !series.points.is_empty());
        let highest = record.progress.iter().flat_map(|series| &series.points).map(|point| point.last).max();
        let mut series = Vec::new();
        let (mut points_shown, mut points_all) = (0, 0);
        for (name, detail) in names {
            let height = ROLES_HEIGHT + if charted { CHART_HEIGHT } else { 0.0 } + GAP;
            let mut lane = Lane::new("member", &name, &name, height);
            // Ids that only repeat the name tell nobody anything.
            if !detail.is_empty() && detail != format!("id {}", name.trim_start_matches('m')) {
                lane.detail = detail;
            }
            self.roles(&mut lane, &name, &shown);
            self.outages(&mut lane, &name);
            self.struck(&mut lane, &name);
            self.complaints(&mut lane, &name);
            let of_member = record.progress.iter().find(|series| series.member == name);
            let points = of_member.map_or(&[][..], |series| &series.points);
            let chosen = choose(
                points.len(),
                self.limits.points,
                focus,
                |place| points[place].at,
                |place| place == 0 || place + 1 == points.len(),
            );
            (points_shown, points_all) = (points_shown + chosen.len(), points_all + points.len());
            let points: Vec<ProgressPoint> = chosen.into_iter().map(|place| points[place]).collect();
            if charted {
                self.chart(&mut lane, &points, highest.unwrap_or(1).max(1));
            }
            series.push(Series(name.clone(), differences(&points)));
            self.lanes.push(lane);
        }
        cuts.note(points_shown, points_all, "points of the log charts", how(focus));
        series
    }

    fn roles(&self, lane: &mut Lane, name: &str, shown: &[usize]) {
        for band in shown.iter().map(|&place| &self.record.roles[place]).filter(|band| band.member == name) {
            let to = band.to.unwrap_or(self.end);
            let label = match band.role {
                Role::Follower => String::new(),
                role => format!("{} · term {}", role.word(), band.term),
            };
            let times = format!("from {} to {}", moment(band.from), moment(to));
            let title = format!("{name}: {} in term {} {times}", band.role.word(), band.term);
            let band = Band {
                look: of_role(band.role),
                more: "",
                from: band.from,
                to,
                dy: 0.0,
                label: &label,
                title: &title,
            };
            self.band(&mut lane.plot, &band);
        }
    }

    fn outages(&self, lane: &mut Lane, name: &str) {
        let outages = self.record.outages.iter().filter(|outage| outage.member == name);
        for outage in outages.take(self.limits.bands) {
            let to = outage.to.unwrap_or(self.end);
            let title = format!(
                "{name}: {} from {} to {}{}{}",
                outage.kind.word(),
                moment(outage.from),
                outage.to.map_or_else(|| "the end".to_owned(), moment),
                if outage.text.is_empty() { "" } else { ": " },
                outage.text
            );
            let band = Band {
                look: OUTAGE,
                more: "",
                from: outage.from,
                to,
                dy: 0.0,
                label: outage.kind.word(),
                title: &title,
            };
            self.band(&mut lane.plot, &band);
            let cross = "<path d=\"M-5 -5L5 5M5 -5L-5 5\"/>";
            self.point(&mut lane.plot, "mark", outage.from, 13.0, &title, cross);
            if let Some(to) = outage.to {
                let title = format!("{name}: ran again at {}", moment(to));
                self.point(&mut lane.plot, "mark up", to, 13.0, &title, "<path d=\"M-3 -6L4 0L-3 6\"/>");
            }
        }
    }

    fn struck(&self, lane: &mut Lane, name: &str) {
        let faults = self.record.faults.iter().filter(|fault| fault.targets.iter().any(|on| on == name));
        for fault in faults.take(self.limits.faults) {
            let to = fault.to.unwrap_or(self.end);
            let title = format!("{name} is struck by {}: {}", fault.kind, fault.text);
            let band =
                Band { look: STRUCK, more: "", from: fault.from, to, dy: 0.0, label: "", title: &title };
            self.band(&mut lane.plot, &band);
        }
    }

    /// Warnings and errors of the member, and where it first went wrong.
    fn complaints(&self, lane: &mut Lane, name: &str) {
        let lines = self.record.logs.iter().filter(|line| {
            line.member == name && matches!(line.level.to_ascii_lowercase().as_str(), "warn" | "error")
        });
        for line in lines.take(self.limits.logs / 4) {
            let title = format!("{name} at {}, {}: {}", moment(line.at), line.level, line.text);
            let inner = "<path d=\"M0 -6L6 5L-6 5Z\"/><text y=\"4\">!</text>";
            self.point(&mut lane.plot, "said", line.at, 7.0, &title, inner);
        }
        if let Some(bad) = &self.record.first_bad
            && bad.member.as_deref() == Some(name)
        {
            let title = format!("first bad event at {}: {}", moment(bad.at), bad.text);
            self.point(&mut lane.plot, "here", bad.at, 13.0, &title, "<path d=\"M0 -12L12 0L0 12L-12 0Z\"/>");
        }
    }

    /// Steps, not slopes: an index holds until it changes. All members have one scale, so that who lags lies lower.
    fn chart(&self, lane: &mut Lane, points: &[ProgressPoint], highest: u64) {
        let bottom = ROLES_HEIGHT + CHART_HEIGHT;
        let y = |index: u64| bottom - 1.0 - index as f64 / highest as f64 * (CHART_HEIGHT - 3.0);
        let line = |of: &dyn Fn(&ProgressPoint) -> u64| {
            let mut path = String::new();
            for point in points {
                let (x, y) = (self.x(point.at), y(of(point)));
                let _ = if path.is_empty() {
                    write!(path, "M{x:.1} {y:.1}")
                } else {
                    write!(path, "H{x:.1}V{y:.1}")
                };
            }
            path
        };
        let _ = write!(
            lane.frame,
            "<text class=\"sub scale hi\" x=\"{0}\" y=\"{1:.0}\" text-anchor=\"end\">{highest}</text>\
             <text class=\"sub scale lo\" x=\"{0}\" y=\"{2:.0}\" text-anchor=\"end\">0</text>",
            LEFT - 6.0,
            ROLES_HEIGHT + 8.0,
            bottom
        );
        let _ = writeln!(
            lane.plot,
            "<g class=\"chart\" data-y=\"{ROLES_HEIGHT}\" data-h=\"{CHART_HEIGHT}\"><rect class=\"ground\" x=\"0\" y=\"{ROLES_HEIGHT}\" width=\"{PLOT_WIDTH}\" height=\"{CHART_HEIGHT}\"/>\
             <path class=\"last\" d=\"{}\"/><path class=\"applied\" d=\"{}\"/></g>",
            line(&|point| point.last),
            line(&|point| point.applied)
        );
    }
}

fn differences(points: &[ProgressPoint]) -> Vec<i64> {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    let mut before = [0_i64; 3];
    let mut out = Vec::with_capacity(points.len() * 3);
    for point in points {
        let now = [signed(point.at / 1_000), signed(point.last), signed(point.applied)];
        out.extend(now.iter().zip(before).map(|(now, before)| now - before));
        before = now;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_that_becomes_shorter_is_told_as_such() {
        let point = |at, last, applied| ProgressPoint { at, last, commit: applied, applied };
        let points = [point(2_000, 5, 3), point(5_500, 4, 4)];
        assert_eq!(differences(&points), [2, 5, 3, 3, -1, 1]);
    }
}
