use proptest::prelude::*;

use super::*;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// What a service that prints this is seen to throw.
fn thrown(output: &str) -> Vec<Thrown> {
    let mut stacks = Stacks::default();
    let mut all: Vec<Thrown> = output.lines().filter_map(|line| stacks.line(7, line)).collect();
    all.extend(stacks.close());
    all
}

fn only(output: &str) -> Thrown {
    let mut all = thrown(output);
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

/// Function, file, line, and whether it is the service's own; the innermost last.
fn places(thrown: &Thrown) -> Vec<(&str, &str, u32, bool)> {
    thrown.frames.iter().map(|f| (&*f.function, &*f.file, f.line, f.in_app)).collect()
}

#[test]
fn python_says_what_it_was_at_the_end() {
    let thrown = only(
        "listening\n\
         Traceback (most recent call last):\n  File \"/app/pay.py\", line 3, in main\n    pay()\n  \
         File \"/usr/lib/python3.11/json/decoder.py\", line 355, in raw_decode\n    raise\n  \
         File \"/app/pay.py\", line 9, in pay\n    raise ValueError(\"no such card: 7\")\n\
         ValueError: no such card: 7\n\
         and on",
    );
    assert_eq!((&*thrown.kind, &*thrown.value), ("ValueError", "no such card: 7"));
    assert_eq!(
        places(&thrown),
        [
            ("main", "/app/pay.py", 3, true),
            ("raw_decode", "/usr/lib/python3.11/json/decoder.py", 355, false),
            ("pay", "/app/pay.py", 9, true)
        ]
    );
}

#[test]
fn a_panic_of_rust_says_where_with_and_without_a_backtrace() {
    let plain = only(
        "\nthread 'main' (77) panicked at src/bin/pay.rs:70:5:\nno profile of Bobby\nnote: run with `RUST_BACKTRACE=1`\nnext",
    );
    assert_eq!((&*plain.kind, &*plain.value), ("panic", "no profile of Bobby"));
    assert_eq!(places(&plain), [("", "src/bin/pay.rs", 70, true)]);
    let old = only("thread 'main' panicked at 'no, it''s not', src/main.rs:2:5");
    assert_eq!((&*old.value, old.frames[0].line), ("no, it''s not", 2));
    let traced = only(
        "thread 'main' panicked at src/pay.rs:70:5:\nno\nstack backtrace:\n   0: std::panicking::begin\n             at /rustc/abc/library/std/src/panicking.rs:1:1\n   \
         1: pay::risk\n             at ./src/pay.rs:70:5\n   2: pay::main\n             at ./src/pay.rs:3:1\nnote: Some details are omitted",
    );
    assert_eq!(
        places(&traced),
        [
            ("pay::main", "./src/pay.rs", 3, true),
            ("pay::risk", "./src/pay.rs", 70, true),
            ("std::panicking::begin", "/rustc/abc/library/std/src/panicking.rs", 1, false)
        ]
    );
}

#[test]
fn javascript_and_java_are_known_by_where_they_were() {
    let script = only(
        "TypeError: card.pay is not a function\n    at charge (/app/pay.js:3:7)\n    at async /app/node_modules/x/y.js:10:2\n    at node:internal/main:9:1\nbye",
    );
    assert_eq!((&*script.kind, &*script.value), ("TypeError", "card.pay is not a function"));
    assert_eq!(
        places(&script),
        [
            ("", "node:internal/main", 9, false),
            ("", "async /app/node_modules/x/y.js", 10, false),
            ("charge", "/app/pay.js", 3, true)
        ]
    );
    let java = only(
        "Exception in thread \"main\" java.lang.IllegalStateException: no card\n\tat shop.Pay.charge(Pay.java:12)\n\tat java.base/java.lang.Thread.run(Thread.java:840)\nCaused by: java.io.IOException: gone\n\tat shop.Net.get(Net.java:1)\n\t... 2 more",
    );
    assert_eq!((&*java.kind, &*java.value), ("java.lang.IllegalStateException", "no card"));
    assert_eq!(java.frames[1].function, "shop.Pay.charge");
    assert_eq!((java.frames[1].line, java.frames.len()), (12, 2));
}

#[test]
fn of_go_the_goroutine_that_panicked_is_read() {
    let thrown = only(
        "panic: no card\n\ngoroutine 1 [running]:\nmain.charge(0x1, 0x2)\n\t/app/main.go:12 +0x1d\nmain.main()\n\t/app/main.go:5 +0x1\n\ngoroutine 7 [sleep]:\ntime.Sleep(0x1)\n\t/usr/local/go/src/runtime/time.go:1 +0x1\nexit status 2",
    );
    assert_eq!(thrown.value, "no card");
    assert_eq!(
        places(&thrown),
        [("main.main", "/app/main.go", 5, true), ("main.charge", "/app/main.go", 12, true)]
    );
}

#[test]
fn a_panic_that_a_web_server_of_go_has_caught_is_one() {
    let thrown = only(
        "2026/11/30 11:00:00 http: panic serving [::1]:4711: no card: 7\ngoroutine 21 [running]:\nnet/http.(*conn).serve.func1()\n\t/usr/local/go/src/net/http/server.go:1947 +0xbe\npanic({0x64f2a0?, 0x6e4f50?})\n\t/usr/local/go/src/runtime/panic.go:785 +0x132\nmain.charge({0x1, 0x2})\n\t/app/main.go:12 +0x1d\nnet/http.HandlerFunc.ServeHTTP(0x6a0c60?, {0x6e8b58?, 0xc000128000?})\n\t/usr/local/go/src/net/http/server.go:2220 +0x29\ncreated by net/http.(*Server).Serve in goroutine 1\n\t/usr/local/go/src/net/http/server.go:3360 +0x485\n2026/11/30 11:00:01 on",
    );
    assert_eq!((&*thrown.kind, &*thrown.value), ("panic", "no card: 7"));
    assert_eq!(
        places(&thrown),
        [
            ("net/http.HandlerFunc.ServeHTTP", "/usr/local/go/src/net/http/server.go", 2220, false),
            ("main.charge", "/app/main.go", 12, true)
        ]
    );
}

#[test]
fn a_panic_that_gin_has_caught_is_one() {
    let stack = "/app/main.go:12 (0x6a1b2c)\n\tcharge: panic(\"no card\")\n/go/pkg/mod/github.com/gin-gonic/gin@v1.10.0/context.go:185 (0x6a1000)\n\t(*Context).Next: c.handlers[c.index](c)\n/usr/local/go/src/net/http/server.go:3210 (0x69f000)\n\u{1b}[0m\n[GIN] 2026/11/30 - 11:00:00 | 500 |";
    let head = "GET /pay HTTP/1.1\r\nHost: shop\r\nAuthorization: *\r\n\r\n\n";
    for before in [head, ""] {
        let thrown = only(&format!(
            "\n\n\u{1b}[31m2026/11/30 11:00:00 [Recovery] 2026/11/30 - 11:00:00 panic recovered:\n{before}no card: 7\n{stack}"
        ));
        assert_eq!((&*thrown.kind, &*thrown.value), ("panic", "no card: 7"));
        assert_eq!(
            places(&thrown),
            [
                ("", "/usr/local/go/src/net/http/server.go", 3210, false),
                ("(*Context).Next", "/go/pkg/mod/github.com/gin-gonic/gin@v1.10.0/context.go", 185, false),
                ("charge", "/app/main.go", 12, true)
            ]
        );
    }
    let endless = format!("[Recovery] now panic recovered:\n{}", "line\n".repeat(1_000));
    assert_eq!(thrown(&endless), [], "what has no stack is none");
}

#[test]
fn a_panic_that_echo_has_caught_is_one() {
    let stack = "no card: 7 goroutine 21 [running]:\ngithub.com/labstack/echo/v4/middleware.RecoverWithConfig.func1.1.1()\n\t/go/pkg/mod/github.com/labstack/echo/v4@v4.12.0/middleware/recover.go:100 +0x1a\npanic({0x64f2a0?, 0x6e4f50?})\n\t/usr/local/go/src/runtime/panic.go:785 +0x132\nmain.charge({0x1, 0x2})\n\t/app/main.go:12 +0x1d\n";
    let expected = [("main.charge", "/app/main.go", 12, true)];
    let plain = only(&format!("11:00 [PANIC RECOVER] {stack}\nfine again"));
    assert_eq!((&*plain.kind, &*plain.value), ("panic", "no card: 7"));
    assert_eq!(places(&plain), expected);
    let json =
        serde_json::json!({ "time": "x", "level": "-", "message": format!("[PANIC RECOVER] {stack}\n") });
    let record = loglines::parse(&"pay".into(), &"pay-1".into(), &json.to_string(), 7, false);
    let thrown = in_record(&record).expect("a line of JSON is one as well");
    assert_eq!((&*thrown.value, places(&thrown)), ("no card: 7", expected.to_vec()));
}

#[test]
fn errors_of_node_have_codes_and_fields() {
    let thrown = only(
        "TypeError [ERR_INVALID_ARG_TYPE]: The \"path\" argument must be a string\n    at open (node:fs:1:1)\n    at pay (/app/pay.js:3:7) {\n  code: 'ERR_INVALID_ARG_TYPE'\n}\nbye",
    );
    assert_eq!((&*thrown.kind, &*thrown.value), ("TypeError", "The \"path\" argument must be a string"));
    assert_eq!(places(&thrown), [("pay", "/app/pay.js", 3, true), ("open", "node:fs", 1, false)]);
    let bare = only("Error: ENOENT: no such file\n    at /app/pay.js:3:7 {\n  errno: -2\n}");
    assert_eq!(places(&bare), [("", "/app/pay.js", 3, true)]);
}

#[test]
fn what_is_no_stack_is_no_error() {
    for output in [
        "ERROR: no card",
        "panic: at the disco",
        "http: panic serving 127.0.0.1:4711: no card",
        "thread 'main' is fine",
        "meeting: tomorrow\n  at noon",
        "ValueError: x",
        "    at (nowhere:1:1)",
        "{\"level\":\"error\",\"msg\":\"no\"}",
        "",
    ] {
        assert_eq!(thrown(output), [], "{output}");
    }
}

#[test]
fn several_stacks_are_several_errors_and_a_trace_that_is_named_is_taken() {
    let trace = format!("KeyError: 'trace_id={TRACE}'");
    let output =
        format!("Traceback (most recent call last):\n  File \"a.py\", line 1, in f\n{trace}\n").repeat(2);
    let all = thrown(&output);
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].trace.unwrap().to_string(), TRACE);
}

