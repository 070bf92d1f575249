//! The pages as a browser shows them: a headless Chromium opens a page with a small script behind its own, which clicks
//! and types as a reader would and writes down what it finds.
//!
//! Needs a `chromium` on the path, or its place in `SEATRIAL_CHROMIUM`. Where there is none, every test says so and
//! does nothing.

mod chromium;
mod sample;

use chromium::{DESK, Window, framed, number, visit};
use seatrial_report::{RunRecord, RunVerdict, render_batch, render_html};
use serde_json::Value;

fn page() -> String {
    render_html(&sample::record())
}

#[test]
fn a_page_opens_at_the_first_bad_event_without_errors_or_requests() {
    let script = r##"
        found.requests = performance.getEntriesByType("resource").length;
        found.sentence = isInView(one("#sentence")) && isInView(one("#replay")) && isInView(one("#first-bad"));
        found.window = window_();
        const mark = one(".p.bad"), box = mark.querySelector("path").getBoundingClientRect(), area = one("#over").getBoundingClientRect();
        found.marked = isShown(mark) && box.left >= area.left - 8 && box.right <= area.right + 8;
        found.onFirstScreen = isInView(mark.querySelector("path"));
        found.evidence = all("#plot .b.evidence").filter(isShown).length;
        await click("#whole");
        scrollTo(0, document.body.scrollHeight);
        await click("#jump");
        await rest(100);
        found.back = window_();
        found.jumped = isInView(mark.querySelector("path"));
        // The browser's own clipboard answers when it likes, and its time is not the page's.
        const clipboard = { writeText: text => { found.clip = text; return Promise.resolve(); } };
        Object.defineProperty(navigator, "clipboard", { value: clipboard, configurable: true });
        await click("#copy");
        found.copied = one("#copy").textContent;
    "##;
    let Some(found) = visit("opens", &page(), &DESK, script) else { return };
    assert_eq!(found["requests"], 0);
    for what in ["sentence", "marked", "onFirstScreen", "jumped"] {
        assert_eq!(found[what], true, "{what}: {found}");
    }
    let (from, to) = (number(&found["window"][0]), number(&found["window"][1]));
    assert!(from < 8.02 && to > 8.412 && to - from < 3.0, "the evidence and little else: {from} to {to}");
    assert_eq!(found["window"], found["back"]);
    assert_eq!(found["evidence"], 2);
    assert_eq!(found["copied"], "Copied");
    assert!(found["clip"].as_str().is_some_and(|text| text.starts_with("seatrial replay ")), "{found}");
}

#[test]
fn a_page_of_a_run_that_passed_or_of_nothing_opens_too() {
    let passed = RunRecord { verdict: RunVerdict::Pass, first_bad: None, ..sample::record() };
    let script = r##"
        found.window = window_();
        found.jump = one("#jump") !== null;
        await click("#in"); await click("#filter"); await click("#reset");
        await type("#search", "m1"); await key(one("#search"), "Enter");
        plot.focus(); for (const name of ["n", "p", "b", "m", "?", "Escape", "0"]) await key(plot, name);
    "##;
    let Some(found) = visit("passed", &render_html(&passed), &DESK, script) else { return };
    assert_eq!(found["window"], serde_json::json!([0, 20]), "the whole run");
    assert_eq!(found["jump"], false);
    visit("nothing", &render_html(&RunRecord::default()), &DESK, script);
}

