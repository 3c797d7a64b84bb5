//! What one name of a policy asks of the values found under it.

use super::pattern::{Cidr, Wildcard};

/// A value of a message: what stands at the end of a path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Leaf<'a> {
    Null,
    Bool(bool),
    Number(f64),
    Text(&'a str),
}

/// What was found under a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found<'a> {
    /// The name is there, with or without values.
    pub(crate) present: bool,
    /// Its values: several where it is a list.
    pub(crate) leaves: Vec<Leaf<'a>>,
}

/// Values that are looked up rather than compared one by one.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values {
    /// In order.
    texts: Vec<Box<str>>,
    /// In order.
    numbers: Vec<f64>,
    yes: bool,
    no: bool,
    null: bool,
}

impl Values {
    pub(crate) fn add(&mut self, leaf: Leaf<'_>) {
        match leaf {
            Leaf::Null => self.null = true,
            Leaf::Bool(true) => self.yes = true,
            Leaf::Bool(false) => self.no = true,
            Leaf::Number(number) => {
                let at = self.numbers.partition_point(|other| other.total_cmp(&number).is_lt());
                self.numbers.insert(at, number);
            }
            Leaf::Text(text) => {
                let at = self.texts.partition_point(|other| **other < *text);
                self.texts.insert(at, text.into());
            }
        }
    }

    fn has(&self, leaf: Leaf<'_>) -> bool {
        match leaf {
            Leaf::Null => self.null,
            Leaf::Bool(true) => self.yes,
            Leaf::Bool(false) => self.no,
            // Zero has two signs and `total_cmp` tells them apart.
            Leaf::Number(number) => {
                let at = self.numbers.partition_point(|other| *other < number);
                self.numbers.get(at).is_some_and(|other| *other == number)
            }
            Leaf::Text(text) => self.texts.binary_search_by(|other| (**other).cmp(text)).is_ok(),
        }
    }
}

/// A form that texts may have.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Form {
    Prefix(Box<str>),
    Suffix(Box<str>),
    /// In lower case.
    NoCase(Box<str>),
    Wildcard(Wildcard),
}

impl Form {
    fn fits(&self, text: &str) -> bool {
        match self {
            Self::Prefix(prefix) => text.starts_with(&**prefix),
            Self::Suffix(suffix) => text.ends_with(&**suffix),
            Self::NoCase(lower) => same_but_for_case(lower, text),
            Self::Wildcard(wildcard) => wildcard.matches(text),
        }
    }
}

fn same_but_for_case(lower: &str, text: &str) -> bool {
    if lower.is_ascii() && text.is_ascii() {
        return lower.eq_ignore_ascii_case(text);
    }
    lower.chars().eq(text.chars().flat_map(char::to_lowercase))
}

/// The text in lower case, as [`Form::NoCase`] keeps it.
pub(crate) fn lower(text: &str) -> Box<str> {
    text.chars().flat_map(char::to_lowercase).collect::<String>().into_boxed_str()
}

/// One end of a range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Bound {
    pub(crate) at: f64,
    pub(crate) included: bool,
}

/// A rule that is not a plain value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Rule {
    Form(Form),
    Range { low: Option<Bound>, high: Option<Bound> },
    Cidr(Cidr),
    NotValues(Values),
    NotForms(Vec<Form>),
}

impl Rule {
    fn fits(&self, leaf: Leaf<'_>) -> bool {
        match (self, leaf) {
            (Self::Form(form), Leaf::Text(text)) => form.fits(text),
            (Self::Range { low, high }, Leaf::Number(number)) => {
                low.is_none_or(|low| number > low.at || (low.included && number == low.at))
                    && high.is_none_or(|high| number < high.at || (high.included && number == high.at))
            }
            (Self::Cidr(cidr), Leaf::Text(text)) => cidr.contains(text),
            // Nothing is not anything.
            (Self::NotValues(_) | Self::NotForms(_), Leaf::Null) => false,
            (Self::NotValues(values), leaf) => !values.has(leaf),
            (Self::NotForms(forms), Leaf::Text(text)) => !forms.iter().any(|form| form.fits(text)),
            (Self::NotForms(_), Leaf::Bool(_) | Leaf::Number(_)) => true,
            (Self::Form(_) | Self::Range { .. } | Self::Cidr(_), _) => false,
        }
    }
}

/// Everything that is asked under one name: one of it has to hold, for one of the values.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Rules {
    pub(crate) values: Values,
    /// `exists: true`
    pub(crate) present: bool,
    /// `exists: false`
    pub(crate) absent: bool,
    pub(crate) others: Vec<Rule>,
}

impl Rules {
    pub(crate) fn hold(&self, found: &Found<'_>) -> bool {
        if !found.present {
            return self.absent;
        }
        if self.present && !found.leaves.is_empty() {
            return true;
        }
        found
            .leaves
            .iter()
            .any(|leaf| self.values.has(*leaf) || self.others.iter().any(|rule| rule.fits(*leaf)))
    }
}
