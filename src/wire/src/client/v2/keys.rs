//! Files and directories.

use super::answer::{V2Told, told};
use super::client::{Question, V2Client};
use super::error::V2ClientError;
use http::Method;
use seatrial_etcd::v2::escape;
use seatrial_types::v2::V2Compare;
use seatrial_world::World;

/// How something is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct V2Get {
    /// With everything below.
    pub recursive: bool,
    /// In the order of the names.
    pub sorted: bool,
    /// As new as any answer given before.
    pub quorum: bool,
}

/// How something is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2Put {
    /// Make a directory, or change one.
    pub dir: bool,
    /// How long it lives, in seconds; `None`: until it is deleted.
    pub ttl_seconds: Option<u64>,
    /// Only its time starts anew.
    pub refresh: bool,
    /// Whether something must be there, or nothing.
    pub prev_exist: Option<bool>,
    /// What must be there.
    pub prev: V2Compare,
}

/// How something is deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct V2Delete {
    /// Also an empty directory.
    pub dir: bool,
    /// Also a directory with all that is in it.
    pub recursive: bool,
    /// What must be there.
    pub prev: V2Compare,
}

/// The target of a key below a path: clean, and escaped as Go escapes paths. A slash at the end stays.
fn target(prefix: &str, key: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for element in key.split('/') {
        match element {
            "" | "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    let mut target = format!("{prefix}/");
    let end = if key.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    for byte in format!("{}{end}", kept.join("/")).bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => target.push(byte.into()),
            b'-' | b'_' | b'.' | b'~' | b'$' | b'&' | b'+' | b',' | b'/' | b':' | b';' | b'=' | b'@' => {
                target.push(byte.into());
            }
            other => target.push_str(&format!("%{other:02X}")),
        }
    }
    target
}

/// `name=value` pairs as Go writes them: those that are there, in the order of their names.
pub(super) fn pairs(mut pairs: Vec<(&str, String)>) -> String {
    pairs.sort();
    pairs.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect::<Vec<_>>().join("&")
}

fn with_query(target: String, query: &str) -> String {
    if query.is_empty() { target } else { format!("{target}?{query}") }
}

fn compared(prev: &V2Compare) -> Vec<(&'static str, String)> {
    let value = (!prev.value.is_empty()).then(|| ("prevValue", prev.value.clone()));
    let index = (prev.index != 0).then(|| ("prevIndex", prev.index.to_string()));
    value.into_iter().chain(index).collect()
}

/// A form as the body of a request.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";

impl<W: World> V2Client<W> {
    pub(super) fn target(&self, key: &str) -> String {
        target(&self.shared.options.prefix, key)
    }

    /// Reads a file, or lists a directory.
    ///
    /// # Errors
    /// [`V2ClientError::Refused`] where it is not there; see there for the rest.
    pub async fn get(&self, key: &str, how: V2Get) -> Result<V2Told, V2ClientError> {
        let query = pairs(vec![
            ("recursive", how.recursive.to_string()),
            ("sorted", how.sorted.to_string()),
            ("quorum", how.quorum.to_string()),
        ]);
        told(&self.ask(&Question::get(with_query(self.target(key), &query))).await?)
    }

    /// Writes. [`V2Put`] says what must be there before.
    ///
    /// # Errors
    /// [`V2ClientError::Refused`] where something else is there; see there for the rest.
    pub async fn set(&self, key: &str, value: &str, how: &V2Put) -> Result<V2Told, V2ClientError> {
        let mut query = compared(&how.prev);
        query.extend(how.dir.then(|| ("dir", "true".to_owned())));
        query.extend(how.prev_exist.map(|exists| ("prevExist", exists.to_string())));
        let mut form = Vec::new();
        form.extend((!how.dir && !how.refresh).then(|| ("value", value.to_owned())));
        form.extend(how.ttl_seconds.map(|ttl| ("ttl", ttl.to_string())));
        form.extend(how.refresh.then(|| ("refresh", "true".to_owned())));
        let question = Question {
            method: Method::PUT,
            target: with_query(self.target(key), &pairs(query)),
            body: Some((FORM, pairs(form))),
        };
        told(&self.ask(&question).await?)
    }

    /// Writes where nothing is.
    ///
    /// # Errors
    /// As [`V2Client::set`].
    pub async fn create(&self, key: &str, value: &str, ttl: Option<u64>) -> Result<V2Told, V2ClientError> {
        let how = V2Put { prev_exist: Some(false), ttl_seconds: ttl, ..V2Put::default() };
        self.set(key, value, &how).await
    }

    /// Writes where something is.
    ///
    /// # Errors
    /// As [`V2Client::set`].
    pub async fn update(&self, key: &str, value: &str, ttl: Option<u64>) -> Result<V2Told, V2ClientError> {
        let how = V2Put { prev_exist: Some(true), ttl_seconds: ttl, ..V2Put::default() };
        self.set(key, value, &how).await
    }

    /// Writes where this is.
    ///
    /// # Errors
    /// As [`V2Client::set`].
    pub async fn compare_and_swap(
        &self,
        key: &str,
        prev: V2Compare,
        value: &str,
        ttl: Option<u64>,
    ) -> Result<V2Told, V2ClientError> {
        let how = V2Put { prev, ttl_seconds: ttl, ..V2Put::default() };
        self.set(key, value, &how).await
    }

    /// Writes below a directory, at a key greater than those before.
    ///
    /// # Errors
    /// As [`V2Client::set`].
    pub async fn create_in_order(
        &self,
        dir: &str,
        value: &str,
        ttl: Option<u64>,
    ) -> Result<V2Told, V2ClientError> {
        let mut form = vec![("value", value.to_owned())];
        form.extend(ttl.map(|ttl| ("ttl", ttl.to_string())));
        let question =
            Question { method: Method::POST, target: self.target(dir), body: Some((FORM, pairs(form))) };
        told(&self.ask(&question).await?)
    }

    /// Deletes. [`V2Delete`] says what must be there before.
    ///
    /// # Errors
    /// As [`V2Client::set`].
    pub async fn delete(&self, key: &str, how: &V2Delete) -> Result<V2Told, V2ClientError> {
        let mut query = compared(&how.prev);
        query.extend(how.dir.then(|| ("dir", "true".to_owned())));
        query.extend(how.recursive.then(|| ("recursive", "true".to_owned())));
        let question = Question {
            method: Method::DELETE,
            target: with_query(self.target(key), &pairs(query)),
            body: None,
        };
        told(&self.ask(&question).await?)
    }

    /// Deletes where this is.
    ///
    /// # Errors
    /// As [`V2Client::set`].
    pub async fn compare_and_delete(&self, key: &str, prev: V2Compare) -> Result<V2Told, V2ClientError> {
        self.delete(key, &V2Delete { prev, ..V2Delete::default() }).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_clean_path_with_its_escapes() {
        for (key, want) in [
            ("a", "/v2/keys/a"),
            ("/a/b/", "/v2/keys/a/b/"),
            ("//a//b", "/v2/keys/a/b"),
            ("x/../z", "/v2/keys/z"),
            ("../z", "/v2/keys/z"),
            ("a b?c#d%\u{e9}", "/v2/keys/a%20b%3Fc%23d%25%C3%A9"),
            ("", "/v2/keys/"),
            ("/", "/v2/keys/"),
        ] {
            assert_eq!(target("/v2/keys", key), want, "{key:?}");
        }
    }

    #[test]
    fn pairs_stand_in_the_order_of_their_names() {
        assert_eq!(pairs(vec![("b", "x y".to_owned()), ("a", "1&2".to_owned())]), "a=1%262&b=x+y");
    }
}
