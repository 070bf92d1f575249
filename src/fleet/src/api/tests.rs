//! The interface as its clients see it.

use super::*;
use crate::model::testing::*;
use crate::model::{JobState, UnitState};
use crate::registry::Write;
use proptest::prelude::*;

fn ask(method: &str, path: &str, body: &str) -> ApiRequest {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    ApiRequest {
        method: method.to_owned(),
        path: path.to_owned(),
        query: query.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        content_types: vec!["application/json; charset=utf-8".to_owned()],
        body: body.as_bytes().to_vec(),
    }
}

fn said(method: &str, path: &str, body: &str, cluster: &Cluster) -> String {
    let Handled { response, writes } = handle(&ask(method, path, body), cluster);
    let writes: String = writes
        .iter()
        .map(|write| match write {
            Write::PutUnit { name, file, desired } => {
                format!(" put {name} {} {desired:?}", file.hash().short())
            }
            Write::SetDesired { name, desired } => format!(" set {name} {desired}"),
            Write::Destroy { name } => format!(" destroy {name}"),
            Write::SetMetadata { machine, key, value } => format!(" {machine}:{key}={value}"),
            Write::GiveUp { machine } => format!(" give up {machine}"),
        })
        .collect();
    format!("{} {}{writes}", response.status, response.body.as_deref().unwrap_or("-"))
}

fn error(status: u16, message: &str) -> String {
    format!("{status} {}", ApiResponse::error(status, message).body.unwrap())
}

fn example() -> Cluster {
    let mut cluster = cluster(&[("m1", "region=eu")])
        .with("a.service", "m1", "MachineMetadata=region=eu")
        .with("g.service", "", "Global=true")
        .with("hello@.service", "", "");
    cluster.units.get_mut(&name("hello@.service")).unwrap().desired = JobState::Inactive;
    let state = UnitState {
        load: "loaded".into(),
        active: "active".into(),
        sub: "running".into(),
        hash: "aa".into(),
        is_launched: true,
    };
    cluster.states.insert((name("a.service"), id("m1")), state);
    cluster
}

const UNIT_A: &str = "{\"currentState\":\"launched\",\"desiredState\":\"launched\",\"machineID\":\"m1\",\"name\":\"a.service\",\"options\":[{\"name\":\"ExecStart\",\"section\":\"Service\",\"value\":\"/bin/x\"},{\"name\":\"MachineMetadata\",\"section\":\"X-Fleet\",\"value\":\"region=eu\"}]}";

#[test]
fn units_are_shown_in_fleets_form_under_both_bases() {
    for base in BASES {
        assert_eq!(said("GET", &format!("{base}/units/a.service"), "", &example()), format!("200 {UNIT_A}"));
        let list = said("GET", &format!("{base}/units"), "", &example());
        assert!(
            list.starts_with(&format!(
                "200 {{\"units\":[{UNIT_A},{{\"desiredState\":\"launched\",\"name\":\"g.service\""
            )),
            "{list}"
        );
        assert_eq!(said("GET", &format!("{base}/units"), "", &Cluster::default()), "200 {}");
    }
    assert_eq!(said("GET", "/fleet/v1/units/b.service", "", &example()), error(404, "unit does not exist"));
    assert_eq!(said("GET", "/fleet/v2/units", "", &example()), error(404, ""));
    assert_eq!(said("GET", "/fleet/v1/units/", "", &example()), error(404, ""));
    assert_eq!(said("GET", "/fleet/v1/units/a/b", "", &example()), error(404, ""));
}

#[test]
fn other_methods_are_refused_by_name() {
    for (method, path, methods) in [
        ("POST", "units", "GET"),
        ("POST", "units/a.service", "GET, PUT and DELETE"),
        ("PUT", "state", "GET"),
        ("PUT", "machines", "GET and PATCH"),
    ] {
        let expected = error(405, &format!("only {methods} supported against this resource"));
        assert_eq!(said(method, &format!("/fleet/v1/{path}"), "", &example()), expected);
    }
}

