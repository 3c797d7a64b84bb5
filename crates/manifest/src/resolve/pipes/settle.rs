//! Services that queues and topics name: they must be there.

use super::super::settle::Names;
use crate::fault::{Fault, Span};
use crate::text::decode::{Faults, shown};
use crate::text::pipes::{QueueText, Verbs};
use crate::text::shape::{self, Form, Switch};
use crate::text::{At, Service};

impl Names {
    /// Checks that the services exist which queues and topics name; takes out those that are not enabled.
    pub(crate) fn settle_pipes(&self, service: &mut Service, faults: &mut Faults) {
        for (name, queue) in service.queues.iter_mut().flat_map(|queues| &mut queues.value.0) {
            self.settle_sources(name, &mut queue.value, faults);
            self.settle_dead_letter(name, &mut queue.value, faults);
            self.settle_allowed(name, queue.value.allow.as_mut(), faults);
        }
        for (name, topic) in service.topics.iter_mut().flat_map(|topics| &mut topics.value.0) {
            self.settle_allowed(name, topic.value.allow.as_mut(), faults);
        }
    }

    /// A topic of a service that is not enabled has nobody who publishes: the queue goes on without.
    fn settle_sources(&self, queue: &str, written: &mut QueueText, faults: &mut Faults) {
        let Some(from) = &mut written.from else { return };
        from.value.0.retain(|item| {
            let (topic, span) = match &item.value {
                Form::Short(topic) => (topic, item.span),
                Form::Long(long) => match &long.topic {
                    Some(topic) => (&topic.value, topic.span),
                    None => return true, // a missing key was noted
                },
            };
            let Some(service) = self.missing(topic) else { return true };
            let message = format!(
                "`{}` takes from `{}`, and `{}` {}",
                shown(queue),
                shown(topic),
                shown(service),
                self.state(service)
            );
            let fault = if self.disabled.contains_key(service) {
                Fault::warning("A0324", span, message).label("gone on as if this were not written")
            } else {
                Fault::error("A0324", span, message)
            };
            faults.add(if faults.full() { fault } else { fault.hint(self.hint(service)) });
            false
        });
    }

    /// Messages have to go somewhere: that a queue is not enabled is a fault.
    fn settle_dead_letter(&self, queue: &str, written: &mut QueueText, faults: &mut Faults) {
        let to = match written.dead_letter.as_ref().map(|at| &at.value) {
            Some(Switch::Detail(Form::Long(long))) => long.to.as_ref(),
            _ => None,
        };
        let Some((to, service)) = to.and_then(|to| Some((to, self.missing(to)?))) else { return };
        let message = format!(
            "dead letters of `{}` go to `{}`, and `{}` {}",
            shown(queue),
            shown(to),
            shown(service),
            self.state(service)
        );
        let fault = Fault::error("A0326", to.span, message);
        faults.add(if faults.full() { fault } else { fault.hint(self.hint(service)) });
        written.dead_letter = None;
    }

    /// A service that is not enabled does nothing, whatever it may do.
    fn settle_allowed<V>(
        &self,
        pipe: &str,
        allow: Option<&mut At<shape::Names<Verbs<V>>>>,
        faults: &mut Faults,
    ) {
        let Some(allow) = allow else { return };
        allow.value.0.retain(|(service, verbs)| {
            if !self.enabled.contains(service) && !self.disabled.contains_key(service) {
                self.note_stranger(pipe, service, verbs.key, faults);
            }
            self.enabled.contains(service)
        });
    }

    fn note_stranger(&self, pipe: &str, service: &str, span: Span, faults: &mut Faults) {
        let message = format!("`{}` allows `{}`, which {}", shown(pipe), shown(service), self.state(service));
        let fault = Fault::error("A0328", span, message);
        faults.add(if faults.full() { fault } else { fault.hint(self.hint(service)) });
    }

    /// The service of `SERVICE/NAME`, if it is not enabled.
    fn missing<'a>(&self, reference: &'a str) -> Option<&'a str> {
        let (service, _) = reference.split_once('/')?;
        (!self.enabled.contains(service)).then_some(service)
    }
}
