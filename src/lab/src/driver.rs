//! What drives a member in the lab, as `node::runner` does over a world: it hands over inputs, and carries out outputs. It
//! decides nothing.

use crate::calls::CallId;
use crate::lab::{Event, Lab};
use crate::machine::{Arrived, Machine, Notice, Process, Running, StoreWork, unpacked};
use crate::parcel::{Parcel, weight};
use crate::seats::{client_url, host};
use crate::told::Told;
use seatrial_node::{
    Input, LogWrite, Member, MemberOptions, Observation as Seen, Output, PeerMessage, RequestId, Rescue,
    Timer,
};
use seatrial_scenario::Knobs;
use seatrial_scenario::fault::Place;
use seatrial_scenario::observation::Observation;
use seatrial_scenario::record::Packet;
use seatrial_store::{MemSnapshot, Reading};
use seatrial_types::buggify::{Site, amount, hits};
use seatrial_types::planted::{Planted, is_planted};
use seatrial_types::watch::StreamId;
use seatrial_types::{Error, MemberId, Response};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// Between two questions of a member that wants to join.
const JOIN_PAUSE: Duration = Duration::from_millis(200);

/// Of a long range so much is read at once.
const READ_PAGE: (usize, usize) = (256, 1 << 20);

/// What a start says of a log whose last write is there in part.
const TORN: &str = "the last write of the log was torn by a loss of power; nobody was told that it is durable, and it is cut";

/// A member's settings, of a plan's knobs.
#[must_use]
pub fn member_options(id: MemberId, machine: MemberId, knobs: &Knobs) -> MemberOptions {
    let size = |bytes: u64| usize::try_from(bytes).expect("at most 1 GiB");
    let mut options = MemberOptions::new(id, host(machine));
    options.client_urls = vec![client_url(machine)];
    options.raft.election_timeout = knobs.election_timeout;
    options.raft.heartbeat_interval = knobs.heartbeat;
    options.raft.append_bytes_max = size(knobs.append_bytes);
    options.raft.inflight_max = size(knobs.inflight);
    options.raft.chunk_bytes = size(knobs.chunk_bytes);
    options.raft.uncommitted_bytes_max = size(knobs.uncommitted_bytes);
    options.watch_window = size(knobs.watch_window);
    options.watch_progress_interval = knobs.watch_progress;
    options.compact_entries = knobs.snapshot_entries;
    options.catch_up_entries = knobs.keep_entries;
    options.raft.joint_changes = knobs.joint;
    let every = |interval: Duration| (!interval.is_zero()).then_some(interval);
    options.lease_checkpoint_interval = every(knobs.lease_checkpoint);
    options.quota_bytes = knobs.quota_bytes;
    options.request_timeout = knobs.request_timeout;
    options.corrupt_check_interval = every(knobs.corrupt_check);
    options
}

impl Lab {
    /// Starts a member, or starts it again on the disk it left. Nothing happens where it runs, or where its machine has no
    /// place in the cluster yet.
    pub fn start(&mut self, machine: MemberId) {
        let place = self.place(Place::Member(machine));
        let Some(seat) = self.seats.seat(machine) else { return };
        if self.machines[place].is_up() {
            return;
        }
        let known = self.machines[place].disk.identity.clone();
        let incarnation = self.machines[place].incarnation + 1;
        self.machine(place).incarnation = incarnation;
        let now = self.now;
        for other in (0..self.machines.len()).filter(|other| *other != place) {
            self.begin_dialling(place, other);
            // Whoever still has a connection to the process before is told that there is none.
            if self.machines[other].is_up() {
                self.break_off(other, place);
            } else {
                self.links.get_mut(other, place).connect(now);
            }
        }
        let cluster = match (seat.joins, known) {
            (_, Some(known)) => known,
            (false, None) => Arc::clone(&self.seats.cluster),
            (true, None) => {
                self.machine(place).process = Process::Joining;
                self.agenda.add(self.now, Event::Join { machine: place, incarnation });
                return;
            }
        };
        self.boot(place, &cluster);
    }

