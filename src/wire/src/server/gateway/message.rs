//! Between JSON and the messages of the API, by their descriptors: as the gateway of etcd 3.5 reads and writes them.

use super::scan;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use seatrial_proto::prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage, Value,
};
use std::fmt::Write;

/// Messages within each other; more than any decoder of protobuf takes.
const DEPTH_MAX: usize = 100;

/// The message in a checked text. Names may be in either form, and unknown ones are passed over.
///
/// # Errors
/// In the words of the decoder behind etcd's gateway.
pub(crate) fn decode(descriptor: &MessageDescriptor, text: &[u8]) -> Result<DynamicMessage, String> {
    message(descriptor, text, 0)
}

fn message(descriptor: &MessageDescriptor, text: &[u8], depth: usize) -> Result<DynamicMessage, String> {
    let mut message = DynamicMessage::new(descriptor.clone());
    if text == b"null" {
        return Ok(message);
    }
    if depth > DEPTH_MAX {
        return Err("exceeded max depth".to_owned());
    }
    if text[0] != b'{' {
        return Err(mismatch(text, "map[string]json.RawMessage"));
    }
    let parts = scan::object(text);
    for field in descriptor.fields() {
        let part = parts.get(field.json_name()).or_else(|| parts.get(field.name()));
        let Some(&part) = part.filter(|part| **part != *b"null") else { continue };
        let value = if field.is_list() { list(&field, part, depth)? } else { single(&field, part, depth)? };
        message.set_field(&field, value);
    }
    Ok(message)
}

fn list(field: &FieldDescriptor, text: &[u8], depth: usize) -> Result<Value, String> {
    if text[0] != b'[' {
        return Err(mismatch(text, "[]json.RawMessage"));
    }
    let parts = scan::array(text).into_iter();
    Ok(Value::List(parts.map(|part| single(field, part, depth)).collect::<Result<_, _>>()?))
}

fn single(field: &FieldDescriptor, text: &[u8], depth: usize) -> Result<Value, String> {
    Ok(match field.kind() {
        Kind::Message(descriptor) => Value::Message(message(&descriptor, text, depth + 1)?),
        Kind::Bytes => Value::Bytes(bytes(text)?.into()),
        Kind::String => match text[0] {
            b'"' => Value::String(scan::string(text)),
            b'n' => Value::String(String::new()),
            _ => return Err(mismatch(text, "string")),
        },
        Kind::Bool => match text {
            b"true" => Value::Bool(true),
            b"false" | b"null" => Value::Bool(false),
            _ => return Err(mismatch(text, "bool")),
        },
        Kind::Enum(descriptor) if text[0] == b'"' && text.len() >= 2 => {
            let name = String::from_utf8_lossy(&text[1..text.len() - 1]);
            let value = descriptor.get_value_by_name(&name).ok_or_else(|| {
                format!("unknown value {} for enum {}", scan::quote(text), descriptor.full_name())
            })?;
            Value::EnumNumber(value.number())
        }
        Kind::Enum(_) => Value::EnumNumber(number(text, "protoreflect.EnumNumber")?),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(number(unquoted(text), "int32")?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(number(unquoted(text), "int64")?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(number(unquoted(text), "uint32")?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(number(unquoted(text), "uint64")?),
        Kind::Float => Value::F32(number(unquoted(text), "float32")?),
        Kind::Double => Value::F64(number(unquoted(text), "float64")?),
    })
}

/// Numbers may stand in quotes.
fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    }
}

/// What is between the quotes was not checked with the rest.
fn number<N: std::str::FromStr + Default>(text: &[u8], kind: &str) -> Result<N, String> {
    let text = scan::only(text)?;
    match text[0] {
        b'n' => Ok(N::default()),
        b'-' | b'0'..=b'9' => {
            let text = String::from_utf8_lossy(text);
            let refused = || format!("json: cannot unmarshal number {text} into Go value of type {kind}");
            text.parse().map_err(|_| refused())
        }
        _ => Err(mismatch(text, kind)),
    }
}

fn mismatch(text: &[u8], kind: &str) -> String {
    let found = match text[0] {
        b'{' => "object",
        b'[' => "array",
        b'"' => "string",
        b't' | b'f' => "bool",
        _ => "number",
    };
    format!("json: cannot unmarshal {found} into Go value of type {kind}")
}

/// Bytes in base64, or as an array of numbers.
fn bytes(text: &[u8]) -> Result<Vec<u8>, String> {
    match text[0] {
        b'"' => from_base64(scan::string(text).as_bytes())
            .map_err(|at| format!("illegal base64 data at input byte {at}")),
        b'[' => scan::array(text).into_iter().map(byte).collect(),
        b'n' => Ok(Vec::new()),
        _ => Err(mismatch(text, "[]uint8")),
    }
}

fn byte(text: &[u8]) -> Result<u8, String> {
    match text[0] {
        b'"' | b'{' | b'[' | b't' | b'f' => Err(mismatch(text, "uint8")),
        _ => number(text, "uint8"),
    }
}

/// Go's decoder: it wants its padding, passes over line breaks, does not mind loose bits at the end, and names the place
/// of what it refuses.
fn from_base64(text: &[u8]) -> Result<Vec<u8>, usize> {
    let mut out = Vec::with_capacity(text.len() / 4 * 3);
    let mut at = 0;
    let breaks = |mut at: usize| {
        while matches!(text.get(at), Some(b'\r' | b'\n')) {
            at += 1;
        }
        at
    };
    loop {
        let mut bits = 0u32;
        let mut seen = 0;
        while seen < 4 {
            at = breaks(at);
            let Some(&byte) = text.get(at) else {
                return if seen == 0 { Ok(out) } else { Err(at - seen) };
            };
            if let Some(six) = sextet(byte) {
                bits = bits << 6 | six;
                seen += 1;
                at += 1;
                continue;
            }
            if byte != b'=' || seen < 2 {
                return Err(at);
            }
            at = breaks(at + 1);
            if seen == 2 {
                match text.get(at) {
                    None => return Err(text.len()),
                    Some(b'=') => at = breaks(at + 1),
                    Some(_) => return Err(at - 1),
                }
            }
            let whole = bits << (6 * (4 - seen));
            out.extend_from_slice(&whole.to_be_bytes()[1..seen]);
            return if at < text.len() { Err(at) } else { Ok(out) };
        }
        out.extend_from_slice(&bits.to_be_bytes()[1..]);
    }
}

fn sextet(byte: u8) -> Option<u32> {
    Some(u32::from(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    }))
}

