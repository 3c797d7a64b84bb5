//! Which errors are the same one, and what is known of each such group. Pure.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

use crate::model::{ErrorEvent, ErrorGroup, ErrorState, Frame, GroupId, Text};

/// What a service writes into a fingerprint where it means "as you would have done it".
const DEFAULT_PART: [&str; 2] = ["{{ default }}", "{{default}}"];

/// Which group an error belongs to: the service and what the service says makes it the same, or else its type and the frames
/// of the service's own code (all frames where none is its own; the message where there are no frames). Lines do not count:
/// they change with every release.
pub(crate) fn group_of(event: &ErrorEvent) -> GroupId {
    let mut hash = Xxh3::new();
    let mut add = |part: &str| {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    };
    add(&event.service);
    if event.fingerprint.is_empty() {
        by_type_and_frames(event, &mut add);
    } else {
        for part in &event.fingerprint {
            if DEFAULT_PART.contains(&part.as_str()) {
                by_type_and_frames(event, &mut add);
            } else {
                add(part);
            }
        }
    }
    GroupId(hash.digest())
}

fn by_type_and_frames(event: &ErrorEvent, add: &mut impl FnMut(&str)) {
    add(&event.kind);
    let own = event.frames.iter().any(|frame| frame.in_app);
    let mut last: Option<&Frame> = None;
    for frame in event.frames.iter().filter(|frame| frame.in_app || !own) {
        // A function that calls itself is one place, however deep it was.
        if last.is_some_and(|last| last.function == frame.function && last.module == frame.module) {
            continue;
        }
        add(if frame.module.is_empty() { &frame.file } else { &frame.module });
        add(&frame.function);
        last = Some(frame);
    }
    if event.frames.is_empty() {
        add(&without_numbers(&event.value));
    }
}

