//! What makes rare orders of events likelier, as a script tells it: priorities of links, and sites of the members' code.

use super::parse::{Section, seconds};
use super::units;
use crate::plan::Plan;
use crate::priorities::{Fall, Link, Priorities};
use crate::sites::ActiveSite;
use seatrial_types::MemberId;
use seatrial_types::buggify::Site;
use std::fmt::Write as _;
use std::time::Duration;
use toml::Spanned;
use toml::de::DeValue;

/// The keys below `[script]`.
pub(super) const KEYS: [&str; 4] = ["priority_step", "priorities", "falls", "sites"];

/// `2>1`, between machines that there are.
fn link(text: &str, machines: u64) -> Option<Link> {
    let (from, to) = text.split_once('>')?;
    let member = |text: &str| text.parse().ok().filter(|id| (1..=machines).contains(id)).map(MemberId);
    let link = Link { from: member(from)?, to: member(to)? };
    (link.from != link.to).then_some(link)
}

fn texts<T>(
    section: &mut Section<'_, '_>,
    key: &str,
    example: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Vec<T> {
    section.choices(key, Vec::new(), |section, value: &Spanned<DeValue<'_>>| {
        let Some(text) = value.get_ref().as_str() else {
            section.wrong_type(value, key, "a list of texts", &format!("[{example:?}]"));
            return None;
        };
        let read = read(text);
        if read.is_none() {
            let message = format!("{text:?} makes no sense in {key:?}");
            section.complain(value.span(), message, format!("for example {example:?}"));
        }
        read
    })
}

/// Reads what stands below `[script]`.
pub(super) fn read(
    section: &mut Section<'_, '_>,
    machines: u64,
    time: Duration,
) -> (Option<Priorities>, Vec<ActiveSite>) {
    let step = section.duration("priority_step", Duration::ZERO..=seconds(60), Duration::from_millis(5));
    let order = texts(section, "priorities", "2>1", |text| link(text, machines));
    let mut falls = texts(section, "falls", "2.5s 2>1", |text| {
        let (at, fallen) = text.split_once(' ')?;
        let at = units::duration(at).ok().filter(|at| *at < time)?;
        Some(Fall { at, link: link(fallen, machines).filter(|link| order.contains(link))? })
    });
    falls.sort_by_key(|fall| fall.at);
    let sites = texts(section, "sites", "append-one 50%", |text| {
        let (site, share) = text.split_once(' ')?;
        Some(ActiveSite { site: site.parse::<Site>().ok()?, ppm: units::share_ppm(share).ok()? })
    });
    let is_twice = |place: usize| order[..place].contains(&order[place]);
    if let (Some(place), Some(value)) = ((0..order.len()).find(|at| is_twice(*at)), section.get("priorities"))
    {
        let message = format!("the link {} has two places", order[place]);
        section.complain(value.span(), message, "name each link once".to_owned());
    }
    let priorities = (!order.is_empty()).then_some(Priorities { step, order, falls });
    (priorities, sites)
}

/// As [`read`] reads it.
pub(super) fn print(out: &mut String, plan: &Plan) {
    let list = |texts: Vec<String>| {
        let quoted: Vec<String> = texts.iter().map(|text| format!("\"{text}\"")).collect();
        format!("[{}]", quoted.join(", "))
    };
    if let Some(Priorities { step, order, falls }) = &plan.priorities {
        let links = list(order.iter().map(ToString::to_string).collect());
        let _ = writeln!(out, "priority_step = \"{step:?}\"\npriorities = {links}");
        if !falls.is_empty() {
            let falls = list(falls.iter().map(|fall| format!("{:?} {}", fall.at, fall.link)).collect());
            let _ = writeln!(out, "falls = {falls}");
        }
    }
    if !plan.sites.is_empty() {
        let sites = plan.sites.iter().map(|active| format!("{} {}ppm", active.site, active.ppm));
        let _ = writeln!(out, "sites = {}", list(sites.collect()));
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    fn complaint(lines: &str) -> String {
        let text = format!(
            "title = \"t\"\nwhy = \"w\"\ntime = \"5s\"\n[script]\nseed = 1\n{lines}\n[[workload]]\nname = \"kv\"\n"
        );
        parse("t.toml", &text).expect_err(lines).to_string()
    }

    #[test]
    fn links_times_and_sites_that_are_not_there_are_refused() {
        assert!(complaint("priorities = [\"1>4\"]").contains("\"1>4\" makes no sense in \"priorities\""));
        assert!(complaint("priorities = [\"2>2\"]").contains("\"2>2\" makes no sense"));
        assert!(complaint("priorities = [\"1>2\", \"1>2\"]").contains("the link 1>2 has two places"));
        let order = "priorities = [\"1>2\", \"2>1\"]\n";
        assert!(complaint(&format!("{order}falls = [\"6s 1>2\"]")).contains("\"6s 1>2\" makes no sense"));
        assert!(complaint(&format!("{order}falls = [\"1s 1>3\"]")).contains("\"1s 1>3\" makes no sense"));
        assert!(complaint("sites = [\"append-two 5%\"]").contains("for example \"append-one 50%\""));
        assert!(complaint("sites = [\"append-one\"]").contains("makes no sense in \"sites\""));
    }
}
