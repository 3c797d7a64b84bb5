//! A gRPC client and a gRPC service of the reference implementation, unary and all kinds of streams.

use crate::app::{App, ECHO, has, script, token};

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

#[test]
fn a_grpc_client_is_told_in_its_own_terms_what_the_gateway_refuses() {
    if !has(&["python packages"]) {
        return;
    }
    let guarded = r#"
  echo:
    command: [PYTHON, FILES/grpc_service.py]
    protocol: grpc
    healthcheck: { grpc: true, interval: 1s }
    routes:
      - POST /clients.Echo/Unary: { timeout: 5s, auth: person }
      - POST /clients.Echo/Forever: { timeout: 500ms }
      - POST /clients.Echo/WasLeft: { timeout: 15s }
      - POST /clients.Echo/Told: { timeout: 5s, limit: { rate: 1/1h, burst: 3 } }
      - POST /clients.Echo/Fail: { timeout: 5s, fault: [{ abort: 503 }] }
"#;
    let app = App::start(&[guarded]);
    let token = token(r#"{"sub":"ada","aud":"clients","exp":4102444800}"#);
    let plain = app.plain.trim_start_matches("http://");
    script("grpc_refused.py", &[plain.as_ref(), token.as_ref()]);
    let secure = app.secure.trim_start_matches("https://");
    script("grpc_refused.py", &[secure.as_ref(), token.as_ref(), app.ca.as_os_str()]);
    app.down();
}
