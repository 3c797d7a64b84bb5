//! Facts: requests and signatures that AWS has published.

#![allow(clippy::unwrap_used)] // in functions of a test as well

use identity::sigv4::{
    BadChunks, Body, Form, Found, KeyError, KeySource, Payload, Scope, SignatureError, Verified, Verifier,
    View, explain,
};
use identity::{Principal, Secret};
use kit::Timestamp;

/// 2015-08-30T12:36:00Z.
const NOW: Timestamp = Timestamp::from_micros(1_440_938_160_000_000);

struct One {
    access_key: &'static str,
    secret: &'static str,
    token: Option<&'static str>,
}

const SUITE: One =
    One { access_key: "AKIDEXAMPLE", secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", token: None };
const S3: One = One {
    access_key: "AKIAIOSFODNN7EXAMPLE",
    secret: "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
    token: None,
};

impl KeySource for One {
    fn find(&self, access_key: &str, token: Option<&str>, _: Timestamp) -> Result<Found, KeyError> {
        if access_key != self.access_key || token != self.token {
            return Err(KeyError::Unknown);
        }
        Ok(Found { secret: Secret::new(self.secret), principal: Principal::Root })
    }
}

type Headers<'a> = Vec<(&'a str, String)>;

fn verify(
    one: &One,
    service: &str,
    now: Timestamp,
    (method, target, headers, body): (&str, &str, &Headers<'_>, Body<'_>),
) -> Result<Verified, SignatureError> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
    let view = View { method, path, query, headers, body };
    Verifier::new().verify(&view, one, now, Scope { region: Some("us-east-1"), service })
}

fn authorization(scope: &str, signed: &str, signature: &str) -> String {
    format!("AWS4-HMAC-SHA256 Credential={scope}/aws4_request, SignedHeaders={signed}, Signature={signature}")
}

type Row = (
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static str,
    &'static str,
    &'static str,
);

