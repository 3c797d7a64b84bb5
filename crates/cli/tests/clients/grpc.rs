//! A gRPC client and a gRPC service of the reference implementation, unary and all kinds of streams.

use crate::app::{App, ECHO, has, script};

#[test]
fn grpc_works_through_the_gateway_in_the_clear_and_over_tls() {
    if !has(&["python packages"]) {
        return;
    }
    let app = App::start(&[ECHO]);
    script("grpc_client.py", &[app.plain.trim_start_matches("http://").as_ref()]);
    script("grpc_client.py", &[app.secure.trim_start_matches("https://").as_ref(), app.ca.as_os_str()]);
    app.down();
}

#[test]
fn grpc_works_from_one_service_to_another() {
    if !has(&["python packages"]) {
        return;
    }
    let client = r#"
  caller:
    command: [PYTHON, FILES/grpc_client.py, mesh]
    restart: "no"
    depends_on: { echo: { condition: service_healthy } }
    calls: { echo: { timeout: 20s } }
"#;
    let app = App::start(&[ECHO, client]);
    app.until_well("caller");
    app.down();
}
