//! The page of a real failure that was made small: disks that lie about syncs, and a loss of power of all members.

use seatrial_report::{parse_json, render_html};

#[test]
fn the_page_of_a_shrunk_failure_is_small_and_nothing_of_it_is_cut() {
    let record = parse_json(include_str!("data/shrunk-failure.json")).unwrap();
    let page = render_html(&record);
    assert!(page.len() < 150_000, "{} bytes", page.len());
    assert!(!page.contains("To keep this page small"), "everything is shown");
    for part in [
        "member 1 was elected in term 2 without the entry 5 of term 1",
        "First bad event: 3.3282 s at m1",
        "none; the last was power-loss, until 1.8000 s",
        "seatrial replay runs/small/lying-syncs-small-47515/plan.json",
        "delete \"k03\"",
        "became leader of term 2",
        "\"append\"",
        "\"pre-vote\"",
    ] {
        assert!(page.contains(part), "no {part}");
    }
}
