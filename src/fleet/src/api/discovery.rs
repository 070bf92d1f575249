//! `/discovery`: the interface described in Google's format, from which clients can be generated.

use super::ApiResponse;
use serde_json::{Value, json};

fn text() -> Value {
    json!({ "type": "string" })
}

fn schema(id: &str, properties: &Value) -> Value {
    json!({ "id": id, "type": "object", "properties": properties })
}

fn list_of(schema: &str) -> Value {
    json!({ "type": "array", "items": { "$ref": schema } })
}

fn page(id: &str, field: &str, of: &str) -> Value {
    let mut properties = json!({ "nextPageToken": text() });
    properties[field] = list_of(of);
    schema(id, &properties)
}

fn parameter(location: &str, is_required: bool) -> Value {
    json!({ "type": "string", "location": location, "required": is_required })
}

fn list(id: &str, path: &str, of: &str, filters: &[&str]) -> Value {
    let mut parameters = json!({ "nextPageToken": parameter("query", false) });
    for filter in filters {
        parameters[*filter] = parameter("query", false);
    }
    json!({
        "id": id, "httpMethod": "GET", "path": path, "parameters": parameters, "response": { "$ref": of },
    })
}

fn item(id: &str, method: &str, path: &str, name: &str) -> Value {
    let mut parameters = json!({});
    parameters[name] = parameter("path", true);
    json!({
        "id": id, "httpMethod": method, "path": path, "parameters": parameters, "parameterOrder": [name],
    })
}

pub(super) fn get() -> ApiResponse {
    let state = json!({
        "hash": text(), "machineID": text(), "name": text(),
        "systemdActiveState": text(), "systemdLoadState": text(), "systemdSubState": text(),
    });
    let states = json!({ "type": "string", "enum": ["inactive", "loaded", "launched"] });
    let unit = json!({
        "name": text(), "options": list_of("UnitOption"), "machineID": text(),
        "desiredState": states, "currentState": states,
    });
    let machine = json!({
        "id": text(), "primaryIP": text(),
        "metadata": { "type": "object", "additionalProperties": text() },
    });
    let option = json!({ "section": text(), "name": text(), "value": text() });
    let mut get_unit = item("fleet.Unit.Get", "GET", "units/{unitName}", "unitName");
    get_unit["response"] = json!({ "$ref": "Unit" });
    let mut put_unit = item("fleet.Unit.Set", "PUT", "units/{unitName}", "unitName");
    put_unit["request"] = json!({ "$ref": "Unit" });
    let mut get_state = item("fleet.UnitState.Get", "GET", "state/{unitName}", "unitName");
    get_state["response"] = json!({ "$ref": "UnitState" });
    ApiResponse::ok(&json!({
        "kind": "discovery#restDescription",
        "discoveryVersion": "v1",
        "id": "fleet:v1",
        "name": "schema",
        "version": "v1",
        "title": "fleet API",
        "description": "Units, their states and the machines they run on.",
        "protocol": "rest",
        "basePath": "/fleet/v1/",
        "servicePath": "/fleet/v1/",
        "schemas": {
            "Machine": schema("Machine", &machine),
            "MachinePage": page("MachinePage", "machines", "Machine"),
            "Unit": schema("Unit", &unit),
            "UnitOption": schema("UnitOption", &option),
            "UnitPage": page("UnitPage", "units", "Unit"),
            "UnitState": schema("UnitState", &state),
            "UnitStatePage": page("UnitStatePage", "states", "UnitState"),
        },
        "resources": {
            "Machines": { "methods": { "List": list("fleet.Machine.List", "machines", "MachinePage", &[]) } },
            "UnitState": { "methods": {
                "List": list("fleet.UnitState.List", "state", "UnitStatePage", &["machineID", "unitName"]),
                "Get": get_state,
            } },
            "Units": { "methods": {
                "List": list("fleet.Unit.List", "units", "UnitPage", &[]),
                "Get": get_unit,
                "Set": put_unit,
                "Delete": item("fleet.Unit.Delete", "DELETE", "units/{unitName}", "unitName"),
            } },
        },
    }))
}
