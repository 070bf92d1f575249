//! One function for each decoder.

use prost::Message;
use seatrial_backup::Database;
use seatrial_etcd::{AuthOptions, TokenOptions};
use seatrial_proto::{etcdserverpb as pb, v3electionpb, v3lockpb};
use seatrial_store::{Command, MemBackend, SnapshotRows, Store};
use seatrial_types::auth::AuthRequest;
use seatrial_types::request::{
    CompactRequest, DeleteRangeRequest, LeaseGrantRequest, MemberAddRequest, PutRequest, RangeRequest,
    TxnRequest,
};
use seatrial_types::watch::WatchRequest;

/// A decoder under test.
#[derive(Clone, Copy)]
pub struct Target {
    /// The name of its folder in the corpus.
    pub name: &'static str,
    /// Takes any bytes; panics where the decoder is wrong.
    pub run: fn(&[u8]),
    /// Whether inputs are text: mutations then keep to it, mostly.
    pub text: bool,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "client_requests", run: client_requests, text: false },
    Target { name: "gateway_json", run: seatrial_wire::fuzz_json, text: true },
    Target { name: "peer_frames", run: seatrial_node::fuzz_peer, text: false },
    Target { name: "log_records", run: seatrial_store::wal::fuzz_records, text: false },
    Target { name: "commands", run: commands, text: false },
    Target { name: "proposals", run: proposals, text: false },
    Target { name: "snapshot_stream", run: snapshot_stream, text: false },
    Target { name: "database", run: database, text: false },
    Target { name: "backend_rows", run: backend_rows, text: false },
    Target { name: "tokens", run: seatrial_etcd::fuzz_token, text: true },
    Target { name: "token_options", run: token_options, text: true },
    Target { name: "scenarios", run: scenarios, text: true },
    Target { name: "histories", run: histories, text: true },
];

/// Messages of clients: the first byte says which, the rest is the message. Those with a counterpart among our types are
/// taken there and back.
fn client_requests(bytes: &[u8]) {
    let Some((&kind, bytes)) = bytes.split_first() else { return };
    macro_rules! messages {
        ($($number:literal: $message:ty $(=> $ours:ty)?;)*) => {
            match kind % 32 {
                $($number => if let Ok(message) = <$message>::decode(bytes) {
                    let again = <$message>::decode(&*message.encode_to_vec()).expect("what was written can be read");
                    assert!(again == message, "a message changed on its way through bytes");
                    // Whatever a request holds, it can be shown.
                    $(let _ = format!("{:?}", <$ours>::try_from(message));)?
                },)*
                _ => {}
            }
        };
    }
    messages! {
        0: pb::RangeRequest => RangeRequest;
        1: pb::PutRequest => PutRequest;
        2: pb::DeleteRangeRequest => DeleteRangeRequest;
        3: pb::TxnRequest => TxnRequest;
        4: pb::CompactionRequest => CompactRequest;
        5: pb::WatchRequest => WatchRequest;
        6: pb::LeaseGrantRequest => LeaseGrantRequest;
        7: pb::MemberAddRequest => MemberAddRequest;
        8: pb::AlarmRequest;
        9: pb::AuthUserAddRequest => AuthRequest;
        10: pb::AuthRoleGrantPermissionRequest => AuthRequest;
        11: pb::AuthRoleRevokePermissionRequest => AuthRequest;
        12: v3lockpb::LockRequest;
        13: v3electionpb::ProclaimRequest;
        14: pb::RangeResponse;
        15: pb::TxnResponse;
        16: pb::WatchResponse;
        17: pb::SnapshotResponse;
        18: pb::MemberListResponse;
        19: pb::AuthenticateRequest => AuthRequest;
    }
}

fn commands(bytes: &[u8]) {
    if let Ok(command) = Command::decode(bytes) {
        let again = Command::decode(&command.encode()).expect("what was written can be read");
        assert_eq!(again, command, "a command changed on its way through bytes");
    }
}

fn proposals(bytes: &[u8]) {
    if let Ok(proposal) = seatrial_node::Proposal::decode(bytes) {
        let again =
            seatrial_node::Proposal::decode(&proposal.encode()).expect("what was written can be read");
        assert_eq!(again, proposal, "a proposal changed on its way through bytes");
    }
}

