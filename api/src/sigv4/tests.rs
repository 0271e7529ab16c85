//! Published vectors, and what each wrong request is answered.

use super::*;
use crate::ecs::ErrorCode;
use crate::error::ApiError;

/// The key of AWS's published examples.
const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const SUITE: Scope<'static> = Scope { region: "us-east-1", service: "service" };
const ECS: Scope<'static> = Scope { region: "us-east-1", service: "ecs" };

fn permanent() -> Credential {
    Credential { secret_access_key: SECRET.to_owned(), session_token: None, expires_at: None }
}

fn lookup(key: &str) -> Option<Credential> {
    (key == KEY).then(permanent)
}

fn at(moment: &str) -> Timestamp {
    date::parse(moment).unwrap()
}

fn bytes<'a>(headers: &'a [(&'a str, &'a str)]) -> Vec<(&'a str, &'a [u8])> {
    headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect()
}

/// Verifies one vector of the published suite: the signature covers `headers`, in sorted order of names.
fn check_vector(method: &str, target: &str, headers: &[(&str, &str)], body: &str, signature: &str) {
    let mut names: Vec<String> = headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    names.dedup();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={KEY}/20150830/us-east-1/service/aws4_request, SignedHeaders={}, \
         Signature={signature}",
        names.join(";")
    );
    let mut sent = headers.to_vec();
    sent.push(("Authorization", &authorization));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let request = Request { method, path, query, headers: &bytes(&sent), body: body.as_bytes() };
    let verified = verify(&request, SUITE, at("20150830T123600Z"), lookup);
    assert_eq!(verified, Ok(Identity { access_key_id: KEY.to_owned() }), "{method} {target}");
}

