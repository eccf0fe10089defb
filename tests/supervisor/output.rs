//! The output limit: both ends stay, the disk stays bounded, and the record says exactly what is gone.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use outlive_protocol::names;

use crate::task::{Asked, Task, compiled, eventually, how};

pub(crate) const MIB: u64 = 1 << 20;
pub(crate) const LINE: &str = "0123456789abcde";

pub(crate) fn dropped(task: &Task, stream: &str) -> (u64, u64) {
    let record = task.record(names::DROPPED.as_str()).expect("dropped.json");
    let end = |at: usize| record[stream][at].as_u64().expect("a number");
    (end(0), end(1))
}

/// What the command wrote is `LINE` over and over: every byte outside the hole must be as written, every byte inside zero.
pub(crate) fn check_content(path: &Path, hole: (u64, u64)) {
    let file = File::open(path).expect("capture");
    let size = file.metadata().expect("metadata").len();
    let line = LINE.len() + 1;
    let written = format!("{LINE}\n").repeat(MIB as usize / line + 1).into_bytes();
    let zeroes = vec![0; MIB as usize + line];
    let mut buffer = vec![0; MIB as usize];
    for (from, to, expected) in [(0, hole.0.min(size), &written), (hole.0, hole.1, &zeroes), (hole.1, size, &written)] {
        let mut at = from;
        while at < to {
            let length = (to - at).min(MIB) as usize;
            file.read_exact_at(&mut buffer[..length], at).expect("read");
            let phase = at as usize % line;
            let same = buffer[..length] == expected[phase..phase + length];
            assert!(same, "{length} bytes at {at} of {size}, dropped {hole:?}");
            at += length as u64;
        }
    }
}

#[test]
fn endless_output_stays_bounded_on_the_disk_and_both_ends_are_kept() {
    // O1
    let limit = 10 * MIB;
    let mut asked = Asked::new(format!("echo x >ready; exec yes {LINE}"));
    asked.settings.max_output_bytes = limit;
    let mut task = asked.start();
    task.line();
    let path = task.directory.join(names::STDOUT.as_str());
    let mut sizes = Vec::new();
    eventually("a gigabyte was written", || {
        let file = fs::metadata(&path).expect("stdout");
        sizes.push(file.blocks() * 512);
        file.len() > 1 << 30
    });
    assert_eq!(task.record(names::ENDED.as_str()), None, "it still runs");
    task.kill(libc::SIGTERM, 60_000);
    task.ended();
    task.gone();
    let (head, end) = dropped(&task, "stdout");
    let file = fs::metadata(&path).expect("stdout");
    assert!(head >= limit / 2 && head < limit / 2 + 4096, "{head}");
    let kept = file.len() - (end - head);
    assert!((limit..=limit + limit / 8 + 4096).contains(&kept), "{kept}");
    assert!(file.blocks() * 512 < 2 * limit, "{} on the disk", file.blocks() * 512);
    // While the machine or the file system lets the supervisor wait, the command goes on writing at a gigabyte a second:
    // ten milliseconds are as much as the limit here. On a busy machine the worst moment says little, the usual one does.
    sizes.sort_unstable();
    let usual = sizes[sizes.len() / 2];
    assert!(usual < 2 * limit, "{usual} on the disk at half of all moments");
    assert!(sizes[sizes.len() - 1] < file.len() / 2, "{:?} on the disk at the worst", sizes.last());
    check_content(&path, (head, end));
    assert_eq!(dropped(&task, "stderr"), (0, 0));
}

#[test]
fn each_stream_has_its_own_limit() {
    // O1 O3
    let mut asked = Asked::new(format!("yes {LINE} | head -c 3145728; yes {LINE} | head -c 2097152 >&2; echo end >&2"));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    assert_eq!(how(&task.ended()), ("exit", Some(0), None));
    task.gone();
    for stream in [names::STDOUT.as_str(), names::STDERR.as_str()] {
        let (head, end) = dropped(&task, stream);
        let path = task.directory.join(stream);
        let size = fs::metadata(&path).expect("capture").len();
        assert_eq!(head, MIB / 2);
        assert!(size - (end - head) <= MIB + MIB / 8, "{stream}: {size} without {head} to {end}");
        if stream == names::STDOUT.as_str() {
            check_content(&path, (head, end));
        }
    }
}