#[test]
fn buttons_keys_and_wheel_change_the_scale_and_the_place() {
    let script = r##"
        const span = () => { const [a, b] = window_(); return b - a; };
        const width = () => +one("#plot .b.evidence rect").getAttribute("width");
        const first = span(), drawn = width();
        await click("#in"); found.in = span() / first; found.drawn = width() / drawn;
        await click("#out"); found.out = span() / first;
        plot.focus();
        await key(plot, "+"); found.plus = span() / first;
        await key(plot, "-"); found.minus = span() / first;
        const [before] = window_();
        await key(plot, "ArrowRight"); found.right = (window_()[0] - before) / first;
        await key(plot, "ArrowLeft"); found.left = (window_()[0] - before) / first;
        const turn = (deltaY, more) => { plot.dispatchEvent(new WheelEvent("wheel", { deltaY, clientX: 700, clientY: 600, cancelable: true, bubbles: true, ...more })); };
        turn(-100, {}); found.wheel = span() / first;
        one("#search").focus();
        turn(-100, {}); found.scrolls = span() / first;
        turn(100, { ctrlKey: true }); found.ctrl = span() / first;
        await key(plot, "0"); found.whole = window_();
        found.told = one("#span").textContent;
        const area = one("#over").getBoundingClientRect();
        const point = (type, x) => (type === "pointerdown" ? plot : window).dispatchEvent(new PointerEvent(type, { clientX: area.left + x, clientY: area.top + 50, pointerId: 1, button: 0, bubbles: true }));
        await key(plot, "b"); const [start] = window_();
        point("pointerdown", 300); point("pointermove", 200); point("pointerup", 200);
        found.dragged = window_()[0] > start;
    "##;
    let Some(found) = visit("zoom", &page(), &DESK, script) else { return };
    let near = |what: &str, want: f64| {
        let is = number(&found[what]);
        assert!((is - want).abs() < 0.02 * want.max(0.1), "{what} is {is} instead of {want}: {found}");
    };
    near("in", 0.5);
    near("drawn", 2.0);
    near("out", 1.0);
    near("plus", 1.0 / 1.5);
    near("minus", 1.0);
    near("right", 0.125);
    near("left", 0.0);
    near("wheel", 0.8);
    near("scrolls", 0.8);
    near("ctrl", 1.0);
    assert_eq!(found["whole"], serde_json::json!([0, 20]));
    assert_eq!(found["told"], "whole run, 20.0 s");
    assert_eq!(found["dragged"], true);
}

