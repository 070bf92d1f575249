//! Prints a page to look at while changing it: `cargo run -p seatrial-report --example sample_report > page.html`.
//! With `batch` as argument the page over many runs; with `record`, the page of the record on standard input.

#[path = "../tests/sample/mod.rs"]
mod sample;

use seatrial_report::{parse_json, render_batch, render_html};

fn main() {
    let page = match std::env::args().nth(1).as_deref() {
        Some("batch") => render_batch(&sample::batch()),
        Some("record") => {
            let text = std::io::read_to_string(std::io::stdin()).expect("the record can be read");
            render_html(&parse_json(&text).expect("it is a record"))
        }
        _ => render_html(&sample::record()),
    };
    println!("{page}");
}
