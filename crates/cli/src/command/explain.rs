//! `atoll explain`: the page of an error.

use crate::failure::{CliError, Failure, print};
use crate::show::Paint;

// `PAGES`: code and text of every page in `docs/errors`, in the order of codes. Made by `build.rs`.
include!(concat!(env!("OUT_DIR"), "/pages.rs"));

/// Describe an error by its code; without one list all
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct ExplainArgs {
    /// The code, such as A0501
    #[arg(value_name = "CODE")]
    code: Option<String>,
}

/// Runs the command.
pub(crate) fn run(args: ExplainArgs) -> Result<u8, Failure> {
    let paint = Paint::stdout();
    let Some(asked) = args.code else {
        let lines: Vec<String> =
            PAGES.iter().map(|(code, page)| format!("{}  {}\n", paint.bold(code), title(page))).collect();
        print(&lines.concat())?;
        return Ok(0);
    };
    let page = page(&asked).ok_or_else(|| CliError::NoSuchCode { code: crate::show::clean::text(&asked) })?;
    print(&pretty(page, paint))?;
    Ok(0)
}

/// The page of a code, written in any way people write one: `A0501`, `a0501`, `error[A0501]`, `501`.
fn page(asked: &str) -> Option<&'static str> {
    let digits: String = asked.chars().filter(char::is_ascii_digit).collect();
    let number: u32 = digits.parse().ok()?;
    let code = format!("A{number:04}");
    let at = PAGES.binary_search_by_key(&code.as_str(), |(code, _)| code).ok()?;
    PAGES.get(at).map(|(_, page)| *page)
}

/// `# A0501: title` without its front.
fn title(page: &str) -> &str {
    let first = page.lines().next().unwrap_or_default();
    first.split_once(": ").map_or(first, |(_, title)| title)
}

/// Titles in bold; the rest of the page reads well as it is.
fn pretty(page: &str, paint: Paint) -> String {
    page.lines()
        .map(|line| match line.strip_prefix('#') {
            Some(title) => format!("{}\n", paint.bold(title.trim_start_matches('#').trim())),
            None => format!("{line}\n"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_found_however_it_is_written() {
        for asked in ["A0801", "a0801", "error[A0801]", "801"] {
            assert!(page(asked).unwrap().starts_with("# A0801: "), "{asked}");
        }
        assert!(page("A9999").is_none() && page("").is_none() && page("99999999999").is_none());
    }

    #[test]
    fn every_page_opens_with_its_code_and_a_title() {
        for (code, page) in PAGES {
            assert!(page.starts_with(&format!("# {code}: ")), "docs/errors/{code}.md");
            assert!(!title(page).is_empty() && page.lines().count() >= 3, "docs/errors/{code}.md");
        }
    }
}
