//! Where a head becomes an exchange, whichever engine read it.

use std::rc::Rc;
use std::sync::Arc;

use super::Upgrade;
use crate::body::Body;
use crate::connection::Connection;
use crate::exchange::{Asked, Exchange};
use crate::fields::Known;
use crate::head::{Head, RequestId};
use crate::record::Recorder;
use crate::thread::Thread;
use crate::trace::Trace;

/// Begins an exchange: its ids, and its record, which is emitted whatever happens from here on.
pub(super) fn begin(
    thread: &Rc<Thread>,
    connection: Rc<Connection>,
    head: Box<Head>,
    body: Body,
    upgrade: Option<Upgrade>,
) -> Exchange {
    let mut trace = Trace::of(head.fields.all_known(Known::Traceparent));
    let request_id = RequestId::in_trace(&head.fields, &mut trace);
    let entrance = Arc::clone(connection.entrance());
    let peer = connection.peer();
    let record = Box::new(Recorder::new(thread, connection, &head, request_id.clone(), trace));
    let asked = Asked { head, peer, entrance, request_id, trace, subject: None };
    let now = record.started();
    Exchange { asked, body, upgrade, record, now, cut: None }
}