#[test]
fn filters_hide_lanes_operations_and_rows() {
    let script = r##"
        await click("#whole");
        found.before = { members: lanes("member"), clients: lanes("client"), faults: lanes("fault"), height: plot.getBoundingClientRect().height };
        found.closed = !isShown(one("#filters"));
        await click("#filter");
        found.opened = isShown(one("#filters"));
        await click("#filters [name=member][value=m2]");
        await click("#filters [name=client][value='3']");
        await click("#filters [name=fault][value=partition]");
        found.after = { members: lanes("member"), clients: lanes("client"), faults: lanes("fault"), height: plot.getBoundingClientRect().height };
        found.logsOfM2 = rows("logs").filter(row => row.dataset.m === "m2").length;
        found.rowsOf3 = rows("operations").filter(row => row.cells[1].textContent === "3").length;
        found.button = one("#filter").textContent;
        await click("#reset");
        found.reset = lanes("member").length + lanes("client").length + lanes("fault").length;
        await choose("#key", "k2");
        const shown = () => all("#plot .b.op").filter(isShown).map(band => one(`#operations tr[data-o="${band.dataset.o}"]`));
        found.keys = [...new Set(shown().map(row => row.dataset.key))];
        found.tableKeys = [...new Set(rows("operations").map(row => row.dataset.key))];
        await click("#reset");
        await click("#only-failed");
        found.onlyFailed = shown().length > 0 && shown().every(row => row.dataset.f !== undefined) && rows("operations").every(row => row.dataset.f !== undefined);
        await click("#only-failed");
        await click("#only-evidence");
        found.onlyEvidence = [lanes("client"), shown().length];
        await click("#reset");
        await click("#filters [name=kind][value=put]");
        found.puts = shown().filter(row => row.dataset.k === "put").length;
        await click("#reset");
        await click("#jump");
        const [from, to] = window_().map(s => s * 1e6);
        const outside = row => { const [a, b] = row.dataset.t.split(" "); return +b < from || +a > to; };
        found.follows = ["logs", "operations", "faults"].map(id => [rows(id).length > 0, rows(id).some(outside)]);
        found.logsWhole = all("#logs tbody tr[data-t]").length;
        await click("input.follow[data-table=logs]");
        found.logsAll = rows("logs").length;
        await type("input[type=search][data-table=logs]", "became leader");
        found.logsWords = rows("logs").map(row => row.textContent.includes("became leader"));
    "##;
    let Some(found) = visit("filters", &page(), &DESK, script) else { return };
    let list = |value: &Value| -> Vec<String> { serde_json::from_value(value.clone()).unwrap() };
    let without = |which: &str, gone: &str| {
        let (before, after) = (list(&found["before"][which]), list(&found["after"][which]));
        let want: Vec<String> = before.iter().filter(|key| *key != gone).cloned().collect();
        assert!(want.len() < before.len(), "{gone} had a lane: {before:?}");
        assert_eq!(after, want);
    };
    without("members", "m2");
    without("clients", "3");
    without("faults", "partition");
    assert!(number(&found["after"]["height"]) < number(&found["before"]["height"]), "the others move up");
    assert_eq!((&found["closed"], &found["opened"]), (&true.into(), &true.into()));
    assert_eq!((&found["logsOfM2"], &found["rowsOf3"]), (&0.into(), &0.into()));
    assert_eq!(found["button"], "Filter (3)");
    let all = ["members", "clients", "faults"]
        .iter()
        .map(|which| list(&found["before"][which]).len())
        .sum::<usize>();
    assert_eq!(found["reset"], all);
    assert_eq!(list(&found["keys"]), ["k2"]);
    assert_eq!(list(&found["tableKeys"]), ["k2"]);
    assert_eq!(found["onlyFailed"], true);
    assert_eq!(found["onlyEvidence"], serde_json::json!([["8", "9"], 2]));
    assert_eq!(found["puts"], 0);
    assert_eq!(found["follows"], serde_json::json!([[true, false], [true, false], [true, false]]));
    assert_eq!(found["logsAll"], found["logsWhole"], "all log lines on demand");
    assert!(
        found["logsWords"]
            .as_array()
            .is_some_and(|rows| rows.len() >= 2 && rows.iter().all(|row| row == true))
    );
}

#[test]
fn search_finds_an_operation_by_its_key_and_goes_there() {
    let script = r##"
        await click("#whole"); await click("#in"); await click("#in"); await click("#in");
        document.body.focus();
        await key(document.body, "/");
        found.focused = document.activeElement.id;
        await type("#search", "client 8 k2 v342");
        found.count = one("#found").textContent;
        await key(one("#search"), "Enter");
        const picked = () => [...plot.querySelectorAll(".picked")].map(el => el.dataset.o && one(`#operations tr[data-o="${el.dataset.o}"]`).cells[3].textContent);
        found.picked = picked();
        found.window = window_();
        found.visible = isInView(plot.querySelector(".picked"));
        found.detail = one("#detail").textContent;
        found.row = isShown(one("#operations tr.picked"));
        await type("#search", "\"k3\"");
        const seen = [], times = [];
        for (let i = 0; i < 3; i += 1) { await key(one("#search"), "Enter"); seen.push(...picked()); times.push(one("#found").textContent); }
        await key(one("#search"), "Enter", { shiftKey: true });
        found.seen = seen; found.backAgain = picked()[0] === seen[1] && one("#found").textContent === times[1];
        await type("#search", "no such thing");
        found.nothing = one("#found").textContent;
        await type("#search", "answered read");
        await click("#next");
        found.log = one("#logs tr.picked").textContent;
        await key(one("#search"), "Escape");
        found.left = document.activeElement.id;
        await key(plot, "n");
        const first = plot.querySelector(".picked");
        await key(plot, "n");
        const second = plot.querySelector(".picked");
        await key(plot, "p");
        found.steps = first !== null && first !== second && first === plot.querySelector(".picked");
        await click("#faults tbody tr[data-t] .go");
        found.fault = window_()[0] <= 3.0 && one("#detail").textContent.length > 0 && isInView(one(".lane[data-key=slow-disk]"));
    "##;
    let Some(found) = visit("search", &page(), &DESK, script) else { return };
    assert_eq!(found["focused"], "search");
    assert_eq!(found["count"], "1 found");
    assert_eq!(found["picked"], serde_json::json!(["put \"k2\"=\"v342\""]));
    let (from, to) = (number(&found["window"][0]), number(&found["window"][1]));
    assert!(from <= 8.02 && to >= 8.196, "it is in the picture: {from} to {to}");
    for what in ["visible", "row", "backAgain", "steps", "fault"] {
        assert_eq!(found[what], true, "{what}: {found}");
    }
    assert!(
        found["detail"].as_str().unwrap().contains("client 8 at m3: put \"k2\"=\"v342\" → ✓ revision 121")
    );
    let seen: Vec<String> = serde_json::from_value(found["seen"].clone()).unwrap();
    assert!(seen.len() == 3 && seen.iter().all(|text| text.contains("\"k3\"")), "{seen:?}");
    assert_eq!(found["nothing"], "nothing found");
    assert!(found["log"].as_str().unwrap().contains("answered read"));
    assert_eq!(found["left"], "plot");
}