/// Writes a message: names as in the definition, 64-bit numbers and bytes as strings, and nothing that has its default.
pub(crate) fn encode(message: &DynamicMessage, out: &mut String) {
    out.push('{');
    let mut first = true;
    for field in message.descriptor().fields().filter(|field| message.has_field(field)) {
        if !std::mem::take(&mut first) {
            out.push(',');
        }
        let _ = write!(out, "\"{}\":", field.name());
        value(&field, &message.get_field(&field), out);
    }
    out.push('}');
}

fn value(field: &FieldDescriptor, value: &Value, out: &mut String) {
    let _ = match value {
        Value::List(parts) => {
            out.push('[');
            for (at, part) in parts.iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                self::value(field, part, out);
            }
            out.push(']');
            Ok(())
        }
        Value::Message(message) => {
            encode(message, out);
            Ok(())
        }
        Value::EnumNumber(number) => {
            match field.kind().as_enum().and_then(|known| known.get_value(*number)) {
                Some(value) => write!(out, "\"{}\"", value.name()),
                None => write!(out, "{number}"),
            }
        }
        Value::Bytes(bytes) => {
            out.push('"');
            STANDARD.encode_string(bytes, out);
            out.push('"');
            Ok(())
        }
        Value::String(text) => {
            string(text, out);
            Ok(())
        }
        Value::Bool(value) => write!(out, "{value}"),
        Value::I32(number) => write!(out, "{number}"),
        Value::U32(number) => write!(out, "{number}"),
        Value::I64(number) => write!(out, "\"{number}\""),
        Value::U64(number) => write!(out, "\"{number}\""),
        Value::F32(number) => write!(out, "{number}"),
        Value::F64(number) => write!(out, "{number}"),
        // The API has none.
        Value::Map(_) => write!(out, "{{}}"),
    };
}

