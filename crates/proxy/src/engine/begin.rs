//! Where a head becomes an exchange, whichever engine read it.

use std::rc::Rc;
use std::sync::Arc;

use super::Upgrade;
use crate::access::AccessRecord;
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
    head: Head,
    body: Body,
    upgrade: Option<Upgrade>,
) -> Exchange {
    let trace = Trace::of(head.fields.all_known(Known::Traceparent));
    let request_id = RequestId::of(&head.fields);
    let entrance = Arc::clone(connection.entrance());
    let peer = connection.peer();
    let record = AccessRecord {
        time: kit::Clock::now(&thread.clock),
        entrance: Arc::clone(&entrance),
        tls: connection.session().cloned(),
        peer,
        version: head.version,
        method: head.method.clone(),
        host: None,
        target: head.target().into(),
        status: 0,
        route: None,
        endpoint: None,
        attempts: 0,
        duration_us: 0,
        first_byte_us: None,
        upstream_us: 0,
        hedged: false,
        fallback: false,
        bytes_in: 0,
        bytes_out: 0,
        upgraded: false,
        request_id,
        trace,
        error: None,
    };
    let record = Box::new(Recorder::new(Rc::clone(thread), connection, record));
    let asked = Asked { head, peer, entrance, request_id, trace, subject: None };
    Exchange { asked, body, upgrade, record, cut: None }
}