    /// A member that joins asks the others who they are.
    pub(crate) fn join(&mut self, place: usize) {
        let Some(seat) = self.seats.seat(Self::number(place)) else { return };
        for other in 0..self.machines.len() {
            if other == place || !self.links.is_open(place, other) || self.machines[other].waiting.is_some() {
                continue;
            }
            let Some(running) = self.machines[other].running() else { continue };
            let cluster = running.member.cluster();
            // One that lags does not know of this member yet, or knows one that lived here before.
            if cluster.removed.contains(&seat.id) {
                self.machine(place).process = Process::Off;
                return;
            }
            if cluster.members.contains_key(&seat.id) {
                let first = Arc::new(cluster.first());
                return self.boot(place, &first);
            }
        }
        let incarnation = self.machines[place].incarnation;
        self.agenda.add(self.now + JOIN_PAUSE, Event::Join { machine: place, incarnation });
    }

    fn boot(&mut self, place: usize, cluster: &Arc<seatrial_node::Cluster>) {
        let machine = Self::number(place);
        let seat = self.seats.seat(machine).expect("looked up before");
        let is_alone = self.seats.alone.contains(&machine) && self.seats_mut().alone.remove(&machine);
        let rescue = Rescue { force_new_cluster: is_alone, ..Rescue::default() };
        let mut options = member_options(seat.id, machine, &self.options.knobs);
        options.boot = self.below(u64::from(u32::MAX)) as u32 | 1;
        let boot = u64::from(options.boot) << 32;
        let disk = &mut self.machine(place).disk;
        disk.identity = Some(Arc::clone(cluster));
        let is_torn = disk.opened();
        let (mut log, store) = (disk.log().durable(), disk.store());
        if is_torn {
            log.findings.push((TORN.to_owned(), false));
        }
        let cluster = seatrial_node::Cluster::clone(cluster);
        let booted = catch_unwind(AssertUnwindSafe(|| Member::boot(options, cluster, store, log, rescue)));
        match booted {
            Ok(Ok(member)) => {
                let running = Running {
                    member,
                    timers: BTreeMap::new(),
                    answers: BTreeMap::new(),
                    streams: BTreeMap::new(),
                    next_request: boot,
                    next_stream: boot,
                    removed: Default::default(),
                    log: Default::default(),
                    store: Default::default(),
                };
                self.machine(place).process = Process::Member(Box::new(running));
                self.flush(place);
            }
            Ok(Err(error)) => {
                self.machine(place).process = Process::Off;
                self.observed(place, Observation::BootFailed { error: error.to_string() });
            }
            Err(panic) => {
                self.machine(place).process = Process::Off;
                self.told.push(Told::Panicked { machine, text: text_of(panic.as_ref()) });
            }
        }
    }

    fn observed(&mut self, place: usize, what: Observation) {
        self.told.push(Told::Observed { at: self.now, machine: Self::number(place), what });
    }

    /// The process on a machine takes what reaches it, and all else that reaches it at this moment.
    pub(crate) fn drive(&mut self, place: usize, what: Arrived) {
        if self.machines[place].running().is_none() {
            return;
        }
        self.take(place, what);
        if !hits(Site::BatchOne) {
            let incarnation = self.machines[place].incarnation;
            while self.is_more_for(place, incarnation) {
                let Some((_, event)) = self.agenda.pop() else { break };
                match event {
                    Event::Arrive { from, parcel, .. } => self.take(place, Arrived::Parcel(from, parcel)),
                    Event::Reach { what, .. } => self.take(place, what),
                    _ => {}
                }
            }
        }
        self.fire(place);
        self.flush(place);
    }

    /// Whether the next thing to happen happens now, to this process.
    fn is_more_for(&self, place: usize, incarnation: u64) -> bool {
        if self.machines[place].incarnation != incarnation {
            return false;
        }
        match self.agenda.peek() {
            Some((at, Event::Arrive { from, to, parcel })) if at <= self.now && *to == place => {
                let is_for_it =
                    !matches!(parcel, Parcel::Peer { incarnation: meant, .. } if *meant != incarnation);
                is_for_it && self.links.get(*from, *to).cut_since.is_none()
            }
            Some((at, Event::Reach { machine, incarnation: meant, .. })) => {
                at <= self.now && *machine == place && *meant == incarnation
            }
            _ => false,
        }
    }

