//! The two text formats: Prometheus 0.0.4, and OpenMetrics 1.0 for those who ask for it. They differ in how
//! counters are announced, and only the second has examples, units and an end.

use std::fmt::Write;
use std::time::Duration;

use proxy::policy::histogram::Summary;

/// How the text is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text, version 0.0.4.
    Classic,
    /// OpenMetrics, version 1.0.
    OpenMetrics,
}

impl Format {
    /// What the `Accept` headers of a request want more (RFC 9110 §12.5.1); the classic one when they do not
    /// say.
    pub(super) fn wanted<'a>(accept: impl Iterator<Item = &'a str>) -> Self {
        let (mut classic, mut open) = (0.0, 0.0);
        for wish in accept.flat_map(|value| value.split(',')) {
            let mut parts = wish.split(';').map(str::trim);
            let quality = match parts.next().unwrap_or_default().to_ascii_lowercase().as_str() {
                "application/openmetrics-text" => &mut open,
                "text/plain" => &mut classic,
                _ => continue,
            };
            let asked = parts.filter_map(|part| part.strip_prefix("q=")?.parse().ok()).next_back();
            *quality = f64::max(*quality, asked.unwrap_or(1.0));
        }
        if open > 0.0 && open >= classic { Self::OpenMetrics } else { Self::Classic }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// What a family is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    /// Only grows. Its samples end in `_total`; its name is given without.
    Counter,
    /// A value now.
    Gauge,
    /// Counts by size.
    Histogram,
}

/// Labels of a sample, in their order.
pub(super) type Labels<'a> = [(&'a str, &'a str)];

/// A text that grows, family by family.
pub(super) struct Text {
    out: String,
    format: Format,
}

impl Text {
    pub(super) fn new(format: Format) -> Self {
        Self { out: String::new(), format }
    }

    /// A family. It is announced with its first sample: one without any does not appear. `help` has neither
    /// quotes, backslashes nor line feeds.
    pub(super) fn family(&mut self, name: &'static str, kind: Type, help: &'static str) -> Family<'_> {
        Family { text: self, name, kind, help, unit: None, begun: false }
    }

    /// The whole text.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.out.push_str("# EOF\n");
        }
        self.out
    }

    fn line(&mut self, name: &str, suffix: &str, labels: &Labels<'_>, bound: Option<&str>, value: f64) {
        self.out.push_str(name);
        self.out.push_str(suffix);
        let mut sign = '{';
        for (name, value) in labels.iter().copied().chain(bound.map(|bound| ("le", bound))) {
            self.out.push(sign);
            sign = ',';
            self.out.push_str(name);
            self.out.push_str("=\"");
            for c in value.chars() {
                match c {
                    '\\' => self.out.push_str("\\\\"),
                    '"' => self.out.push_str("\\\""),
                    '\n' => self.out.push_str("\\n"),
                    c => self.out.push(c),
                }
            }
            self.out.push('"');
        }
        if sign == ',' {
            self.out.push('}');
        }
        let _ = write!(self.out, " {value}"); // writing to a String cannot fail
    }
}

/// Samples of one name.
pub(super) struct Family<'a> {
    text: &'a mut Text,
    name: &'static str,
    kind: Type,
    help: &'static str,
    unit: Option<&'static str>,
    begun: bool,
}

