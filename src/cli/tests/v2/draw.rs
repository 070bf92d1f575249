//! Requests drawn by chance from a small space, so that they meet each other.

use crate::{Both, Request, index};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use std::collections::BTreeMap;

struct Draw(ChaCha8Rng);

impl Draw {
    fn below(&mut self, count: u64) -> u64 {
        self.0.next_u64() % count
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }

    fn path(&mut self) -> String {
        let depth = 1 + self.below(3);
        let names = ["a", "b", "ab", "c-d", "_h", "0"];
        (0..depth).map(|_| format!("/{}", self.one(&names))).collect()
    }

    /// A pair of a form, now and then.
    fn maybe(&mut self, one_in: u64, name: &str, values: &[&str], form: &mut Vec<String>) {
        if self.below(one_in) == 0 {
            form.push(format!("{name}={}", self.one(values)));
        }
    }

    fn request(&mut self, at: u64) -> Request {
        let path = format!("/v2/keys{}", self.path());
        let mut form = Vec::new();
        match self.below(20) {
            0..=8 => {
                self.maybe(1, "value", &["x", "y", "", "long value", "%C3%A4"], &mut form);
                self.maybe(5, "dir", &["true", "false"], &mut form);
                self.maybe(4, "prevExist", &["true", "false"], &mut form);
                self.maybe(5, "prevValue", &["x", "y"], &mut form);
                if self.below(8) == 0 {
                    form.push(format!("prevIndex={}", at.saturating_sub(self.below(20))));
                }
                self.maybe(5, "ttl", &["1000", "2000", ""], &mut form);
                if self.below(12) == 0 {
                    form.retain(|pair| !pair.starts_with("value") && !pair.starts_with("ttl"));
                    form.extend(["refresh=true".to_owned(), "ttl=3000".to_owned()]);
                }
                Request { method: "PUT", path, form: form.join("&") }
            }
            9..=10 => {
                self.maybe(1, "value", &["x", "y"], &mut form);
                self.maybe(5, "dir", &["true"], &mut form);
                Request { method: "POST", path, form: form.join("&") }
            }
            11..=14 => {
                self.maybe(3, "recursive", &["true"], &mut form);
                self.maybe(3, "dir", &["true"], &mut form);
                self.maybe(4, "prevValue", &["x", "y"], &mut form);
                let query = form.join("&");
                Request { method: "DELETE", path: format!("{path}?{query}"), form: String::new() }
            }
            _ => {
                self.maybe(2, "recursive", &["true"], &mut form);
                self.maybe(3, "quorum", &["true"], &mut form);
                form.push("sorted=true".to_owned());
                let path = if self.below(10) == 0 { "/v2/keys/".to_owned() } else { path };
                let query = form.join("&");
                Request { method: "GET", path: format!("{path}?{query}"), form: String::new() }
            }
        }
    }
}

/// Compares so many; gives how often each status was met.
pub(crate) fn run(both: &Both, seed: u64, count: u64) -> BTreeMap<String, u64> {
    let mut draw = Draw(ChaCha8Rng::seed_from_u64(seed));
    let mut kinds = BTreeMap::new();
    let mut at = 0;
    for _ in 0..count {
        let request = draw.request(at);
        let answer = both.compare(&request);
        if crate::header(&answer, "x-etcd-index").is_some() {
            at = at.max(index(&answer));
        }
        *kinds.entry(answer.status.to_string()).or_default() += 1;
    }
    kinds
}