#[test]
fn a_unit_is_created_replaced_changed_and_deleted() {
    let options = "\"options\":[{\"section\":\"Service\",\"name\":\"ExecStart\",\"value\":\"/bin/y\"}]";
    let put = |path: &str, body: &str| said("PUT", &format!("/fleet/v1/units/{path}"), body, &example());
    let created =
        put("b.service", &format!("{{\"name\":\"b.service\",\"desiredState\":\"launched\",{options}}}"));
    assert!(created.starts_with("201 - put b.service ") && created.ends_with(" Some(Launched)"), "{created}");
    let created = put("b.service", &format!("{{{options}}}"));
    assert!(created.ends_with(" Some(Inactive)"), "{created}");
    // Another file under a known name, of a client that waits until the unit is inactive.
    let replaced = put("a.service", &format!("{{{options}}}"));
    assert!(
        replaced.starts_with("201 - put a.service ") && replaced.ends_with(" Some(Inactive)"),
        "{replaced}"
    );
    let replaced = put("a.service", &format!("{{\"desiredState\":\"launched\",{options}}}"));
    assert!(replaced.ends_with(" Some(Launched)"), "{replaced}");
    assert_eq!(put("a.service", "{\"desiredState\":\"loaded\"}"), "204 - set a.service loaded");
    // The same file is no new one.
    let same = UNIT_A.replace("\"desiredState\":\"launched\"", "\"desiredState\":\"inactive\"");
    assert_eq!(put("a.service", &same), "204 - set a.service inactive");
    assert_eq!(said("DELETE", "/fleet/v1/units/a.service", "", &example()), "204 - destroy a.service");
    assert_eq!(
        said("DELETE", "/fleet/v1/units/x.service", "", &example()),
        error(404, "unit does not exist")
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_stored() {
    let put = |path: &str, body: &str| said("PUT", &format!("/fleet/v1/units/{path}"), body, &example());
    let option = |section: &str, name: &str, value: &str| {
        format!("{{\"options\":[{{\"section\":\"{section}\",\"name\":\"{name}\",\"value\":\"{value}\"}}]}}")
    };
    for (path, body, expected) in [
        ("b.service", "{}", error(409, "unit does not exist and options field empty")),
        ("a.service", "{}", error(409, "must provide DesiredState to update existing unit")),
        ("b.exe", "{}", error(400, "invalid unit type: \"exe\"")),
        (
            "b.service",
            "{\"name\":\"c.service\"}",
            error(400, "name in URL \"b.service\" differs from unit name in request body \"c.service\""),
        ),
        (
            "hello@.service",
            "{\"desiredState\":\"launched\"}",
            error(400, "cannot activate template \"hello@.service\""),
        ),
    ] {
        assert_eq!(put(path, body), expected);
    }
    // In the original this was stored, and nothing could be done with the unit ever after.
    for path in ["a.service", "b.service"] {
        assert!(put(path, "{\"desiredState\":\"nonsense\"}").starts_with(
            "400 {\"error\":{\"code\":400,\"message\":\"invalid value \\\"nonsense\\\" for JobState"
        ));
    }
    assert!(
        put("b.service", "{")
            .starts_with("400 {\"error\":{\"code\":400,\"message\":\"unable to decode body: ")
    );
    let activated = option("Service", "A", "b").replace('{', "{\"desiredState\":\"launched\",").replacen(
        "[{\"desiredState\":\"launched\",",
        "[{",
        1,
    );
    assert_eq!(put("new@.service", &activated), error(400, "cannot activate template \"new@.service\""));
    let conflict = option("X-Fleet", "Global", "maybe");
    assert!(put("b.service", &conflict).contains("[X-Fleet] Global=maybe: neither yes nor no"));
    assert!(put("a.service", &conflict).contains("[X-Fleet] Global=maybe"), "also for a unit that is there");
    assert!(put("b.service", &option("Unit", "A", "b\\nExecStart=/bin/evil")).starts_with("400 "));
}

#[test]
fn only_json_is_taken() {
    let put = |content_types: &[&str]| {
        let content_types = content_types.iter().map(|text| (*text).to_owned()).collect();
        let request = ApiRequest {
            content_types,
            ..ask("PUT", "/fleet/v1/units/a.service", "{\"desiredState\":\"loaded\"}")
        };
        let response = handle(&request, &example()).response;
        (response.status, response.body.unwrap_or_default())
    };
    assert!(put(&["text/plain"]).1.contains("only acceptable Content-Type is application/json"));
    assert!(put(&[]).1.contains("expected 1 Content-Type, got 0"));
    assert_eq!(put(&["application/json", "application/json"]).0, 415);
    assert_eq!(put(&[" application/json ;charset=utf-8"]).0, 204);
}

#[test]
fn states_are_shown_and_an_unknown_one_is_not_there() {
    let state = "{\"hash\":\"aa\",\"machineID\":\"m1\",\"name\":\"a.service\",\"systemdActiveState\":\"active\",\"systemdLoadState\":\"loaded\",\"systemdSubState\":\"running\"}";
    let get = |path: &str| said("GET", &format!("/fleet/v1/{path}"), "", &example());
    assert_eq!(get("state/a.service"), format!("200 {state}"));
    for path in ["state", "state?machineID=m1", "state?unitName=a.service&machineID="] {
        assert_eq!(get(path), format!("200 {{\"states\":[{state}]}}"));
    }
    assert_eq!(get("state?machineID=m2"), "200 {}");
    // The original broke the connection.
    assert_eq!(get("state/unknown.service"), error(404, "unit state does not exist"));
}

#[test]
fn metadata_is_patched_with_both_forms_of_a_value() {
    let patch = |body: &str| said("PATCH", "/fleet/v1/machines", body, &example());
    assert_eq!(
        patch(
            "[{\"op\":\"add\",\"path\":\"/m1/metadata/a\",\"value\":\"x\"},{\"op\":\"replace\",\"path\":\"/m1/metadata/b\",\"value\":{\"value\":\"y\"}},{\"op\":\"remove\",\"path\":\"/m1/metadata/c\"}]"
        ),
        "204 - m1:a=x m1:b=y m1:c="
    );
    assert_eq!(
        patch(
            "[{\"op\":\"add\",\"path\":\"/m1/metadata/a\",\"value\":\"x\"},{\"op\":\"remove\",\"path\":\"/m1/metadata/a\"}]"
        ),
        "204 - m1:a="
    );
    for (body, text) in [
        ("[{\"op\":\"move\",\"path\":\"/m1/metadata/a\"}]", "invalid op: expect add, remove, or replace"),
        ("[{\"op\":\"add\",\"path\":\"/m1/a\",\"value\":\"x\"}]", "machine metadata path invalid"),
        ("[{\"op\":\"add\",\"path\":\"/m1/metadata/a b\",\"value\":\"x\"}]", "machine metadata path invalid"),
        ("[{\"op\":\"add\",\"path\":\"/m1/metadata/a\"}]", "invalid value: add and replace require a value"),
        (
            "[{\"op\":\"add\",\"path\":\"/m1/metadata/a\",\"value\":null}]",
            "invalid value: add and replace require a value",
        ),
    ] {
        assert_eq!(patch(body), error(400, text));
    }
    assert!(patch("{}").starts_with("400 "));
    let mut patched = example();
    patched.machines.get_mut(&id("m1")).unwrap().overlay.insert("a".into(), "x".into());
    assert_eq!(
        said("GET", "/fleet/v1/machines", "", &patched),
        "200 {\"machines\":[{\"id\":\"m1\",\"metadata\":{\"a\":\"x\",\"region\":\"eu\"}}]}"
    );
}

#[test]
fn a_machine_is_given_up_only_when_it_is_gone() {
    assert_eq!(said("DELETE", "/fleet/v1/machines/m2", "", &example()), "204 - give up m2");
    assert!(said("DELETE", "/fleet/v1/machines/m1", "", &example()).starts_with("409 "));
}

fn many(count: usize) -> Cluster {
    let mut cluster = Cluster::default();
    for at in 0..count {
        cluster = cluster.with(&format!("u{at:04}.service"), "", "");
    }
    cluster
}

#[test]
fn pages_hold_a_hundred_and_the_last_one_says_so() {
    for (count, expected) in [(0, vec![0]), (100, vec![100]), (101, vec![100, 1]), (250, vec![100, 100, 50])]
    {
        let cluster = many(count);
        let mut sizes = Vec::new();
        let mut path = "/fleet/v1/units".to_owned();
        loop {
            let request = ask("GET", &path, "");
            let body = handle(&request, &cluster).response.body.unwrap();
            let page: serde_json::Value = serde_json::from_str(&body).unwrap();
            sizes.push(page["units"].as_array().map_or(0, Vec::len));
            match page["nextPageToken"].as_str() {
                // A token may end in `=`, which the first `=` of a pair does not mind.
                Some(token) => path = format!("/fleet/v1/units?nextPageToken={token}"),
                None => break,
            }
        }
        assert_eq!(sizes, expected, "{count}");
    }
    // As the original writes it: two little-endian numbers.
    let first = handle(&ask("GET", "/fleet/v1/units", ""), &many(101)).response.body.unwrap();
    assert!(first.contains("\"nextPageToken\":\"ZAACAA==\""), "{}", &first[..80]);
}

#[test]
fn a_wrong_token_is_refused() {
    let get = |query: &str| said("GET", &format!("/fleet/v1/units?{query}"), "", &many(300));
    for (query, text) in [
        ("nextPageToken=MgABAA==", "token limit must be 100"),
        ("nextPageToken=ZAAAAA==", "token page must be greater than zero"),
        ("nextPageToken=ZAABAA==&nextPageToken=ZAABAA==", "too many values for page token"),
    ] {
        assert_eq!(get(query), error(400, text));
    }
    assert!(get("nextPageToken=%").starts_with("400 ") && get("nextPageToken=ZA==").starts_with("400 "));
    assert_eq!(get("nextPageToken=ZAD__w=="), "200 {}");
}

#[test]
fn the_plan_says_what_would_be_done_and_why_units_wait() {
    let cluster = example().with("b.service", "", "").with("c.service", "", "MachineMetadata=region=us");
    let plan = said("GET", "/fleet/v1/plan", "", &cluster);
    assert_eq!(
        plan,
        "200 {\"decisions\":[{\"unit\":\"b.service\",\"to\":\"m1\",\"why\":\"desired state launched and not scheduled\"}],\"waiting\":[{\"unit\":\"c.service\",\"reason\":\"no machine with region=us\"}]}"
    );
}

#[test]
fn the_interface_describes_itself() {
    let text = said("GET", "/fleet/v1/discovery", "", &example());
    let document: serde_json::Value = serde_json::from_str(text.strip_prefix("200 ").unwrap()).unwrap();
    assert_eq!(document["basePath"], "/fleet/v1/");
    assert_eq!(document["resources"]["Units"]["methods"]["Set"]["httpMethod"], "PUT");
    assert_eq!(document["schemas"]["UnitPage"]["properties"]["units"]["items"]["$ref"], "Unit");
    assert_eq!(ApiResponse::unavailable().status, 503);
}

proptest! {
    #[test]
    fn any_request_is_answered_and_poisons_nothing(
        method in "GET|PUT|DELETE|PATCH|POST",
        path in "/fleet/v1/(units|state|machines|plan)(/[a-c@./]{0,12})?",
        body in "(\\{\"desiredState\":\"(launched|nonsense|)\",\"options\":\\[\\{\"section\":\"(X-Fleet|S)\",\"name\":\"(Global|MachineOf|A)\",\"value\":\"(true|x|a.service|\\\\n)\"\\}\\]\\})|\\[\\{\"op\":\"(add|remove)\",\"path\":\"/m1/metadata/a\",\"value\":(\"x\"|7|\\{\\})\\}\\]|[ -~]{0,20}",
    ) {
        let Handled { response, writes } = handle(&ask(&method, &path, &body), &example());
        prop_assert!(writes.is_empty() || response.status < 300);
        for write in writes {
            if let Write::PutUnit { name, file, .. } = write {
                let unit = crate::model::Unit::new(&name, file.clone());
                prop_assert_eq!(unit.refused, None);
                prop_assert_eq!(UnitFile::parse(&file.render()).unwrap().render(), file.render());
            }
        }
    }
}

use crate::unit::UnitFile;