#[test]
fn a_merged_stream_counts_once() {
    // O5
    let mut asked = Asked::new(format!("yes {LINE} | head -c 1572864; yes {LINE} | head -c 1572864 >&2"));
    asked.settings.max_output_bytes = MIB;
    asked.merged = true;
    let mut task = asked.start();
    task.ended();
    task.gone();
    let (head, end) = dropped(&task, "stdout");
    assert_eq!(dropped(&task, "stderr"), (0, 0));
    check_content(&task.directory.join(names::OUTPUT.as_str()), (head, end));
}

#[test]
fn output_within_its_limit_is_left_alone() {
    // O1
    let mut asked = Asked::new(format!("yes {LINE} | head -c 1048576"));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    task.ended();
    task.gone();
    assert!(!task.directory.join(names::DROPPED.as_str()).exists());
    check_content(&task.directory.join(names::STDOUT.as_str()), (0, 0));
}

#[test]
fn descendants_of_an_ended_task_stay_within_the_limit() {
    // O9
    let mut asked = Asked::new(format!("(read line <go; yes {LINE} | head -c 67108864; exec sleep 300) & exit 0"));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    assert_eq!(how(&task.ended()), ("exit", Some(0), None));
    task.go();
    let path = task.directory.join(names::STDOUT.as_str());
    eventually("all is written and cut", || {
        let file = fs::metadata(&path).expect("stdout");
        file.len() == 64 * MIB && file.blocks() * 512 <= MIB + MIB / 8 + 8192
    });
    task.kill(libc::SIGKILL, 0);
    assert!(task.gone().success());
    check_content(&path, dropped(&task, "stdout"));
}

#[test]
fn a_limit_of_one_byte_leaves_the_end() {
    // O1
    let mut asked = Asked::new(format!("yes {LINE} | head -c 8192"));
    asked.settings.max_output_bytes = 1;
    let mut task = asked.start();
    task.ended();
    task.gone();
    assert_eq!(dropped(&task, "stdout"), (0, 4096));
    check_content(&task.directory.join(names::STDOUT.as_str()), (0, 4096));
}

#[test]
fn a_silent_task_wakes_nobody() {
    // O1
    let guests = [
        "echo something".to_owned(),
        // As XFS does by itself.
        format!("yes {LINE} | head -c 134217728; fallocate --keep-size --offset 1GiB --length 64MiB ../task/stdout"),
    ];
    for guest in guests {
        let mut asked = Asked::new(format!("{guest} && echo x >ready; exec sleep 300"));
        asked.settings.max_output_bytes = 100 * MIB;
        asked.settings.timeout_ms = 600_000;
        let mut task = asked.start();
        task.line();
        let switches = |task: &Task| task.status("voluntary_ctxt_switches");
        // The check that the last output asked for is 100 ms away on a machine that has time. Whoever polls has no such pause.
        eventually("two seconds without a wake", || {
            let before = switches(&task);
            std::thread::sleep(Duration::from_secs(2));
            switches(&task) == before
        });
    }
}

#[test]
fn who_writes_little_is_looked_at_seldom_however_little_room_is_left() {
    // O1
    let slow = "#include <unistd.h>\nint main(void) { while (write(1, \"y\\n\", 2) == 2) usleep(1000); }";
    let mut asked = Asked::new(compiled(slow, &format!("yes {LINE} | head -c 2097152; exec ./guest")));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    eventually("the middle is gone", || task.record(names::DROPPED.as_str()).is_some());
    let path = task.directory.join(names::STDOUT.as_str());
    let writes = || fs::metadata(&path).expect("stdout").len().saturating_sub(2 * MIB) / 2;
    let wakes = || task.status("voluntary_ctxt_switches").rsplit('\t').next().and_then(|count| count.parse::<u64>().ok());
    eventually("it writes little", || writes() > 100);
    let (written, woken) = (writes(), wakes().expect("a number"));
    eventually("it has written a thousand times", || writes() > written + 1000);
    let woken = wakes().expect("a number") - woken;
    assert!(woken < 400, "{woken} wakes");
    task.kill(libc::SIGTERM, 60_000);
    task.gone();
}

