//! Text on its way into HTML and XML.

/// Escapes for element content alone, where quotes are harmless: what is written most is so the shortest.
pub(crate) fn escape_content(text: &str) -> String {
    escape(text).replace("&quot;", "\"").replace("&#39;", "'")
}

/// Escapes for element content and for attributes in double quotes, in HTML and in XML 1.0.
///
/// Control characters have no place in either and are shown as their picture (U+2400…), so that a log line
/// with an escape sequence can neither break the page nor hide.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            '\u{7f}' => out.push('\u{2421}'),
            c if (c as u32) < 0x20 => out.push(char::from_u32(0x2400 + c as u32).unwrap_or(' ')),
            '\u{fffe}' | '\u{ffff}' | '\u{80}'..='\u{9f}' => out.push('\u{fffd}'),
            // Overrides of the writing direction could make a line read other than it is.
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// JSON for a `<script>` element: nothing in it can end the element or begin a comment.
pub(crate) fn script_json<T: serde::Serialize>(value: &T) -> String {
    let json = serde_json::to_string(value).expect("page data has only string keys and finite numbers");
    json.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

/// At most `max` characters, with an ellipsis where something was cut.
pub(crate) fn shorten(text: &str, max: usize) -> String {
    if text.chars().count() <= max {
        return text.to_owned();
    }
    text.chars().take(max.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_becomes_text() {
        assert_eq!(
            escape("<script a=\"1\" b='2'>&\u{1b}[31m"),
            "&lt;script a=&quot;1&quot; b=&#39;2&#39;&gt;&amp;␛[31m"
        );
    }

    #[test]
    fn content_keeps_its_quotes_and_nothing_else() {
        assert_eq!(escape_content("put \"a\" <'b'> &quot;"), "put \"a\" &lt;'b'&gt; &amp;quot;");
    }

    #[test]
    fn data_cannot_leave_its_script_element() {
        let json = script_json(&"</script><!-- &\u{2028}");
        assert!(!json.contains(['<', '>', '&', '\u{2028}']), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), "</script><!-- &\u{2028}");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(shorten("größe", 5), "größe");
        assert_eq!(shorten("größer", 5), "größ…");
    }
}
