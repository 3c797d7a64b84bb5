//! A page: parts that can be drawn anew one by one, and the frame around them.

use maud::{DOCTYPE, Markup, html};

use crate::bits;
use crate::desk::Note;
use crate::place::{Place, Query, SECTIONS};
use crate::session::{Role, Who};
use crate::{assets, words};

/// What a page is drawn for.
pub(crate) struct At {
    pub(crate) place: Place,
    pub(crate) query: Query,
    pub(crate) who: Who,
}

impl At {
    /// Whether buttons that change something are shown.
    pub(crate) fn operates(&self) -> bool {
        self.who.role == Role::Operator
    }

    /// This page's address, filters included.
    pub(crate) fn address(&self) -> String {
        self.query.at(&self.place.path())
    }
}

/// A page without its frame.
pub(crate) struct View {
    pub(crate) title: String,
    /// Beside the title.
    pub(crate) aside: Markup,
    pub(crate) parts: Vec<Part>,
    /// Its live parts are drawn anew when something changes.
    pub(crate) live: bool,
    /// What a screen reader is told when it changes.
    pub(crate) said: String,
}

/// A part of a page.
pub(crate) struct Part {
    pub(crate) id: &'static str,
    pub(crate) live: bool,
    pub(crate) html: Markup,
}

impl View {
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), aside: html! {}, parts: Vec::new(), live: false, said: String::new() }
    }

    /// Says something beside the title.
    pub(crate) fn aside(mut self, html: Markup) -> Self {
        self.aside = html;
        self
    }

    /// Adds a part that stays as it is, such as a form.
    pub(crate) fn still(mut self, id: &'static str, html: Markup) -> Self {
        self.parts.push(Part { id, live: false, html });
        self
    }

    /// Adds a part that is drawn anew when something changes.
    pub(crate) fn live(mut self, id: &'static str, html: Markup) -> Self {
        self.parts.push(Part { id, live: true, html });
        self.live = true;
        self
    }

    /// What is told when it changes.
    pub(crate) fn say(mut self, said: impl Into<String>) -> Self {
        self.said = said.into();
        self
    }
}

/// The name of the app, and how it is, for the head of each page.
pub(crate) struct Head {
    pub(crate) app: String,
    pub(crate) phase: Option<api::Phase>,
}

/// The whole page.
pub(crate) fn frame(head: &Head, at: &At, view: &View) -> Markup {
    let section = at.place.section();
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { (words::clip(&view.title, 60)) " · " (words::clip(&head.app, 60)) " · Atoll" }
                link rel="icon" href=(assets::icon());
                link rel="stylesheet" href=(assets::style());
                script src=(assets::script()) {}
            }
            body data-live=[view.live.then(|| at.address())] {
                a.skip href="#main" { "Skip to the page" }
                header.top {
                    a.brand href="/" { (bits::mark()) span { "Atoll" } }
                    span.app { (words::clip(&head.app, 60)) }
                    span #phase data-part="phase" { (phase(head)) }
                    span.grow {}
                    span.wire #wire hidden { "reconnecting…" }
                    span.role { (at.who.role.as_str()) }
                    button.ghost type="button" data-theme-toggle aria-label="Switch between dark and light" { (bits::icon("theme")) }
                    button.ghost type="button" data-help aria-label="Keys" { "?" }
                    form method="post" action="/do/log-out" {
                        (bits::csrf(at))
                        button.ghost type="submit" { "Log out" }
                    }
                }
                nav.side aria-label="Sections" {
                    ul {
                        @for (place, name, key) in &SECTIONS {
                            li {
                                a href=(place.path()) data-key=(key) aria-current=[(section == *place).then_some("page")] {
                                    (bits::icon(name)) span { (name) }
                                }
                            }
                        }
                    }
                }
                main #main tabindex="-1" {
                    div.title { h1 { (words::clip(&view.title, 200)) } (view.aside) }
                    @for part in &view.parts {
                        div.part id=(part.id) data-part=(part.id) { (part.html) }
                    }
                }
                p.hidden #say role="status" aria-live="polite" data-part="say" { (view.said) }
                div #toasts role="status" aria-live="polite" {}
                dialog #sure aria-labelledby="sure-title" {
                    form method="dialog" {
                        h2 #sure-title { "Are you sure?" }
                        p #sure-text {}
                        div.row {
                            button.quiet value="no" { "Cancel" }
                            button.primary #sure-yes value="yes" { "Go on" }
                        }
                    }
                }
                dialog #keys aria-labelledby="keys-title" { (keys()) }
            }
        }
    }
}

/// How the app is.
pub(crate) fn phase(head: &Head) -> Markup {
    match head.phase {
        Some(phase) => bits::phase(phase),
        None => bits::badge(bits::Tone::Bad, "no answer"),
    }
}

fn keys() -> Markup {
    let rest = [
        ("/", "search on this page"),
        ("j k", "next and previous row"),
        ("Enter", "open the row"),
        ("d", "dark or light"),
        ("?", "this"),
        ("Esc", "close"),
    ];
    html! {
        h2 #keys-title { "Keys" }
        dl.keys {
            @for (_, name, key) in &SECTIONS {
                div { dt { kbd { "g" } " " kbd { (key) } } dd { (name) } }
            }
            @for (key, what) in rest {
                div { dt { kbd { (key) } } dd { (what) } }
            }
        }
        form method="dialog" { div.row { button.primary { "Close" } } }
    }
}

/// The page of somebody who is not logged in.
pub(crate) fn login(next: &str, problem: Option<&str>) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                title { "Log in · Atoll" }
                link rel="icon" href=(assets::icon());
                link rel="stylesheet" href=(assets::style());
                script src=(assets::script()) {}
            }
            body.login {
                main #main {
                    h1 { (bits::mark()) " Atoll" }
                    p { "Run " code { "atoll console" } " in the directory of the app and open the address that it prints. It is good for one login." }
                    @if let Some(problem) = problem {
                        p.note.bad role="alert" { (problem) }
                    }
                    form method="post" action="/login" data-login {
                        input type="hidden" name="next" value=(next);
                        label for="token" { "Or paste the token" }
                        input #token name="token" type="password" autocomplete="off" spellcheck="false" required;
                        button.primary type="submit" { "Log in" }
                    }
                }
            }
        }
    }
}

/// A page that says what cannot be shown.
pub(crate) fn nothing(title: &str, note: &Note) -> View {
    View::new(title).live("note", bits::note(note))
}