    fn input(&mut self, place: usize, input: Input) {
        let now = self.now;
        let machine = self.machine(place);
        let (local, wall) = (machine.clock.at(now), machine.wall.at(now));
        let Some(running) = machine.running_mut() else { return };
        let stepped = catch_unwind(AssertUnwindSafe(|| {
            if is_planted(Planted::R28) {
                running.member.tell_calendar(wall);
            }
            running.member.step(local, input);
        }));
        if let Err(panic) = stepped {
            self.panicked(place, panic.as_ref());
        }
    }

    fn panicked(&mut self, place: usize, panic: &(dyn std::any::Any + Send)) {
        self.told.push(Told::Panicked { machine: Self::number(place), text: text_of(panic) });
        self.end(place, true);
    }

    fn take(&mut self, place: usize, what: Arrived) {
        match what {
            Arrived::Parcel(from, parcel) => self.take_parcel(place, from, parcel),
            Arrived::Wake => self.machine(place).armed = None,
            Arrived::Synced => self.synced(place),
            Arrived::Committed => self.committed(place),
            Arrived::Notice(Notice::Unreachable(peer)) => self.input(place, Input::PeerUnreachable(peer)),
            Arrived::Notice(Notice::Reset(peer)) => self.input(place, Input::PeerReset(peer)),
            Arrived::Notice(Notice::Removed) => self.input(place, Input::Removed),
        }
    }

    fn take_parcel(&mut self, place: usize, from: usize, parcel: Parcel) {
        match parcel {
            Parcel::Peer { sent, message, .. } => self.take_message(place, from, sent, message),
            Parcel::Ask { call, request } => {
                let Some(running) = self.machine(place).running_mut() else { return };
                running.next_request += 1;
                let id = RequestId(running.next_request);
                running.answers.insert(id, call);
                self.mix(call.0);
                self.input(place, Input::Request { id, request: Arc::unwrap_or_clone(request) });
            }
            Parcel::WatchAsk { watch, request } => {
                let request = Arc::unwrap_or_clone(request);
                let incarnation = self.machines[place].incarnation;
                let stream = match self.streams.get(&watch).and_then(|stream| stream.at) {
                    Some((at, stream)) if at == incarnation => stream,
                    Some(_) => return,
                    None => {
                        let Some(running) = self.machine(place).running_mut() else { return };
                        running.next_stream += 1;
                        let stream = StreamId(running.next_stream);
                        running.streams.insert(stream, watch);
                        let Some(open) = self.streams.get_mut(&watch) else { return };
                        open.at = Some((incarnation, stream));
                        self.input(place, Input::WatchOpen(stream));
                        stream
                    }
                };
                self.input(place, Input::Watch { stream, request });
            }
            Parcel::WatchTaken { watch, credit } => {
                if let Some(stream) = self.stream_here(place, watch) {
                    self.input(place, Input::WatchCredit { stream, count: credit as usize });
                }
            }
            Parcel::WatchClosed { watch } => {
                let Some(running) = self.machine(place).running_mut() else { return };
                let open =
                    running.streams.iter().find(|(_, open)| **open == watch).map(|(stream, _)| *stream);
                if let Some(stream) = open {
                    running.streams.remove(&stream);
                    self.input(place, Input::WatchClose(stream));
                }
            }
            Parcel::Answer { .. }
            | Parcel::Refused { .. }
            | Parcel::Broken { .. }
            | Parcel::WatchSaid { .. }
            | Parcel::WatchEnded { .. } => {}
        }
    }

    fn stream_here(&self, place: usize, watch: crate::calls::WatchId) -> Option<StreamId> {
        let (incarnation, stream) = self.streams.get(&watch)?.at?;
        (incarnation == self.machines[place].incarnation).then_some(stream)
    }

