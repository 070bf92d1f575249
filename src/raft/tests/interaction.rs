//! Protocol exchanges as tables: `testdata/*.txt` hold what is done and the whole trace that follows.
//! `REWRITE=1 cargo test -p seatrial-raft --test interaction` writes the traces anew; the difference is
//! read like code.
//!
//! Verbs; a bare number is the member that acts, `from= to= kind=` choose among the waiting messages:
//!
//! | verb | what it does |
//! |---|---|
//! | `add-members voters=(1,2,3) [learners=(4)]` | starts a new cluster; options: `inflight append-bytes chunk-bytes uncommitted` |
//! | `join 5` | starts a member that knows nothing |
//! | `elect 1`, `campaign 1`, `time-out 1`, `fire 1 timer=QuorumCheck`, `beat 1` | elections and timers |
//! | `propose 1 data=(a,b)`, `config 1 steps=(v4,l2,r3)`, `read 1 id=7`, `transfer 1 to=2` | requests |
//! | `deliver`, `drop`, `duplicate`, `reverse`, `stabilize`, `isolate 1`, `heal`, `queue` | the network |
//! | `auto-persist on=false`, `persist 1 [all]`, `crash 1 [finished=1]`, `restart 1 [lost=7]` | the disk |
//! | `compact 1 index=5`, `refuse-snapshots 1 on=true`, `unreachable 1 peer=2`, `reset 1 peer=2` | the rest |
//! | `log 1`, `state [1]` | what a member holds |

mod common;

use bytes::Bytes;
use common::lab::Lab;
use common::{Disk, show, voters};
use datadriven::TestCase;
use seatrial_raft::{Body, ConfigChange, ConfigStep, Message, ReadId, Timer};
use seatrial_types::{LogIndex, MemberId};

/// The arguments of one case.
struct Args<'a>(&'a TestCase);

impl Args<'_> {
    /// The bare number: the member that acts.
    fn member(&self) -> Option<u64> {
        self.0.args.iter().filter(|(_, values)| values.is_empty()).find_map(|(key, _)| key.parse().ok())
    }

    fn who(&self) -> u64 {
        self.member().unwrap_or_else(|| panic!("{} needs a member", self.0.directive))
    }

    fn flag(&self, name: &str) -> bool {
        self.0.args.contains_key(name)
    }

    fn list(&self, name: &str) -> Vec<String> {
        self.0.args.get(name).cloned().unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.list(name).first().cloned()
    }

    fn number(&self, name: &str) -> Option<u64> {
        let text = self.text(name)?;
        Some(text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")))
    }

    fn need(&self, name: &str) -> u64 {
        self.number(name).unwrap_or_else(|| panic!("{} needs {name}=", self.0.directive))
    }

    fn numbers(&self, name: &str) -> Vec<u64> {
        self.list(name).iter().map(|text| text.parse().expect("a number")).collect()
    }

    fn is_on(&self) -> bool {
        match self.text("on").as_deref() {
            Some("true") => true,
            Some("false") => false,
            other => panic!("{} needs on=true or on=false, not {other:?}", self.0.directive),
        }
    }

    fn matches(&self, message: &Message) -> bool {
        self.number("from").is_none_or(|from| message.from.0 == from)
            && self.number("to").is_none_or(|to| message.to.0 == to)
            && self.text("kind").is_none_or(|kind| kind_of(&message.body) == kind)
    }
}

fn kind_of(body: &Body) -> String {
    let text = format!("{body:?}");
    text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
}

fn timer_of(name: &str) -> Timer {
    match name {
        "LeaderSilent" => Timer::LeaderSilent,
        "Campaign" => Timer::Campaign,
        "Heartbeat" => Timer::Heartbeat,
        "QuorumCheck" => Timer::QuorumCheck,
        _ => panic!("no timer is called {name}"),
    }
}

fn step_of(text: &str) -> ConfigStep {
    let (kind, member) = text.split_at(1);
    let member = MemberId(member.parse().expect("a member"));
    match kind {
        "v" => ConfigStep::AddVoter(member),
        "l" => ConfigStep::AddLearner(member),
        "r" => ConfigStep::Remove(member),
        _ => panic!("{text} is no step: v1 l1 r1"),
    }
}

fn note<E: std::fmt::Display>(lab: &mut Lab, result: Result<(), E>) {
    if let Err(error) = result {
        lab.trace.push(format!("error: {error}"));
    }
}