impl Family<'_> {
    /// Says the unit that its name ends in.
    pub(super) fn unit(mut self, unit: &'static str) -> Self {
        self.unit = Some(unit);
        self
    }

    /// One value. Of one family no two have the same labels.
    pub(super) fn sample(&mut self, labels: &Labels<'_>, value: f64) {
        self.begin();
        let suffix = if self.kind == Type::Counter { "_total" } else { "" };
        self.text.line(self.name, suffix, labels, None, value);
        self.text.out.push('\n');
    }

    /// The buckets, sum and count of a histogram of seconds.
    pub(super) fn histogram(&mut self, labels: &Labels<'_>, summary: &Summary) {
        self.begin();
        let mut count = 0;
        for (bound, up_to, example) in summary.buckets() {
            let bound = if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:?}") };
            self.text.line(self.name, "_bucket", labels, Some(&bound), up_to as f64);
            count = up_to;
            if let (Format::OpenMetrics, Some(example)) = (self.text.format, example) {
                let (trace, took) = (example.trace, example.took);
                let when = Duration::from_millis(example.unix_ms);
                let _ = write!(
                    self.text.out,
                    " # {{trace_id=\"{trace:032x}\"}} {} {}.{:03}",
                    took.as_secs_f64(),
                    when.as_secs(),
                    when.subsec_millis()
                );
            }
            self.text.out.push('\n');
        }
        self.text.line(self.name, "_sum", labels, None, summary.sum_seconds());
        self.text.out.push('\n');
        self.text.line(self.name, "_count", labels, None, count as f64);
        self.text.out.push('\n');
    }

    fn begin(&mut self) {
        if self.begun {
            return;
        }
        self.begun = true;
        let (name, out) = (self.name, &mut self.text.out);
        let kind = match self.kind {
            Type::Counter => "counter",
            Type::Gauge => "gauge",
            Type::Histogram => "histogram",
        };
        let open = self.text.format == Format::OpenMetrics;
        let suffix = if self.kind == Type::Counter && !open { "_total" } else { "" };
        let _ = writeln!(out, "# HELP {name}{suffix} {}\n# TYPE {name}{suffix} {kind}", self.help);
        if let Some(unit) = self.unit.filter(|_| open) {
            let _ = writeln!(out, "# UNIT {name} {unit}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::check;
    use super::*;
    use proxy::policy::histogram::{Example, Recorder};

    fn written(format: Format) -> String {
        let mut text = Text::new(format);
        text.family("none", Type::Gauge, "Nothing.");
        text.family("things", Type::Counter, "Things.").sample(&[("of", "a \"b\" \\ \n")], 3.0);
        let (recorder, histogram) = Recorder::new();
        recorder.record(Duration::from_millis(70));
        let took = Duration::from_micros(1_500);
        recorder.record_example(Example { trace: 0xab, took, unix_ms: 1_700_000_000_007 });
        let mut summary = Summary::default();
        summary.add(&histogram);
        let mut family = text.family("took_seconds", Type::Histogram, "Time.").unit("seconds");
        family.histogram(&[("route", "x")], &summary);
        text.finish()
    }

    #[test]
    fn the_classic_text_has_neither_examples_nor_an_end() {
        let text = written(Format::Classic);
        assert!(text.starts_with(
            "# HELP things_total Things.\n# TYPE things_total counter\n\
             things_total{of=\"a \\\"b\\\" \\\\ \\n\"} 3\n\
             # HELP took_seconds Time.\n# TYPE took_seconds histogram\n\
             took_seconds_bucket{route=\"x\",le=\"0.0001\"} 0\n"
        ));
        assert!(!text.contains("# {") && !text.contains("EOF") && !text.contains("UNIT"), "{text}");
        assert_eq!(check(Format::Classic, &text)["took_seconds_count{route=\"x\"}"], 2.0);
    }

    #[test]
    fn openmetrics_has_an_example_for_a_bucket_units_and_an_end() {
        let text = written(Format::OpenMetrics);
        assert!(text.contains("# TYPE things counter\nthings_total{"), "{text}");
        assert!(text.contains("# TYPE took_seconds histogram\n# UNIT took_seconds seconds\n"), "{text}");
        let trace = "0".repeat(30) + "ab";
        let example = format!(
            "took_seconds_bucket{{route=\"x\",le=\"0.0025\"}} 1 # {{trace_id=\"{trace}\"}} 0.0015 1700000000.007\n"
        );
        assert!(text.contains(&example), "{text}");
        assert!(text.ends_with("# EOF\n"));
        check(Format::OpenMetrics, &text);
    }

    #[test]
    fn who_asks_for_openmetrics_gets_it() {
        let wanted = |accept: &[&str]| Format::wanted(accept.iter().copied());
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
            application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in
            [prometheus, "application/openmetrics-text", "text/html, Application/OpenMetrics-Text; q=0.1"]
        {
            assert_eq!(wanted(&[accept]), Format::OpenMetrics, "{accept}");
        }
        for accept in
            ["", "*/*", "text/plain, application/openmetrics-text;q=0.9", "application/openmetrics-text;q=0"]
        {
            assert_eq!(wanted(&[accept]), Format::Classic, "{accept}");
        }
        assert_eq!(wanted(&["text/plain;q=0.2", "application/openmetrics-text;q=0.3"]), Format::OpenMetrics);
        assert_eq!(wanted(&[]), Format::Classic);
    }
}