#[test]
fn vectors_of_the_published_suite() {
    const HOST: (&str, &str) = ("Host", "example.amazonaws.com");
    const DATE: (&str, &str) = ("X-Amz-Date", "20150830T123600Z");
    let get = |target: &str, signature: &str| check_vector("GET", target, &[HOST, DATE], "", signature);
    let vanilla = "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31";
    get("/", vanilla);
    get("//", vanilla);
    get("/example/..", vanilla);
    get("/./", vanilla);
    get("/?Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500");
    get("/?Param1=value2&Param1=Value1", "eedbc4e291e521cf13422ffca22be7d2eb8146eecf653089df300a15b2382bd1");
    get("/\u{1234}", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85");
    let post = |headers: &[(&str, &str)], body: &str, signature: &str| {
        check_vector("POST", "/", headers, body, signature);
    };
    post(&[HOST, DATE], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b");
    post(
        &[("Content-Type", "application/x-www-form-urlencoded"), HOST, DATE],
        "Param1=value1",
        "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
    );
}

#[test]
fn the_documentations_list_users_request() {
    let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/iam/aws4_request, \
        SignedHeaders=content-type;host;x-amz-date, \
        Signature=5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7";
    let headers = [
        ("Content-Type", "application/x-www-form-urlencoded; charset=utf-8"),
        ("Host", "iam.amazonaws.com"),
        ("X-Amz-Date", "20150830T123600Z"),
        ("Authorization", authorization),
    ];
    let request = Request {
        method: "GET",
        path: "/",
        query: "Action=ListUsers&Version=2010-05-08",
        headers: &bytes(&headers),
        body: b"",
    };
    let iam = Scope { region: "us-east-1", service: "iam" };
    assert!(verify(&request, iam, at("20150830T123600Z"), lookup).is_ok());
}

/// The presigned example of the S3 documentation. S3 alone leaves the body out of a presigned signature, so
/// the canonical request is checked with its marker in the place of the hash.
#[test]
fn the_documentations_presigned_request() {
    let query = "X-Amz-Algorithm=AWS4-HMAC-SHA256\
        &X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
        &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
        &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404";
    let headers = bytes(&[("Host", "examplebucket.s3.amazonaws.com")]);
    let request = Request { method: "GET", path: "/test.txt", query, headers: &headers, body: b"" };
    let claim = Claim::read(&request).unwrap();
    let canonical = canonical::request(&request, &claim, "UNSIGNED-PAYLOAD").unwrap();
    assert_eq!(signature("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &claim, &canonical), claim.signature);
}

/// An ECS call, to be changed before or after it is signed.
#[derive(Clone)]
struct Call {
    path: &'static str,
    query: String,
    headers: Vec<(String, String)>,
    body: &'static str,
    scope: (&'static str, &'static str),
}

const SIGNED_AT: &str = "20261122T194228Z";

impl Call {
    fn new() -> Self {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Call {
            path: "/",
            query: String::new(),
            headers: vec![
                header("Host", "127.0.0.1:7070"),
                header("X-Amz-Date", SIGNED_AT),
                header("X-Amz-Target", "AmazonEC2ContainerServiceV20141113.ListClusters"),
            ],
            body: "{}",
            scope: ("us-east-1", "ecs"),
        }
    }

    fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn replacing(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(sent, _)| !sent.eq_ignore_ascii_case(name));
        if value.is_empty() { self } else { self.with(name, value) }
    }

    /// Adds the `Authorization` of a signer who signs the headers called `names`.
    fn signed(self, names: &str) -> Self {
        let (region, service) = self.scope;
        let parameters = format!(
            "Credential={KEY}/20261122/{region}/{service}/aws4_request, SignedHeaders={names}, Signature="
        );
        let draft =
            self.clone().with("Authorization", &format!("{ALGORITHM} {parameters}{}", "0".repeat(64)));
        let signature = draft.request(|request| {
            let claim = Claim::read(request).unwrap();
            let hash = hex::encode(Sha256::digest(request.body));
            signature(SECRET, &claim, &canonical::request(request, &claim, &hash).unwrap())
        });
        self.with("Authorization", &format!("{ALGORITHM} {parameters}{signature}"))
    }

    fn request<T>(&self, act: impl FnOnce(&Request<'_>) -> T) -> T {
        let headers: Vec<(&str, &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        let (path, query, body) = (self.path, self.query.as_str(), self.body.as_bytes());
        act(&Request { method: "POST", path, query, headers: &headers, body })
    }

    fn verify_at(&self, moment: &str) -> Result<Identity, VerifyError> {
        self.request(|request| verify(request, ECS, at(moment), lookup))
    }

    fn refusal(&self) -> ApiError {
        self.verify_at(SIGNED_AT).unwrap_err().into()
    }
}

const ALL: &str = "host;x-amz-date;x-amz-target";

#[test]
fn every_change_after_signing_is_noticed() {
    let good = Call::new().signed(ALL);
    assert!(good.verify_at(SIGNED_AT).is_ok());
    let target = "AmazonEC2ContainerServiceV20141113.DeleteCluster";
    for changed in [
        Call { body: "{} ", ..good.clone() },
        Call { path: "/x", ..good.clone() },
        Call { query: "a=1".to_owned(), ..good.clone() },
        good.clone().replacing("X-Amz-Target", target),
        good.clone().replacing("X-Amz-Target", ""),
        good.clone().with("X-Amz-Target", target),
        good.clone().replacing("Host", "elsewhere"),
        good.clone().replacing("X-Amz-Date", "20261122T194229Z"),
    ] {
        assert_eq!(changed.verify_at(SIGNED_AT), Err(VerifyError::SignatureMismatch));
    }
    let message = "The request signature we calculated does not match the signature you provided. Check your AWS \
        Secret Access Key and signing method. Consult the service documentation for details.";
    let expected = ApiError::new(ErrorCode::InvalidSignatureException, message);
    assert_eq!(Call { body: "[]", ..good }.refusal(), expected);
}

#[test]
fn each_wrong_form_is_answered_in_awss_words() {
    let check = |call: Call, code: ErrorCode, words: &str| {
        let error = call.refusal();
        let message = error.message.clone().unwrap_or_default();
        assert!(error.code == code && message.contains(words), "wanted {code:?} {words:?}, got {error}");
    };
    let with = |authorization: &str| Call::new().with("Authorization", authorization);
    let zeros = "0".repeat(64);
    let incomplete = ErrorCode::IncompleteSignatureException;
    let invalid = ErrorCode::InvalidSignatureException;
    check(Call::new(), ErrorCode::MissingAuthenticationTokenException, "Missing Authentication Token");
    check(with("AWS4-HMAC-SHA256"), incomplete, "Authorization header requires 'Credential' parameter. ");
    check(with(""), incomplete, "Unsupported AWS 'algorithm'");
    check(with("Basic dXNlcg=="), incomplete, "Unsupported AWS 'algorithm': 'Basic'");
    check(
        Call::new().signed(ALL).replacing("X-Amz-Date", ""),
        incomplete,
        "requires existence of either a 'X-Amz-Date' or a 'Date' header.",
    );
    check(
        with(&format!("AWS4-HMAC-SHA256 Credential=a/b, SignedHeaders=host, Signature={zeros}")),
        incomplete,
        "exactly 5 slash-delimited elements",
    );
    check(
        with(
            "AWS4-HMAC-SHA256 Credential=a/20261122/us-east-1/ecs/aws4_request, SignedHeaders=host, Signature=ZZ",
        ),
        incomplete,
        "64 lower-case",
    );
    check(Call::new().signed(ALL).replacing("X-Amz-Date", "yesterday"), incomplete, "Got 'yesterday'");
    check(Call::new().signed("x-amz-date;x-amz-target"), invalid, "'host' must be a 'SignedHeader'");
    check(Call::new().signed("host;x-amz-date"), invalid, "'x-amz-target' must be a 'SignedHeader'");
    let scoped = |region, service| Call { scope: (region, service), ..Call::new() }.signed(ALL);
    check(scoped("eu-west-1", "ecs"), invalid, "Credential should be scoped to a valid region. ");
    check(scoped("us-east-1", "s3"), invalid, "Credential should be scoped to correct service: 'ecs'. ");
    check(
        Call::new().signed(ALL).replacing("X-Amz-Date", "20261123T000100Z"),
        invalid,
        "'20261122' != '20261123', from '20261123T000100Z'.",
    );
    let unsigned = Call::new().with("X-Amz-Content-Sha256", "UNSIGNED-PAYLOAD");
    check(
        unsigned.signed(&format!("host;x-amz-content-sha256;{}", &ALL[5..])),
        invalid,
        "x-amz-content-sha256",
    );
    let crowd = (0..=HEADERS_MAX).fold(Call::new(), |call, _| call.with("a", "b"));
    check(crowd, ErrorCode::RequestEntityTooLargeException, "too large");
}

#[test]
fn unknown_keys_are_refused() {
    let verified = Call::new().signed(ALL).request(|request| verify(request, ECS, at(SIGNED_AT), |_| None));
    let error = ApiError::from(verified.unwrap_err());
    assert_eq!(
        error.body(),
        r#"{"__type":"UnrecognizedClientException","message":"The security token included in the request is invalid."}"#
    );
}

#[test]
fn a_signature_is_good_for_a_quarter_of_an_hour_either_way() {
    let good = Call::new().signed(ALL);
    for moment in ["20261122T192728Z", "20261122T195728Z"] {
        assert!(good.verify_at(moment).is_ok(), "{moment}");
    }
    let late = good.verify_at("20261122T195729Z").unwrap_err().to_string();
    assert_eq!(
        late,
        "Signature expired: 20261122T194228Z is now earlier than 20261122T194229Z (20261122T195729Z - 15 min.)"
    );
    let early = good.verify_at("20261122T192727Z").unwrap_err().to_string();
    assert_eq!(
        early,
        "Signature not yet current: 20261122T194228Z is still later than 20261122T194227Z \
         (20261122T192727Z + 15 min.)"
    );
}

#[test]
fn temporary_credentials_need_their_token_in_time() {
    let names = "host;x-amz-date;x-amz-security-token;x-amz-target";
    let temporary = |expires_at: &str| Credential {
        session_token: Some("token".to_owned()),
        expires_at: Some(at(expires_at)),
        ..permanent()
    };
    let check = |call: &Call, credential: Credential, expected: Result<(), VerifyError>| {
        let verified =
            call.request(|request| verify(request, ECS, at(SIGNED_AT), |_| Some(credential.clone())));
        assert_eq!(verified.map(|_| ()), expected);
    };
    let with_token = |token: &str| Call::new().with("X-Amz-Security-Token", token).signed(names);
    check(&with_token("token"), temporary("20261122T200000Z"), Ok(()));
    check(&with_token("other"), temporary("20261122T200000Z"), Err(VerifyError::Token));
    check(&Call::new().signed(ALL), temporary("20261122T200000Z"), Err(VerifyError::Token));
    check(&with_token("token"), permanent(), Err(VerifyError::Token));
    check(&with_token("token"), temporary(SIGNED_AT), Err(VerifyError::TokenExpired));
}

/// Amazon's agent signs a space in a query as `%20` and sends it as `+`.
#[test]
fn a_space_may_be_spelled_differently_than_it_was_signed() {
    let query = |raw: &str| Call { query: raw.to_owned(), ..Call::new() };
    let signed = query("v=DockerVersion%3A%2020.10.24&a=1").signed(ALL);
    let sent = Call { query: "a=1&v=DockerVersion%3A+20.10.24".to_owned(), ..signed };
    assert!(sent.verify_at(SIGNED_AT).is_ok());
}

#[test]
fn a_presigned_request_ends_when_it_says() {
    let presigned = |expires: &str| {
        format!(
            "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY}%2F20261122%2Fus-east-1%2Fecs%2Faws4_request\
             &X-Amz-Date={SIGNED_AT}&X-Amz-Expires={expires}&X-Amz-SignedHeaders=host&X-Amz-Signature="
        )
    };
    let sign = |expires: &str| {
        let zeros = "0".repeat(64);
        let draft = Call { query: presigned(expires) + &zeros, ..Call::new() }.replacing("X-Amz-Target", "");
        let signature = draft.request(|request| {
            let claim = Claim::read(request).unwrap();
            let hash = hex::encode(Sha256::digest(request.body));
            signature(SECRET, &claim, &canonical::request(request, &claim, &hash).unwrap())
        });
        Call { query: presigned(expires) + &signature, ..draft }
    };
    let hour = sign("3600");
    assert!(hour.verify_at("20261122T204228Z").is_ok());
    assert_eq!(
        hour.verify_at("20261122T204229Z").unwrap_err().to_string(),
        "Signature expired: 20261122T204228Z is now earlier than 20261122T204229Z"
    );
    assert_eq!(Call { body: "x", ..hour }.verify_at(SIGNED_AT), Err(VerifyError::SignatureMismatch));
    for expires in ["0", "604801", "x", ""] {
        let query = presigned(expires) + &"0".repeat(64);
        let refused = Call { query, ..Call::new() }.verify_at(SIGNED_AT);
        assert_eq!(refused, Err(VerifyError::ExpiresForm(expires.to_owned())));
    }
}

proptest::proptest! {
    #[test]
    fn no_request_makes_it_panic(
        path in "\\PC{0,20}",
        query in "(X-Amz-(Algorithm|Credential|Date|Expires|Signature)=[%0-9A-Za-z/-]{0,12}&){0,6}\\PC{0,20}",
        authorization in "(AWS4-HMAC-SHA256 )?(Credential=[a-z/]{0,12},?)?(SignedHeaders=\\PC{0,9},)?\\PC{0,30}",
        date in "([0-9]{8}T[0-9]{6}Z)|\\PC{0,20}",
        value in proptest::collection::vec(proptest::num::u8::ANY, 0..40),
    ) {
        let headers = [
            ("authorization", authorization.as_bytes()),
            ("x-amz-date", date.as_bytes()),
            ("host", value.as_slice()),
        ];
        let request = Request { method: "GET", path: &path, query: &query, headers: &headers, body: &value };
        let unsigned = Request { headers: &headers[1..], ..request };
        for request in [request, unsigned] {
            proptest::prop_assert!(verify(&request, ECS, at(SIGNED_AT), |_| Some(permanent())).is_err());
        }
    }
}