/// A snapshot's stream with its sum put right, whole and in pieces: the outcome must be the same.
fn snapshot_stream(bytes: &[u8]) {
    let stream = summed(bytes);
    let whole = inspect(&stream, stream.len().max(1));
    let pieces = inspect(&stream, 7);
    assert_eq!(whole.is_ok(), pieces.is_ok(), "{whole:?} at once, {pieces:?} in pieces");
}

fn inspect(stream: &[u8], piece: usize) -> Result<u64, String> {
    let mut rows = SnapshotRows::default();
    let mut found = 0;
    for piece in stream.chunks(piece) {
        found += rows.push(piece).map_err(|error| error.to_string())?.len() as u64;
    }
    rows.finish().map(|_| found).map_err(|error| error.to_string())
}

/// A database file of etcd. The heads' sums are put right, and so is the name that a page calls itself by: without that
/// hardly any change would come past these gates.
fn database(bytes: &[u8]) {
    let mut file = bytes.to_vec();
    seatrial_backup::bolt::mend(&mut file);
    let read = |at: u64, length: usize| Ok(file[at as usize..at as usize + length].to_vec());
    let Ok(mut database) = Database::open(read, file.len() as u64, false) else { return };
    let status = database.status();
    let mut rows = SnapshotRows::default();
    let streamed = database.stream(&mut |piece| rows.push(&piece).map(drop).map_err(std::io::Error::other));
    // What can be restored has a status; the order of rows may be wrong all the same.
    if streamed.is_ok() {
        assert!(status.is_ok(), "{status:?}");
        rows.finish().expect("a stream that was written to its end");
    }
}

/// The last four bytes of a stream are its sum: without them no change would come past the gate.
fn summed(bytes: &[u8]) -> Vec<u8> {
    let mut stream = bytes.to_vec();
    if let Some(end) = stream.len().checked_sub(4) {
        let sum = crc32c::crc32c(&stream[..end]);
        stream[end..].copy_from_slice(&sum.to_le_bytes());
    }
    stream
}

/// The rows of a snapshot as a store would find them in its file.
fn backend_rows(bytes: &[u8]) {
    let stream = summed(bytes);
    let mut store = Store::open(MemBackend::default(), Default::default()).expect("an empty store opens");
    let mut import = store.import("fuzz").expect("memory has room");
    if import.push(&stream).is_err() {
        return;
    }
    // Refused or taken; a store that was taken over must agree with itself.
    if store.install(import).is_ok() {
        store.check();
        let _ = store.digest();
        let _ = store
            .range(&RangeRequest { range: seatrial_types::KeyRange::prefix(""), ..RangeRequest::default() });
    }
}

fn token_options(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let parsed = TokenOptions::parse(
        text,
        // Whatever file is named, it holds the same.
        |_| Ok(b"secret of sufficient length for a signature".to_vec()),
        |text| text.strip_suffix('s')?.parse().ok().map(std::time::Duration::from_secs),
    );
    if let Ok(token) = parsed {
        let _ = AuthOptions { bcrypt_cost: 4, token };
    }
}

fn scenarios(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = seatrial_scenario::format::parse("fuzz.toml", text) {
        assert!(!error.to_string().is_empty(), "a refusal without a word");
    }
}

fn histories(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let _ = seatrial_history::parse::read_all(text);
    let formats = seatrial_history::parse::Format::ALL.iter().copied().map(Some);
    for format in formats.chain([None]) {
        let options = seatrial_history::parse::Options { format, ..Default::default() };
        if let Err(error) = seatrial_history::parse::read(text, &options) {
            assert!(error.line > 0 && error.column > 0 && !error.why.is_empty(), "a refusal without a place");
        }
    }
    if let Ok(history) = seatrial_history::jsonl::from_json_lines(text) {
        let again =
            seatrial_history::jsonl::from_json_lines(&seatrial_history::jsonl::to_json_lines(&history));
        assert_eq!(again.expect("what was written can be read"), history);
    }
}