/// A string as Go writes it: harmless within HTML too.
pub(crate) fn string(text: &str, out: &mut String) {
    out.push('"');
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..'\u{20}' => {
                let _ = write!(out, "\\u{:04x}", char as u32);
            }
            char => out.push(char),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn descriptor(name: &str) -> MessageDescriptor {
        seatrial_proto::descriptors().get_message_by_name(&format!("etcdserverpb.{name}")).unwrap()
    }

    fn read(name: &str, text: &str) -> Result<String, String> {
        let message = decode(&descriptor(name), text.as_bytes())?;
        let mut out = String::new();
        encode(&message, &mut out);
        Ok(out)
    }

    #[test]
    fn names_numbers_and_enumerations_are_taken_in_every_form() {
        let all = r#"{"rangeEnd":"Yg==","key":"YQ==","limit":"5","sort_target":3,"sortOrder":"DESCEND","count_only":true,"more":1}"#;
        let want = r#"{"key":"YQ==","range_end":"Yg==","limit":"5","sort_order":"DESCEND","sort_target":"MOD","count_only":true}"#;
        assert_eq!(read("RangeRequest", all).unwrap(), want);
        assert_eq!(
            read("RangeRequest", r#"{"limit":5,"sort_order":7}"#).unwrap(),
            r#"{"limit":"5","sort_order":7}"#
        );
        assert_eq!(read("RangeRequest", "null").unwrap(), "{}");
    }

    #[test]
    fn parts_that_exclude_each_other_are_kept_even_with_their_default() {
        assert_eq!(read("Compare", r#"{"version":"0","key":null}"#).unwrap(), r#"{"version":"0"}"#);
        let nested = r#"{"success":[{"requestPut":{}},null,{"request_txn":{"compare":[{"value":""}]}}]}"#;
        let want = r#"{"success":[{"request_put":{}},{},{"request_txn":{"compare":[{"value":""}]}}]}"#;
        assert_eq!(read("TxnRequest", nested).unwrap(), want);
    }

    #[test]
    fn what_does_not_fit_is_refused_in_the_words_clients_know() {
        for (text, error) in [
            (r#"{"key":5}"#, "json: cannot unmarshal number into Go value of type []uint8"),
            (r#"{"key":"@@"}"#, "illegal base64 data at input byte 0"),
            (r#"{"key":[1,300]}"#, "json: cannot unmarshal number 300 into Go value of type uint8"),
            (r#"{"limit":1.0}"#, "json: cannot unmarshal number 1.0 into Go value of type int64"),
            (r#"{"limit":"x"}"#, "invalid character 'x' looking for beginning of value"),
            (r#"{"limit":""}"#, "unexpected end of JSON input"),
            (r#"{"limit":"{}"}"#, "json: cannot unmarshal object into Go value of type int64"),
            (r#"{"serializable":"true"}"#, "json: cannot unmarshal string into Go value of type bool"),
            (
                r#"{"sort_order":"UP"}"#,
                r#"unknown value "\"UP\"" for enum etcdserverpb.RangeRequest.SortOrder"#,
            ),
            ("[1]", "json: cannot unmarshal array into Go value of type map[string]json.RawMessage"),
        ] {
            assert_eq!(read("RangeRequest", text), Err(error.to_owned()), "{text}");
        }
        let deep = format!("{}{{}}{}", r#"{"success":[{"request_txn":"#.repeat(99), "}]}".repeat(99));
        assert_eq!(read("TxnRequest", &deep), Err("exceeded max depth".to_owned()));
    }

    #[test]
    fn base64_is_gos() {
        for (text, want) in [
            ("", Ok("")),
            ("Zm9v", Ok("foo")),
            ("Zm\r\n9v", Ok("foo")),
            ("Zg==", Ok("f")),
            ("Zh==", Ok("f")),
            ("Zg=\n=\n", Ok("f")),
            ("Zm8=", Ok("fo")),
            ("ZQ", Err(0)),
            ("Zm9vY", Err(4)),
            ("Zm9vYQ=", Err(7)),
            ("Zm9v=A==", Err(4)),
            ("Zg==Zg==", Err(4)),
            ("Zg=Z", Err(2)),
            ("Zm-_", Err(2)),
        ] {
            assert_eq!(from_base64(text.as_bytes()), want.map(|want| want.as_bytes().to_vec()), "{text:?}");
        }
    }

    #[test]
    fn strings_are_written_as_go_writes_them() {
        let mut out = String::new();
        string("a<b>&\u{2028}\u{8}\u{c}\t\\\"\u{e4}", &mut out);
        assert_eq!(out, r#""a\u003cb\u003e\u0026\u2028\u0008\u000c\t\\\"ä""#);
    }
}
