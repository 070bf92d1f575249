//! Builds as a stranger would make them: with flags of his own, and without the simulator.

use seatrial_xtask::tree::root;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A cargo whose flags are not those of the cargo which runs this test.
fn cargo(arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(root());
    // Either of them would win over RUSTFLAGS, and so hide what is tested here.
    command.env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUSTC_WRAPPER");
    command.env("CARGO_TERM_COLOR", "never").env_remove("CARGO_BUILD_TARGET_DIR");
    command
}

/// A target folder of our own, so that foreign flags neither wait for nor spoil the developer's build.
fn target() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("foreign-flags")
}

fn errors(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut errors =
        text.lines().filter(|line| line.starts_with("error")).map(str::to_owned).collect::<Vec<_>>();
    // Cargo's own last word on whatever went wrong.
    errors.retain(|line| !line.starts_with("error: could not compile"));
    errors
}

#[test]
fn a_build_without_the_cfg_fails_with_one_sentence_and_the_remedy() {
    // An exported RUSTFLAGS, even an empty one, replaces what .cargo/config.toml says, without a word.
    let output = cargo(&["check", "--quiet", "--package", "seatrial-world-sim"])
        .env("CARGO_TARGET_DIR", target())
        .env("RUSTFLAGS", "")
        .output()
        .expect("cargo starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "world-sim was built without `--cfg madsim`:\n{text}");
    let errors = errors(&output);
    assert_eq!(errors.len(), 1, "one error was expected, and nothing that follows from it:\n{text}");
    assert!(errors[0].contains("--cfg madsim"), "the error does not name what is missing: {}", errors[0]);
    assert!(text.contains("RUSTFLAGS"), "the error does not say who replaced the flags:\n{text}");
    assert!(
        text.contains("--no-default-features"),
        "the error does not name the build without simulation:\n{text}"
    );
}

#[test]
fn the_deployment_build_holds_no_simulator() {
    let tree = |more: &[&str]| {
        let arguments =
            ["tree", "--quiet", "--package", "seatrial-cli", "--edges", "normal", "--prefix", "none"];
        let output = cargo(&[&arguments[..], more].concat()).output().expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("cargo prints UTF-8")
    };
    let names =
        |text: &str| text.lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect();
    let deployment: Vec<String> = names(&tree(&["--no-default-features"]));
    for banned in ["madsim", "seatrial-world-sim", "seatrial-sims"] {
        assert!(
            !deployment.iter().any(|name| name == banned),
            "the build without default features holds {banned}; hang it on the feature `sim` of seatrial-cli"
        );
    }
    // The default build holds it, or the test above would be true of anything.
    let default: Vec<String> = names(&tree(&[]));
    assert!(default.iter().any(|name| name == "madsim"), "the default build holds no simulator");
}

#[test]
fn the_deployment_build_has_no_sites_and_no_build_has_planted_bugs_by_itself() {
    let features = |more: &[&str]| -> String {
        let arguments =
            ["tree", "--quiet", "--package", "seatrial-cli", "--edges", "normal", "--prefix", "none"];
        let output = cargo(&[&arguments[..], &["--format", "{p} [{f}]"], more].concat())
            .output()
            .expect("cargo starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).expect("cargo prints UTF-8");
        let line = text.lines().find(|line| line.starts_with("seatrial-types "));
        let line = line.expect("every build has the words");
        line.split('[').nth(1).and_then(|rest| rest.split(']').next()).expect("features").to_owned()
    };
    // Without the feature the compiler proves that no site is ever told to (`seatrial_types::buggify`).
    assert_eq!(features(&["--no-default-features"]), "", "hang it on the feature `sim` of seatrial-cli");
    // The default build has the simulator, which tells them to, or the test above would be true of anything.
    assert_eq!(features(&[]), "buggify");
}
