//! A headless Chromium which opens a page and runs a script in it.

use serde_json::Value;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;

/// One browser at a time: several would only wait for each other.
static BROWSER: Mutex<()> = Mutex::new(());

/// How the browser is to be.
pub(crate) struct Window {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) is_dark: bool,
}

pub(crate) const DESK: Window = Window { width: 1280, height: 800, is_dark: false };

fn chromium() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("SEATRIAL_CHROMIUM") {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    ["chromium", "chromium-browser", "google-chrome"]
        .iter()
        .flat_map(|name| places.iter().map(move |place| place.join(name)))
        .find(|program| program.is_file())
}

/// Runs before the page's own scripts.
const BEFORE: &str = "<script>window.errors=[];addEventListener('error',e=>errors.push(e.message));\
    addEventListener('securitypolicyviolation',e=>errors.push('refused: '+e.blockedURI));\
    for(const name of ['error','warn'])console[name]=(...all)=>errors.push(all.join(' '));</script>";

/// What test scripts may use.
const HELPERS: &str = r##"
const plot = document.getElementById("plot"), found = {};
const rest = ms => new Promise(done => setTimeout(done, ms));
const one = css => document.querySelector(css), all = css => [...document.querySelectorAll(css)];
const click = async css => { one(css).click(); await rest(150); };
const type = async (css, text) => { one(css).value = text; one(css).dispatchEvent(new Event("input")); await rest(50); };
const choose = async (css, value) => { one(css).value = value; one(css).dispatchEvent(new Event("change")); await rest(150); };
const key = async (el, key, more = {}) => { el.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more })); await rest(150); };
const window_ = () => [+plot.dataset.from / 1e9, +plot.dataset.to / 1e9];
const isShown = el => el.getClientRects().length > 0;
const isInView = el => { const box = el.getBoundingClientRect(); return isShown(el) && box.top >= 0 && box.bottom <= innerHeight && box.left >= 0 && box.right <= innerWidth; };
const lanes = group => all(`.lane[data-group=${group}]`).filter(isShown).map(lane => lane.dataset.key);
const rows = id => all(`#${id} tbody tr[data-t]`).filter(isShown);
"##;

/// Opens a page, runs a script in it and returns what that put into `found`; `None` without a browser.
pub(crate) fn visit(name: &str, page: &str, window: &Window, script: &str) -> Option<Value> {
    let Some(program) = chromium() else {
        // Past the capture of the test's output: a test that looked at nothing must not pass in silence.
        let _ = writeln!(
            std::io::stderr(),
            "SKIPPED {name}: no chromium found; install the Debian package `chromium`, or name one in SEATRIAL_CHROMIUM"
        );
        return None;
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("browser").join(name);
    let after = format!(
        "<script>(async () => {{ {HELPERS} try {{ await rest(200); {script} }} catch (error) {{ errors.push(`the test's script: ${{error.stack}}`); }}\
         found.errors = errors; const out = document.createElement('pre'); out.id = 'findings'; out.textContent = JSON.stringify(found); document.body.append(out); }})();</script>\n</body>"
    );
    let mut page = page.replacen("<head>", &format!("<head>{BEFORE}"), 1);
    // The last one: a page may stand within a page.
    let end = page.rfind("</body>").unwrap();
    page.replace_range(end..end + "</body>".len(), &after);
    #[allow(clippy::disallowed_methods, reason = "a browser opens files")]
    let file = {
        // A browser remembers, and a page's switch is for remembering.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("page.html");
        std::fs::write(&file, page).unwrap();
        file
    };
    let _alone = BROWSER.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let shown = Command::new(program)
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--dump-dom"])
        .args(["--virtual-time-budget=20000", "--timeout=60000"])
        .arg(format!("--window-size={},{}", window.width, window.height))
        .arg(format!("--blink-settings=preferredColorScheme={}", u8::from(!window.is_dark)))
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&shown.stdout);
    let findings = dom.split("<pre id=\"findings\">").nth(1).and_then(|rest| rest.split("</pre>").next());
    let Some(findings) = findings else {
        panic!(
            "{name}: the test's script did not end; the browser said {}",
            String::from_utf8_lossy(&shown.stderr)
        );
    };
    let findings =
        findings.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&");
    let findings: Value = serde_json::from_str(&findings).unwrap();
    assert_eq!(findings["errors"], Value::Array(vec![]), "{name}: the page or the test complains");
    Some(findings)
}

/// A page within another one.
pub(crate) fn framed(page: &str, attributes: &str) -> String {
    let inner = page.replace('&', "&amp;").replace('"', "&quot;");
    format!(
        "<!DOCTYPE html><html lang=\"en\"><head></head><body><iframe id=\"frame\" {attributes} srcdoc=\"{inner}\"></iframe></body></html>"
    )
}

pub(crate) fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is no number"))
}
