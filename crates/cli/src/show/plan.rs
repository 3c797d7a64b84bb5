//! A plan, for people.

use api::{Action, Plan};

use super::{Paint, board::counted, clean};

/// One line per change, then what it adds up to.
pub(crate) fn text(plan: &Plan, paint: Paint) -> String {
    let mut text = String::new();
    for change in &plan.changes {
        let sign = match change.action {
            Action::Start => paint.good("+"),
            Action::Stop => paint.bad("-"),
            Action::Replace | Action::Update => paint.warn("~"),
        };
        let verb = match change.action {
            Action::Start => "start",
            Action::Stop => "stop",
            Action::Replace => "replace",
            Action::Update => "update",
        };
        let mut line = format!("{sign} {verb} {}", paint.bold(clean::text(&change.service)));
        if !change.instances.is_empty() {
            line.push_str(&format!(" ({})", names(&change.instances)));
        }
        if !change.why.is_empty() {
            line.push_str(&paint.dim(format!(": {}", clean::text(&change.why.join(", ")))));
        }
        text.push_str(&line);
        text.push('\n');
    }
    text.push_str(&summary(plan));
    text.push('\n');
    text
}

/// Names beyond this many are counted instead.
const NAMES: usize = 4;

fn names(instances: &[String]) -> String {
    let mut shown: Vec<String> = instances.iter().take(NAMES).map(|name| clean::text(name)).collect();
    if instances.len() > NAMES {
        shown.push(format!("{} more", instances.len() - NAMES));
    }
    shown.join(", ")
}

/// `2 to start, 1 to replace, 4 instances stay`.
pub(crate) fn summary(plan: &Plan) -> String {
    if plan.changes.is_empty() {
        return format!("nothing to change: {} as the file asks", are(plan.unchanged as usize));
    }
    let count = |action: Action| plan.changes.iter().filter(|change| change.action == action).count();
    let mut parts = Vec::new();
    for (action, verb) in [
        (Action::Start, "start"),
        (Action::Replace, "replace"),
        (Action::Update, "update"),
        (Action::Stop, "stop"),
    ] {
        let services = count(action);
        if services > 0 {
            parts.push(format!("{} to {verb}", counted(services, "service")));
        }
    }
    if plan.unchanged > 0 {
        let stay = if plan.unchanged == 1 { "stays" } else { "stay" };
        parts.push(format!("{} {stay}", counted(plan.unchanged as usize, "instance")));
    }
    parts.join(", ")
}

fn are(instances: usize) -> String {
    let verb = if instances == 1 { "is" } else { "are" };
    format!("{} {verb}", counted(instances, "instance"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::Change;

    fn change(action: Action, service: &str, instances: &[&str], why: &[&str]) -> Change {
        Change {
            action,
            service: service.into(),
            instances: instances.iter().map(ToString::to_string).collect(),
            why: why.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_plan_says_what_happens_to_whom_and_why() {
        let many: Vec<String> = (1..=6).map(|n| format!("catalog-{n}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let plan = Plan {
            changes: vec![
                change(Action::Start, "catalog", &many, &[]),
                change(Action::Replace, "orders", &["orders-1"], &["command", "environment.LOG"]),
                change(Action::Update, "payments", &[], &["routes"]),
                change(Action::Stop, "old", &["old-1"], &["not in the file"]),
            ],
            unchanged: 3,
        };
        insta::assert_snapshot!(text(&plan, Paint::new(false)), @r"
        + start catalog (catalog-1, catalog-2, catalog-3, catalog-4, 2 more)
        ~ replace orders (orders-1): command, environment.LOG
        ~ update payments: routes
        - stop old (old-1): not in the file
        1 service to start, 1 service to replace, 1 service to update, 1 service to stop, 3 instances stay
        ");
        let nothing = Plan { changes: Vec::new(), unchanged: 1 };
        assert_eq!(text(&nothing, Paint::new(false)), "nothing to change: 1 instance is as the file asks\n");
    }
}