#[test]
fn messages_are_drawn_on_demand_for_the_members_and_the_time_wanted() {
    let script = r##"
        const drawn = () => all("#arrows .l").length;
        found.before = drawn();
        found.choice = isShown(one("#message-choice"));
        await click("#messages");
        found.on = drawn();
        const titles = () => all("#arrows .l title").map(title => title.textContent);
        const [from, to] = window_();
        found.within = titles().every(text => { const at = +text.match(/sent ([\d.]+)/)[1]; return at >= from - 0.1 && at <= to + 0.1; });
        await choose("#between", "0"); await choose("#and", "2");
        found.pair = [...new Set(titles().map(text => text.match(/from (\w+) to (\w+)/).slice(1).sort().join(" ")))];
        await choose("#message-kind", "lost");
        found.lost = drawn() > 0 && titles().every(text => text.includes("never arrived")) && all("#arrows .l.lost").length === drawn();
        await choose("#message-kind", ""); await choose("#between", ""); await choose("#and", "");
        await click("#filter"); await click("#filters [name=member][value=m1]");
        found.hidden = titles().some(text => /\bm1\b/.test(text));
        await click("#reset");
        await click("#messages");
        found.off = drawn();
        plot.focus(); await key(plot, "m");
        found.byKey = drawn();
    "##;
    let Some(found) = visit("messages", &page(), &DESK, script) else { return };
    assert_eq!((&found["before"], &found["off"], &found["choice"]), (&0.into(), &0.into(), &false.into()));
    assert!(number(&found["on"]) > 10.0 && found["on"] == found["byKey"], "{found}");
    assert_eq!(found["pair"], serde_json::json!(["m1 m3"]));
    assert_eq!(
        (&found["within"], &found["lost"], &found["hidden"]),
        (&true.into(), &true.into(), &false.into())
    );
}

#[test]
fn the_page_is_dark_where_the_system_is_and_the_switch_turns_it() {
    let script = r##"
        const light = el => { const [r, g, b] = getComputedStyle(el).backgroundColor.match(/[\d.]+/g).map(Number); return (r + g + b) / 765; };
        const ink = () => { const [r, g, b] = getComputedStyle(document.body).color.match(/[\d.]+/g).map(Number); return (r + g + b) / 765; };
        found.body = light(document.body); found.ink = ink();
        await click("#theme");
        found.turned = light(document.body); found.turnedInk = ink();
        await click("#theme");
        found.again = light(document.body);
    "##;
    for is_dark in [false, true] {
        let name = if is_dark { "dark" } else { "light" };
        let Some(found) = visit(name, &page(), &Window { is_dark, ..DESK }, script) else { return };
        let (dark, light) = if is_dark { ("body", "turned") } else { ("turned", "body") };
        assert!(number(&found[dark]) < 0.2 && number(&found[light]) > 0.8, "{name}: {found}");
        assert_eq!(found["body"], found["again"]);
        let contrast = (number(&found["ink"]) - number(&found["body"])).abs();
        let turned = (number(&found["turnedInk"]) - number(&found["turned"])).abs();
        assert!(contrast > 0.6 && turned > 0.6, "{name}: the text stands out: {found}");
    }
}

