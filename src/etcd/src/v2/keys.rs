//! Requests below `/v2/keys` (etcd: `v2http/client.go`; the order of the checks is its, for it decides which error comes).

use super::form::{Form, truth, wrong};
use http::Method;
use seatrial_types::v2::{KEYS, V2Action, V2Change, V2Code, V2Compare, V2Error, V2Life, V2Request, V2Watch};

/// A request, understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysRequest {
    /// What is asked.
    pub ask: KeysAsk,
    /// A change is answered without what it changed.
    pub no_value_on_success: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysAsk {
    /// Of the member.
    Request(V2Request),
    /// To wait.
    Watch(V2Watch),
}

impl KeysRequest {
    /// The path it is about, within the clients' space, and whether everything below is concerned too.
    #[must_use]
    pub fn reach(&self) -> (&str, bool) {
        let (path, recursive) = match &self.ask {
            KeysAsk::Watch(watch) => (&watch.path, watch.recursive),
            KeysAsk::Request(V2Request::Read { path, recursive, .. }) => (path, *recursive),
            KeysAsk::Request(V2Request::Change(change)) => {
                (&change.path, matches!(change.action, V2Action::Delete { recursive: true, .. }))
            }
            KeysAsk::Request(V2Request::Stats | V2Request::Standing) => return ("/", false),
        };
        match path.strip_prefix(KEYS) {
            None | Some("") => ("/", recursive),
            Some(path) => (path, recursive),
        }
    }
}

