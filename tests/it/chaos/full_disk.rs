//! A store on a small file system that is full for a while.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::geteuid;
use tokio::time::timeout;

use super::dice::Dice;
use super::fleet::Fleet;
use crate::support::world::World;

const SCENARIO: &str = "full disk";

/// A small file system of the test's own, which only root can make.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn at(path: &Path) {
        std::fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=3m,mode=700", "tmpfs"]).arg(path);
        assert!(mount.status().unwrap().success());
    }

    /// Takes all of the room that is left.
    fn fill(&self) {
        let mut file = std::fs::File::create(self.0.join("filler")).unwrap();
        while file.write_all(&[0; 4096]).is_ok() {}
        while file.write_all(&[0; 1]).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _gone_already = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[tokio::test]
async fn a_full_disk_loses_nothing_and_writes_go_on_when_there_is_room() {
    if !geteuid().is_root() {
        super::report(SCENARIO, "left out: only root can make a small file system");
        return;
    }
    let dice = Dice::seeded(SCENARIO);
    let fleet = Fleet::of(1, |origin| {
        let world = World::new(origin).keeping().set("api.requests_per_minute", "0");
        SmallDisk::at(&world.path("data"));
        world
    })
    .await;
    // Dropped before the directory that it is in.
    let disk = SmallDisk(fleet.all()[0].world.path("data"));
    let end = Instant::now() + super::length();
    while Instant::now() < end {
        let part = super::length() / 6;
        fleet.work(&dice, Instant::now() + part).await;
        disk.fill();
        fleet.work(&dice, Instant::now() + part).await;
        disk.free();
        let again = timeout(Duration::from_secs(3), fleet.all_can_write()).await;
        assert!(again.is_ok(), "there is room: {}", fleet.all()[0].log.text());
    }
    fleet.settles(SCENARIO, 0).await;
    fleet.restart(0).await;
    fleet.settles(SCENARIO, 0).await;
}
