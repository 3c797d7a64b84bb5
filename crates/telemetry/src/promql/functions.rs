//! The functions: what each is called, takes and gives; and those of single values.

use jiff::tz::TimeZone;
use regex::RegexBuilder;

use super::ast::Kind::{self, Matrix, Scalar, Text, Vector};
use super::matcher::{PATTERN_BYTES, value_of};
use super::rows::{Row, set};
use super::{Labels, PromError};

macro_rules! functions {
    ($($function:ident $name:literal [$($takes:ident)*] $least:literal $gives:ident)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Function { $($function),* }

        impl Function {
            pub(super) fn named(name: &str) -> Option<Self> {
                Some(match name { $($name => Self::$function,)* _ => return None })
            }

            pub(super) const fn name(self) -> &'static str {
                match self { $(Self::$function => $name),* }
            }

            /// What it takes; the last `takes().len() - least()` may be left out.
            pub(super) const fn takes(self) -> &'static [Kind] {
                match self { $(Self::$function => &[$($takes),*]),* }
            }

            pub(super) const fn least(self) -> usize {
                match self { $(Self::$function => $least),* }
            }

            pub(super) const fn gives(self) -> Kind {
                match self { $(Self::$function => $gives),* }
            }
        }
    };
}

functions! {
    Abs "abs" [Vector] 1 Vector
    Absent "absent" [Vector] 1 Vector
    AbsentOverTime "absent_over_time" [Matrix] 1 Vector
    AvgOverTime "avg_over_time" [Matrix] 1 Vector
    Ceil "ceil" [Vector] 1 Vector
    Changes "changes" [Matrix] 1 Vector
    Clamp "clamp" [Vector Scalar Scalar] 3 Vector
    ClampMax "clamp_max" [Vector Scalar] 2 Vector
    ClampMin "clamp_min" [Vector Scalar] 2 Vector
    CountOverTime "count_over_time" [Matrix] 1 Vector
    DayOfMonth "day_of_month" [Vector] 0 Vector
    DayOfWeek "day_of_week" [Vector] 0 Vector
    DayOfYear "day_of_year" [Vector] 0 Vector
    DaysInMonth "days_in_month" [Vector] 0 Vector
    Delta "delta" [Matrix] 1 Vector
    Deriv "deriv" [Matrix] 1 Vector
    Exp "exp" [Vector] 1 Vector
    Floor "floor" [Vector] 1 Vector
    HistogramQuantile "histogram_quantile" [Scalar Vector] 2 Vector
    Hour "hour" [Vector] 0 Vector
    Idelta "idelta" [Matrix] 1 Vector
    Increase "increase" [Matrix] 1 Vector
    Irate "irate" [Matrix] 1 Vector
    LabelJoin "label_join" [Vector Text Text Text] 3 Vector
    LabelReplace "label_replace" [Vector Text Text Text Text] 5 Vector
    LastOverTime "last_over_time" [Matrix] 1 Vector
    Ln "ln" [Vector] 1 Vector
    Log10 "log10" [Vector] 1 Vector
    Log2 "log2" [Vector] 1 Vector
    MaxOverTime "max_over_time" [Matrix] 1 Vector
    MinOverTime "min_over_time" [Matrix] 1 Vector
    Minute "minute" [Vector] 0 Vector
    Month "month" [Vector] 0 Vector
    Pi "pi" [] 0 Scalar
    PredictLinear "predict_linear" [Matrix Scalar] 2 Vector
    PresentOverTime "present_over_time" [Matrix] 1 Vector
    QuantileOverTime "quantile_over_time" [Scalar Matrix] 2 Vector
    Rate "rate" [Matrix] 1 Vector
    Resets "resets" [Matrix] 1 Vector
    Round "round" [Vector Scalar] 1 Vector
    Scalar_ "scalar" [Vector] 1 Scalar
    Sgn "sgn" [Vector] 1 Vector
    Sort "sort" [Vector] 1 Vector
    SortDesc "sort_desc" [Vector] 1 Vector
    Sqrt "sqrt" [Vector] 1 Vector
    StddevOverTime "stddev_over_time" [Matrix] 1 Vector
    StdvarOverTime "stdvar_over_time" [Matrix] 1 Vector
    SumOverTime "sum_over_time" [Matrix] 1 Vector
    Time "time" [] 0 Scalar
    Timestamp "timestamp" [Vector] 1 Vector
    Vector_ "vector" [Scalar] 1 Vector
    Year "year" [Vector] 0 Vector
}

impl Function {
    /// Whether its last argument may come again and again.
    pub(super) const fn takes_more(self) -> bool {
        matches!(self, Self::LabelJoin)
    }