/// Reads a request. `key` is the path behind `/v2/keys`, `wall_ns` the calendar since the Unix epoch.
///
/// # Errors
/// etcd's, for what makes no sense.
pub fn parse(method: &Method, key: &str, form: &Form, wall_ns: i64) -> Result<KeysRequest, V2Error> {
    let prev_index = form.number("prevIndex", V2Code::IndexNotANumber)?;
    let wait_index = form.number("waitIndex", V2Code::IndexNotANumber)?;
    let recursive = form.flag("recursive")?;
    // Listings are always in order here.
    form.flag("sorted")?;
    let wait = form.flag("wait")?;
    let dir = form.flag("dir")?;
    let quorum = form.flag("quorum")?;
    let stream = form.flag("stream")?;
    if wait && method != Method::GET {
        return Err(wrong(V2Code::InvalidField, "\"wait\" can only be used with GET requests"));
    }
    let prev_value = form.get("prevValue").unwrap_or_default().to_owned();
    if form.get("prevValue") == Some("") {
        return Err(wrong(V2Code::PrevValueRequired, "\"prevValue\" cannot be empty"));
    }
    let no_value_on_success = form.flag("noValueOnSuccess")?;
    let has_ttl = form.get("ttl").is_some_and(|text| !text.is_empty());
    let ttl_seconds = if has_ttl { Some(form.number("ttl", V2Code::TtlNotANumber)?) } else { None };
    let truth_of = |name: &str| {
        let wrong = || wrong(V2Code::InvalidField, format!("invalid value for {name}"));
        form.get(name).map(|text| truth(text).ok_or_else(wrong)).transpose()
    };
    let prev_exist = truth_of("prevExist")?;
    let refresh = truth_of("refresh")?.unwrap_or(false);
    let value = form.get("value").unwrap_or_default().to_owned();
    if refresh {
        if !value.is_empty() {
            return Err(wrong(V2Code::RefreshWithValue, "A value was provided on a refresh"));
        }
        if ttl_seconds.is_none() {
            return Err(wrong(V2Code::RefreshWithoutTtl, "No TTL value set"));
        }
    }
    let path = format!("{KEYS}/{key}");
    let life = V2Life { ttl_seconds, refresh };
    let prev = V2Compare { value: prev_value, index: prev_index };
    let has_prev = prev != V2Compare::default();
    let change =
        |action| KeysAsk::Request(V2Request::Change(V2Change { path: path.clone(), action, wall_ns }));
    let ask = match *method {
        Method::POST => change(V2Action::CreateInOrder { dir, value, life }),
        Method::PUT => change(match prev_exist {
            Some(false) => V2Action::Create { dir, value, life },
            _ if has_prev => V2Action::CompareAndSwap { prev, value, life },
            Some(true) => V2Action::Update { value, life },
            None => V2Action::Set { dir, value, life },
        }),
        Method::DELETE if has_prev => change(V2Action::CompareAndDelete { prev }),
        Method::DELETE => change(V2Action::Delete { dir, recursive }),
        // Asked for both, etcd reads and does not wait.
        _ if wait && !quorum => KeysAsk::Watch(V2Watch { path, recursive, stream, since: wait_index }),
        _ => KeysAsk::Request(V2Request::Read { path, recursive, quorum }),
    };
    Ok(KeysRequest { ask, no_value_on_success })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(method: Method, query: &str) -> Result<KeysAsk, V2Error> {
        let form = Form::parse(b"", query).unwrap();
        parse(&method, "a/b", &form, 7).map(|request| request.ask)
    }

    fn action(method: Method, query: &str) -> V2Action {
        match ask(method, query) {
            Ok(KeysAsk::Request(V2Request::Change(change))) => {
                assert_eq!((change.path.as_str(), change.wall_ns), ("/1/a/b", 7));
                change.action
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parameters_choose_what_a_put_does() {
        let life = V2Life::default();
        let value = || "x".to_owned();
        let prev = |value: &str, index| V2Compare { value: value.to_owned(), index };
        for (query, want) in [
            ("value=x", V2Action::Set { dir: false, value: value(), life }),
            ("value=x&prevExist=false&prevValue=y", V2Action::Create { dir: false, value: value(), life }),
            ("value=x&prevExist=true", V2Action::Update { value: value(), life }),
            (
                "value=x&prevExist=true&prevIndex=3",
                V2Action::CompareAndSwap { prev: prev("", 3), value: value(), life },
            ),
            ("value=x&prevValue=y", V2Action::CompareAndSwap { prev: prev("y", 0), value: value(), life }),
            ("value=x&prevIndex=0", V2Action::Set { dir: false, value: value(), life }),
            (
                "ttl=5&refresh=true",
                V2Action::Set {
                    dir: false,
                    value: String::new(),
                    life: V2Life { ttl_seconds: Some(5), refresh: true },
                },
            ),
        ] {
            assert_eq!(action(Method::PUT, query), want, "{query}");
        }
        assert_eq!(
            action(Method::DELETE, "recursive=true"),
            V2Action::Delete { dir: false, recursive: true }
        );
        assert_eq!(
            action(Method::DELETE, "prevValue=y&recursive=true"),
            V2Action::CompareAndDelete { prev: prev("y", 0) }
        );
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_etcds_number() {
        for (method, query, code, cause) in [
            (Method::PUT, "prevIndex=x", 203, "invalid value for \"prevIndex\""),
            (Method::GET, "waitIndex=-1", 203, "invalid value for \"waitIndex\""),
            (Method::GET, "recursive=yes", 209, "invalid value for \"recursive\""),
            (Method::PUT, "wait=true", 209, "\"wait\" can only be used with GET requests"),
            (Method::PUT, "prevValue=", 201, "\"prevValue\" cannot be empty"),
            (Method::PUT, "ttl=x", 202, "invalid value for \"ttl\""),
            (Method::PUT, "prevExist=", 209, "invalid value for prevExist"),
            (Method::PUT, "refresh=true&value=x&ttl=1", 211, "A value was provided on a refresh"),
            (Method::PUT, "refresh=true", 212, "No TTL value set"),
        ] {
            let error = ask(method, query).unwrap_err();
            assert_eq!((error.code.number(), error.cause.as_str(), error.index), (code, cause, 0), "{query}");
        }
        assert!(ask(Method::PUT, "ttl=").is_ok(), "an empty time to live is none");
    }

    #[test]
    fn who_waits_waits_unless_a_quorum_is_asked() {
        let watch = V2Watch { path: "/1/a/b".to_owned(), recursive: true, stream: false, since: 9 };
        assert_eq!(ask(Method::GET, "wait=true&recursive=1&waitIndex=9"), Ok(KeysAsk::Watch(watch)));
        let read = V2Request::Read { path: "/1/a/b".to_owned(), recursive: false, quorum: true };
        assert_eq!(ask(Method::GET, "wait=true&quorum=true"), Ok(KeysAsk::Request(read)));
    }
}