#[test]
fn a_stack_in_a_line_of_json_counts_if_the_line_is_an_error() {
    let record = |json: &str| loglines::parse(&"pay".into(), &"pay-1".into(), json, 7, false);
    let pino = format!(
        r#"{{"level":50,"trace_id":"{TRACE}","msg":"failed","err":{{"type":"TypeError","message":"no","stack":"TypeError: no\n    at pay (/app/a.js:3:1)"}}}}"#
    );
    let thrown = in_record(&record(&pino)).unwrap();
    assert_eq!((&*thrown.kind, &*thrown.value, thrown.frames.len()), ("TypeError", "no", 1));
    assert_eq!(thrown.trace.unwrap().to_string(), TRACE);
    let python = r#"{"level":"ERROR","message":"x","exc_info":"Traceback (most recent call last):\n  File \"a.py\", line 1, in f\nKeyError: 7"}"#;
    assert_eq!(in_record(&record(python)).unwrap().kind, "KeyError");
    let named = r#"{"severity":"error","message":"it failed","exception.type":"Oops"}"#;
    assert_eq!(in_record(&record(named)).unwrap().value, "it failed");
    for none in [r#"{"level":"error","msg":"no"}"#, r#"{"level":"info","exception.type":"Oops"}"#] {
        assert_eq!(in_record(&record(none)), None, "{none}");
    }
}

#[test]
fn a_stack_without_end_is_bounded() {
    let mut stacks = Stacks::default();
    stacks.line(1, "Traceback (most recent call last):");
    for _ in 0..10_000 {
        assert_eq!(stacks.line(2, &format!("  {}", "x".repeat(10_000))), None);
    }
    let open = stacks.open.as_ref().unwrap();
    assert!(open.lines.len() <= MOST_LINES && open.lines.iter().all(|line| line.len() <= MOST_BYTES));
}

proptest! {
    #[test]
    fn any_output_is_read(lines in prop::collection::vec(
        "Traceback \\(most recent call last\\):|thread 'a' panicked at .{0,10}|panic: x|goroutine 1|\\PC{0,8}|[ \t]at .{0,6}\\(.{0,4}:[0-9]:[0-9]\\)|  File \"a\", line [0-9]|E: x", 0..20)) {
        thrown(&lines.join("\n"));
    }
}
