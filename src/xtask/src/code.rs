//! Tells code from what is written about it: comments, strings and tests are blanked out, so that a rule
//! about code does not trip over a sentence that explains the rule.

/// The text with comments, string literals and character literals replaced by spaces; newlines stay, so
/// that line numbers hold.
#[must_use]
pub fn without_comments_and_strings(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' if !is_word(bytes, at.wrapping_sub(1)) || after_prefix(bytes, at) => {
                raw_string_end(bytes, at).unwrap_or(at)
            }
            b'\'' => char_end(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        for byte in &mut out[at..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at = end;
    }
    // Only whole literals and comments were blanked, byte by byte: what is left is still UTF-8.
    String::from_utf8(out).expect("blanking keeps UTF-8")
}

/// The text with every `#[cfg(test)]` item blanked as well. Takes text without comments and strings.
#[must_use]
pub fn without_tests(code: &str) -> String {
    let mut out = code.as_bytes().to_vec();
    let mut from = 0;
    while let Some(found) = code[from..].find("#[cfg(test)]") {
        let start = from + found;
        let end = item_end(code.as_bytes(), start + "#[cfg(test)]".len());
        for byte in &mut out[start..end] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        from = end;
    }
    String::from_utf8(out).expect("blanking keeps UTF-8")
}

/// The number, from 1, of the line that holds the byte `at`.
#[must_use]
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

/// Every place where `word` stands as a whole word: not inside a longer name.
#[must_use]
pub fn places_of(text: &str, word: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let starts_as_word = word.as_bytes().first().is_some_and(|byte| is_word_byte(*byte));
    let ends_as_word = word.as_bytes().last().is_some_and(|byte| is_word_byte(*byte));
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|at| {
            let joined_before = starts_as_word && is_word(bytes, at.wrapping_sub(1));
            let joined_after = ends_as_word && is_word(bytes, at + word.len());
            !joined_before && !joined_after
        })
        .collect()
}

fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn is_word(bytes: &[u8], at: usize) -> bool {
    bytes.get(at).is_some_and(|byte| is_word_byte(*byte))
}

fn after_prefix(bytes: &[u8], at: usize) -> bool {
    // `br"…"`: the r follows a b which starts a word.
    at >= 1 && bytes[at - 1] == b'b' && !is_word(bytes, at.wrapping_sub(2))
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0;
    let mut here = at;
    while here < bytes.len() {
        if bytes[here..].starts_with(b"/*") {
            depth += 1;
            here += 2;
        } else if bytes[here..].starts_with(b"*/") {
            depth -= 1;
            here += 2;
            if depth == 0 {
                return here;
            }
        } else {
            here += 1;
        }
    }
    bytes.len()
}

fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut here = at + 1;
    while here < bytes.len() {
        match bytes[here] {
            b'\\' => here += 2,
            b'"' => return here + 1,
            _ => here += 1,
        }
    }
    bytes.len()
}

fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let hashes = bytes[at + 1..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + 1 + hashes) != Some(&b'"') {
        return None;
    }
    let mut closing = vec![b'"'];
    closing.resize(1 + hashes, b'#');
    let body = at + 2 + hashes;
    let length = bytes[body..].windows(closing.len()).position(|window| window == closing);
    Some(length.map_or(bytes.len(), |length| body + length + closing.len()))
}

fn char_end(bytes: &[u8], at: usize) -> usize {
    // A quote begins a character or a lifetime; a lifetime has no quote behind its first letter.
    if bytes.get(at + 1) == Some(&b'\\') {
        let close = bytes[at + 3..].iter().position(|byte| *byte == b'\'');
        return close.map_or(at, |length| at + 3 + length + 1);
    }
    let width = bytes.get(at + 1).map_or(0, |byte| match byte {
        0xf0.. => 4,
        0xe0.. => 3,
        0xc0.. => 2,
        _ => 1,
    });
    if bytes.get(at + 1 + width) == Some(&b'\'') { at + 2 + width } else { at }
}

/// Where the item that begins at `at` ends: behind its block, or behind its semicolon.
fn item_end(bytes: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in bytes[at..].iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + offset + 1;
                }
            }
            b';' if depth == 0 => return at + offset + 1,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words_left(text: &str) -> Vec<String> {
        without_comments_and_strings(text).split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn comments_and_literals_vanish_and_code_stays() {
        assert_eq!(words_left("a // b\nc /* d /* e */ f */ g"), ["a", "c", "g"]);
        assert_eq!(words_left(r#"a "b \" c" d"#), ["a", "d"]);
        assert_eq!(words_left("a r#\"b \" c\"# d br\"e\" f"), ["a", "d", "b", "f"]);
        assert_eq!(words_left(r"a '\'' b 'x' c '{' d"), ["a", "b", "c", "d"]);
        assert_eq!(words_left("fn a<'b>(c: &'b str)"), ["fn", "a<'b>(c:", "&'b", "str)"]);
        assert_eq!(words_left("x 'ü' y \"日本\" z"), ["x", "y", "z"]);
    }

    #[test]
    fn lines_keep_their_numbers() {
        let code = without_comments_and_strings("one\n/* two\nthree */\n\"four\nfive\"\nsix");
        assert_eq!(line_of(&code, code.find("six").unwrap()), 6);
    }

    #[test]
    fn test_items_vanish_with_all_their_braces() {
        let code = "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { if c {} } }\nfn d() {}";
        let left = without_tests(code);
        assert!(left.contains("fn a") && left.contains("fn d"));
        assert!(!left.contains("fn b"));
        assert_eq!(without_tests("#[cfg(test)]\nmod tests;\nfn e() {}").trim(), "fn e() {}");
    }

    #[test]
    fn a_word_inside_a_longer_name_is_not_that_word() {
        assert_eq!(places_of("HashMapLike HashMap MyHashMap", "HashMap"), [12]);
        assert_eq!(places_of("eprintln!(x) println!(y)", "println!"), [13]);
    }
}
