//! The command as a script meets it: exit codes, what goes to which stream, and readers that go away. Nothing here
//! needs a scheduler or an engine; it is the real binary with an environment of its own.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::thread;

/// The binary, without anything that the developer's environment would tell it.
fn ecsr(data_dir: &tempfile::TempDir) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ecsr"));
    command.env_clear().env("ECSR_DATA_DIR", data_dir.path()).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn with_keys(command: &mut Command) -> &mut Command {
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "secret")
        .env("AWS_REGION", "us-east-1")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn each_kind_of_failure_has_its_exit_code() {
    fn check(line: &str, code: i32, said: &str) {
        let dir = tempfile::tempdir().unwrap();
        let Output { status, stdout, stderr } =
            with_keys(&mut ecsr(&dir)).args(line.split_whitespace()).output().unwrap();
        assert_eq!(status.code(), Some(code), "{line}: {}", text(&stderr));
        assert!(text(&stderr).contains(said), "{line}: {}", text(&stderr));
        assert!(stdout.is_empty(), "{line}: a failure leaves stdout to results: {}", text(&stdout));
    }
    check("service bogus", 2, "unrecognized subcommand");
    check("td register /nonexistent.yaml", 2, "cannot read /nonexistent.yaml");
    check("service scale web minus-one", 2, "invalid value");
    check("env", 3, "hint: `ecsr up --detach` starts one");
    check("key delete AKIANONE", 3, "no access key AKIANONE");
    check(
        "cluster list --endpoint-url http://127.0.0.1:1",
        5,
        "cannot reach the ECS endpoint: Connection refused",
    );
}

#[test]
fn what_is_asked_for_goes_to_stdout() {
    fn check(line: &str, said: &str) {
        let dir = tempfile::tempdir().unwrap();
        let Output { status, stdout, stderr } = ecsr(&dir).args(line.split_whitespace()).output().unwrap();
        assert!(status.success(), "{line}: {}", text(&stderr));
        assert!(text(&stdout).contains(said), "{line}: {}", text(&stdout));
        assert!(stderr.is_empty(), "{line}: {}", text(&stderr));
    }
    check("--help", "130  interrupted");
    check("service create --help", "ecsr service create --task-definition web --count 14 --wait");
    check("completions bash", "complete -F _ecsr");
    check("completions zsh", "#compdef ecsr");
    check("completions fish", "complete -c ecsr");
    check("env --unset", "unset AWS_ENDPOINT_URL_ECS");
    check("key create --description robot -o json", "\"secretAccessKey\"");
    check("key list", "ACCESS-KEY");
}

#[test]
fn a_reader_that_goes_away_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = ecsr(&dir)
        .args(["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let Output { status, stderr, .. } = child.wait_with_output().unwrap();
    assert_eq!((status.code(), text(&stderr).as_str()), (Some(0), ""));
}

/// Answers one request with `body`, and hands back what was asked.
fn endpoint(status: &'static str, body: &'static str) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let asked = thread::spawn(move || {
        let (stream, _) = listener.accept().expect("the command connects");
        let mut reader = BufReader::new(stream.try_clone().expect("a socket can be cloned"));
        let head: Vec<String> = reader
            .by_ref()
            .lines()
            .map(|line| line.expect("the head is text"))
            .take_while(|line| !line.is_empty())
            .collect();
        let length = head
            .iter()
            .find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned))
            .map_or(0, |length| length.parse().expect("a length is a number"));
        let mut request = vec![0; length];
        reader.read_exact(&mut request).expect("the body is as long as it says");
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            body.len()
        );
        (&stream).write_all(answer.as_bytes()).expect("the command reads");
        head.into_iter().chain([text(&request)]).collect()
    });
    (url, asked)
}

#[test]
fn members_pass_through_unchanged_both_ways() {
    let (url, asked) = endpoint(
        "200 OK",
        r#"{"taskDefinition": {
            "taskDefinitionArn": "arn:aws:ecs:us-east-1:1:task-definition/web:1",
            "registeredAt": 1.619952106055E9,
            "memberOfTomorrow": [1, {"a": null}]
        }}"#,
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("web.yaml");
    std::fs::write(&file, "family: web\ncontainerDefinitions:\n- {name: web, image: busybox, memory: 16}\n")
        .unwrap();
    let output = with_keys(&mut ecsr(&dir))
        .args(["td", "register", "-o", "json", "--endpoint-url", &url])
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(shown["taskDefinition"]["memberOfTomorrow"], serde_json::json!([1, {"a": null}]));
    assert_eq!(shown["taskDefinition"]["registeredAt"], "2021-05-02T10:41:46.055Z");

    let asked = asked.join().unwrap();
    let signed = |line: &String| {
        line.to_lowercase().starts_with("authorization: aws4-hmac-sha256 credential=akidexample/")
    };
    assert!(asked.iter().any(signed), "{asked:?}");
    let request: serde_json::Value = serde_json::from_str(asked.last().unwrap()).unwrap();
    assert_eq!(
        request,
        serde_json::json!({
            "family": "web",
            "containerDefinitions": [{"name": "web", "image": "busybox", "memory": 16}],
        })
    );
}

#[test]
fn an_error_of_ecs_is_shown_in_its_own_words() {
    let (url, asked) = endpoint(
        "400 Bad Request",
        r#"{"__type":"ClusterNotFoundException","message":"Cluster not found."}"#,
    );
    let dir = tempfile::tempdir().unwrap();
    let output = with_keys(&mut ecsr(&dir))
        .args(["service", "list", "-c", "no", "--endpoint-url", &url])
        .output()
        .unwrap();
    asked.join().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let said = text(&output.stderr);
    assert!(said.starts_with("error: ClusterNotFoundException: Cluster not found.\nhint: "), "{said}");
}
