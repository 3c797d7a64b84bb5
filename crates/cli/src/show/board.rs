//! The board: one line per service while the app starts or stops.

use std::collections::BTreeMap;
use std::time::Duration;

use anstyle::Style;
use api::{Service, ServiceState, Status};

use super::table::{Cell, Side, Table};
use super::term::Size;
use super::{Paint, clean, paint, time};

/// Frames of the sign that something goes on.
const SPINNER: [&str; 10] = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/// How long one frame of it stands.
const SPINNER_FRAME: Duration = Duration::from_millis(80);

/// What is known beside the status.
#[derive(Clone, Debug, Default)]
pub(crate) struct Beside {
    /// Since when the board stands.
    pub(crate) elapsed: Duration,
    /// For services whose `prepare` runs: since when, and its last line of output.
    pub(crate) preparing: BTreeMap<String, (Duration, String)>,
    /// The app is on its way down.
    pub(crate) stopping: bool,
}

/// The lines of the board; at most as many as fit on the terminal, one row left for the cursor.
pub(crate) fn lines(status: &Status, beside: &Beside, size: Size, paint: Paint) -> Vec<String> {
    let mut lines = vec![title(status, beside, paint)];
    let room = size.rows.saturating_sub(3).max(1);
    let shown = most_telling(&status.services, room, beside.stopping);
    let mut table = Table::new(&[
        ("", Side::Left),
        ("SERVICE", Side::Left),
        ("STATE", Side::Left),
        ("READY", Side::Right),
        ("IN", Side::Right),
        ("", Side::Left),
    ]);
    for service in &shown {
        table.row(row(service, beside));
    }
    lines.extend(table.lines(Some(size.columns), paint));
    let hidden = status.services.len() - shown.len();
    if hidden > 0 {
        lines.push(paint.dim(format!("  … and {hidden} more")));
    }
    lines.iter().map(|line| clean::cut(line, size.columns)).collect()
}

fn title(status: &Status, beside: &Beside, paint: Paint) -> String {
    let settled = status.services.iter().filter(|s| is_settled(s.state)).count();
    let all = status.services.len();
    let app = paint.bold(clean::text(&status.app));
    let frame = spinner(beside.elapsed);
    let counter = paint.dim(time::counter(beside.elapsed));
    if beside.stopping {
        let running = running(status);
        return format!("{frame} {app} stops · {} left {counter}", counted(running, "instance"));
    }
    format!("{frame} {app} starts · {settled}/{all} {counter}")
}

/// `1 instance`, `2 instances`.
pub(crate) fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// Instances that have a process.
pub(crate) fn running(status: &Status) -> usize {
    status.services.iter().flat_map(|service| &service.instances).filter(|i| i.pid.is_some()).count()
}

fn spinner(elapsed: Duration) -> &'static str {
    let frame = elapsed.as_millis() / SPINNER_FRAME.as_millis();
    SPINNER.get(frame as usize % SPINNER.len()).copied().unwrap_or("·")
}

fn row(service: &Service, beside: &Beside) -> Vec<Cell> {
    let (sign, style) = sign(service.state);
    let preparing = beside.preparing.get(&service.name).filter(|_| service.state == ServiceState::Preparing);
    let took = match (service.ready_after_ms, preparing) {
        (Some(millis), _) => time::millis(millis),
        (None, Some((since, _))) => time::counter(*since),
        (None, None) => String::new(),
    };
    let ready = if service.desired == 0 && service.ready == 0 {
        String::new()
    } else {
        format!("{}/{}", service.ready, service.desired)
    };
    let tail = match preparing {
        Some((_, line)) if !line.is_empty() => Cell::styled(paint::dim(), line),
        _ => tail(service),
    };
    vec![
        Cell::styled(style, sign),
        Cell::styled(paint::name_style(&service.name), &service.name),
        Cell::styled(style, service.state.as_str()),
        Cell::new(ready),
        Cell::new(took),
        tail,
    ]
}

/// What stands at the end of a service's line: why it is not well, or where it is.
fn tail(service: &Service) -> Cell {
    if !service.detail.is_empty() {
        let style = match service.state {
            ServiceState::Failed | ServiceState::Degraded => paint::bad(),
            ServiceState::Unsupported => paint::warn(),
            _ => paint::dim(),
        };
        return Cell::styled(style, &service.detail);
    }
    let addresses: Vec<&str> =
        service.instances.iter().filter_map(|instance| instance.address.as_deref()).collect();
    match addresses.as_slice() {
        [] => Cell::new(""),
        [address] => Cell::new(address),
        [first, rest @ ..] => Cell::new(format!("{first} +{}", rest.len())),
    }
}

fn sign(state: ServiceState) -> (&'static str, Style) {
    match state {
        ServiceState::Waiting => ("○", paint::dim()),
        ServiceState::Preparing | ServiceState::Starting | ServiceState::Stopping => ("◐", paint::warn()),
        ServiceState::Ready | ServiceState::Completed => ("●", paint::good()),
        ServiceState::Degraded | ServiceState::Failed => ("✗", paint::bad()),
        ServiceState::Stopped => ("○", paint::dim()),
        ServiceState::Unsupported => ("!", paint::warn()),
    }
}

/// The style of a service's state, in every list.
pub(crate) fn state_style(state: ServiceState) -> Style {
    sign(state).1
}

