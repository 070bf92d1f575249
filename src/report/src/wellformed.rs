//! A small reader of tags for tests: says where markup is broken.

/// Elements of HTML that have no end.
const VOID: [&str; 5] = ["meta", "br", "input", "hr", "link"];

/// Checks that all tags are closed in order and that attributes are quoted and not repeated. Content of
/// `script` and `style` is taken as it is.
pub(crate) fn check(markup: &str) -> Result<Vec<String>, String> {
    let mut open: Vec<String> = Vec::new();
    let mut all = Vec::new();
    let mut rest = markup;
    while let Some(start) = rest.find('<') {
        let (text, tag) = rest.split_at(start);
        if text.contains('>') {
            return Err(format!("a bare > in {text:?}"));
        }
        if tag.starts_with("<!") || tag.starts_with("<?") {
            rest = &tag[tag.find('>').ok_or("an open declaration")? + 1..];
            continue;
        }
        let end = end_of_tag(tag)?;
        let inside = &tag[1..end];
        rest = &tag[end + 1..];
        if let Some(name) = inside.strip_prefix('/') {
            if open.pop().as_deref() != Some(name) {
                return Err(format!("</{name}> closes nothing of that name; rest {:.60}", rest));
            }
            continue;
        }
        let name: String = inside.chars().take_while(|c| c.is_ascii_alphanumeric()).collect();
        if name.is_empty() {
            return Err(format!("no name in <{inside}>"));
        }
        attributes(inside[name.len()..].trim_end_matches('/'))?;
        all.push(name.clone());
        if inside.ends_with('/') || VOID.contains(&name.as_str()) {
            continue;
        }
        if name == "script" || name == "style" {
            let close = format!("</{name}>");
            rest = &rest[rest.find(&close).ok_or(format!("no {close}"))? + close.len()..];
            continue;
        }
        open.push(name);
    }
    if open.is_empty() { Ok(all) } else { Err(format!("never closed: {open:?}")) }
}

fn end_of_tag(tag: &str) -> Result<usize, String> {
    let mut quoted = false;
    for (place, c) in tag.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '>' if !quoted => return Ok(place),
            '<' if place > 0 => return Err(format!("a bare < in {:.80}", tag)),
            _ => {}
        }
    }
    Err(format!("a tag without end: {:.60}", tag))
}

fn attributes(text: &str) -> Result<(), String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let name: String =
            rest.chars().take_while(|c| c.is_ascii_alphanumeric() || "-_:".contains(*c)).collect();
        if name.is_empty() || !seen.insert(name.clone()) {
            return Err(format!("attribute {name:?} in {text:?}"));
        }
        rest = rest[name.len()..].trim_start();
        if let Some(value) = rest.strip_prefix("=\"") {
            rest = value[value.find('"').ok_or(format!("open quote in {text:?}"))? + 1..].trim_start();
        }
    }
    Ok(())
}

#[test]
fn broken_markup_is_seen() {
    assert_eq!(check("<p a=\"1>\">x<br>&lt;<b/></p>").unwrap(), ["p", "br", "b"]);
    for broken in
        ["<p>", "</p>", "<p><b></p></b>", "<p a=1 a=2></p>", "<p a=\"1\" a=\"2\"></p>", "a > b<br>", "<p <b>"]
    {
        assert!(check(broken).is_err(), "{broken}");
    }
}
