//! Operations over keys that others change at the worst moments.

use seatrial_reboot::{
    Coordinator, Done, Freed, Group, Guards, Hosted, Keys, Ledger, Locksmith, Memory, Phase, Quorum,
    RebootError, Semaphore, Table, Trouble, Verb,
};
use seatrial_types::MemberId;
use seatrial_world_real::RealWorld;

type Lock = Coordinator<RealWorld, Memory>;

fn lock(memory: &Memory, group: &str) -> Lock {
    Coordinator::new(RealWorld::new(), memory.clone(), Group::new(group))
}

fn take(id: &str) -> Verb {
    Verb::Lock { id: id.into(), boot: None, phase: Phase::Draining, guards: Guards::default() }
}

fn give(id: &str) -> Verb {
    Verb::Unlock { id: id.into(), generation: None, by: Freed::Holder }
}

fn holders(table: &Table) -> Vec<String> {
    let found = table.get(&Group::default().semaphore_key()).unwrap();
    Semaphore::parse(&found.value).unwrap().holders().to_vec()
}

/// What locksmith does to the semaphore, in one go.
fn as_locksmith(table: &mut Table, change: impl FnOnce(&mut Semaphore)) {
    let key = Group::default().semaphore_key();
    let mut semaphore = Semaphore::parse(&table.get(&key).unwrap().value).unwrap();
    change(&mut semaphore);
    table.set(&key, &semaphore.to_json());
}

fn granted(done: &Result<Done, RebootError>) -> bool {
    matches!(done, Ok(Done::Granted { .. }))
}

fn kind(done: Result<Done, RebootError>) -> &'static str {
    match done {
        Ok(Done::Refused(refusal)) => refusal.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_holder_may_ask_again_and_give_back_again() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    assert_eq!(lock.run(take("a")).await, Ok(Done::Granted { generation: 1, new: true }));
    let writes = memory.writes();
    assert_eq!(lock.run(take("a")).await, Ok(Done::Granted { generation: 1, new: false }));
    assert_eq!(kind(lock.run(take("b")).await), "failed_lock");
    assert_eq!(lock.run(give("a")).await, Ok(Done::Freed { held: true }));
    assert_eq!(lock.run(give("a")).await, Ok(Done::Freed { held: false }));
    assert!(granted(&lock.run(take("b")).await));
    assert!(memory.writes() > writes);
}

