//! A full disk: writes fail in ECS's words, reads go on, service resumes when there is room, and what was acknowledged
//! is kept.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ecsr_tests::{Api, ApiError, wait};
use serde_json::json;

use super::local::Local;

/// Room for a journal and some more.
const DISK_BYTES: usize = 24 * 1024 * 1024;

/// Makes the journal grow with every write.
const FILLER_BYTES: usize = 40_000;

/// Writes before the test gives up on filling the disk.
const WRITES_MAX: usize = 2_000;

/// A small file system of its own, until dropped.
struct Disk(PathBuf);

impl Disk {
    /// `None` where mounting is not permitted.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).expect("a directory can be made");
        let size = format!("size={DISK_BYTES}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "ecsr-test"]).arg(&at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the scheduler may still be ending.
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Writes zeros until the disk takes no more.
fn fill(path: &Path) {
    let mut file = File::create(path).expect("the disk takes one more name");
    let block = vec![0; 4096];
    while file.write_all(&block).is_ok() {}
}

async fn register(api: &Api, number: usize) -> Result<String, ApiError> {
    let value = "x".repeat(FILLER_BYTES);
    let container = json!({
        "name": "web", "image": "none", "memory": 6, "environment": [{"name": "FILLER", "value": value}],
    });
    let family = format!("family-{number}");
    let request = json!({"family": family, "containerDefinitions": [container]});
    let answer = api.try_call("RegisterTaskDefinition", request).await?;
    Ok(answer["taskDefinition"]["taskDefinitionArn"].as_str().unwrap_or_default().to_owned())
}

async fn assert_kept(api: &Api, acknowledged: &[String]) {
    let known = super::local::list_all(api, "ListTaskDefinitions", json!({}), "taskDefinitionArns").await;
    for arn in acknowledged {
        assert!(known.contains(arn), "{arn} is lost, though acknowledged");
    }
}

#[tokio::test]
async fn a_full_disk_costs_refusals_and_nothing_else() {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let Some(disk) = Disk::mount(dir.path().join("disk")) else {
        eprintln!("skipped: this user may not mount a file system to fill");
        return;
    };
    let mut local = Local::prepare_in(|_| disk.0.join("data"));
    local.start().await;
    let mut acknowledged = vec![register(&local.api, 0).await.expect("there is room")];

    let filler = disk.0.join("filler");
    fill(&filler);
    let mut refusal = None;
    for number in 1..WRITES_MAX {
        match register(&local.api, number).await {
            Ok(arn) => acknowledged.push(arn),
            Err(error) => {
                refusal = Some(error);
                break;
            }
        }
    }
    match refusal.expect("the disk is full") {
        ApiError::Refused { status, code, .. } => {
            assert_eq!((status, code.as_str()), (500, "ServerException"), "SDKs try this again");
        }
        ApiError::Unreachable(error) => panic!("the scheduler is gone: {error}"),
    }
    assert_kept(&local.api, &acknowledged).await;

    fs::remove_file(&filler).expect("the filler is there");
    let resumed =
        wait::until("writes to succeed again", async || register(&local.api, WRITES_MAX).await).await;
    acknowledged.push(resumed);
    assert_kept(&local.api, &acknowledged).await;
    local.kill();
    local.start().await;
    assert_kept(&local.api, &acknowledged).await;
}
