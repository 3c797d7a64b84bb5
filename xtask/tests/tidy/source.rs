//! Reading source text just well enough to look for words in it.

/// The code of a file of Rust with comments, strings and characters blanked out; lines stay where they are.
pub(crate) fn without_comments_and_text(source: &str) -> String {
    let mut code = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment(rest)
        } else if c == '"' {
            quoted(rest, '"')
        } else if c == '\'' {
            character(rest)
        } else if !ends_in_word(&code) {
            raw_string(rest)
        } else {
            0
        };
        let (part, after) = rest.split_at(skipped.max(c.len_utf8()));
        if skipped == 0 {
            code.push(c);
        } else {
            code.extend(part.chars().filter(|c| *c == '\n'));
            code.push(' ');
        }
        rest = after;
    }
    code
}

fn ends_in_word(code: &str) -> bool {
    code.chars().next_back().is_some_and(|c| c.is_alphanumeric() || c == '_')
}

fn block_comment(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if text[at..].starts_with("*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// The length of a quoted text with its quotes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of a character with its quotes; 0 for a lifetime.
fn character(text: &str) -> usize {
    let mut inside = text.chars().skip(1);
    match (inside.next(), inside.next()) {
        (Some('\\'), _) => quoted(text, '\''),
        (Some(c), Some('\'')) => c.len_utf8() + 2,
        _ => 0,
    }
}

/// The length of a raw string (`r"…"`, `br#"…"#`); 0 for anything else.
fn raw_string(text: &str) -> usize {
    let Some(after) = ["r", "br", "cr"].iter().find_map(|start| text.strip_prefix(start)) else { return 0 };
    let hashes = after.len() - after.trim_start_matches('#').len();
    let Some(inside) = after[hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", "#".repeat(hashes));
    let inside_from = text.len() - inside.len();
    inside.find(&end).map_or(text.len(), |at| inside_from + at + end.len())
}

/// Whether `word` stands in `line` by itself, not as a part of a longer name.
pub(crate) fn has_word(line: &str, word: &str) -> bool {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        !before.is_some_and(part) && !after.is_some_and(part)
    })
}

/// Every `"A0123"` in a source, its tests left out.
pub(crate) fn codes(source: &str) -> Vec<String> {
    let mut codes = Vec::new();
    let source = source.split("#[cfg(test)]").next().unwrap_or_default();
    for (at, _) in source.match_indices("\"A0") {
        let code = source.get(at + 1..at + 6).unwrap_or_default();
        let digits = code.len() == 5 && code[1..].bytes().all(|b| b.is_ascii_digit());
        if digits && source[at + 6..].starts_with('"') {
            codes.push(code.to_owned());
        }
    }
    codes
}

/// The targets of Markdown links that lead to files.
pub(crate) fn links(text: &str) -> Vec<String> {
    let mut links = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced || line.starts_with("    ") {
            continue;
        }
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', ' ']).next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                links.push(target.to_owned());
            }
        }
    }
    links
}

#[test]
fn only_code_is_left_of_a_source() {
    let source = "let a = \"unsafe \\\" unsafe\"; // unsafe\nlet b = r#\"unsafe \" \"#; /* unsafe /* x */ */ let c = '\"';\nfn f<'a>(x: &'a str) -> char { '\\'' } unsafe {}";
    let code = without_comments_and_text(source);
    assert_eq!(code.lines().count(), 3);
    assert_eq!(code.matches("unsafe").count(), 1);
    assert!(code.contains("fn f<'a>(x: &'a str)") && code.contains("let c ="), "{code}");
}

#[test]
fn a_word_is_not_found_inside_another() {
    assert!(has_word("use hyper::body;", "hyper"));
    assert!(has_word("hyper.workspace = true", "hyper"));
    assert!(!has_word("hyperlink and hyper_util", "hyper"));
}

#[test]
fn codes_and_links_are_found() {
    assert_eq!(codes(r#"code("A0102") and "A01023" and "A0x12" and A0105"#), ["A0102"]);
    let text = "[a](b.md#c) [d](https://e.example) `[x]`\n```\n[no](no.md)\n```\n";
    assert_eq!(links(text), ["b.md#c"]);
}