#[tokio::test(flavor = "current_thread")]
async fn a_write_whose_answer_is_lost_is_neither_done_twice_nor_forgotten() {
    for at in 0..3 {
        for trouble in [Trouble::Lost, Trouble::Unanswered] {
            let memory = Memory::default();
            for _ in 0..at {
                memory.before_write(|_| Trouble::None);
            }
            memory.before_write(move |_| trouble);
            let lock = lock(&memory, "");
            assert!(granted(&lock.run(take("a")).await), "{trouble:?} at write {at}");
            assert_eq!(holders(&memory.table()), ["a"]);
            memory.before_write(move |_| trouble);
            assert_eq!(lock.run(give("a")).await, Ok(Done::Freed { held: true }), "{trouble:?}");
            assert!(holders(&memory.table()).is_empty());
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_old_client_may_come_in_between_at_any_write() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    lock.run(Verb::SetMax(1)).await.unwrap();
    memory.before_write(|_| Trouble::None); // The ledger.
    memory.before_write(|table| {
        as_locksmith(table, |semaphore| semaphore.lock("old").unwrap());
        Trouble::None
    });
    assert_eq!(kind(lock.run(take("a")).await), "failed_lock", "the slot went to the other one");
    assert_eq!(holders(&memory.table()), ["old"]);
    memory.change(|table| as_locksmith(table, |semaphore| semaphore.unlock("old").unwrap()));
    assert!(granted(&lock.run(take("a")).await));
}

#[tokio::test(flavor = "current_thread")]
async fn whoever_loses_every_race_is_told_so() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    lock.run(Verb::SetMax(1)).await.unwrap();
    for _ in 0..40 {
        memory.before_write(|table| {
            as_locksmith(table, |_| {});
            Trouble::None
        });
    }
    let error = lock.run(Verb::SetMax(2)).await.unwrap_err();
    assert!(matches!(error, RebootError::Contended { attempts: 16, .. }), "{error:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn locksmiths_verbs_try_once_and_say_what_locksmith_says() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    let run = async |verb| lock.run(Verb::Locksmith(verb)).await;
    assert!(matches!(run(Locksmith::Status).await, Ok(Done::Seen(_))));
    let key = Group::default().semaphore_key();
    assert_eq!(memory.table().get(&key).unwrap().value, r#"{"semaphore":1,"max":1,"holders":null}"#);
    run(Locksmith::Lock("m1".into())).await.unwrap();
    let text = async |verb| run(verb).await.unwrap_err().to_string();
    assert_eq!(text(Locksmith::Lock("m1".into())).await, "semaphore is at 0");
    assert_eq!(text(Locksmith::Unlock("m2".into())).await, "holder does not exist");
    let Ok(Done::Max { old: 1, semaphore }) = run(Locksmith::SetMax(-1)).await else {
        panic!("no old maximum")
    };
    assert_eq!(semaphore.count(), -2);
    memory.before_write(|table| {
        as_locksmith(table, |_| {});
        Trouble::None
    });
    let lost = run(Locksmith::SetMax(5)).await.unwrap_err();
    assert!(lost.to_string().starts_with("101: Compare failed"), "{lost}");
}

#[tokio::test(flavor = "current_thread")]
async fn a_pause_stops_grants_and_no_old_client_loses_it() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    lock.run(Verb::Pause("storm".into())).await.unwrap();
    assert_eq!(kind(lock.run(take("a")).await), "rollout_paused");
    memory.change(|table| as_locksmith(table, |semaphore| semaphore.lock("old").unwrap()));
    let view = lock.look().await.unwrap();
    assert_eq!(view.ledger.paused.unwrap().why, "storm");
    assert_eq!(view.ledger.queue[0].id, "a");
    assert!(view.ledger.holders.contains_key("old"));
    lock.run(Verb::Resume).await.unwrap();
    assert_eq!(kind(lock.run(take("a")).await), "failed_lock");
}

#[tokio::test(flavor = "current_thread")]
async fn a_ledger_that_cannot_be_read_stops_grants_and_lets_go_of_slots() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    lock.run(take("a")).await.unwrap();
    let (key, newer) = (Group::default().ledger_key(), r#"{"version":99}"#);
    memory.change(|table| table.set(&key, newer));
    let error = lock.run(take("b")).await.unwrap_err().to_string();
    assert!(error.contains("version 99") && error.contains("\nhint: "), "{error}");
    assert_eq!(lock.run(give("a")).await, Ok(Done::Freed { held: true }));
    assert!(lock.look().await.unwrap().unreadable.is_some());
    assert_eq!(memory.table().get(&key).unwrap().value, newer, "what a newer program wrote is left alone");
}

#[tokio::test(flavor = "current_thread")]
async fn a_late_unlock_about_an_older_grant_frees_nothing() {
    let memory = Memory::default();
    let lock = lock(&memory, "");
    lock.run(take("a")).await.unwrap();
    lock.run(give("a")).await.unwrap();
    let Ok(Done::Granted { generation, .. }) = lock.run(take("a")).await else { panic!("not granted") };
    let late = |generation| Verb::Unlock { id: "a".into(), generation: Some(generation), by: Freed::Holder };
    assert_eq!(lock.run(late(generation - 1)).await, Ok(Done::Freed { held: false }));
    assert_eq!(holders(&memory.table()), ["a"]);
    assert_eq!(lock.run(late(generation)).await, Ok(Done::Freed { held: true }));
}

#[tokio::test(flavor = "current_thread")]
async fn the_quorum_is_counted_over_all_groups_also_with_a_grant_that_is_only_announced() {
    let member = |id: &str| Hosted { voter: true, healthy: true, machine: Some(id.to_owned()) };
    let members = [(MemberId(1), member("a")), (MemberId(2), member("b")), (MemberId(3), member("c"))];
    let guards = Guards { quorum: Some(Quorum { members: members.into() }), ..Guards::default() };
    let guarded =
        |id: &str| Verb::Lock { id: id.into(), boot: None, phase: Phase::Draining, guards: guards.clone() };
    let memory = Memory::default();
    let (one, two) = (lock(&memory, ""), lock(&memory, "l b"));
    assert!(granted(&one.run(guarded("a")).await));
    assert_eq!(kind(two.run(guarded("b")).await), "quorum_guard");
    let view = two.look().await.unwrap();
    assert!(view.ledger.holders.is_empty(), "the reservation was taken back");
    assert!(view.ledger.queue[0].aside);
    assert!(granted(&two.run(guarded("worker")).await), "who hosts no voter may pass");
    one.run(give("a")).await.unwrap();
    two.run(give("worker")).await.unwrap();

    // A grant in the other group is announced, and not made.
    let (key, semaphore) = (Group::default().ledger_key(), Group::default().semaphore_key());
    let announced = memory.change(|table| {
        let mut ledger = Ledger::default();
        ledger.reserve("a", table.get(&semaphore).unwrap().index, Phase::Draining, None, one_now());
        table.set(&key, &ledger.to_json())
    });
    assert!(announced > 0);
    assert_eq!(kind(two.run(guarded("b")).await), "quorum_guard");
}

fn one_now() -> seatrial_reboot::Wall {
    use seatrial_world::World;
    seatrial_reboot::Wall::from_epoch(RealWorld::new().wall())
}

#[tokio::test(flavor = "current_thread")]
async fn groups_have_semaphores_of_their_own_and_are_listed() {
    let memory = Memory::default();
    let (one, two) = (lock(&memory, ""), lock(&memory, "a/b c"));
    assert!(granted(&one.run(take("m")).await));
    assert!(granted(&two.run(take("m")).await));
    assert_eq!(Vec::from_iter(one.groups().await.unwrap()), [Group::default(), Group::new("a/b c")]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_semaphore_that_is_no_json_is_left_alone() {
    let memory = Memory::default();
    memory.before_write(|table| {
        table.set(&Group::default().semaphore_key(), "no json");
        Trouble::None
    });
    let error = lock(&memory, "").run(take("a")).await.unwrap_err();
    assert!(matches!(error, RebootError::Malformed { .. }), "{error:?}");
    assert_eq!(memory.get(&Group::default().semaphore_key()).await.unwrap().value, "no json");
}
