//! `atoll breaker`: circuit breakers, seen and held.

use api::{BreakerOrder, Guard, Order};

use super::Context;
use super::up::now;
use crate::failure::{CliError, Failure, print, print_json};
use crate::flags::{AppFlags, FormatFlag};
use crate::place::Place;
use crate::show::{Paint, clean, guards, term};

/// Routes named in an error at most.
const MOST_NAMED: usize = 5;

/// Show the breakers of all routes and calls, or hold one
///
/// `open ROUTE` refuses every request of the route until further notice, `close ROUTE` lets all pass, `auto
/// ROUTE` lets the breaker judge again. ROUTE is a name as `atoll breaker` shows it, or as much of it as no
/// other has: `GET /books`, `"orders -> payments"` or `orders payments`. JSON: a list of `Guard` of the admin
/// API.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct BreakerArgs {
    /// Where the app is, then `open`, `close` or `auto` and a route; without one of the three a part of routes
    /// or services to show [default: all]
    #[arg(value_name = "APP|ORDER|ROUTE")]
    words: Vec<String>,
    /// How.
    #[command(flatten)]
    format: FormatFlag,
    /// Which app.
    #[command(flatten)]
    app: AppFlags,
}

/// Runs the command.
pub(crate) fn run(args: BreakerArgs, context: &Context) -> Result<u8, Failure> {
    let flags = args.app.after(&context.app);
    // A route may begin with its path, which looks like a place.
    let is_path = |word: &String| word.starts_with('/') && !std::path::Path::new(word).exists();
    let (place, words) = match args.words.first() {
        Some(first) if is_path(first) => (Place::new(flags, None), args.words),
        _ => Place::of_targets(flags, &args.words),
    };
    let client = place.client()?;
    let (order, wanted) = parse(&words);
    let all = context.block_on(async { Ok(client.breakers().await?) })?;
    let Some(order) = order else {
        return show(args.format, &filtered(all, &wanted)?);
    };
    let route = find(&wanted, &all)?;
    let wish = BreakerOrder { route: route.clone(), order };
    let held = context.block_on(async { Ok(client.order_breaker(&wish).await?) })?;
    if args.format.is_json() {
        return show(args.format, &held);
    }
    let name = clean::text(&route);
    print(&match order {
        Order::Open => {
            format!("`{name}` is held open: every request is refused until `atoll breaker auto {name:?}`\n")
        }
        Order::Close => {
            format!("`{name}` is held closed: every request passes until `atoll breaker auto {name:?}`\n")
        }
        Order::Auto => format!("`{name}` judges again\n"),
    })?;
    Ok(0)
}

fn show(format: FormatFlag, shown: &[Guard]) -> Result<u8, Failure> {
    if format.is_json() {
        print_json(&shown)?;
    } else {
        print(&guards::breakers(shown, now(), term::columns(), Paint::stdout()))?;
    }
    Ok(0)
}

/// The order that words begin with, and the rest as one name.
fn parse(words: &[String]) -> (Option<Order>, String) {
    let order = match words.first().map(String::as_str) {
        Some("open") => Some(Order::Open),
        Some("close") => Some(Order::Close),
        Some("auto") => Some(Order::Auto),
        _ => None,
    };
    let rest = if order.is_some() { words.get(1..).unwrap_or_default() } else { words };
    (order, plain(&rest.join(" ")))
}

/// A name without what a shell makes hard to type: `orders -> payments` is `orders payments`. Lower case.
fn plain(name: &str) -> String {
    let words = name.split_whitespace().filter(|word| !matches!(*word, "->" | "→"));
    words.collect::<Vec<_>>().join(" ").to_ascii_lowercase()
}

/// Those of a service, or whose name has `wanted` in it.
fn filtered(mut all: Vec<Guard>, wanted: &str) -> Result<Vec<Guard>, CliError> {
    if wanted.is_empty() {
        return Ok(all);
    }
    let unknown = unknown(wanted, &all);
    all.retain(|guard| guard.service == wanted || plain(&guard.route).contains(wanted));
    if all.is_empty() { Err(unknown) } else { Ok(all) }
}