/// The service will stay as it is unless something happens.
pub(crate) const fn is_settled(state: ServiceState) -> bool {
    match state {
        ServiceState::Ready
        | ServiceState::Failed
        | ServiceState::Completed
        | ServiceState::Stopped
        | ServiceState::Unsupported => true,
        ServiceState::Waiting
        | ServiceState::Preparing
        | ServiceState::Starting
        | ServiceState::Degraded
        | ServiceState::Stopping => false,
    }
}

/// When not all fit: first what is under way or broken, each in the app's order.
fn most_telling(services: &[Service], room: usize, stopping: bool) -> Vec<&Service> {
    if services.len() <= room {
        return services.iter().collect();
    }
    let dull = |service: &Service| match service.state {
        ServiceState::Failed | ServiceState::Degraded => 0,
        ServiceState::Preparing | ServiceState::Starting | ServiceState::Stopping => 1,
        ServiceState::Ready if stopping => 1,
        ServiceState::Waiting => 2,
        _ => 3,
    };
    let mut ranked: Vec<(usize, &Service)> = services.iter().enumerate().collect();
    ranked.sort_by_key(|(place, service)| (dull(service), *place));
    ranked.truncate(room.saturating_sub(1).max(1));
    ranked.sort_by_key(|(place, _)| *place);
    ranked.into_iter().map(|(_, service)| service).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use api::{Instance, InstanceState, Phase};
    use kit::Timestamp;

    pub(crate) fn instance(service: &str, replica: u32, state: InstanceState) -> Instance {
        Instance {
            name: format!("{service}-{replica}"),
            service: service.into(),
            replica,
            run: 1,
            state,
            detail: String::new(),
            pid: Some(100 + replica),
            address: Some(format!("127.0.0.1:3000{replica}")),
            revision: "abc".into(),
            started_at: Some(Timestamp::from_micros(1_000_000)),
            ready_after_ms: (state == InstanceState::Ready).then_some(41),
            restarts: 0,
            last_exit: None,
            in_flight: 0,
            ejected_ms: None,
        }
    }

    pub(crate) fn service(
        name: &str,
        state: ServiceState,
        detail: &str,
        instances: Vec<Instance>,
    ) -> Service {
        let ready = instances.iter().filter(|i| i.state == InstanceState::Ready).count() as u32;
        Service {
            name: name.into(),
            state,
            detail: detail.into(),
            desired: instances.len() as u32,
            ready,
            routes: Vec::new(),
            calls: Vec::new(),
            ready_after_ms: (state == ServiceState::Ready).then_some(240),
            instances,
        }
    }

    pub(crate) fn status(phase: Phase, services: Vec<Service>) -> Status {
        Status {
            generation: 1,
            app: "bookshop".into(),
            root: "/srv/bookshop".into(),
            phase,
            gateway: vec!["http://127.0.0.1:8080".into()],
            pipes: None,
            console: None,
            services,
            guards: Vec::new(),
        }
    }

    pub(crate) fn starting() -> Status {
        let two =
            vec![instance("catalog", 1, InstanceState::Ready), instance("catalog", 2, InstanceState::Ready)];
        status(
            Phase::Starting,
            vec![
                service("catalog", ServiceState::Ready, "", two),
                service("orders", ServiceState::Preparing, "", Vec::new()),
                service("payments", ServiceState::Failed, "exit status 1 three times in a row", Vec::new()),
                service("storefront", ServiceState::Waiting, "waits for orders", Vec::new()),
            ],
        )
    }

    #[test]
    fn the_board_says_where_each_service_stands() {
        let beside = Beside {
            elapsed: Duration::from_secs(3),
            preparing: [("orders".to_owned(), (Duration::from_secs(2), "Compiling serde".to_owned()))].into(),
            stopping: false,
        };
        let board = lines(&starting(), &beside, Size { columns: 70, rows: 24 }, Paint::new(false));
        insta::assert_snapshot!(board.join("\n"), @r"
        ⠧ bookshop starts · 2/4 3s
           SERVICE     STATE      READY      IN
        ●  catalog     ready        2/2  240 ms  127.0.0.1:30001 +1
        ◐  orders      preparing             2s  Compiling serde
        ✗  payments    failed                    exit status 1 three times in…
        ○  storefront  waiting                   waits for orders
        ");
    }

    #[test]
    fn a_short_terminal_shows_what_is_under_way_or_broken() {
        let board = lines(&starting(), &Beside::default(), Size { columns: 60, rows: 6 }, Paint::new(false));
        insta::assert_snapshot!(board.join("\n"), @r"
        ⠋ bookshop starts · 2/4 0s
           SERVICE   STATE      READY  IN
        ◐  orders    preparing
        ✗  payments  failed                exit status 1 three time…
          … and 2 more
        ");
    }

    #[test]
    fn the_board_never_outgrows_the_terminal() {
        for rows in 1..12 {
            for columns in [1, 10, 40, 200] {
                let board = lines(&starting(), &Beside::default(), Size { columns, rows }, Paint::new(true));
                assert!(board.len() < rows.max(5), "{rows} rows, {} lines", board.len());
                assert!(board.iter().all(|line| clean::width(line) <= columns));
            }
        }
    }
}