#[test]
fn where_the_middle_cannot_be_dropped_the_task_is_stopped() {
    // O1
    let Some(ramfs) = Mount::new("ramfs", "mode=700") else { return };
    let mut asked = Asked::new(format!("exec 9>alive; yes {LINE}"));
    asked.settings.max_output_bytes = MIB;
    asked.base = ramfs.0.clone();
    let mut task = asked.start();
    assert_eq!(how(&task.ended()), ("output_limit", None, Some(15)));
    assert!(task.gone().success());
    assert!(task.is_dead());
    assert_eq!(dropped(&task, "stdout"), (0, 0));
}

#[test]
fn where_the_middle_cannot_be_dropped_the_grace_is_not_for_writing_on() {
    // O1
    let Some(ramfs) = Mount::new("ramfs", "mode=700") else { return };
    let guests = [
        (format!("trap '' TERM; exec yes {LINE}"), ("output_limit", None, Some(9))),
        // Its last words fit.
        (
            format!(
                "trap 'echo bye; echo x >ready; read line <go; exit 5' TERM; yes {LINE} | head -c 1300000; while :; do sleep 0.01; done"
            ),
            ("output_limit", Some(5), None),
        ),
    ];
    for (command, end) in guests {
        let mut asked = Asked::new(command);
        asked.settings.max_output_bytes = MIB;
        asked.settings.grace_ms = 600_000;
        asked.base = ramfs.0.clone();
        let mut task = asked.start();
        if end.1.is_some() {
            task.line();
            task.go();
        }
        assert_eq!(how(&task.ended()), end);
        assert!(task.gone().success());
    }
}

#[test]
fn a_task_whose_directory_was_removed_runs_on_within_its_limit() {
    // O1
    let mut asked =
        Asked::new(format!("echo x >ready; read line <go; yes {LINE} | head -c 67108864; echo x >ready; read line <go; exit 3"));
    asked.settings.max_output_bytes = MIB;
    let mut task = asked.start();
    task.line();
    let open = |name: names::Name| File::open(task.directory.join(name.as_str())).expect("its file is there");
    let (stdout, mut ended) = (open(names::STDOUT), open(names::ENDED));
    fs::remove_dir_all(&task.directory).expect("it may be removed");
    task.go();
    task.line();
    eventually("all is cut", || stdout.metadata().expect("metadata").blocks() * 512 <= MIB + MIB / 8 + 8192);
    task.go();
    assert!(task.gone().success());
    let mut record = String::new();
    ended.read_to_string(&mut record).expect("text");
    assert_eq!(how(&serde_json::from_str(&record).expect("a record")), ("exit", Some(3), None));
}

#[test]
fn a_full_disk_loses_output_and_no_ending() {
    // R17
    let Some(tmpfs) = Mount::new("tmpfs", "size=4m") else { return };
    let mut asked = Asked::new(format!("yes {LINE}; : >more; echo x >ready; read line <go; exit 3"));
    asked.settings.max_output_bytes = 16 * MIB;
    asked.base = tmpfs.0.clone();
    let mut task = asked.start();
    task.line();
    task.go();
    let ended = task.ended();
    assert_eq!(how(&ended), ("exit", Some(3), None));
    assert!(task.gone().success());
}

/// A file system of another kind. Mounting takes root.
struct Mount(std::path::PathBuf);

impl Mount {
    fn new(kind: &str, options: &str) -> Option<Mount> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("outlive-{kind}-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).expect("mount point");
        let mounted = std::process::Command::new("mount").args(["-t", kind, "-o", options, "none"]).arg(&path).status();
        if !mounted.is_ok_and(|status| status.success()) {
            println!("not run: only root can mount a {kind}");
            return None;
        }
        Some(Mount(path))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // Lazily: the task's directory is removed after this.
        drop(std::process::Command::new("umount").arg("-l").arg(&self.0).status());
        drop(fs::remove_dir(&self.0));
    }
}
