//! Style sheets and scripts, built into the program, and how every page begins.

use crate::escape::escape_content;

/// Colours, text, tables: what all pages have in common.
pub(crate) const PAGE_CSS: &str = include_str!("assets/page.css");
/// The picture of one run.
pub(crate) const PICTURE_CSS: &str = include_str!("assets/picture.css");

/// The page over many runs.
pub(crate) const BATCH_CSS: &str = include_str!("assets/batch.css");

/// Runs before anything is shown.
const BOOT_JS: &str = include_str!("assets/boot.js");

/// The script of the page of one run: one function, so that the parts see each other and nobody else.
pub(crate) const PAGE_JS: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("assets/common.js"),
    include_str!("assets/model.js"),
    include_str!("assets/view.js"),
    include_str!("assets/tables.js"),
    include_str!("assets/messages.js"),
    include_str!("assets/filters.js"),
    include_str!("assets/search.js"),
    include_str!("assets/keys.js"),
    "})();\n"
);

/// The script of the page over many runs.
pub(crate) const BATCH_JS: &str = concat!(
    "(() => {\n\"use strict\";\n",
    include_str!("assets/common.js"),
    include_str!("assets/batch.js"),
    "})();\n"
);

/// The beginning of a page, up to its body. Nothing may be asked for from elsewhere.
pub(crate) fn beginning(title: &str, styles: &[&str]) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{}</style>\n<script>{BOOT_JS}</script>\n</head>\n",
        escape_content(title),
        styles.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dark_colours_are_the_same_by_the_systems_wish_and_by_the_switch() {
        let block = |begin: &str| {
            let from = PAGE_CSS.find(begin).unwrap_or_else(|| panic!("no {begin}")) + begin.len();
            PAGE_CSS[from..from + PAGE_CSS[from..].find('}').unwrap()].trim()
        };
        let by_wish = block("@media (prefers-color-scheme:dark){:root:not([data-theme=light]){");
        let by_switch = block("\n:root[data-theme=dark]{");
        assert_eq!(by_wish.replace("color-scheme:dark;", ""), by_switch.replace("color-scheme:dark;", ""));
        let light = block(":root{");
        for name in light.split(';').filter_map(|line| line.trim().split_once(':')).map(|(name, _)| name) {
            let of_theme = name.starts_with("--") && !by_switch.contains(&format!("{name}:"));
            assert!(!of_theme, "{name} has no dark colour");
        }
    }
}
