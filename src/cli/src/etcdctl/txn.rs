//! txn: comparisons, then two lists of requests, each list ended by an empty line.

use super::args::{self, parse, words};
use super::go::{self, parse_int, unquote};
use super::keys::{del_request, get_request, put_request};
use super::{Fail, Session, code};
use clap::ArgMatches;
use seatrial_types::request::{Compare, CompareOp, CompareTarget, TxnOp, TxnRequest};
use seatrial_types::{KeyRange, LeaseId, Request, Response, Revision};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

fn invalid(text: impl Into<String>) -> Fail {
    Fail::new(code::INVALID_INPUT, text)
}

/// `target("key") op "value"`.
fn compare(line: &str) -> Result<Compare, Fail> {
    let (target, rest) =
        line.split_once('(').ok_or_else(|| invalid(format!("malformed comparison: {line}")))?;
    // As far as it was understood.
    let malformed = |key: &[u8], op: &str| {
        let key = go::quote(key);
        invalid(format!("malformed comparison: {line}; got {target}({key}) {op} \"\""))
    };
    let (key, rest) = unquote(rest.trim_start()).ok_or_else(|| malformed(b"", ""))?;
    let rest = rest.strip_prefix(')').ok_or_else(|| malformed(&key, ""))?.trim_start();
    let (op, rest) = rest.split_once(char::is_whitespace).ok_or_else(|| malformed(&key, rest))?;
    let (value, _) = unquote(rest.trim_start()).ok_or_else(|| malformed(&key, op))?;
    let op = match op {
        "=" => CompareOp::Equal,
        "!=" => CompareOp::NotEqual,
        ">" => CompareOp::Greater,
        "<" => CompareOp::Less,
        other => return Err(invalid(format!("malformed comparison: {line} (unknown operator {other})"))),
    };
    let number = |radix| {
        parse_int(&String::from_utf8_lossy(&value), radix)
            .map_err(|_| invalid(format!("invalid txn compare request: {line}")))
    };
    let target = match target {
        "ver" | "version" => CompareTarget::Version(number(10)?),
        "c" | "create" => CompareTarget::Create(Revision(number(10)?)),
        "m" | "mod" => CompareTarget::Mod(Revision(number(10)?)),
        "val" | "value" => CompareTarget::Value(value.clone().into()),
        "lease" => CompareTarget::Lease(LeaseId(number(16)?)),
        other => return Err(invalid(format!("malformed comparison: {line} (unknown target {other})"))),
    };
    Ok(Compare { range: KeyRange::single(key), op, target })
}

/// `get`, `put` or `del` with their flags.
fn request(line: &str) -> Result<TxnOp, Fail> {
    let words = go::words(line).map_err(invalid)?;
    if words.len() < 2 {
        return Err(invalid(format!("invalid txn compare request: {line}")));
    }
    let command = match words[0].as_slice() {
        b"get" => args::get(),
        b"put" => args::put(),
        b"del" => args::del(),
        _ => return Err(invalid(format!("invalid txn request: {line}"))),
    };
    let words: Vec<OsString> = words.into_iter().map(OsString::from_vec).collect();
    let name = words[0].clone();
    let matches = parse(command, words).map_err(|_| invalid(format!("invalid txn request: {line}")))?;
    Ok(match name.as_encoded_bytes() {
        b"get" => TxnOp::Range(get_request(&matches)?),
        // Standard input holds the transaction; a value cannot come from there.
        b"put" => TxnOp::Put(put_request(&matches, &mut Vec::new)?),
        _ => TxnOp::DeleteRange(del_request(&matches)?),
    })
}

impl Session<'_> {
    fn lines<T>(&mut self, read: impl Fn(&str) -> Result<T, Fail>) -> Result<Vec<T>, Fail> {
        let mut items = Vec::new();
        loop {
            let line = self.read_line().ok_or_else(|| invalid("EOF"))?;
            let line = line.trim();
            if line.is_empty() {
                return Ok(items);
            }
            items.push(read(line)?);
        }
    }

    pub(super) async fn txn(&mut self, matches: &ArgMatches) -> Result<(), Fail> {
        if !words(matches).is_empty() {
            return Err(Fail::args("txn command does not accept argument"));
        }
        let interactive = matches.get_flag("interactive");
        let prompt = |session: &mut Self, text: &str| {
            if interactive { session.out(format!("{text}\n").as_bytes()) } else { Ok(()) }
        };
        prompt(self, "compares:")?;
        let compare = self.lines(compare)?;
        prompt(self, "success requests (get, put, del):")?;
        let success = self.lines(request)?;
        prompt(self, "failure requests (get, put, del):")?;
        let failure = self.lines(request)?;
        let request = Request::Txn(TxnRequest { compare, success, failure });
        let Response::Txn(answer) = self.call(request).await? else { return Err(Fail::odd()) };
        self.out(&self.globals.printer.txn(&answer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comparisons_are_read_in_every_spelling() {
        let read = |line: &str| compare(line).unwrap();
        assert_eq!(read(r#"ver("x") = "3""#).target, CompareTarget::Version(3));
        assert_eq!(read(r#"mod("x") > "0""#).op, CompareOp::Greater);
        assert_eq!(read(r#"c("a b") != "7""#).range, KeyRange::single("a b"));
        assert_eq!(read(r#"val("x") = "a \"b\"""#).target, CompareTarget::Value("a \"b\"".into()));
        assert_eq!(read(r#"lease("x") = "2a""#).target, CompareTarget::Lease(LeaseId(42)));
        for wrong in
            ["", "x", r#"ver(x) = "1""#, r#"ver("x") ~ "1""#, r#"ver("x") = "u""#, r#"foo("x") = "1""#]
        {
            assert_eq!(compare(wrong).unwrap_err().code, code::INVALID_INPUT, "{wrong}");
        }
    }

    #[test]
    fn requests_take_the_flags_of_their_commands() {
        let TxnOp::Range(get) = request("get a --prefix --limit 3").unwrap() else { panic!("no range") };
        assert_eq!((get.range, get.limit), (KeyRange::prefix("a"), 3));
        let TxnOp::Put(put) = request("put 'a b' \"c\\n\" --prev-kv").unwrap() else { panic!("no put") };
        assert_eq!((put.key.as_ref(), put.value.as_ref(), put.prev_kv), (&b"a b"[..], &b"c\n"[..], true));
        assert!(matches!(request("frob x").unwrap_err().code, code::INVALID_INPUT));
        assert!(matches!(request("get x --bogus").unwrap_err().code, code::INVALID_INPUT));
        assert!(matches!(request("put x").unwrap_err().code, code::BAD_ARGS));
    }
}