fn run(lab: &mut Lab, case: &TestCase) -> String {
    let args = Args(case);
    match case.directive.as_str() {
        "add-members" => {
            let set = |place: &mut usize, name: &str| {
                if let Some(number) = args.number(name) {
                    *place = number as usize;
                }
            };
            set(&mut lab.options.inflight_max, "inflight");
            set(&mut lab.options.append_bytes_max, "append-bytes");
            set(&mut lab.options.chunk_bytes, "chunk-bytes");
            set(&mut lab.options.uncommitted_bytes_max, "uncommitted");
            let mut config = voters(&args.numbers("voters"));
            config.learners = args.numbers("learners").into_iter().map(MemberId).collect();
            let members: Vec<MemberId> = config.members().collect();
            for member in members {
                lab.start(member, Disk::fresh(config.clone()), None);
            }
        }
        "join" => lab.join(args.who()),
        "elect" => {
            let who = args.who();
            lab.elect(who);
            // How elections go is told in other tables.
            lab.trace.clear();
            lab.trace.push(format!("{who} leads term {}", lab.raft(who).term()));
        }
        "campaign" => lab.with(args.who(), |raft| raft.campaign()),
        "time-out" => lab.time_out(args.who()),
        "fire" => lab.fire(args.who(), timer_of(&args.text("timer").expect("timer="))),
        "beat" => lab.beat(args.who()),
        "propose" => {
            let data = args.list("data").into_iter().map(Bytes::from).collect();
            let result = lab.with(args.who(), |raft| raft.propose(data));
            note(lab, result);
        }
        "config" => {
            let steps = args.list("steps").iter().map(|step| step_of(step)).collect();
            let change = ConfigChange { steps, context: Bytes::new() };
            let result = lab.with(args.who(), |raft| raft.propose_config(change));
            note(lab, result);
        }
        "read" => {
            let id = ReadId(args.need("id"));
            let result = lab.with(args.who(), |raft| raft.read_index(id));
            note(lab, result);
        }
        "transfer" => {
            let to = MemberId(args.need("to"));
            let result = lab.with(args.who(), |raft| raft.transfer_leadership(to));
            note(lab, result);
        }
        "deliver" => lab.deliver_now(|message| args.matches(message)),
        "drop" => {
            for message in lab.take_messages(|message| args.matches(message)) {
                lab.trace.push(format!("dropped {}", show::message(&message)));
            }
        }
        "duplicate" => {
            let again: Vec<Message> =
                lab.queue.iter().filter(|message| args.matches(message)).cloned().collect();
            lab.queue.extend(again);
        }
        "reverse" => lab.queue = lab.queue.drain(..).rev().collect(),
        "stabilize" => lab.stabilize(),
        "isolate" => lab.isolate(args.who()),
        "heal" => lab.heal(),
        "queue" => lab.trace.extend(lab.queue.iter().map(show::message)),
        "auto-persist" => lab.auto_persist = args.is_on(),
        "persist" => lab.persist(args.who(), args.flag("all")),
        "crash" => lab.crash(args.who(), args.number("finished").unwrap_or(0) as usize),
        "restart" => {
            let who = args.who();
            match args.number("lost") {
                None => lab.restart(who),
                Some(from) => {
                    // The disk lost what it had from `from` on.
                    let mut disk = lab.down.remove(&MemberId(who)).expect("a member that is down");
                    let last = disk.last_index();
                    disk.entries.retain(|entry| entry.index.0 < from);
                    lab.start(MemberId(who), disk, Some(last));
                }
            }
        }
        "compact" => {
            let (who, index) = (args.who(), LogIndex(args.need("index")));
            let node = lab.nodes.get_mut(&MemberId(who)).expect("a running member");
            let base = node.compact(index);
            lab.trace.push(format!("{who} compacted up to {base}"));
        }
        "refuse-snapshots" => {
            let node = lab.nodes.get_mut(&MemberId(args.who())).expect("a running member");
            node.no_snapshots = args.is_on();
        }
        "unreachable" => {
            let peer = MemberId(args.need("peer"));
            lab.with(args.who(), |raft| raft.peer_unreachable(peer));
        }
        "reset" => {
            let peer = MemberId(args.need("peer"));
            lab.with(args.who(), |raft| raft.peer_reset(peer));
        }
        "log" => {
            let raft = lab.raft(args.who());
            let mut lines = vec![format!("begins after {}", raft.log_start().index)];
            let mut index = raft.first_index();
            while let Some(entry) = raft.entry(index) {
                lines.push(show::entry(entry));
                index = index.next();
            }
            lab.trace.extend(lines);
        }
        "state" => {
            let who = args.member();
            let nodes = lab.nodes.iter().filter(|(id, _)| who.is_none_or(|who| who == id.0));
            let lines: Vec<String> = nodes.map(|(_, node)| show::state(node)).collect();
            lab.trace.extend(lines);
        }
        other => panic!("no verb is called {other}"),
    }
    let trace = std::mem::take(&mut lab.trace);
    if trace.is_empty() { "ok\n".to_owned() } else { trace.join("\n") + "\n" }
}

#[test]
fn every_exchange_is_as_the_tables_say() {
    let mut files = 0;
    datadriven::walk(concat!(env!("CARGO_MANIFEST_DIR"), "/testdata"), |file| {
        files += 1;
        let mut lab = Lab::empty();
        file.run(|case| -> String { run(&mut lab, case) });
    });
    assert!(files >= 15 || std::env::var_os("RUN").is_some(), "only {files} tables were found");
}