    /// What a function of single values makes of one; none where it is none of those, or has no value for it.
    pub(super) fn of_value(self, value: f64, with: [f64; 2]) -> Option<f64> {
        let [a, b] = with;
        // NaN is kept, as Prometheus keeps it; `f64::max` would not.
        let at_least = |value: f64, least: f64| if value.is_nan() || value >= least { value } else { least };
        let at_most = |value: f64, most: f64| if value.is_nan() || value <= most { value } else { most };
        Some(match self {
            Self::Abs => value.abs(),
            Self::Ceil => value.ceil(),
            Self::Floor => value.floor(),
            Self::Exp => value.exp(),
            Self::Ln => value.ln(),
            Self::Log2 => value.log2(),
            Self::Log10 => value.log10(),
            Self::Sqrt => value.sqrt(),
            Self::Sgn if value > 0.0 => 1.0,
            Self::Sgn if value < 0.0 => -1.0,
            Self::Sgn => value,
            Self::Round => (value * (1.0 / a) + 0.5).floor() / (1.0 / a),
            Self::Clamp if a.is_nan() || b.is_nan() => f64::NAN,
            Self::Clamp => (b >= a).then(|| at_least(at_most(value, b), a))?,
            Self::ClampMin | Self::ClampMax if a.is_nan() => f64::NAN,
            Self::ClampMin => at_least(value, a),
            Self::ClampMax => at_most(value, a),
            Self::Minute
            | Self::Hour
            | Self::DayOfWeek
            | Self::DayOfMonth
            | Self::DayOfYear
            | Self::DaysInMonth
            | Self::Month
            | Self::Year => self.of_date(value),
            _ => return None,
        })
    }

    /// Whether it is one of single values.
    pub(super) fn is_of_values(self) -> bool {
        self.of_value(1.0, [1.0; 2]).is_some()
    }

    fn of_date(self, seconds: f64) -> f64 {
        #[expect(clippy::cast_possible_truncation, reason = "it saturates, and is out of range then")]
        let Ok(moment) = jiff::Timestamp::from_second(seconds as i64) else { return f64::NAN };
        let at = moment.to_zoned(TimeZone::UTC);
        f64::from(match self {
            Self::Minute => i16::from(at.minute()),
            Self::Hour => i16::from(at.hour()),
            Self::DayOfWeek => i16::from(at.weekday().to_sunday_zero_offset()),
            Self::DayOfMonth => i16::from(at.day()),
            Self::DayOfYear => at.day_of_year(),
            Self::DaysInMonth => i16::from(at.days_in_month()),
            Self::Month => i16::from(at.month()),
            _ => at.year(),
        })
    }
}

/// The longest value, in bytes, that a question may make of a label. What is longer was made to be.
const LONGEST_VALUE: usize = 4 << 10;

fn short_enough(length: usize, of: &str) -> Result<(), PromError> {
    if length <= LONGEST_VALUE {
        return Ok(());
    }
    Err(PromError::NoAnswer(format!("{of}() would make a label of more than {LONGEST_VALUE} bytes")))
}

/// `label_replace`: sets a label to what a pattern finds in another.
pub(super) fn label_replace(rows: &mut [Row], texts: &[&str]) -> Result<(), PromError> {
    let &[to, with, from, pattern] = texts else { return Ok(()) };
    let whole = format!("^(?:{pattern})$");
    let found = RegexBuilder::new(&whole).size_limit(PATTERN_BYTES).build().map_err(|_| {
        PromError::NoAnswer(format!("invalid regular expression in label_replace(): {pattern}"))
    })?;
    if !is_label(to) {
        return Err(PromError::NoAnswer(format!("invalid destination label name in label_replace(): {to}")));
    }
    for row in rows {
        let value = value_of(&row.labels, from).to_owned();
        if let Some(captured) = found.captures(&value) {
            // Each place that is filled in may take the whole of what was matched.
            let places = with.matches('$').count();
            short_enough(with.len().saturating_add(places.saturating_mul(value.len())), "label_replace")?;
            let mut replaced = String::new();
            captured.expand(with, &mut replaced);
            set(&mut row.labels, to, &replaced);
        }
    }
    Ok(())
}

/// `label_join`: sets a label to others, one after the other.
pub(super) fn label_join(rows: &mut [Row], texts: &[&str]) -> Result<(), PromError> {
    let [to, between, from @ ..] = texts else { return Ok(()) };
    if !is_label(to) {
        return Err(PromError::NoAnswer(format!("invalid destination label name in label_join(): {to}")));
    }
    for row in rows {
        let joined: Vec<&str> = from.iter().map(|label| value_of(&row.labels, label)).collect();
        let length: usize = joined.iter().map(|value| value.len() + between.len()).sum();
        short_enough(length, "label_join")?;
        let joined = joined.join(between);
        set(&mut row.labels, to, &joined);
    }
    Ok(())
}

pub(super) fn is_label(name: &str) -> bool {
    let begins = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(begins) && name.chars().all(|c| begins(c) || c.is_ascii_digit())
}

/// The labels that something absent would have: those that are said to be equal to something.
pub(super) fn absent_labels(matchers: &[super::Matcher]) -> Labels {
    let mut labels = Labels::new();
    let said = |label: &str| matchers.iter().filter(|other| other.label == label).count();
    for matcher in matchers {
        if matcher.op == super::Op::Equal && matcher.label != super::NAME && said(&matcher.label) == 1 {
            set(&mut labels, &matcher.label, &matcher.text);
        }
    }
    labels
}