/// The one route that is meant: of this name, or else the only one whose name begins so, or else has it in it.
fn find(wanted: &str, all: &[Guard]) -> Result<String, CliError> {
    let mut routes: Vec<&str> = all.iter().map(|guard| guard.route.as_str()).collect();
    routes.sort_unstable();
    routes.dedup();
    type Fits = fn(&str, &str) -> bool;
    let ways: [Fits; 3] = [
        |name, wanted| name == wanted,
        |name, wanted| name.starts_with(wanted),
        |name, wanted| name.contains(wanted),
    ];
    for fits in ways {
        let found: Vec<&str> = routes.iter().copied().filter(|route| fits(&plain(route), wanted)).collect();
        match found.as_slice() {
            [] => {}
            [one] => return Ok((*one).to_owned()),
            several => {
                let mut names: Vec<_> =
                    several.iter().take(MOST_NAMED).map(|name| format!("`{}`", clean::text(name))).collect();
                if several.len() > MOST_NAMED {
                    names.push(format!("{} more", several.len() - MOST_NAMED));
                }
                return Err(CliError::ManyRoutes { name: clean::text(wanted), routes: names.join(", ") });
            }
        }
    }
    Err(unknown(wanted, all))
}

fn unknown(wanted: &str, all: &[Guard]) -> CliError {
    let nearest = all
        .iter()
        .map(|guard| (strsim::damerau_levenshtein(wanted, &plain(&guard.route)), &guard.route))
        .filter(|(distance, route)| *distance <= route.len().max(wanted.len()) / 3 + 1)
        .min()
        .map(|(_, route)| clean::text(route));
    CliError::NoSuchRoute { name: clean::text(wanted), nearest }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::show::guards::tests::guard;

    fn all() -> Vec<Guard> {
        ["GET /books", "GET /books/{id}", "POST /orders", "orders -> payments", "storefront -> orders"]
            .map(|route| guard(route, "orders", None))
            .into()
    }

    #[test]
    fn a_route_is_meant_by_its_name_or_by_a_part_that_no_other_has() {
        for (said, meant) in [
            ("GET /books", "GET /books"),
            ("get /books/", "GET /books/{id}"),
            ("POST", "POST /orders"),
            ("orders -> payments", "orders -> payments"),
            ("orders payments", "orders -> payments"),
            ("payments", "orders -> payments"),
            ("store", "storefront -> orders"),
        ] {
            let (_, wanted) = parse(&["open".to_owned(), said.to_owned()]);
            assert_eq!(find(&wanted, &all()).unwrap(), meant, "{said}");
        }
    }

    #[test]
    fn a_part_that_several_have_names_them_and_a_mistyped_one_the_nearest() {
        let several = kit::report::render(&find("get", &all()).unwrap_err());
        assert_eq!(
            several,
            "error[A0818]: `get` could be `GET /books`, `GET /books/{id}`\n  hint: write more of the one you mean\n"
        );
        let none = kit::report::render(&find("orders paymens", &all()).unwrap_err());
        assert!(
            none.contains("error[A0817]") && none.contains("did you mean `orders -> payments`?"),
            "{none}"
        );
        assert!(matches!(find("", &all()), Err(CliError::ManyRoutes { .. })));
        assert!(matches!(find("zzzzzz", &all()), Err(CliError::NoSuchRoute { nearest: None, .. })));
    }

    #[test]
    fn a_list_can_be_narrowed_to_a_service_or_a_part_of_a_name() {
        assert_eq!(filtered(all(), "orders").unwrap().len(), 5);
        assert_eq!(filtered(all(), "/books").unwrap().len(), 2);
        assert!(filtered(all(), "paymets").is_err());
    }
}