    fn take_message(&mut self, place: usize, from: usize, sent: Duration, message: Arc<PeerMessage>) {
        let Some(running) = self.machines[place].running() else { return };
        if running.removed.contains(&message.from) {
            // It is told so when it dials.
            self.notify(from, place, |_| Notice::Removed, self.options.knobs.net_latency);
            return;
        }
        let name = message.name();
        self.mix((place as u64) << 8 | from as u64);
        self.mix(self.now.as_nanos() as u64);
        self.mix(name.term.map_or(0, |term| term.0) << 8 | name.kind.len() as u64);
        if self.options.packets {
            self.told.push(Told::Packet(Packet {
                at: self.now,
                sent,
                from: Self::number(from),
                to: Self::number(place),
                bytes: weight(&message),
                kind: name.kind.into(),
                term: name.term.map(|term| term.0),
                more: 0,
            }));
        }
        self.input(place, Input::Peer(unpacked(message)));
    }

    /// Fires the timers whose time has come.
    fn fire(&mut self, place: usize) {
        let now = self.now;
        loop {
            let machine = &self.machines[place];
            let local = machine.clock.at(now);
            let Some(running) = machine.running() else { return };
            let Some((&timer, _)) = running.timers.iter().find(|(_, at)| **at <= local) else { return };
            self.machine(place).running_mut().expect("just seen").timers.remove(&timer);
            self.input(place, Input::Timer(timer));
        }
    }

    /// Carries out what the member wants.
    fn flush(&mut self, place: usize) {
        loop {
            let Some(running) = self.machine(place).running_mut() else { return };
            match catch_unwind(AssertUnwindSafe(|| running.member.flush())) {
                Ok(outputs) if outputs.is_empty() => break,
                Ok(outputs) => {
                    for output in outputs {
                        self.carry_out(place, output);
                    }
                }
                Err(panic) => return self.panicked(place, panic.as_ref()),
            }
        }
        self.write_log(place);
        self.write_store(place);
        self.arm(place);
    }

    fn carry_out(&mut self, place: usize, output: Output<MemSnapshot>) {
        let Some(running) = self.machine(place).running_mut() else { return };
        match output {
            Output::Send(message) => self.send_message(place, message),
            Output::Log(write) => running.log.queue.push_back(write),
            Output::Commit(batch) => running.store.queue.push_back(StoreWork::Batch(Arc::new(batch))),
            Output::Defragment => running.store.queue.push_back(StoreWork::Rewrite),
            Output::Answer { id, result } => {
                if let Some(call) = running.answers.remove(&id) {
                    self.reply(place, call, result);
                }
            }
            Output::Read { id, reading } => {
                if let Some(call) = running.answers.remove(&id) {
                    self.read(place, call, reading);
                }
            }
            Output::Watch { stream, response } => {
                if let Some(watch) = running.streams.get(&stream).copied()
                    && let Some(client) = self.streams.get(&watch).map(|open| open.client)
                {
                    let bytes = 64 * (1 + response.events.len());
                    self.send(
                        place,
                        client,
                        Parcel::WatchSaid { watch, response: Arc::new(response) },
                        bytes,
                    );
                }
            }
            // Nobody waits for v2 keys in the lab yet.
            Output::V2Watching { .. } | Output::V2(_) => {}
            Output::SetTimer { timer, min, max } => {
                let max = if hits(Site::TimerSoonest) { min } else { max };
                let wait = self.between(min, max);
                let now = self.now;
                let machine = self.machine(place);
                let at = machine.clock.at(now) + wait;
                machine.running_mut().expect("just seen").timers.insert(timer, at);
            }
            Output::CancelTimer(timer) => drop(running.timers.remove(&timer)),
            Output::Peers { removed, .. } => running.removed = removed,
            Output::Removed => self.end(place, true),
            Output::Observe(seen) => self.observe(place, seen),
            Output::Fatal(why) => self.stopped(place, &why),
        }
    }

    fn observe(&mut self, place: usize, seen: Seen) {
        if let Seen::Applied { index, checksum, .. } = &seen {
            self.mix(index.0 << 32 | u64::from(*checksum));
        }
        let id = self.seats.seat(Self::number(place)).map_or(MemberId::NONE, |seat| seat.id);
        let seats = Arc::clone(&self.seats);
        if let Some(what) = crate::translate::translate(id, seen, |id| seats.number(id)) {
            self.observed(place, what);
        }
    }

