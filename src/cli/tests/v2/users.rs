//! Users and roles, from a cluster without any to one that asks everybody for a name.

use crate::{Both, Told, ask};

/// Method, path, who asks (`name:password` in base64, or nothing), body.
const CASES: &[(&str, &str, &str, &str)] = &[
    ("GET", "/v2/auth/enable", "", ""),
    ("GET", "/v2/auth/users", "", ""),
    ("GET", "/v2/auth/roles", "", ""),
    ("PUT", "/v2/auth/enable", "", ""),
    ("DELETE", "/v2/auth/enable", "", ""),
    ("PUT", "/v2/auth/users/root", "", "{\"user\":\"root\"}"),
    ("PUT", "/v2/auth/users/root", "", "{\"user\":\"other\",\"password\":\"x\"}"),
    ("PUT", "/v2/auth/users/root", "", "nonsense"),
    ("PUT", "/v2/auth/users/root", "", "{\"user\":\"root\",\"password\":\"secret\"}"),
    ("PUT", "/v2/auth/users/ann", "", "{\"user\":\"ann\",\"password\":\"tea\",\"roles\":[\"reader\"]}"),
    ("PUT", "/v2/auth/users/ann", "", "{\"user\":\"ann\",\"password\":\"tea\",\"roles\":[\"reader\"]}"),
    ("GET", "/v2/auth/users/ann", "", ""),
    ("GET", "/v2/auth/users/none", "", ""),
    (
        "PUT",
        "/v2/auth/roles/reader",
        "",
        "{\"role\":\"reader\",\"permissions\":{\"kv\":{\"read\":[\"/open/*\"],\"write\":null}}}",
    ),
    ("PUT", "/v2/auth/roles/reader", "", "{\"role\":\"reader\"}"),
    ("PUT", "/v2/auth/roles/root", "", "{\"role\":\"root\"}"),
    ("GET", "/v2/auth/roles/reader", "", ""),
    ("GET", "/v2/auth/roles/none", "", ""),
    ("GET", "/v2/auth/roles/root", "", ""),
    ("GET", "/v2/auth/roles", "", ""),
    ("GET", "/v2/auth/users/ann", "", ""),
    ("GET", "/v2/auth/users", "", ""),
    (
        "PUT",
        "/v2/auth/roles/reader",
        "",
        "{\"role\":\"reader\",\"grant\":{\"kv\":{\"read\":[\"/more/*\"],\"write\":[\"/mine\"]}}}",
    ),
    ("PUT", "/v2/auth/roles/reader", "", "{\"role\":\"reader\",\"grant\":{\"kv\":{\"read\":[\"/more/*\"]}}}"),
    (
        "PUT",
        "/v2/auth/roles/reader",
        "",
        "{\"role\":\"reader\",\"permissions\":{\"kv\":{\"read\":[\"/x\"]}},\"grant\":{\"kv\":{\"read\":[\"/y\"]}}}",
    ),
    (
        "PUT",
        "/v2/auth/roles/reader",
        "",
        "{\"role\":\"reader\",\"revoke\":{\"kv\":{\"read\":[\"/more/*\"]}}}",
    ),
    (
        "PUT",
        "/v2/auth/roles/reader",
        "",
        "{\"role\":\"reader\",\"revoke\":{\"kv\":{\"read\":[\"/more/*\"]}}}",
    ),
    ("PUT", "/v2/auth/users/bob", "", "{\"user\":\"bob\",\"password\":\"x\"}"),
    ("PUT", "/v2/auth/users/bob", "", "{\"user\":\"bob\",\"grant\":[\"reader\"]}"),
    ("PUT", "/v2/auth/users/bob", "", "{\"user\":\"bob\",\"grant\":[\"reader\"]}"),
    ("PUT", "/v2/auth/users/bob", "", "{\"user\":\"bob\",\"roles\":[\"a\"],\"grant\":[\"reader\"]}"),
    ("PUT", "/v2/auth/users/bob", "", "{\"user\":\"bob\",\"revoke\":[\"none\"]}"),
    ("PUT", "/v2/auth/users/bob", "", "{\"user\":\"bob\",\"revoke\":[\"reader\"]}"),
    ("DELETE", "/v2/auth/users/bob", "", ""),
    ("DELETE", "/v2/auth/users/bob", "", ""),
    ("DELETE", "/v2/auth/roles/none", "", ""),
    ("DELETE", "/v2/auth/roles/root", "", ""),
    ("GET", "/v2/auth/users/a/b", "", ""),
    ("POST", "/v2/auth/users", "", ""),
    ("GET", "/v2/auth/nothing", "", ""),
    ("PUT", "/v2/keys/open/a?value=x", "", ""),
    ("PUT", "/v2/auth/enable", "", ""),
    ("PUT", "/v2/auth/enable", "root:secret", ""),
    ("GET", "/v2/auth/enable", "", ""),
    ("GET", "/v2/auth/roles", "", ""),
    ("GET", "/v2/auth/roles", "root:wrong", ""),
    ("GET", "/v2/auth/roles", "root:secret", ""),
    ("GET", "/v2/keys/open/a", "", ""),
    ("GET", "/v2/keys/open/a", "ann:tea", ""),
    ("GET", "/v2/keys/open/a", "ann:coffee", ""),
    ("GET", "/v2/keys/shut", "ann:tea", ""),
    ("PUT", "/v2/keys/open/a?value=y", "ann:tea", ""),
    ("PUT", "/v2/keys/mine?value=y", "ann:tea", ""),
    ("PUT", "/v2/keys/mine/below?value=y", "ann:tea", ""),
    ("GET", "/v2/keys/open?recursive=true", "ann:tea", ""),
    ("GET", "/v2/keys/?recursive=true&sorted=true", "root:secret", ""),
    (
        "PUT",
        "/v2/auth/roles/guest",
        "root:secret",
        "{\"role\":\"guest\",\"revoke\":{\"kv\":{\"write\":[\"/*\"]}}}",
    ),
    ("PUT", "/v2/keys/open/a?value=z", "", ""),
    ("GET", "/v2/keys/open/a", "", ""),
    ("DELETE", "/v2/members/abc", "", ""),
    ("GET", "/v2/members/none", "", ""),
    ("DELETE", "/v2/auth/users/root", "root:secret", ""),
    ("DELETE", "/v2/auth/enable", "", ""),
    ("DELETE", "/v2/auth/enable", "root:secret", ""),
    ("PUT", "/v2/keys/open/a?value=z", "", ""),
];

pub(crate) fn run(both: &Both) -> usize {
    let mut differences = String::new();
    for &(method, path, who, body) in CASES {
        let shown = format!("Basic {}", base64(who.as_bytes()));
        let mut headers = vec![("content-type", "application/json")];
        if !who.is_empty() {
            headers.push(("authorization", &shown));
        }
        let told = |address: &str| Told::new(ask(address, method, path, &headers, body.as_bytes(), None));
        let (theirs, ours) = (told(both.theirs.address()), told(both.ours.address()));
        if !theirs.is_like(&ours) {
            let what = format!("{method} {path} as {who:?} with {body}");
            differences += &format!("{what}\n  etcd: {theirs:?}\n  ours: {ours:?}\n");
        }
    }
    assert!(differences.is_empty(), "{differences}");
    CASES.len()
}

fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let number =
            chunk.iter().fold(0u32, |number, byte| number << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = LETTERS[(number >> (18 - 6 * place)) as usize & 63];
            text.push(if place <= chunk.len() { letter.into() } else { '=' });
        }
    }
    text
}
