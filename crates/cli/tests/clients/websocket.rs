//! A WebSocket client and a WebSocket service of a library that many use.

use crate::app::{App, SOCKETS, WEB, has, script};

#[test]
fn websockets_work_through_the_gateway_in_the_clear_and_over_tls() {
    if !has(&["python packages"]) {
        return;
    }
    let app = App::start(&[SOCKETS, WEB]);
    script("ws_client.py", &[app.plain.as_ref()]);
    script("ws_client.py", &[app.secure.as_ref(), app.ca.as_os_str()]);
    app.down();
}

#[test]
fn websockets_work_from_one_service_to_another() {
    if !has(&["python packages"]) {
        return;
    }
    let client = r#"
  talker:
    command: [PYTHON, FILES/ws_client.py, mesh]
    restart: "no"
    depends_on: { sockets: { condition: service_healthy } }
    calls: { sockets: { timeout: 20s } }
"#;
    let app = App::start(&[SOCKETS, client]);
    app.until_well("talker");
    app.down();
}