/// The test suite of the signing process: method, target, headers, body; the signature in the header, the one in
/// the query.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    // get-header-key-duplicate
    ("GET", "/", &[("my-header1", "value2"), ("my-header1", "value2"), ("my-header1", "value1")], "",
     "c9d5ea9f3f72853aea855b47ea873832890dbdd183b4468f858259531a5138ea",
     "3349ee0b81b4b589da0ff28a395c3591e04de515651dd74f298fa992d1507a97"),
    // get-header-value-order
    ("GET", "/", &[("my-header1", "value4"), ("my-header1", "value1"), ("my-header1", "value3"), ("my-header1", "value2")], "",
     "08c7e5a9acfcfeb3ab6b2185e75ce8b1deb5e634ec47601a50643f830c755c01",
     "313720e71ca6202fdcfa9b20f88de01a4eb0638a83c833b1c184359a4eda864e"),
    // get-header-value-trim
    ("GET", "/", &[("my-header1", " value1"), ("my-header2", " \"a   b   c\"")], "",
     "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736",
     "e7bb0fd515e125e1aec2ecc4c0c17484fb06f6846b927c35e46005dd3df3acd4"),
    // get-relative-normalized
    ("GET", "/example/..", &[], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
     "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
    // get-relative-relative-normalized
    ("GET", "/example1/example2/../..", &[], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
     "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
    // get-slash-dot-slash-normalized
    ("GET", "/./", &[], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
     "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
    // get-slash-normalized
    ("GET", "//", &[], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
     "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
    // get-slash-pointless-dot-normalized
    ("GET", "/./example", &[], "",
     "ef75d96142cf21edca26f06005da7988e4f8dc83a165a80865db7089db637ec5",
     "35034b1a0bdd969f346975386daf8aedfd4976573b8348cf4f67eaa41c5857de"),
    // get-slashes-normalized
    ("GET", "//example//", &[], "",
     "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
     "c1834e8fb0307243711f0f907f6ab7311ed300d87f13792d7ee4da89ab93e082"),
    // get-space-normalized
    ("GET", "/example space/", &[], "",
     "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
     "7a1f416954786484c9824d93c1f26ef64acb9b1b6c9154d08c9f07d0e394abf6"),
    // get-unreserved
    ("GET", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", &[], "",
     "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
     "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005"),
    // get-utf8
    ("GET", "/ሴ", &[], "",
     "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
     "10eae3f14a260bd3911cc6d008d3c576d143b05b62f09782a7a4b37f52178e44"),
    // get-vanilla
    ("GET", "/", &[], "",
     "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
     "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"),
    // get-vanilla-empty-query-key
    ("GET", "/?Param1=value1", &[], "",
     "a67d582fa61cc504c4bae71f336f98b97f1ea3c7a6bfe1b6e45aec72011b9aeb",
     "49096700cbbaa5753443850f40df10f904fc2fdb544dc9512203cc77c471a9de"),
    // get-vanilla-query-order-encoded
    ("GET", "/?Param-3=Value3&Param=Value2&%E1%88%B4=Value1", &[], "",
     "371d3713e185cc334048618a97f809c9ffe339c62934c032af5a0e595648fcac",
     "c5f1848ceec943ac2ca68ee720460c23aaae30a2300586597ada94c4a65e4787"),
    // get-vanilla-query-order-key-case
    ("GET", "/?Param2=value2&Param1=value1", &[], "",
     "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
     "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"),
    // get-vanilla-query-unreserved
    ("GET", "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz", &[], "",
     "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
     "8e76a88a7433637b12778d5592799b29ad21ecd6cf6325051c21d86f0acda2bf"),
    // get-vanilla-utf8-query
    ("GET", "/?ሴ=bar", &[], "",
     "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
     "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600"),
    // post-header-key-sort
    ("POST", "/", &[("my-header1", "value1")], "",
     "c5410059b04c1ee005303aed430f6e6645f61f4dc9e1461ec8f8916fdf18852c",
     "c09d07e0d55871f10f2a6d350d994acf6825a3cae70673d7def55616e6119dd7"),
    // post-header-value-case
    ("POST", "/", &[("my-header1", "VALUE1")], "",
     "cdbc9802e29d2942e5e10b5bccfdd67c5f22c7c4e8ae67b53629efa58b974b7d",
     "0698bc9e4f7f9139065ba2909c0e99da257e8e2a42492a097bcd46d792391fed"),
    // post-vanilla
    ("POST", "/", &[], "",
     "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
     "2ce6e6d2e0cf2f9d1b55fafec88cd20574c31dc2e7631979f71ba2310083e95b"),
    // post-vanilla-empty-query-value
    ("POST", "/?Param1=value1", &[], "",
     "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11",
     "a9ef26247f293bffe40eeff86a0480ba8c14d31503b2e0c3399e3a16bf1a3682"),
    // post-x-www-form-urlencoded
    ("POST", "/", &[("content-type", "application/x-www-form-urlencoded"), ("content-length", "13"), ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e")], "Param1=value1",
     "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b",
     "89a40deed0f26f9461242825a082d2222717248abc7ab41f552ad84a94ad46e9"),
    // post-x-www-form-urlencoded-parameters
    ("POST", "/", &[("content-type", "application/x-www-form-urlencoded; charset=utf-8"), ("content-length", "13"), ("x-amz-content-sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e")], "Param1=value1",
     "328d1b9eaadca9f5818ef05e8392801e091653bafec24fcab71e7344e7f51422",
     "0dbeb9b026c7b6675f266b8427efec9b4fa8b1f6ef1477d717aea231106eab4d"),
];

#[test]
fn the_test_suite_of_the_signing_process() {
    for (method, target, headers, body, in_header, in_query) in ROWS {
        let own = headers.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let host = ("host", "example.amazonaws.com".to_owned());
        let mut headers: Headers<'_> = own.chain([host]).collect();
        let mut names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();

        let presigned = format!(
            "{target}{}X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F20150830%2Fus-east-1%2F\
             service%2Faws4_request&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders={}&X-Amz-Expires=3600\
             &X-Amz-Signature={in_query}",
            if target.contains('?') { '&' } else { '?' },
            names.iter().filter(|name| !name.starts_with("x-amz")).copied().collect::<Vec<_>>().join("%3B"),
        );
        let mut without = headers.clone();
        without.retain(|(name, _)| !name.starts_with("x-amz"));
        let body = Body::Bytes(body.as_bytes());
        let verified = verify(&SUITE, "service", NOW, (method, &presigned, &without, body));
        assert_eq!(verified.map(|verified| verified.form), Ok(Form::Query), "{target}");

        names.push("x-amz-date");
        names.sort_unstable();
        let scope = "AKIDEXAMPLE/20150830/us-east-1/service";
        headers.push(("X-Amz-Date", "20150830T123600Z".to_owned()));
        headers.push(("Authorization", authorization(scope, &names.join(";"), in_header)));
        let verified = verify(&SUITE, "service", NOW, (method, target, &headers, body));
        assert_eq!(verified.map(|verified| verified.form), Ok(Form::Header), "{target}");
    }
}

#[test]
fn with_the_token_of_a_session() {
    let token = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267";
    let one = One { token: Some(token), ..SUITE };
    let headers = vec![
        ("Host", "example.amazonaws.com".to_owned()),
        ("X-Amz-Date", "20150830T123600Z".to_owned()),
        ("X-Amz-Security-Token", token.to_owned()),
        (
            "Authorization",
            authorization(
                "AKIDEXAMPLE/20150830/us-east-1/service",
                "host;x-amz-date;x-amz-security-token",
                "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8",
            ),
        ),
    ];
    let request = ("GET", "/", &headers, Body::Bytes(b""));
    assert_eq!(verify(&one, "service", NOW, request).unwrap().access_key, "AKIDEXAMPLE");
    assert_eq!(verify(&SUITE, "service", NOW, request).unwrap_err(), SignatureError::UnknownKey);
}

/// The example in "Create a signed AWS API request" of the IAM user guide.
fn list_users() -> Headers<'static> {
    vec![
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8".to_owned()),
        ("Host", "iam.amazonaws.com".to_owned()),
        ("X-Amz-Date", "20150830T123600Z".to_owned()),
        (
            "Authorization",
            authorization(
                "AKIDEXAMPLE/20150830/us-east-1/iam",
                "content-type;host;x-amz-date",
                "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7",
            ),
        ),
    ]
}

const LIST_USERS: &str = "/?Action=ListUsers&Version=2010-05-08";

#[test]
fn the_example_of_the_user_guide() {
    let headers = list_users();
    verify(&SUITE, "iam", NOW, ("GET", LIST_USERS, &headers, Body::Bytes(b""))).unwrap();
    let view = View {
        method: "GET",
        path: "/",
        query: &LIST_USERS[2..],
        headers: headers.iter().map(|(name, value)| (*name, value.as_bytes())),
        body: Body::Bytes(b""),
    };
    let explained = explain(&view).unwrap();
    assert_eq!(
        explained.canonical_request,
        "GET\n/\nAction=ListUsers&Version=2010-05-08\n\
         content-type:application/x-www-form-urlencoded; charset=utf-8\nhost:iam.amazonaws.com\n\
         x-amz-date:20150830T123600Z\n\ncontent-type;host;x-amz-date\n\
         e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    assert_eq!(
        explained.string_to_sign,
        "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
         f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59"
    );
}

/// "Examples: Signature calculations" of the Amazon S3 API reference.
#[test]
fn the_examples_of_s3() {
    let now = Timestamp::from_micros(1_369_353_600_000_000); // 2013-05-24T00:00:00Z
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let headers = vec![
        ("Host", "examplebucket.s3.amazonaws.com".to_owned()),
        ("Range", "bytes=0-9".to_owned()),
        ("x-amz-content-sha256", empty.to_owned()),
        ("x-amz-date", "20130524T000000Z".to_owned()),
        // As S3 writes it: without spaces after commas.
        (
            "Authorization",
            authorization(
                "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3",
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            )
            .replace(", ", ","),
        ),
    ];
    let got = verify(&S3, "s3", now, ("GET", "/test.txt", &headers, Body::Later)).unwrap();
    assert!(matches!(got.payload, Payload::Sha256([0xe3, 0xb0, ..])));
    let other = verify(&S3, "s3", now, ("GET", "/test.txt", &headers, Body::Bytes(b"other")));
    assert_eq!(other.unwrap_err(), SignatureError::DoesNotMatch);

    let presigned = "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let host = vec![("Host", "examplebucket.s3.amazonaws.com".to_owned())];
    let got = verify(&S3, "s3", now, ("GET", presigned, &host, Body::Later)).unwrap();
    assert!(matches!(got.payload, Payload::Unsigned));

    let headers = vec![
        ("Host", "s3.amazonaws.com".to_owned()),
        ("x-amz-date", "20130524T000000Z".to_owned()),
        ("x-amz-storage-class", "REDUCED_REDUNDANCY".to_owned()),
        ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".to_owned()),
        ("Content-Encoding", "aws-chunked".to_owned()),
        ("x-amz-decoded-content-length", "66560".to_owned()),
        ("Content-Length", "66824".to_owned()),
        (
            "Authorization",
            authorization(
                "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3",
                "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
                 x-amz-decoded-content-length;x-amz-storage-class",
                "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
            ),
        ),
    ];
    let request = ("PUT", "/examplebucket/chunkObject.txt", &headers, Body::Later);
    let mut body = Vec::new();
    for (size, signature) in [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ] {
        body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
        body.extend(std::iter::repeat_n(b'a', size));
        body.extend_from_slice(b"\r\n");
    }
    let chunks = || match verify(&S3, "s3", now, request).unwrap().payload {
        Payload::Chunked(chunks) => chunks,
        other => panic!("{other:?}"),
    };
    assert_eq!(body.len(), 66_824);
    assert_eq!(chunks().decode(&body, 66_560).unwrap().body, [b'a'; 66_560]);
    body[70] = b'b';
    let refused = chunks().decode(&body, 66_560).unwrap_err();
    assert_eq!(refused, BadChunks::Signature(SignatureError::DoesNotMatch));
}

/// The first edition of the test suite, whose requests have no X-Amz-Date (and a day of the week that it was not).
#[test]
fn a_date_header_will_do() {
    let now = Timestamp::from_micros(1_315_611_360_000_000); // 2011-09-09T23:36:00Z
    let signature = "b27ccfbfa7df52a200ff74193ca6e32d4b48b8856fab7ebf1c595d0670a7e470";
    let headers = vec![
        ("Date", "Mon, 09 Sep 2011 23:36:00 GMT".to_owned()),
        ("Host", "host.foo.com".to_owned()),
        ("Authorization", authorization("AKIDEXAMPLE/20110909/us-east-1/host", "date;host", signature)),
    ];
    verify(&SUITE, "host", now, ("GET", "/", &headers, Body::Bytes(b""))).unwrap();
}

/// What a request says of itself that is not enough, with the code of either protocol and the message.
#[test]
fn refusals_are_those_of_the_service() {
    use identity::sigv4::Protocol;
    type Harm = fn(&mut Headers<'static>);
    fn at<'h>(headers: &'h mut Headers<'static>, name: &str) -> &'h mut String {
        &mut headers.iter_mut().find(|(header, _)| *header == name).unwrap().1
    }
    fn swap(headers: &mut Headers<'static>, name: &str, from: &str, to: &str) {
        let value = at(headers, name);
        assert!(value.contains(from));
        *value = value.replace(from, to);
    }
    let cases: &[(Harm, &str, &str, &str)] = &[
        (
            |all| all.retain(|(name, _)| *name != "Authorization"),
            "MissingAuthenticationTokenException",
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ),
        (
            |all| *at(all, "Authorization") = "Basic YTpi".to_owned(),
            "MissingAuthenticationTokenException",
            "MissingAuthenticationToken",
            "Request is missing Authentication Token",
        ),
        (
            |all| *at(all, "Authorization") = "AWS4-HMAC-SHA256".to_owned(),
            "IncompleteSignatureException",
            "IncompleteSignature",
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
             parameter. Authorization header requires 'SignedHeaders' parameter.",
        ),
        (
            |all| all.retain(|(name, _)| *name != "X-Amz-Date"),
            "IncompleteSignatureException",
            "IncompleteSignature",
            "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.",
        ),
        (
            |all| swap(all, "Authorization", "HMAC-SHA256", "HMAC-SHA1"),
            "IncompleteSignatureException",
            "IncompleteSignature",
            "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'.",
        ),
        (
            |all| swap(all, "Authorization", "host;", ""),
            "IncompleteSignatureException",
            "IncompleteSignature",
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            |all| swap(all, "Authorization", ";x-amz-date", ""),
            "IncompleteSignatureException",
            "IncompleteSignature",
            "'X-Amz-Date' must be a 'SignedHeader' in the AWS Authorization.",
        ),
        (
            |all| swap(all, "Authorization", "AKIDEXAMPLE", "AKIDEXAMPLF"),
            "UnrecognizedClientException",
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
        ),
        (
            |all| swap(all, "Authorization", "us-east-1/iam", "eu-west-1/sns"),
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "Credential should be scoped to a valid region, not 'eu-west-1'. Credential should be scoped to \
             correct service: 'iam'.",
        ),
        (
            |all| swap(all, "Authorization", "20150830", "20150829"),
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: \
             '20150829' != '20150830', from '20150830T123600Z'.",
        ),
        (
            |all| *at(all, "X-Amz-Date") = "20150830T122059Z".to_owned(),
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "Signature expired: 20150830T122059Z is now earlier than 20150830T122100Z (20150830T123600Z - 15 min.)",
        ),
        (
            |all| *at(all, "X-Amz-Date") = "20150830T125101Z".to_owned(),
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "Signature not yet current: 20150830T125101Z is still later than 20150830T125100Z \
             (20150830T123600Z + 15 min.)",
        ),
        (
            |all| swap(all, "Authorization", "5d672d", "5D672D"),
            "InvalidSignatureException",
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
             Access Key and signing method. Consult the service documentation for details.",
        ),
    ];
    for (harm, json, query, message) in cases {
        let mut headers = list_users();
        harm(&mut headers);
        let error = verify(&SUITE, "iam", NOW, ("GET", LIST_USERS, &headers, Body::Bytes(b""))).unwrap_err();
        let said = (error.code(Protocol::Json), error.code(Protocol::Query), error.to_string());
        assert_eq!(said, (*json, *query, (*message).to_owned()));
    }
}

#[test]
fn refusals_of_presigned_requests() {
    let now = Timestamp::from_micros(1_369_353_600_000_000); // 2013-05-24T00:00:00Z
    let good = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    for (from, to, said) in [
        (
            "X-Amz-Expires=86400",
            "X-Amz-Expires=604801",
            "X-Amz-Expires must be less than a week (in seconds); that is, 604800 at most.",
        ),
        ("X-Amz-Expires=86400", "X-Amz-Expires=-1", "X-Amz-Expires must be a number of seconds."),
        ("X-Amz-Expires=86400", "X-Amz-Expires=+1", "X-Amz-Expires must be a number of seconds."),
        (
            "&X-Amz-Expires=86400&X-Amz-SignedHeaders=host",
            "",
            "AWS query-string parameters must include 'X-Amz-SignedHeaders'. AWS query-string parameters must include 'X-Amz-Expires'.",
        ),
        (
            "=86400",
            "=86400&X-Amz-Expires=86401",
            "AWS query-string parameter 'X-Amz-Expires' must be given once.",
        ),
        (
            "=86400",
            "=86400&X-Amz%2DExpires=86401",
            "AWS query-string parameter 'X-Amz-Expires' must be given once.",
        ),
        ("SHA256&", "SHA1&", "Unsupported AWS 'algorithm': 'AWS4-HMAC-SHA1'."),
        ("20130524T000000Z", "20130524", "Date must be in ISO-8601 'basic format'. Got '20130524'."),
        (
            "%2Faws4_request",
            "",
            "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term.",
        ),
    ] {
        assert!(good.contains(from));
        let target = format!("/test.txt?{}", good.replacen(from, to, 1));
        let headers = vec![("Host", "examplebucket.s3.amazonaws.com".to_owned())];
        let error = verify(&S3, "s3", now, ("GET", &target, &headers, Body::Later)).unwrap_err();
        assert_eq!(error, SignatureError::IncompleteSignature(said.to_owned()), "{to}");
    }
    let mut headers = list_users();
    headers[1].1 = "examplebucket.s3.amazonaws.com".to_owned();
    let error = verify(&S3, "s3", now, ("GET", &format!("/test.txt?{good}"), &headers, Body::Later));
    let said = "Only one of the Authorization header and the query may carry a signature.";
    assert_eq!(error.unwrap_err(), SignatureError::IncompleteSignature(said.to_owned()));
}
