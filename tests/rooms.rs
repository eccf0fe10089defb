//! The walls of the house: what may be said in which room. ARCHITECTURE.md says why.

use std::fs;
use std::path::PathBuf;

/// A room may name these others, and nobody else.
const ARROWS: &[(&str, &[&str])] = &[
    ("js", &["error", "platform", "registry", "task"]),
    ("registry", &["error", "platform", "reactor", "store", "task"]),
    ("reactor", &["platform"]),
    ("store", &["error", "platform", "task"]),
    ("task", &[]),
    ("platform", &[]),
    ("error.rs", &["platform", "task"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(room: &str) -> Vec<(PathBuf, String)> {
    let mut open = vec![root().join(room)];
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
    assert!(!found.is_empty(), "there is no room {room}");
    found
}

/// The lines that say something, without those that only speak about it.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate().map(|(number, line)| (number + 1, line));
    lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c: char| !(c.is_alphanumeric() || c == '_')).filter(|word| !word.is_empty())
}

/// Fails with every line outside of `allowed` for which `is_said` holds.
fn only_in(rooms: &[&str], allowed: &[&str], what: &str, is_said: impl Fn(&str) -> bool) {
    let mut out_of_place = Vec::new();
    for (path, text) in rooms.iter().flat_map(|room| sources(room)) {
        let inside = path.strip_prefix(root()).unwrap();
        if !allowed.iter().any(|room| inside.starts_with(room)) {
            let lines = code(&text).filter(|(_, line)| is_said(line));
            out_of_place.extend(lines.map(|(number, line)| format!("{}:{number}: {line}", inside.display())));
        }
    }
    assert!(out_of_place.is_empty(), "{what} belongs into {allowed:?}:\n{}", out_of_place.join("\n"));
}

#[test]
fn only_the_door_says_napi() {
    only_in(&["src", "protocol/src"], &["src/js"], "napi", |line| words(line).any(|word| word.starts_with("napi")));
}

#[test]
fn only_the_ground_says_libc_and_the_name_of_a_system() {
    only_in(&["src", "protocol/src", "supervisor/src"], &["src/platform"], "libc", |line| words(line).any(|w| w == "libc"));
    only_in(&["src", "protocol/src"], &["src/platform"], "cfg(target_os)", |line| line.contains("target_os"));
}

#[test]
fn unsafe_stays_at_the_bottom() {
    let allowed = ["src/platform", "supervisor/src/sys"];
    let is_said = |line: &str| words(line).any(|word| word == "unsafe");
    only_in(&["src", "protocol/src", "supervisor/src"], &allowed, "unsafe", is_said);
}

#[test]
fn every_unsafe_block_has_its_sentence() {
    for (path, text) in ["src", "supervisor/src"].iter().flat_map(|room| sources(room)) {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in code(&text).filter(|(_, line)| line.contains("unsafe {")) {
            let above = &lines[number.saturating_sub(6)..number];
            assert!(above.iter().any(|line| line.contains("SAFETY:")), "{}:{number}: {line}", path.display());
        }
    }
}

#[test]
fn a_room_names_only_those_below_it() {
    for (room, allowed) in ARROWS {
        for (path, text) in sources(&format!("src/{room}")) {
            for (number, line) in code(&text) {
                for named in line.split("crate::").skip(1).flat_map(first_names) {
                    let stays = *room == named || allowed.contains(&named);
                    assert!(stays, "{}:{number}: {room} may not name {named}: {line}", path.display());
                }
            }
        }
    }
}

/// Of a path its first name, of a group `{a::b, c}` that of each path in it.
fn first_names(path: &str) -> Vec<&str> {
    let Some(group) = path.strip_prefix('{') else { return words(path).take(1).collect() };
    let mut depth = 0;
    let paths = group.split(|c: char| {
        depth += i32::from(c == '{') - i32::from(c == '}');
        c == ',' && depth == 0
    });
    paths.take_while(|path| !path.starts_with(';')).filter_map(|path| words(path).next()).collect()
}

#[test]
fn only_the_store_knows_the_names_of_files() {
    let is_said = |line: &str| [".json\"", "\"stdout\"", "\"control\"", "\"owner\""].iter().any(|name| line.contains(name));
    only_in(&["src", "supervisor/src"], &["src/store"], "a file's name", is_said);
}

#[test]
fn every_failpoint_is_listed_and_stands_at_one_place() {
    let quoted = |text: &str| -> Vec<String> {
        let texts = code(text).flat_map(|(_, line)| line.split('"').skip(1).step_by(2));
        let is_point = |text: &&str| ["host.", "supervisor."].iter().any(|side| text.starts_with(side));
        texts.filter(is_point).map(str::to_owned).collect()
    };
    let list = fs::read_to_string(root().join("protocol/src/failpoints.rs")).unwrap();
    let mut listed = quoted(&list[..list.find("];").unwrap()]);
    let mut standing: Vec<String> =
        ["src", "supervisor/src"].iter().flat_map(|room| sources(room)).flat_map(|(_, text)| quoted(&text)).collect();
    listed.sort();
    standing.sort();
    assert_eq!(listed, standing);
}

#[test]
fn every_export_catches_panics() {
    // A panic that leaves a plain export aborts the host.
    for (path, text) in sources("src/js") {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate().filter(|(_, line)| line.starts_with("pub fn ")) {
            let attribute = lines[..number].iter().rev().find(|line| line.starts_with("#[napi"));
            let catches = attribute.is_some_and(|attribute| attribute.contains("catch_unwind"));
            assert!(catches, "{}:{}: {line}", path.display(), number + 1);
        }
    }
}

#[test]
fn no_file_and_no_function_is_too_long_to_be_read() {
    const MAX_FILE: usize = 400;
    const MAX_FUNCTION: usize = 50;
    for (path, text) in ["src", "protocol/src", "supervisor/src", "tests"].iter().flat_map(|room| sources(room)) {
        let count = text.lines().count();
        assert!(count <= MAX_FILE, "{} has {count} lines", path.display());
        let lines: Vec<&str> = text.lines().collect();
        for (begin, line) in lines.iter().enumerate().filter(|(_, line)| words(line).take(4).any(|word| word == "fn")) {
            // As the formatter has it, a function ends with the first brace that stands as far to the left as its name.
            let indent = line.len() - line.trim_start().len();
            let is_end = |line: &&str| line.trim_end() == format!("{}}}", " ".repeat(indent));
            let length = lines[begin..].iter().position(is_end).map_or(0, |end| end + 1);
            let is_whole = line.trim_end().ends_with('{') || line.trim_end().ends_with('(');
            assert!(!is_whole || length <= MAX_FUNCTION, "{}:{}: {length} lines", path.display(), begin + 1);
        }
    }
}