/// A message without what differs each time: runs of digits, and words of hexadecimal digits with one among them.
fn without_numbers(message: &str) -> String {
    message
        .split(' ')
        .map(|word| {
            let digits = word.bytes().any(|byte| byte.is_ascii_digit());
            let id = word.len() >= 8 && word.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
            if digits && id {
                return "#".to_owned();
            }
            let mut short = String::with_capacity(word.len());
            for c in word.chars() {
                if !c.is_ascii_digit() {
                    short.push(c);
                } else if !short.ends_with('#') {
                    short.push('#');
                }
            }
            short
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// All groups.
#[derive(Debug, Default)]
pub(crate) struct Groups {
    all: HashMap<GroupId, ErrorGroup>,
    changed: Vec<GroupId>,
}

impl Groups {
    /// Counts an error in its group. `most` groups are kept.
    pub(crate) fn take(&mut self, event: &ErrorEvent, most: usize) -> GroupId {
        let id = group_of(event);
        if !self.all.contains_key(&id) {
            self.make_room(most);
        }
        let group = self.all.entry(id).or_insert_with(|| ErrorGroup {
            id,
            service: event.service.clone(),
            kind: event.kind.clone(),
            value: Text::default(),
            culprit: culprit(event),
            state: ErrorState::Open,
            count: 0,
            first_seen_ns: event.time_ns,
            last_seen_ns: 0,
            resolved_ns: 0,
            first_release: event.release.clone(),
            last_release: Text::default(),
        });
        group.count = group.count.saturating_add(1);
        group.first_seen_ns = group.first_seen_ns.min(event.time_ns);
        if event.time_ns >= group.last_seen_ns {
            group.last_seen_ns = event.time_ns;
            group.value = event.value.clone();
            if !event.release.is_empty() {
                group.last_release = event.release.clone();
            }
        }
        // What happened before somebody said that it is mended, and only came late, has not come back.
        if group.state == ErrorState::Resolved && event.time_ns > group.resolved_ns {
            group.state = ErrorState::Regressed;
        }
        self.mark(id);
        id
    }

    fn make_room(&mut self, most: usize) {
        while self.all.len() >= most.max(1) {
            let Some(oldest) = self.all.values().min_by_key(|group| group.last_seen_ns).map(|group| group.id)
            else {
                return;
            };
            self.all.remove(&oldest);
            self.mark(oldest);
        }
    }

    fn mark(&mut self, id: GroupId) {
        if self.changed.last() != Some(&id) {
            self.changed.push(id);
        }
    }

    /// Decides about a group: [`ErrorState::Regressed`] is not for people to say, and means open.
    pub(crate) fn decide(&mut self, id: GroupId, state: ErrorState, now_ns: u64) -> Option<&ErrorGroup> {
        let group = self.all.get_mut(&id)?;
        group.state = if state == ErrorState::Regressed { ErrorState::Open } else { state };
        if state == ErrorState::Resolved {
            group.resolved_ns = now_ns;
        }
        self.changed.push(id);
        self.all.get(&id)
    }

    pub(crate) fn get(&self, id: GroupId) -> Option<&ErrorGroup> {
        self.all.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &ErrorGroup> {
        self.all.values()
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Puts in what was kept.
    pub(crate) fn restore(&mut self, id: GroupId, group: Option<ErrorGroup>) {
        match group {
            Some(group) => self.all.insert(id, group),
            None => self.all.remove(&id),
        };
    }

    /// What has changed since this was last asked: a group, or none where it is gone.
    pub(crate) fn changes(&mut self) -> Vec<(GroupId, Option<ErrorGroup>)> {
        let mut changed = std::mem::take(&mut self.changed);
        changed.sort_unstable();
        changed.dedup();
        changed.into_iter().map(|id| (id, self.all.get(&id).cloned())).collect()
    }
}

/// The innermost function of the service's own code, or the innermost at all.
fn culprit(event: &ErrorEvent) -> Text {
    let own = event.frames.iter().rev().find(|frame| frame.in_app).or(event.frames.last());
    own.map(|frame| match (frame.module.is_empty(), frame.function.is_empty()) {
        (true, _) => frame.function.clone(),
        (false, true) => frame.module.clone(),
        (false, false) => format!("{} in {}", frame.module, frame.function).into(),
    })
    .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(function: &str, in_app: bool) -> Frame {
        Frame { function: function.into(), module: "shop".into(), in_app, line: 7, ..Frame::default() }
    }

    fn event() -> ErrorEvent {
        ErrorEvent {
            time_ns: 100,
            service: "orders".into(),
            kind: "ValueError".into(),
            value: "no book 17".into(),
            frames: vec![frame("serve", false), frame("place", true), frame("check", false)],
            release: "1.0".into(),
            ..ErrorEvent::default()
        }
    }

    #[test]
    fn the_same_error_of_another_line_and_message_is_one_group() {
        let mut other = event();
        other.value = "no book 99".into();
        other.frames[1].line = 90;
        other.frames[2] = frame("another_library", false);
        assert_eq!(group_of(&event()), group_of(&other));
    }

    #[test]
    fn another_type_own_frame_or_service_is_another_group() {
        let (mut kind, mut place, mut service) = (event(), event(), event());
        kind.kind = "KeyError".into();
        place.frames[1].function = "cancel".into();
        service.service = "catalog".into();
        for other in [kind, place, service] {
            assert_ne!(group_of(&event()), group_of(&other));
        }
    }

    #[test]
    fn without_frames_the_message_decides_but_not_its_numbers() {
        let bare = |value: &str| ErrorEvent { value: value.into(), frames: Vec::new(), ..event() };
        assert_eq!(
            group_of(&bare("no book 17 for 4bf92f35-77b34da6")),
            group_of(&bare("no book 9 for 00f067aa-0ba902b7"))
        );
        assert_ne!(group_of(&bare("no book")), group_of(&bare("no shelf")));
    }

    #[test]
    fn a_fingerprint_decides_and_can_build_on_what_is_usual() {
        let with = |fingerprint: &[&str], kind: &str| {
            let fingerprint = fingerprint.iter().map(|part| Text::from(*part)).collect();
            group_of(&ErrorEvent { fingerprint, kind: kind.into(), ..event() })
        };
        assert_eq!(with(&["payments-down"], "A"), with(&["payments-down"], "B"));
        assert_ne!(with(&["payments-down"], "A"), with(&["catalog-down"], "A"));
        assert_ne!(with(&["{{ default }}", "eu"], "A"), with(&["{{ default }}", "us"], "A"));
        assert_ne!(with(&["{{ default }}", "eu"], "A"), with(&["{{ default }}", "eu"], "B"));
        assert_eq!(with(&["{{ default }}"], "ValueError"), group_of(&event()));
    }

    #[test]
    fn an_error_that_was_mended_and_comes_back_is_a_regression() {
        let mut groups = Groups::default();
        let id = groups.take(&event(), 10);
        groups.decide(id, ErrorState::Resolved, 200);
        groups.take(&ErrorEvent { time_ns: 150, ..event() }, 10);
        assert_eq!(groups.get(id).unwrap().state, ErrorState::Resolved, "it happened before");
        groups.take(&ErrorEvent { time_ns: 300, release: "1.1".into(), ..event() }, 10);
        let group = groups.get(id).unwrap();
        assert_eq!(group.state, ErrorState::Regressed);
        assert_eq!((group.count, group.first_seen_ns, group.last_seen_ns), (3, 100, 300));
        assert_eq!((&*group.first_release, &*group.last_release), ("1.0", "1.1"));
    }

    #[test]
    fn an_error_that_nobody_wants_to_hear_of_stays_so() {
        let mut groups = Groups::default();
        let id = groups.take(&event(), 10);
        groups.decide(id, ErrorState::Ignored, 200);
        groups.take(&ErrorEvent { time_ns: 300, ..event() }, 10);
        assert_eq!(groups.get(id).unwrap().state, ErrorState::Ignored);
    }

    #[test]
    fn the_group_that_was_seen_longest_ago_makes_room() {
        let mut groups = Groups::default();
        for n in 0..5u64 {
            groups.take(&ErrorEvent { kind: format!("E{n}").into(), time_ns: 10 + n, ..event() }, 3);
        }
        assert_eq!(groups.len(), 3);
        assert!(groups.iter().all(|group| group.first_seen_ns >= 12));
    }
}
