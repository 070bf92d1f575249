//! Prometheus' text format (version 0.0.4).

use seatrial_node::Histogram;
use std::fmt::{Display, Write};

/// What a metric is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only rises.
    Counter,
    /// Rises and falls.
    Gauge,
}

/// A page of metrics being written.
#[derive(Debug, Default)]
pub struct Page {
    text: String,
}

impl Page {
    /// The page.
    #[must_use]
    pub fn into_text(self) -> String {
        self.text
    }

    /// The head of a metric; its values follow.
    pub fn head(&mut self, name: &str, kind: Kind, help: &str) {
        let kind = match kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        };
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// One value, with its labels.
    pub fn value(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.text, " {value}");
    }

    /// A metric that has one value.
    pub fn one(&mut self, name: &str, kind: Kind, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.value(name, &[], value);
    }

    /// The head of a histogram; its values follow.
    pub fn histogram_head(&mut self, name: &str, help: &str) {
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} histogram");
    }

    /// The values of one histogram, with its labels.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let (bounded, all) = histogram.cumulated();
        let bounded = bounded.into_iter().map(|(bound, count)| (bound.as_secs_f64().to_string(), count));
        for (bound, count) in bounded.chain([("+Inf".to_owned(), all)]) {
            let _ = write!(self.text, "{name}_bucket");
            self.labels(labels, Some(&bound));
            let _ = writeln!(self.text, " {count}");
        }
        for (part, value) in [("sum", histogram.sum().as_secs_f64().to_string()), ("count", all.to_string())]
        {
            let _ = write!(self.text, "{name}_{part}");
            self.labels(labels, None);
            let _ = writeln!(self.text, " {value}");
        }
    }

    fn labels(&mut self, labels: &[(&str, &str)], bound: Option<&str>) {
        let all = labels.iter().copied().chain(bound.map(|bound| ("le", bound)));
        let mut open = '{';
        for (name, value) in all {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.text, "{open}{name}=\"{value}\"");
            open = ',';
        }
        if open == ',' {
            self.text.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_page_is_in_the_text_format() {
        let mut page = Page::default();
        page.one("a_total", Kind::Counter, "What a is.", 7);
        page.head("b", Kind::Gauge, "What b is.");
        page.value("b", &[("x", "q\"\\\n"), ("y", "2")], 0.5);
        let histogram = Histogram::new(vec![Duration::from_millis(5), Duration::from_secs(1)]);
        histogram.observe(Duration::from_millis(500));
        page.histogram_head("c_seconds", "How long c takes.");
        page.histogram("c_seconds", &[("op", "put")], &histogram);
        assert_eq!(
            page.into_text(),
            "# HELP a_total What a is.\n# TYPE a_total counter\na_total 7\n\
             # HELP b What b is.\n# TYPE b gauge\nb{x=\"q\\\"\\\\\\n\",y=\"2\"} 0.5\n\
             # HELP c_seconds How long c takes.\n# TYPE c_seconds histogram\n\
             c_seconds_bucket{op=\"put\",le=\"0.005\"} 0\nc_seconds_bucket{op=\"put\",le=\"1\"} 1\n\
             c_seconds_bucket{op=\"put\",le=\"+Inf\"} 1\nc_seconds_sum{op=\"put\"} 0.5\nc_seconds_count{op=\"put\"} 1\n"
        );
    }
}
