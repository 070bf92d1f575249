//! Tells the compiler that `--cfg madsim` is a name we know.

fn main() {
    println!("cargo::rustc-check-cfg=cfg(madsim)");
    println!("cargo::rerun-if-changed=build.rs");
}