#[test]
fn every_look_differs_from_the_others_without_its_colour() {
    let script = r##"
        const kind = paint => paint === "none" ? "none" : paint.startsWith("url") ? paint : "plain";
        found.looks = all("#legend > span").map(span => {
            const shape = span.querySelector("rect, path"), style = getComputedStyle(shape), ends = span.querySelectorAll("path.ends").length;
            // Signs have no room on a narrow band. A fill like the ground is none, and an outline of no width neither.
            const ground = getComputedStyle(one(".card")).backgroundColor;
            const fill = style.fill === ground ? "none" : kind(style.fill);
            const stroke = style.stroke === "none" || parseFloat(style.strokeWidth) === 0 ? "none" : `${style.strokeDasharray} ${style.strokeWidth}`;
            return [span.textContent.trim(), [shape.getAttribute("y"), shape.getAttribute("height"), shape.getAttribute("d"), fill, stroke, ends].join(" | ")];
        });
        const verdicts = { ok: "✓", failed: "✕", unknown: "?" };
        found.answers = rows("operations").every(row => Object.values(verdicts).includes(row.cells[4].querySelector("span").textContent));
        found.levels = rows("logs").every(row => row.cells[2].textContent.length > 0);
    "##;
    let Some(found) = visit("looks", &page(), &DESK, script) else { return };
    let looks: Vec<(String, String)> = serde_json::from_value(found["looks"].clone()).unwrap();
    assert!(looks.len() >= 13, "{looks:?}");
    for (place, (name, look)) in looks.iter().enumerate() {
        for (other, same) in &looks[place + 1..] {
            assert_ne!(look, same, "{name} and {other} differ by colour alone");
        }
    }
    assert_eq!((&found["answers"], &found["levels"]), (&true.into(), &true.into()));
}

#[test]
fn without_scripts_the_essential_things_can_be_read() {
    // A frame that may run no script, within a page that may.
    let outer = framed(&page(), "sandbox=\"allow-same-origin\" width=\"1200\" height=\"4000\"");
    let script = r##"
        await rest(800);
        const page = one("#frame").contentDocument, text = css => { const el = page.querySelector(css); return el && isShown(el) ? el.innerText : ""; };
        found.ran = page.documentElement.classList.contains("js");
        found.sentence = text("#sentence"); found.replay = text("#replay"); found.bad = text("#first-bad");
        found.faults = text("#faults"); found.operations = text("#operations"); found.logs = text("#logs");
        found.picture = isShown(page.querySelector("#plot .p.bad")) && page.querySelectorAll("#plot .b.op").length;
        found.dead = [...page.querySelectorAll("button, input, select")].filter(isShown).map(el => el.outerHTML);
    "##;
    let Some(found) = visit("no-scripts", &outer, &DESK, script) else { return };
    assert_eq!(found["ran"], false, "the test tests nothing where scripts run");
    let record = sample::record();
    let has = |what: &str, words: &str| {
        assert!(found[what].as_str().unwrap().contains(words), "{what} without {words}: {}", found[what]);
    };
    has("sentence", &record.sentence);
    has("replay", &record.replay);
    has("bad", "First bad event: 8.4120 s at m1");
    has("bad", "put \"k2\"=\"v342\"");
    has("bad", "m1 in term 3, since 0.9600 s; m3 in term 4");
    has("faults", "m1 | m2 m3 m4 m5");
    has("operations", "✗ 8.4120 s first bad event");
    has("operations", "put \"k2\"=\"v342\"");
    has("logs", "answered read");
    assert!(number(&found["picture"]) > 500.0, "the picture is there, of the whole run");
    assert_eq!(found["dead"], serde_json::json!([]), "nothing that would do nothing");
}

