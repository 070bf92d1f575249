//! A campaign as SARIF 2.1.0, the format in which code hosts take findings.

use super::{CampaignFailure, CampaignPage};
use crate::record::RunVerdict;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The file: a rule for each property that was violated, a result for each way to violate it. `places` tells where the
/// scenarios' files are, relative to the root of the code; a result without a place would not be shown.
#[must_use]
pub fn render_sarif(page: &CampaignPage, version: &str, places: &BTreeMap<String, String>) -> String {
    let failures = page.sorted_failures();
    let mut rules: BTreeMap<&str, usize> = BTreeMap::new();
    for failure in &failures {
        rules.insert(&failure.oracle, 0);
    }
    for (at, place) in rules.values_mut().enumerate() {
        *place = at;
    }
    let rule = |oracle: &&str| {
        json!({
            "id": oracle,
            "name": oracle,
            "shortDescription": { "text": format!("the property {oracle} holds") },
        })
    };
    let results: Vec<Value> = failures.iter().map(|failure| result(failure, &rules, places)).collect();
    let file = json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": { "driver": {
                "name": "seatrial",
                "version": version,
                "rules": rules.keys().map(rule).collect::<Vec<_>>(),
            }},
            "results": results,
        }],
    });
    serde_json::to_string_pretty(&file).expect("plain data with string keys") + "\n"
}

/// A path as a URI takes it.
fn uri(path: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte);
    path.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn result(
    failure: &CampaignFailure,
    rules: &BTreeMap<&str, usize>,
    places: &BTreeMap<String, String>,
) -> Value {
    let mut text =
        format!("{} ({} seed {}, {} times)", failure.sentence, failure.scenario, failure.seed, failure.times);
    if !failure.replay.is_empty() {
        text += &format!("\nReplay: {}", failure.replay);
    }
    let unnamed = format!("{}.toml", failure.scenario);
    let place = uri(places.get(&failure.scenario).unwrap_or(&unnamed));
    json!({
        "ruleId": failure.oracle,
        "ruleIndex": rules[failure.oracle.as_str()],
        "level": if failure.verdict == RunVerdict::Inconclusive { "warning" } else { "error" },
        "message": { "text": text },
        "locations": [{ "physicalLocation": {
            "artifactLocation": { "uri": place },
            "region": { "startLine": 1 },
        }}],
        // Who shows findings tells by this whether one is new.
        "partialFingerprints": { "seatrialSignature/v1": failure.id },
    })
}

#[cfg(test)]
mod tests {
    use super::super::sample;
    use super::*;

    #[test]
    fn two_ways_to_violate_one_property_are_two_results_of_one_rule() {
        let mut page = sample();
        page.failures[0].oracle = "lease".to_owned();
        page.failures[0].verdict = RunVerdict::HarnessError;
        let file: Value = serde_json::from_str(&render_sarif(&page, "1", &BTreeMap::new())).unwrap();
        let run = &file["runs"][0];
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 1);
        let levels: Vec<&Value> =
            run["results"].as_array().unwrap().iter().map(|one| &one["level"]).collect();
        assert_eq!(levels, ["error", "error"], "a testbed that fails is no warning");
    }

    #[test]
    fn each_way_to_fail_is_a_result_with_a_rule_a_place_and_a_fingerprint() {
        let places = BTreeMap::from([("leases".to_owned(), "my scenarios/fast/leases.toml".to_owned())]);
        let file: Value = serde_json::from_str(&render_sarif(&sample(), "1.2.3", &places)).unwrap();
        assert_eq!(file["version"], "2.1.0");
        let run = &file["runs"][0];
        assert_eq!(run["tool"]["driver"]["version"], "1.2.3");
        let results = run["results"].as_array().unwrap();
        assert_eq!(results.len(), 2);
        for result in results {
            let rule = &run["tool"]["driver"]["rules"]
                [usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
            assert_eq!(rule["id"], result["ruleId"]);
        }
        let (first, second) = (&results[0], &results[1]);
        assert_eq!((&first["ruleId"], &first["level"]), (&json!("lease"), &json!("error")));
        assert_eq!((&second["ruleId"], &second["level"]), (&json!("unknown-watch"), &json!("warning")));
        assert_eq!(first["partialFingerprints"]["seatrialSignature/v1"], "lease-0a1b2c");
        let uri =
            |result: &Value| result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"].clone();
        assert_eq!(
            (uri(first), uri(second)),
            (json!("my%20scenarios/fast/leases.toml"), json!("storm.toml"))
        );
        assert_eq!(run["tool"]["driver"]["rules"].as_array().unwrap().len(), 2, "one for each oracle");
        assert_eq!(
            second["message"]["text"], "the budget ran out (storm seed 1, 1 times)",
            "nothing replays what was not kept"
        );
        assert!(
            first["message"]["text"]
                .as_str()
                .unwrap()
                .contains("Replay: seatrial replay out/small/plan.json")
        );
    }
}