    fn stopped(&mut self, place: usize, why: &str) {
        let text = format!("ended: {why}");
        self.end(place, true);
        self.observed(place, Observation::Said { level: "error".to_owned(), text });
    }

    /// The member cannot go on: its disk has failed.
    fn fail(&mut self, place: usize, why: String) {
        self.observed(place, Observation::Failed { why: why.clone() });
        self.input(place, Input::Stop);
        let Some(running) = self.machine(place).running_mut() else { return };
        let outputs = running.member.flush();
        for output in outputs {
            self.carry_out(place, output);
        }
        self.stopped(place, &why);
    }

    fn reply(&mut self, place: usize, call: CallId, result: Result<Response, Error>) {
        let Some(client) = self.calls.get(&call).map(|call| call.client) else { return };
        self.send(place, client, Parcel::Answer { call, result: Arc::new(result) }, 128);
    }

    fn read(&mut self, place: usize, call: CallId, mut reading: Box<Reading<MemSnapshot>>) {
        loop {
            let keys = if hits(Site::ReadPageSmall) { 1 } else { READ_PAGE.0 };
            match reading.step(keys, READ_PAGE.1) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => return self.fail(place, format!("the store failed: {error}")),
            }
        }
        self.reply(place, call, Ok(Response::Range(reading.answer())));
    }

    fn send_message(&mut self, place: usize, message: PeerMessage) {
        let to = self.seats.number(message.to);
        if to == MemberId::NONE {
            return;
        }
        // Another member may live there by now.
        if self.seats.seat(to).is_none_or(|seat| seat.id != message.to) {
            return;
        }
        let to = self.place(Place::Member(to));
        if to == place {
            return;
        }
        let (incarnation, bytes) = (self.machines[to].incarnation, weight(&message));
        let parcel = Parcel::Peer { incarnation, sent: self.now, message: Arc::new(message) };
        self.send(place, to, parcel, bytes);
    }

    fn sync_time(&mut self, place: usize) -> Duration {
        let fault = self.machines[place].disk.fault;
        let usual = self.options.knobs.sync_latency;
        let varies = if self.options.knobs.still { Duration::ZERO } else { usual / 2 };
        self.between(
            usual - varies + fault.sync_latency,
            usual + varies + fault.sync_latency + fault.sync_jitter,
        )
    }

    fn later(&mut self, place: usize, after: Duration, what: Arrived) {
        let incarnation = self.machines[place].incarnation;
        self.agenda.add(self.now + after, Event::Reach { machine: place, incarnation, what });
    }

    /// Begins to write what has queued for the log, where nothing is being written.
    fn write_log(&mut self, place: usize) {
        let is_full = self.machines[place].disk.fault.full;
        let Machine { disk, process: Process::Member(running), .. } = self.machine(place) else { return };
        let log = &mut running.log;
        if log.syncing.is_some() || log.queue.is_empty() {
            return;
        }
        if is_full {
            return self.fail(place, "the write-ahead log cannot be written: no room on the disk".to_owned());
        }
        let count = if hits(Site::LogWriteOne) { 1 } else { log.queue.len() };
        let mut persisted = None;
        let writes = log.queue.drain(..count).inspect(|write| {
            if let LogWrite::Append(persist) = write {
                persisted = Some(persist.id);
            }
        });
        let covers = disk.append(writes);
        let is_stalled = disk.fault.stalled;
        log.syncing = Some((covers, persisted));
        if !is_stalled {
            let late = amount(Site::SyncLate, 20).unwrap_or(0) + amount(Site::DurableLate, 20).unwrap_or(0);
            let takes = self.sync_time(place) + Duration::from_millis(late);
            self.later(place, takes, Arrived::Synced);
        }
    }

    fn synced(&mut self, place: usize) {
        let Machine { disk, process: Process::Member(running), .. } = self.machine(place) else { return };
        let Some((covers, persisted)) = running.log.syncing.take() else { return };
        if disk.log_sync_fails() {
            // Never tried again: the kernel may have dropped the pages.
            return self.fail(place, "the write-ahead log cannot be written: its sync failed".to_owned());
        }
        disk.sync_log(covers);
        if let Some(id) = persisted {
            self.input(place, Input::Persisted(id));
        }
        self.write_log(place);
    }

    /// Begins the next work on the store's file, where none is under way.
    fn write_store(&mut self, place: usize) {
        let Machine { disk, process: Process::Member(running), .. } = self.machine(place) else { return };
        if running.store.is_busy || running.store.queue.is_empty() {
            return;
        }
        running.store.is_busy = true;
        if !disk.fault.stalled {
            let late = Duration::from_millis(amount(Site::CommitLate, 100).unwrap_or(0));
            let takes = self.sync_time(place) + late;
            self.later(place, takes, Arrived::Committed);
        }
    }

    fn committed(&mut self, place: usize) {
        let Machine { disk, process: Process::Member(running), .. } = self.machine(place) else { return };
        let Some(work) = running.store.queue.pop_front() else { return };
        running.store.is_busy = false;
        let is_full = disk.fault.full;
        match work {
            StoreWork::Rewrite if is_full => {
                let why = "the store's file cannot be written anew, there is no room for both on the disk";
                self.input(place, Input::Defragmented(Err(why.to_owned())));
            }
            StoreWork::Rewrite => self.input(place, Input::Defragmented(Ok(()))),
            StoreWork::Batch(_) if is_full || disk.store_sync_fails() => {
                return self.fail(place, "the store cannot be written: its disk failed".to_owned());
            }
            StoreWork::Batch(batch) => {
                disk.commit(&batch);
                self.input(place, Input::Committed(batch.id));
            }
        }
        self.write_store(place);
    }

    /// The disk works again: what it was doing ends now.
    pub(crate) fn unstall(&mut self, place: usize) {
        let Some(running) = self.machines[place].running() else { return };
        let (is_syncing, is_busy) = (running.log.syncing.is_some(), running.store.is_busy);
        let takes = self.sync_time(place);
        if is_syncing {
            self.later(place, takes, Arrived::Synced);
        }
        if is_busy {
            self.later(place, takes, Arrived::Committed);
        }
    }

    /// Sees to it that the machine is woken for its next timer.
    pub(crate) fn arm(&mut self, place: usize) {
        let now = self.now;
        let machine = &self.machines[place];
        let Some(running) = machine.running() else { return };
        let Some(next) = running.timers.values().min() else { return };
        let when = machine.clock.when(*next).max(now);
        // A wake-up that comes too early costs less than one for each time a timer is moved.
        if machine.armed.is_none_or(|armed| armed > when) {
            self.machine(place).armed = Some(when);
            self.later(place, when - now, Arrived::Wake);
        }
    }

    /// The timers of a member that run, and when they fire by its machine's clock.
    #[must_use]
    pub fn timers(&self, machine: MemberId) -> Vec<(Timer, Duration)> {
        let running = self.machines[self.place(Place::Member(machine))].running();
        running
            .map(|running| running.timers.iter().map(|(timer, at)| (*timer, *at)).collect())
            .unwrap_or_default()
    }

    /// Gives a machine that does not run an empty disk and the place of the member `id`.
    pub fn assign(&mut self, machine: MemberId, id: MemberId) {
        let place = self.place(Place::Member(machine));
        let fault = self.machines[place].disk.fault;
        let fresh = &mut self.machine(place).disk;
        *fresh = crate::disk::Disk::default();
        fresh.set_fault(fault);
        self.seats_mut().assign(machine, id);
    }

    /// The member goes on alone when it starts next.
    pub fn go_alone(&mut self, machine: MemberId) {
        self.seats_mut().alone.insert(machine);
    }

    /// The id, in the cluster, of the member on a machine.
    #[must_use]
    pub fn occupant(&self, machine: MemberId) -> Option<MemberId> {
        self.seats.seat(machine).map(|seat| seat.id)
    }

    /// The member on a machine, to look at.
    #[must_use]
    pub fn member(&self, machine: MemberId) -> Option<&Member<seatrial_store::MemBackend>> {
        self.machines[self.place(Place::Member(machine))].running().map(|running| &running.member)
    }
}

fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a panic").to_owned()
}