#[test]
fn a_narrow_window_shows_all_of_it() {
    let script = r##"
        await rest(800);
        const page = one("#frame").contentDocument, width = page.documentElement.clientWidth;
        found.width = width;
        found.wide = page.documentElement.scrollWidth - width;
        found.plot = page.querySelector("#plot").getBoundingClientRect().width;
        found.drawn = page.querySelector("#plot").getAttribute("viewBox").split(" ")[2] - found.plot;
        found.marked = isShown(page.querySelector(".p.bad"));
        const beyond = el => { const box = el.getBoundingClientRect(); return isShown(el) && box.right > width + 1; };
        found.beyond = [...page.querySelectorAll("header *, .tools *, #operations tr *, #evidence tr *")]
            .filter(el => !el.closest("code") && beyond(el)).map(el => el.outerHTML.slice(0, 120));
    "##;
    let Some(found) = visit("narrow", &framed(&page(), "width=\"400\" height=\"800\""), &DESK, script) else {
        return;
    };
    assert!(
        number(&found["width"]) <= 400.0 && number(&found["wide"]) <= 0.0,
        "the page scrolls sideways: {found}"
    );
    assert!(number(&found["plot"]) <= 400.0 && found["marked"] == true, "{found}");
    assert!(number(&found["drawn"]).abs() < 1.0, "drawn for this width, not shrunk to it: {found}");
    assert_eq!(found["beyond"], serde_json::json!([]));
}

#[test]
fn what_matters_is_printed_and_what_only_serves_a_pointer_is_not() {
    let script = r##"
        const printed = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules])
            .filter(rule => rule instanceof CSSMediaRule && rule.media.mediaText === "print").flatMap(rule => [...rule.cssRules]);
        const gone = printed.filter(rule => rule.style.display === "none").map(rule => rule.selectorText);
        const isGone = el => gone.some(selector => el.closest(selector) !== null);
        found.lost = all("#sentence, #replay, #first-bad, #plot, #legend, table td, table td *, summary").filter(isGone).map(el => el.outerHTML);
        found.kept = all("#copy, #theme, #in, #filter, #search, #messages").filter(el => !isGone(el)).map(el => el.outerHTML);
    "##;
    let Some(found) = visit("print", &page(), &DESK, script) else { return };
    assert_eq!((&found["lost"], &found["kept"]), (&serde_json::json!([]), &serde_json::json!([])));
}

#[test]
fn the_page_over_many_runs_filters_and_sorts() {
    let script = r##"
        const shown = id => all(`#${id} tbody tr`).filter(isShown), names = () => shown("runs").map(tr => tr.querySelector("b").textContent);
        found.first = shown("runs")[0].dataset.v;
        found.failures = shown("failures").length;
        const before = names();
        await choose("#sort", "name"); found.byName = names().join() === [...before].sort().join();
        await choose("#sort", "bad"); found.byFailures = names().join() === before.join();
        await click(".verdict-choice[data-v=violation]");
        found.violations = shown("failures").every(tr => tr.dataset.v === "violation") && shown("runs").every(tr => tr.dataset.v.includes("violation")) && names().length > 0;
        await click(".verdict-choice[data-v=pass]");
        found.noFailures = shown("failures").length;
        await click(".verdict-choice[data-v='']");
        await type("#scenario", before[1]);
        found.words = names().includes(before[1]) && names().length < before.length;
    "##;
    let Some(found) = visit("batch", &render_batch(&sample::batch()), &DESK, script) else { return };
    assert!(found["first"].as_str().unwrap().contains("violation"), "{found}");
    assert!(number(&found["failures"]) > 0.0);
    assert_eq!(found["noFailures"], 0);
    for what in ["byName", "byFailures", "violations", "words"] {
        assert_eq!(found[what], true, "{what}: {found}");
    }
}
